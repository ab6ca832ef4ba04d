"""Where media is kept: files under one folder here, or objects in a bucket (`streamarchive.media.objects`).

Keys look like paths and are immutable: each ends in the hash of its content, so the same bytes under the same
prefix are the same key and a second `adopt` of them changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import itertools
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamarchive.errors import NotFoundError, SettingsError, StorageError
from streamarchive.media import disk
from streamarchive.protocols import ListedObject, MediaStore, StoredObject

HASH_LENGTH = 32
"""Hexadecimal digits of the SHA-256 in a key."""
CHUNK_BYTES = 1 << 18
LISTED_AT_ONCE = 1000
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_INCOMING = ".incoming"
_ABANDONED_SECONDS = 24 * 3600.0


def open_store(url: str, folder: Path) -> MediaStore:
    """The store that a ``file://`` or ``s3://`` URL names. Raises `SettingsError`.

    `folder` is where media that are kept elsewhere lie for as long as they are used.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        from streamarchive.media.buckets import Bucket
        from streamarchive.media.objects import S3Store

        return S3Store(Bucket.of_url(url), folder)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise SettingsError(f"the media store {url!r} is not of the form file:///absolute/path")
    return FileStore(Path(unquote(parts.path)))


def key_parts(key: str) -> list[str]:
    """The names between the slashes of a key. Raises `NotFoundError` for what cannot be one."""
    if not is_key(key):
        raise NotFoundError(f"{key!r} is not the key of a media file")
    return key.split("/")


def is_key(key: str) -> bool:
    """Whether a media file may be called so. What others keep beside them has other names."""
    return all(_PART.fullmatch(part) for part in key.split("/"))


def hash_file(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Blocks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Blocks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


class FileStore:
    """Media as files under one folder on a local disk."""

    def __init__(self, root: Path) -> None:
        """Keep files under `root`, which comes into being with the first of them."""
        self._root = root

    async def adopt(self, file: Path, prefix: str, suffix: str) -> StoredObject:
        """Take over a finished local file (it is gone afterwards); durable once this returns.

        Whoever is cancelled meanwhile has its file still: what came into the store later, nobody would know of.
        """
        given_up = threading.Event()
        with _translated(f"cannot keep {file.name}"):
            try:
                return await asyncio.to_thread(self._adopt, file, prefix, suffix, given_up)
            finally:
                given_up.set()

    async def size(self, key: str) -> int | None:
        """Its length in bytes; None if there is none."""
        path = self._path(key)
        with _translated(f"cannot look for {key}"):
            try:
                return (await asyncio.to_thread(path.stat)).st_size
            except FileNotFoundError:
                return None

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`. Raises `NotFoundError` if there is no such key."""
        path = self._path(key)
        with _translated(f"cannot read {key}"):
            try:
                stream = await asyncio.to_thread(path.open, "rb")
            except FileNotFoundError as error:
                raise NotFoundError(f"the media file {key} is not in the store") from error
            try:
                await asyncio.to_thread(stream.seek, start)
                left = None if end is None else max(0, end - start)
                while left != 0:
                    wanted = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)
                    chunk = await asyncio.to_thread(stream.read, wanted)
                    if not chunk:
                        return
                    left = None if left is None else left - len(chunk)
                    yield chunk
            finally:
                stream.close()

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """A local file with these bytes; do not change or keep it. Raises `NotFoundError`."""
        path = self._path(key)
        if not await asyncio.to_thread(path.is_file):
            raise NotFoundError(f"the media file {key} is not in the store")
        yield path

    async def listing(self, folder: str = "") -> AsyncIterator[Sequence[ListedObject]]:
        """Every file below a folder, page by page."""
        found = _files(self._path(folder.rstrip("/")) if folder else self._root, folder)
        with _translated("cannot list the media"):
            while page := await asyncio.to_thread(lambda: list(itertools.islice(found, LISTED_AT_ONCE))):
                yield page

    async def delete(self, key: str) -> None:
        """Forget it; no error if it is gone."""
        path = self._path(key)
        with _translated(f"cannot delete {key}"):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def free_fraction(self) -> float | None:
        """How much of the disk is free, 0 to 1."""
        with _translated("cannot measure the disk"):
            return (await asyncio.to_thread(disk.usage, self._root)).free_fraction

    async def close(self) -> None:
        """Nothing is held open."""

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*key_parts(key))

    def _adopt(self, file: Path, prefix: str, suffix: str, given_up: threading.Event) -> StoredObject:
        digest = hash_file(file)
        key = f"{prefix}{digest[:HASH_LENGTH]}{suffix}"
        target = self._path(key)
        stored = StoredObject(key=key, size_bytes=file.stat().st_size, sha256=digest)
        _make_folder(target.parent)
        try:
            _sync_file(file)
            _require_wanted(given_up)
            file.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_in(file, target, given_up)
        sync_folder(target.parent)
        return stored

    def _copy_in(self, file: Path, target: Path, given_up: threading.Event) -> None:
        """From another file system: copied under another name first, so that a key is whole or not there."""
        incoming = self._root / _INCOMING
        _make_folder(incoming)
        _forget_abandoned(incoming)
        copy = incoming / secrets.token_hex(16)
        try:
            shutil.copyfile(file, copy)
            _sync_file(copy)
            _require_wanted(given_up)
            copy.rename(target)
        finally:
            copy.unlink(missing_ok=True)
        sync_folder(target.parent)
        file.unlink()


def _files(folder: Path, prefix: str) -> Iterator[ListedObject]:
    """Those that can be media. Blocks."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if not is_key(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{prefix}{entry.name}/")
            continue
        with contextlib.suppress(FileNotFoundError):
            found = entry.stat()
            changed = max(found.st_mtime, found.st_ctime)  # a file that is moved in keeps the first
            yield ListedObject(f"{prefix}{entry.name}", found.st_size, datetime.fromtimestamp(changed, UTC))


class _GivenUpError(Exception):
    """Nobody waits for this file any more."""


def _require_wanted(given_up: threading.Event) -> None:
    if given_up.is_set():
        raise _GivenUpError


def _forget_abandoned(incoming: Path) -> None:
    """Delete the copies whose process was killed: of one that goes on, something was written lately."""
    for copy in incoming.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - copy.stat().st_mtime > _ABANDONED_SECONDS:
                copy.unlink()


def _make_folder(folder: Path) -> None:
    """Create a folder and make its name durable, its parents' too."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{what}: the disk is full; free some space or move the media store") from error
        raise StorageError(
            f"{what}: {error.strerror or error}; check the media store's disk and rights"
        ) from error
