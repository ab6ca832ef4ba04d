"""`streamarchive demo` as people run it: a process group of its own, seen through its addresses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from playwright.async_api import Page

from tests import services
from tests.waiting import PATIENCE, until, until_async

READ_CLOCK = """() => {
  const video = document.getElementById("player");
  if (!video || !video.videoWidth || video.readyState < 2 || video.seeking) return null;
  const canvas = new OffscreenCanvas(640, 360);
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 640, 360);
  const row = pen.getImageData(40, 343, 560, 1).data;
  const bits = Array.from({ length: 40 }, (_, n) => (row[4 * (n * 14 + 7)] > 125 ? 1 : 0));
  const value = bits.slice(0, 32).reduce((sum, bit) => sum * 2 + bit, 0);
  const check = bits.slice(32).reduce((sum, bit) => sum * 2 + bit, 0);
  const bytes = [24, 16, 8, 0].reduce((sum, shift) => sum + (Math.floor(value / 2 ** shift) % 256), 0);
  return check === 255 - (bytes % 256) ? value : null;
}"""
"""Reads the strip that the demo burns into its picture: Unix time in ms, modulo 2**32."""


class Demo:
    """A running demo and its archive's folder."""

    def __init__(self, folder: Path) -> None:
        """Start it, as the leader of a new process group."""
        self.folder = folder
        port = services.free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._log = (folder.parent / f"{folder.name}.log").open("ab")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamarchive", "demo", "--data-dir", str(folder)),
                *("--port", str(port), "--minutes", "60"),  # no broadcast of ours ends by itself
            ],
            stderr=self._log,
            stdout=self._log,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("STREAMARCHIVE_")},
        )

    def log(self) -> str:
        """What it has written to the terminal."""
        return Path(str(self._log.name)).read_text(errors="replace")

    def get(self, path: str) -> Any:
        """JSON of an address."""
        with urllib.request.urlopen(self.address + path, timeout=10 * PATIENCE) as response:
            return json.load(response)

    def try_get(self, path: str) -> Any:
        """The same; None while it cannot be had."""
        assert self.process.poll() is None, f"the demo has ended:\n{self.log()[-3000:]}"
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            return self.get(path)
        return None

    def on_air(self) -> Mapping[str, Any]:
        """The interview on air, once there is one with a caption."""

        def look() -> Mapping[str, Any] | None:
            listed = self.try_get("/api/interviews") or {"interviews": []}
            live = [one for one in listed["interviews"] if one["stage"] == "live"]
            return next((one for one in live if self.cues(one["id"])), None)

        return until(look, f"an interview on air with captions\n{self.log()[-3000:]}", seconds=90)

    def interview(self, interview_id: str) -> Mapping[str, Any]:
        """One interview."""
        found: Mapping[str, Any] = self.get(f"/api/interviews/{interview_id}")
        return found

    def cues(self, interview_id: str) -> list[Mapping[str, Any]]:
        """Its lines."""
        found = self.try_get(f"/api/interviews/{interview_id}/transcript") or {"cues": []}
        cues: list[Mapping[str, Any]] = found["cues"]
        return cues

    def search(self, query: str) -> list[Mapping[str, Any]]:
        """What is found."""
        found = self.try_get(f"/api/search?q={quote(query)}") or {"hits": []}
        hits: list[Mapping[str, Any]] = found["hits"]
        return hits

    def requested(self) -> list[Mapping[str, Any]]:
        """Sentences that somebody asked for and that have been on air, from the broadcaster's log."""
        lines = [
            json.loads(line)
            for file in sorted((self.folder / "broadcasts").glob("*/sentences.jsonl"))
            for line in file.read_text("utf-8").splitlines()
        ]
        return [line for line in lines if line["requested"]]

    def query(self, statement: str) -> list[Any]:
        """Rows of the archive's catalogue."""
        with contextlib.closing(sqlite3.connect(self.folder / "catalogue.sqlite")) as database:
            return database.execute(statement).fetchall()

    def processes(self) -> list[psutil.Process]:
        """It and everything it has started."""
        leader = psutil.Process(self.process.pid)
        return [leader, *leader.children(recursive=True)]

    def kill_group(self) -> None:
        """kill -9 of the whole process group; waits until nothing of it is left."""
        everything = self.processes()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        gone(everything)

    def stop(self) -> None:
        """Ctrl-C: the terminal sends it to the whole group."""
        everything = self.processes()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(20 * PATIENCE)
        gone(everything)

    def close(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.stop()
        self._log.close()


def gone(processes: list[psutil.Process]) -> None:
    """Wait until these have ended; name those that do not."""
    _, left = psutil.wait_procs(processes, timeout=15 * PATIENCE)
    assert not left, f"still running: {[' '.join(one.cmdline()) for one in left]}"


async def shown_time(page: Page) -> int:
    """The time in the picture of the page's player, once it shows one: Unix ms modulo 2**32."""
    shown: int = await until_async(lambda: page.evaluate(READ_CLOCK), "a time in the picture", seconds=40)
    return shown


def moment(line: Mapping[str, Any], name: str = "started_at") -> int:
    """When a sentence began, as the picture shows time."""
    return round(datetime.fromisoformat(line[name]).timestamp() * 1000) % 2**32
