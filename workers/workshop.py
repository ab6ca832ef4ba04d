"""A folder for files in the making."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamarchive.models import RecordingId
from streamarchive.services import Services


@asynccontextmanager
async def workshop(services: Services, recording_id: RecordingId) -> AsyncIterator[Path]:
    """An empty folder that is gone afterwards."""
    folder = services.settings.data_dir.absolute() / "finalise" / str(recording_id)

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    await asyncio.to_thread(clear)
    await asyncio.to_thread(folder.mkdir, parents=True)
    try:
        yield folder
    finally:
        await asyncio.to_thread(clear)
