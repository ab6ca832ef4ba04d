"""Single pictures of what is being recorded."""

from __future__ import annotations

from pathlib import Path

from streamarchive.errors import MediaError
from streamarchive.media import commands, sandbox
from streamarchive.media.probe import plain

WIDTH = 960
"""Pixels; no picture is made larger than it is."""
_CHUNK_BYTES = 1 << 16


async def first_picture(segment: Path) -> bytes:
    """The key frame that a media segment begins with, as JPEG. Raises `MediaError`."""
    async with await sandbox.start(commands.first_picture(segment, WIDTH), sandbox.PROBE) as process:
        picture = b""
        while chunk := await process.stdout.read(_CHUNK_BYTES):
            picture += chunk
        await process.wait()
        if not picture:
            raise MediaError(f"there is no picture in the segment: {plain(process.complaint)}")
        return picture
