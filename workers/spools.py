"""The sound of streams that have ended is forgotten; not at once, for a live transcriber may still listen."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from streamarchive.catalogue import streams
from streamarchive.errors import NotFoundError
from streamarchive.models import StreamId, StreamState
from streamarchive.services import Services

_SPOOL_SECONDS = 600.0
"""How long the sound of an ended stream stays for live transcribers."""


async def tidy(services: Services) -> None:
    """Forget what nobody will listen to any more."""
    spools = services.settings.data_dir.absolute() / "spool"
    silent = await asyncio.to_thread(_silent_spools, spools)
    for stream_id, folder in silent.items():
        async with services.database.read() as connection:
            try:
                ended = (await streams.get(connection, stream_id)).state is StreamState.ENDED
            except NotFoundError:
                ended = True
        if ended:
            await asyncio.to_thread(_remove_spool, folder)


def _silent_spools(spools: Path) -> dict[StreamId, Path]:
    found = {}
    for folder in spools.glob("stream-*"):
        newest = max((entry.stat().st_mtime for entry in (folder, *folder.iterdir())), default=0.0)
        if newest < time.time() - _SPOOL_SECONDS and folder.name.removeprefix("stream-").isdigit():
            found[StreamId(int(folder.name.removeprefix("stream-")))] = folder
    return found


def _remove_spool(folder: Path) -> None:
    for link in folder.parent.iterdir():
        if link.is_symlink() and link.readlink().name == folder.name:
            link.unlink()
    shutil.rmtree(folder, ignore_errors=True)
