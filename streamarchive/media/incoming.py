"""Files on their way into the archive: written piece by piece, durable before anybody is told that they are here.

Each lies under a name that is made from its number. No name from outside ever becomes a path.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from streamarchive.errors import StorageError
from streamarchive.media import disk
from streamarchive.media.descriptors import opened
from streamarchive.media.stores import sync_folder
from streamarchive.models import UploadId

_PIECE_BYTES = 1 << 20
_SYNC_BYTES = 64 << 20
"""How much may wait in the system's cache: else the last sync of a long file takes minutes."""
_NAME = re.compile(r"upload-(\d+)(?:\.\w+)?")
_LONGEST_NAME = 120
_CANNOT_KEEP = "cannot keep the upload"


class Incoming:
    """The folder for them."""

    def __init__(self, folder: Path) -> None:
        """`folder` comes into being with the first file."""
        self._folder = folder.absolute()

    def media(self, upload_id: UploadId) -> Path:
        """Where the bytes of this upload lie."""
        return self._folder / f"upload-{upload_id}"

    def captions(self, upload_id: UploadId) -> Path:
        """Where the captions lie that came with it, if there are any."""
        return self._folder / f"upload-{upload_id}.captions"

    def second_name(self, upload_id: UploadId, attempt: int) -> Path:
        """The same bytes under another name, to be adopted by a store: the first stays until all is written down.

        A process that is killed in between finds its file again. Blocks; raises `StorageError`.
        """
        target = self._folder / f"upload-{upload_id}.attempt{attempt}"
        with translated("cannot take the upload over"):
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(self.media(upload_id))
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                shutil.copyfile(self.media(upload_id), target)
        return target

    def remove(self, upload_id: UploadId) -> None:
        """Nobody needs it any more. Blocks; raises `StorageError`."""
        with translated("cannot delete an upload"):
            for path in self._folder.glob(f"upload-{upload_id}*"):
                if _number(path) == upload_id:
                    path.unlink(missing_ok=True)

    def present(self, older_than_seconds: float) -> set[UploadId]:
        """Whose files are here and have not been touched for so long. Blocks."""
        if not self._folder.is_dir():
            return set()
        before = time.time() - older_than_seconds
        found: set[UploadId] = set()
        for path in self._folder.iterdir():
            number = _number(path)
            try:
                if number is not None and path.stat().st_mtime < before:
                    found.add(number)
            except FileNotFoundError:
                continue
        return found

    def room_bytes(self) -> int:
        """How much may still come before the disk is too full; less than 0 if it is. Blocks."""
        found = disk.usage(self._folder)
        return found.free - int(found.total * disk.FULL)

    async def open(self, path: Path) -> IncomingFile:
        """Begin a file of this folder. Raises `StorageError`."""
        with translated(_CANNOT_KEEP):
            return IncomingFile(self, path, await opened(self._create, path))

    def _create(self, path: Path) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


class IncomingFile:
    """A file that is being written. Leave its context without `finish` and it is gone."""

    def __init__(self, incoming: Incoming, path: Path, descriptor: int) -> None:
        self.path = path
        self.size_bytes = 0
        """What has been given so far."""
        self._incoming = incoming
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._unsynced_bytes = 0
        self._finished = False
        self._work: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """The next piece. Raises `StorageError`, also when the disk is nearly full."""
        self.size_bytes += len(data)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _PIECE_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """All of it has been given; durable once this returns. Raises `StorageError`."""
        await self._flush()
        await self._do(self._sync)
        await self._do(sync_folder, self.path.parent)
        self._finished = True

    async def _flush(self) -> None:
        pieces, self._waiting, self._waiting_bytes = self._waiting, [], 0
        await self._do(self._put, b"".join(pieces))

    async def _do(self, work: Callable[..., None], *arguments: object) -> None:
        """In a thread, which may be at it still when its task has been cancelled."""
        with translated(_CANNOT_KEEP):
            self._work = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
            await asyncio.shield(self._work)

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._unsynced_bytes += len(data)
        if self._unsynced_bytes >= _SYNC_BYTES:
            self._sync()
            if self._incoming.room_bytes() < 0:
                raise OSError(errno.ENOSPC, "full")

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        self._unsynced_bytes = 0

    async def __aenter__(self) -> IncomingFile:
        """Nothing more to do: it is open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what is not finished is deleted, whatever happened."""
        await asyncio.shield(self._end())

    async def _end(self) -> None:
        """Not before the thread is through: the number of a file that is closed soon means another file."""
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        os.close(self._descriptor)
        if not self._finished:
            self.path.unlink(missing_ok=True)


def display_name(name: str) -> str:
    """What a file is called, for people to read: no folders, nothing invisible or that turns text around."""
    last = re.split(r"[/\\]", name.replace("\x00", "").strip())[-1]
    seen = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in last)
    short = re.sub(r" +", " ", seen).strip()
    if len(short) > _LONGEST_NAME:
        short = f"{short[: _LONGEST_NAME - 12]}…{short[-11:]}"
    return short if short.strip(".") else "file"


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Failures of the disk as `StorageError`, one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError("the disk is nearly full; free some space and hand the file in again") from error
        raise StorageError(
            f"{what}: {error.strerror or error}; check the data folder's disk and rights"
        ) from error


def _number(path: Path) -> UploadId | None:
    match = _NAME.fullmatch(path.name)
    return UploadId(int(match[1])) if match else None
