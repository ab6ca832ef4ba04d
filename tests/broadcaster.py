"""The demo's broadcaster as a process of the tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import PATIENCE


class BroadcasterProcess:
    """Running, and leashed to whoever started it."""

    def __init__(self, folder: Path, port: int, minutes: float = 10) -> None:
        """Start it."""
        command = [sys.executable, "-m", "streamarchive.demo.broadcaster", str(folder), "--leashed"]
        self.address = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--minutes", str(minutes)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def call(self, path: str, body: object = None) -> Any:
        """JSON of its control interface."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5 * PATIENCE) as response:
            return json.load(response)

    def refusal(self, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, str]:
        """The status with which a request is refused, and what is said."""
        try:
            request = urllib.request.Request(self.address + path, data, dict(headers))
            with urllib.request.urlopen(request, timeout=5 * PATIENCE) as response:
                raise AssertionError(f"not refused, but answered {response.status}")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)["error"]

    def status(self) -> Any:
        """What it answers; None before it does."""
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            return self.call("/status")
        return None

    def playlist(self, url: str) -> str:
        """The stream's playlist."""
        with urllib.request.urlopen(url, timeout=10 * PATIENCE) as response:
            text: str = response.read().decode()
            return text

    def segments(self, url: str) -> list[str]:
        """The files it lists."""
        return [line for line in self.playlist(url).splitlines() if line.endswith(".ts")]

    def children(self) -> list[psutil.Process]:
        """Its encoders."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> None:
        """Let go of the leash and wait."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(10 * PATIENCE)
