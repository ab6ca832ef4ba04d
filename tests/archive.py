"""An archive of a test's own and the command line on it, as a user types it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamarchive.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "streamarchive" / "demo" / "data" / "whisper-demo.pt"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Its stdout, parsed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Archive:
    """A folder and the settings that go with it; every command is a process of its own."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The demo checkpoint and this folder, and nothing of the developer's own settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STREAMARCHIVE_")}
        own = {"DATA_DIR": str(self.folder), "MODEL": str(MODEL), "ALLOW_NETWORKS": "127.0.0.0/8"}
        own |= self.settings
        return (
            clean
            | {f"STREAMARCHIVE_{name}": value for name, value in own.items()}
            | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "", "OMP_NUM_THREADS": "1"}
        )

    async def start(self, *arguments: str | Path) -> asyncio.subprocess.Process:
        """Begin a command."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "streamarchive",
            *map(str, arguments),
            cwd=self.folder.parent,
            env=self.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str | Path) -> Outcome:
        """Run a command to its end."""
        process = await self.start(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Outcome(process.returncode, out.decode(), err.decode())

    async def do(self, *arguments: str | Path) -> Outcome:
        """Run a command that has to succeed."""
        outcome = await self.run(*arguments)
        assert outcome.status == 0, outcome.err
        return outcome


def settings_of(folder: Path, **values: str) -> Settings:
    """An archive in this folder, nothing of the developer's own."""
    return load_settings({"data_dir": folder, **values}, environ={}, dotenv=None)
