"""The workers beside the site."""

from __future__ import annotations

import asyncio
import errno
import sys
from pathlib import Path
from typing import Any

import pytest

from streamarchive.cli import serving
from streamarchive.settings import load_settings
from tests.waiting import until_async


async def test_workers_that_cannot_be_started_for_a_moment_are_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them nothing would be recorded, on a site that looks well."""
    start, asked = asyncio.create_subprocess_exec, 0

    async def short_of_memory(*_: str, **options: Any) -> asyncio.subprocess.Process:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        seconds = 0 if asked == 1 else 60
        return await start(sys.executable, "-c", f"import time; time.sleep({seconds})", **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", short_of_memory)
    monkeypatch.setattr(serving, "_RESTART_SECONDS", 0.1)
    settings = load_settings({"data_dir": tmp_path}, environ={}, dotenv=None)

    async def started() -> bool:
        return asked == 3

    async with serving._children(settings, [("recorder",)]):
        await until_async(started, "the workers to be started again", seconds=6)
