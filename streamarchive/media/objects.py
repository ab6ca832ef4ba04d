"""Media as objects in a bucket that speaks S3.

An object is under its key whole or not at all: servers show it once its last part has come. A file is sent, then
its length is asked for, and only then it goes from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamarchive.errors import NotFoundError, StorageError
from streamarchive.media import disk
from streamarchive.media.buckets import Bucket, is_beyond_the_end, lacks_bucket
from streamarchive.media.fetched import Fetched
from streamarchive.media.stores import CHUNK_BYTES, HASH_LENGTH, LISTED_AT_ONCE, hash_file, is_key, key_parts
from streamarchive.protocols import ListedObject, StoredObject

if TYPE_CHECKING:
    from obstore import GetOptions

PART_BYTES = 8 << 20
"""Longer files are sent in parts of this length."""
MOST_PARTS = 9_000
"""A file may have 10,000 parts; where these are too few, parts are longer."""
_AT_ONCE = 2
"""So many parts are on their way, and in memory."""
_FETCH_BYTES = 1 << 22
_ANSWER_SECONDS = 10.0
_SEND_SECONDS = 60.0
"""For a part on a slow line: with two of them at once, 2.3 Mbit/s."""


class S3Store:
    """Media in a bucket, or below a prefix in it. A local file is a copy that lasts as long as it is used."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        """`folder` is for those copies. Raises `SettingsError`."""
        self._bucket = bucket
        self._asking = bucket.client(answer_seconds=_ANSWER_SECONDS)
        self._sending = bucket.client(answer_seconds=_SEND_SECONDS)
        self._fetched = Fetched(folder)

    async def adopt(self, file: Path, prefix: str, suffix: str) -> StoredObject:
        """Take over a finished local file (it is gone afterwards); durable once this returns.

        Whoever is cancelled meanwhile has its file still. What had been sent by then is no object.
        """
        given_up = threading.Event()
        what = f"cannot keep {file.name}"
        try:
            with _local_trouble(what):
                stored = await asyncio.to_thread(_examine, file, prefix, suffix)
            if await self._length(stored.key, what) != stored.size_bytes:
                await self._send(file, stored, what)
            with _local_trouble(what):
                await asyncio.to_thread(_forget, file, given_up)
            return stored
        finally:
            given_up.set()

    async def _send(self, file: Path, stored: StoredObject, what: str) -> None:
        from obstore import put_async

        part_bytes = max(PART_BYTES, -(-stored.size_bytes // MOST_PARTS))
        with self._trouble(what):
            await put_async(
                self._sending,
                stored.key,
                file,
                use_multipart=stored.size_bytes > part_bytes,
                chunk_size=part_bytes,
                max_concurrency=_AT_ONCE,
            )
        arrived = await self._length(stored.key, what)
        if arrived != stored.size_bytes:
            raise StorageError(
                f"{what}: of {stored.size_bytes} bytes {self._bucket.server} has {arrived or 0}; look at its log"
            )

    async def size(self, key: str) -> int | None:
        """Its length in bytes; None if there is none."""
        key_parts(key)
        what = f"cannot look for {key}"
        found = await self._length(key, what)
        if found is None:
            await self._require_bucket(key, what)
        return found

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`. Raises `NotFoundError` if there is no such key."""
        return self._stream(key, start, end, CHUNK_BYTES)

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """A copy of it in a local file, for as long as it is used. Raises `NotFoundError`."""
        name = key_parts(key)[-1]
        what = f"cannot fetch {key}"
        async with contextlib.AsyncExitStack() as stack:
            with _local_trouble(what):
                path, stream = await stack.enter_async_context(self._fetched.file(name))
                async for chunk in self._stream(key, 0, None, _FETCH_BYTES):
                    await asyncio.to_thread(stream.write, chunk)
                await asyncio.to_thread(stream.flush)
            yield path

    async def listing(self, folder: str = "") -> AsyncIterator[Sequence[ListedObject]]:
        """Every object below a folder, page by page."""
        import obstore

        what = "cannot list the media"
        if folder:
            key_parts(folder.rstrip("/"))
        with self._trouble(what):
            pages = obstore.list(self._asking, folder or None, chunk_size=LISTED_AT_ONCE)
        while True:
            with self._trouble(what):
                page = await anext(pages, None)
            if page is None:
                return
            yield [
                ListedObject(each["path"], each["size"], each["last_modified"])
                for each in page
                if is_key(each["path"])
            ]

    async def delete(self, key: str) -> None:
        """Forget it; no error if it is gone."""
        from obstore import delete_async

        key_parts(key)
        what = f"cannot delete {key}"
        with self._trouble(what):
            try:
                await delete_async(self._asking, key)
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise

    async def free_fraction(self) -> float | None:
        """Of the disk on which media wait for the bucket; that itself has no end to be seen from here."""
        with _local_trouble("cannot measure the disk"):
            return (await asyncio.to_thread(disk.usage, self._fetched.folder)).free_fraction

    async def close(self) -> None:
        """Connections close by themselves."""

    async def _length(self, key: str, what: str) -> int | None:
        from obstore import head_async

        with self._trouble(what):
            try:
                return (await head_async(self._asking, key))["size"]
            except FileNotFoundError:
                return None

    async def _require_bucket(self, key: str, what: str) -> None:
        """The answer to HEAD has no room for why nothing is there; the one to GET has."""
        from obstore import get_async

        with self._trouble(what):
            try:
                await get_async(self._asking, key)
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise

    async def _stream(self, key: str, start: int, end: int | None, chunk_bytes: int) -> AsyncIterator[bytes]:
        from obstore import get_async
        from obstore.exceptions import BaseError

        key_parts(key)
        what = f"cannot read {key}"
        if end is not None and end <= start:  # which is no range to a server
            if await self.size(key) is None:
                raise _missing(key)
            return
        with self._trouble(what):
            try:
                answer = await get_async(self._asking, key, options=_range(start, end))
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise
                raise _missing(key) from error
            except BaseError as error:
                if is_beyond_the_end(error):
                    return
                raise
        chunks = answer.stream(min_chunk_size=chunk_bytes)
        while True:
            with self._trouble(what):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            # What has come in one read of the connection is added whole: more than asked for, on a busy machine.
            for at in range(0, len(chunk), chunk_bytes):
                yield chunk[at : at + chunk_bytes]

    @contextlib.contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        """What obstore raises, as a `StorageError`. What a server says of signatures goes into no log."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise self._bucket.refusal(what, error) from None
        except (BaseError, OSError, ValueError) as error:
            raise self._bucket.refusal(what, error) from error


def _range(start: int, end: int | None) -> GetOptions:
    if end is not None:
        return {"range": (start, end)}
    return {"range": {"offset": start}} if start else {}


def _missing(key: str) -> NotFoundError:
    return NotFoundError(f"the media file {key} is not in the store")


def _examine(file: Path, prefix: str, suffix: str) -> StoredObject:
    digest = hash_file(file)
    key = f"{prefix}{digest[:HASH_LENGTH]}{suffix}"
    key_parts(key)
    return StoredObject(key=key, size_bytes=file.stat().st_size, sha256=digest)


def _forget(file: Path, given_up: threading.Event) -> None:
    if not given_up.is_set():
        file.unlink()


@contextlib.contextmanager
def _local_trouble(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{what}: the disk is full; free some space for the data folder") from error
        raise StorageError(
            f"{what}: {error.strerror or error}; check the data folder's disk and rights"
        ) from error
