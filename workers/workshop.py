"""Where the files of a recording are made. What takes long to make outlives the process that has made it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamarchive.models import RecordingId
from streamarchive.services import Services

_FINISHED = "whole-"
"""How the names of files begin that are complete."""
_ABANDONED_SECONDS = 24 * 3600.0


@asynccontextmanager
async def workshop(services: Services, kind: str, recording_id: RecordingId, origin: str) -> AsyncIterator[Path]:
    """A folder for jobs of this kind, with nothing in it but what an earlier attempt at the same has finished.

    It is gone afterwards, unless the work is to go on later: then its process was stopped.
    """
    folder = _root(services) / f"{kind}-{recording_id}"
    await asyncio.to_thread(_prepare, folder, origin)
    try:
        yield folder
    except asyncio.CancelledError:
        raise
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def finished(folder: Path, origin: str, suffix: str) -> Path:
    """What a file made from `origin` is called once it is complete."""
    return folder / f"{_stem(origin)}{suffix}"


def _stem(origin: str) -> str:
    return _FINISHED + hashlib.sha256(origin.encode()).hexdigest()[:32]


async def tidy(services: Services) -> None:
    """Remove what nobody has gone on with for a day."""
    await asyncio.to_thread(_tidy, _root(services))


def _root(services: Services) -> Path:
    return services.settings.data_dir.absolute() / "finalise"


def _prepare(folder: Path, origin: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.iterdir():
        if not entry.name.startswith(_stem(origin)):
            entry.unlink()


def _tidy(root: Path) -> None:
    for folder in root.iterdir() if root.is_dir() else ():
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
