"""The sound of takes that have ended is forgotten; not at once, for a live transcriber may still listen.

A recorder that runs for months looks now and then: each take leaves up to a quarter of an hour of sound.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

from streamarchive.catalogue import streams
from streamarchive.errors import NotFoundError
from streamarchive.models import StreamId, StreamState
from streamarchive.services import Services

logger = logging.getLogger(__name__)

_SPOOL_SECONDS = 600.0
"""How long the sound of a take that has ended stays for live transcribers."""
_NEWEST = 2
"""So many takes of a stream that goes on are left alone, however silent: one that is being recorded, and that of
whoever stands by."""


async def tidy(services: Services) -> None:
    """Forget what nobody will listen to any more."""
    spools = services.settings.data_dir.absolute() / "spool"
    for stream_id, folder in (await asyncio.to_thread(_spools, spools)).items():
        has_ended = await _has_ended(services, stream_id)
        try:
            await asyncio.to_thread(_tidy_spool, folder, has_ended=has_ended)
        except OSError as error:
            logger.warning("cannot tidy %s: %s", folder, error)  # recording goes on


async def _has_ended(services: Services, stream_id: StreamId) -> bool:
    async with services.database.read() as connection:
        try:
            return (await streams.get(connection, stream_id)).state is StreamState.ENDED
        except NotFoundError:
            return True


def _spools(spools: Path) -> dict[StreamId, Path]:
    numbers = ((folder, folder.name.removeprefix("stream-")) for folder in spools.glob("stream-*"))
    return {StreamId(int(number)): folder for folder, number in numbers if number.isdigit()}


def _tidy_spool(folder: Path, *, has_ended: bool) -> None:
    takes = sorted((take for take in folder.iterdir() if take.name.isdigit()), key=lambda take: int(take.name))
    for take in takes if has_ended else takes[:-_NEWEST]:
        if _is_silent(take):
            shutil.rmtree(take, ignore_errors=True)
    if has_ended and _is_silent(folder):
        _remove_spool(folder)


def _is_silent(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        newest = max(entry.stat().st_mtime for entry in (folder, *folder.iterdir()))
        return newest < time.time() - _SPOOL_SECONDS
    return False


def _remove_spool(folder: Path) -> None:
    for link in folder.parent.iterdir():
        if link.is_symlink() and link.readlink().name == folder.name:
            link.unlink()
    shutil.rmtree(folder, ignore_errors=True)
