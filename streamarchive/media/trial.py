"""Whether a media store does what it is for."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from streamarchive.errors import StorageError
from streamarchive.protocols import MediaStore

_BYTES = 1000


async def try_store(store: MediaStore, folder: Path) -> None:
    """Keep a small file of `folder`, read it, delete it. Raises `StorageError`, one sentence."""
    content = secrets.token_bytes(_BYTES)
    file = folder / f"trial-{secrets.token_hex(8)}"
    try:
        await asyncio.to_thread(_write, file, content)
        stored = await store.adopt(file, "trial-", "")
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)
    try:
        found = b"".join([chunk async for chunk in store.read(stored.key)])
    finally:
        await store.delete(stored.key)
    if found != content:
        raise StorageError("the media store gives back other bytes than it was given; look at its server or disk")
    if await store.size(stored.key) is not None:
        raise StorageError("the media store does not delete what it is told to; look at its rules of retention")


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise StorageError(
            f"cannot write into {file.parent}: {error.strerror or error}; check the data folder's disk and rights"
        ) from error
