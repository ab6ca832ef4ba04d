"""Files that are here only for as long as somebody uses them: copies of media that are kept elsewhere.

Whoever uses one holds a lock on it, which the kernel lets go when the process ends, however it ends. A file that
nobody holds is left over and is deleted when the next one is begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO


class Fetched:
    """A folder of such files; processes on one machine share it."""

    def __init__(self, folder: Path) -> None:
        """`folder` comes into being with the first file."""
        self.folder = folder

    @asynccontextmanager
    async def file(self, name: str) -> AsyncIterator[tuple[Path, BinaryIO]]:
        """An empty file whose name ends in `name`, and what writes into it; gone afterwards. Raises `OSError`."""
        path, stream = await asyncio.to_thread(self._begin, name)
        try:
            yield path, stream
        finally:
            await asyncio.to_thread(_end, path, stream)

    def tidy(self) -> None:
        """Delete what processes that were killed have left behind. Blocks."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError), path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def _begin(self, name: str) -> tuple[Path, BinaryIO]:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tidy()
        while True:
            path = self.folder / f"{secrets.token_hex(8)}-{name}"
            stream = path.open("xb")
            fcntl.flock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink:
                return path, stream
            stream.close()  # another process has found it before it was locked


def _end(path: Path, stream: BinaryIO) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # what no disk had room for is not needed any more
        stream.close()
