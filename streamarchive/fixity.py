"""Fixity: whether the media store holds what the catalogue says, byte for byte, and nothing else.

Media never change, so each file has had one length and one hash from its first day. What is not as it was written
is made again where it can be, from files that are sound; the rest is for people to put back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from streamarchive import jobs
from streamarchive.catalogue import assets, media_segments, recordings
from streamarchive.catalogue.database import Database
from streamarchive.errors import ConflictError, NotFoundError, StorageError
from streamarchive.models import AssetKind, RecordingId
from streamarchive.protocols import ListedObject, MediaStore

UNKNOWN_AFTER = timedelta(days=1)
"""A younger file may be one that the catalogue is about to be told of."""
_ASKED_AT_ONCE = 16


class Fault(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    CUT = "of another length"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"


_OF_RIGHT_LENGTH = (Fault.DAMAGED, Fault.UNREADABLE)
"""A bucket that has an object of the right length is not sent it again."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the catalogue has it."""

    recording_id: RecordingId
    key: str
    size_bytes: int
    sha256: str
    kind: AssetKind | None
    """None: a media segment."""

    @property
    def is_derived(self) -> bool:
        """Whether the finaliser can make it again of what there is else."""
        return self.kind not in (None, AssetKind.ORIGINAL)


@dataclass(frozen=True, slots=True)
class FaultyFile:
    """One that is not as it was written."""

    file: KnownFile
    fault: Fault
    replaceable: bool
    """Whether the finaliser can make it again: what it was made from is sound."""


@dataclass
class Fixity:
    """What has been looked at so far."""

    files: int = 0
    size_bytes: int = 0
    faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    replaceable: int = 0

    def count(self, faulty: FaultyFile) -> None:
        """One more."""
        self.faults[faulty.fault] += 1
        self.replaceable += faulty.replaceable

    @property
    def lost(self) -> int:
        """How many files nothing here can bring back."""
        return sum(self.faults.values()) - self.replaceable


async def examine(
    database: Database,
    store: MediaStore,
    *,
    read: bool,
    mend: bool,
    told: Callable[[Fixity], None] = lambda _found: None,
    faulty: Callable[[FaultyFile], None] = lambda _file: None,
) -> Fixity:
    """Look for every file of the catalogue; where `read`, compare its bytes with its hash.

    Where `mend`, files are made again that can be. `told` is called now and then, `faulty` with each file that is
    not as it was written. Raises `StorageError` if the store as a whole does not answer.
    """
    found = Fixity()
    async with database.read() as connection:
        ids = await recordings.all_ids(connection)
    for recording_id in ids:
        files = await _files(database, recording_id)
        wrong: dict[str, Fault] = {}
        step = 1 if read else _ASKED_AT_ONCE
        for first in range(0, len(files), step):
            some = files[first : first + step]
            faults = await asyncio.gather(*(_look(store, file, read=read) for file in some))
            wrong |= {file.key: fault for file, fault in zip(some, faults, strict=True) if fault}
            found.files += len(some)
            found.size_bytes += sum(file.size_bytes for file in some)
            told(found)
        for each in await _settle(database, store, files, wrong, mend=mend) if wrong else ():
            found.count(each)
            faulty(each)
    return found


async def unknown(
    database: Database, store: MediaStore, *, delete: bool = False
) -> AsyncIterator[list[ListedObject]]:
    """Files of the store that the catalogue does not know, page by page: those that have been there for a day.

    With `delete`, after they are gone. Raises `ConflictError` while anybody may be about to use one.
    """
    before = datetime.now(UTC) - UNKNOWN_AFTER
    async for page in store.listing():
        old = [each for each in page if each.changed_at < before]
        async with database.read() as connection:
            known = await assets.known(connection, [each.key for each in old])
        found = [each for each in old if each.key not in known]
        if delete and found:
            await _require_quiet(database)
            for each in found:
                await store.delete(each.key)
        yield found


async def sha256(store: MediaStore, key: str) -> str:
    """Of the bytes that the store gives back, in hexadecimal. Raises `StorageError`, `NotFoundError`."""
    digest = hashlib.sha256()
    async for chunk in store.read(key):
        digest.update(chunk)
    return digest.hexdigest()


async def _require_quiet(database: Database) -> None:
    async with database.read() as connection:
        on_air, at_work = await recordings.open_recordings(connection), await jobs.running(connection)
    if on_air or at_work:
        raise ConflictError(
            f"{len(on_air)} recordings are on air and {at_work} jobs at work; files that the catalogue does not "
            "know are deleted only while there are none: try again then"
        )


async def _files(database: Database, recording_id: RecordingId) -> list[KnownFile]:
    """All of a recording, each key once: what is the original besides counts as that."""
    async with database.read() as connection:
        segments = await media_segments.of_recording(connection, recording_id)
        made = await assets.of_recording(connection, recording_id)
    files = {
        asset.key: KnownFile(recording_id, asset.key, asset.size_bytes, asset.sha256, asset.kind)
        for asset in sorted(made.values(), key=lambda asset: asset.kind is AssetKind.ORIGINAL)
    }
    for segment in segments:
        files[segment.key] = KnownFile(recording_id, segment.key, segment.size_bytes, segment.sha256, None)
    return list(files.values())


async def _look(store: MediaStore, file: KnownFile, *, read: bool) -> Fault | None:
    size = await store.size(file.key)
    if size is None:
        return Fault.MISSING
    if size != file.size_bytes:
        return Fault.CUT
    if not read:
        return None
    try:
        found = await sha256(store, file.key)
    except NotFoundError:
        return Fault.MISSING
    except StorageError:
        await store.size(file.key)  # which fails as well if it is not this file alone
        return Fault.UNREADABLE
    return None if found == file.sha256 else Fault.DAMAGED


async def _settle(
    database: Database, store: MediaStore, files: Sequence[KnownFile], wrong: Mapping[str, Fault], *, mend: bool
) -> list[FaultyFile]:
    """What is wrong with a recording's files, which are made again if only such are faulty as can be."""
    async with database.read() as connection:
        known = await assets.known(connection, list(wrong))  # some may have been replaced or let go meanwhile
    concerned = [file for file in files if file.key in wrong and file.key in known]
    has_source = any(not file.is_derived for file in files)
    replaceable = has_source and all(file.is_derived for file in concerned)
    if mend and replaceable and concerned:
        for file in concerned:
            if wrong[file.key] in _OF_RIGHT_LENGTH:
                await store.delete(file.key)
        await _make_again(database, concerned)
    return [FaultyFile(file, wrong[file.key], replaceable) for file in concerned]


async def _make_again(database: Database, lost: Sequence[KnownFile]) -> None:
    """Have the finaliser make all files of the recording that these belong to."""
    recording_id = lost[0].recording_id
    async with database.write() as tx:
        await assets.forget(tx, recording_id, [file.key for file in lost])
        job = await jobs.enqueue(tx, jobs.FINALISE, str(recording_id), recording_id=recording_id)
        await jobs.retry(tx, job)  # it may have been parked
