"""The books of one claimed stream: finished files go in, media segments on the media clock come out.

A file is committed once it is checked, in the store and durable; the row is written only while the stream is
still ours. Until then it stays where the recorder put it, so that a crash at any point loses nothing: the next
recorder finds it and commits it, or finds it committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from streamarchive import jobs
from streamarchive.catalogue import recordings, streams
from streamarchive.clock import Span, TakeClock
from streamarchive.errors import UnreadableMediaError
from streamarchive.media.overlap import Overlap
from streamarchive.media.segments import SegmentTimes, read_times, whole_packets
from streamarchive.models import MediaSegment, RecordingId, Stream, Take
from streamarchive.protocols import StoredObject
from streamarchive.services import Services

logger = logging.getLogger(__name__)

_NAME = re.compile(r"s(\d{8})\.ts")
_TAIL = 8
"""How many segments back a server is expected to repeat itself after a reconnect."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a stream's recorder works on this host."""

    data: Path
    stream: Stream

    def take(self, number: int) -> Path:
        """The media files of a take on their way to the store."""
        return self.takes / str(number)

    def spool(self, number: int) -> Path:
        """The sound of a take in short files, for a live transcriber."""
        return self.data / "spool" / f"stream-{self.stream.id}" / str(number)

    def public_spool(self, recording_id: RecordingId) -> Path:
        """Where a live transcriber looks for the spools of a recording's takes."""
        return self.data / "spool" / str(recording_id)

    @property
    def takes(self) -> Path:
        """The folders of all takes."""
        return self.data / "recorder" / str(self.stream.id)

    def prepare(self, number: int) -> tuple[Path, Path]:
        """Empty folders for a new take. Blocks."""
        work, spool = self.take(number), self.spool(number)
        for folder in (work, spool):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return work, spool

    def publish_spool(self, recording_id: RecordingId) -> None:
        """Let live transcribers find the spools. Blocks."""
        link = self.public_spool(recording_id)
        if not link.is_symlink():
            link.symlink_to(f"stream-{self.stream.id}", target_is_directory=True)

    def prune_spool(self, number: int, *, keep: int) -> None:
        """Forget the sound that no live transcriber will go back to. Blocks."""
        names = sorted(entry.name for entry in os.scandir(self.spool(number)))
        for name in names[:-keep]:
            (self.spool(number) / name).unlink(missing_ok=True)


class Ledger:
    """Commits the files of one stream while its epoch lasts."""

    def __init__(self, services: Services, stream: Stream, folders: Folders) -> None:
        self.stream = stream
        self.folders = folders
        self.recording_id = stream.recording_id
        self.longest_ticks = 0
        """The longest segment so far: how rare key frames are."""
        self._services = services
        self._take: Take | None = None
        self._clock = TakeClock()
        self._end_ticks = 0
        self._sequence = 0
        self._last_sha256 = ""
        self._folder: int | None = None
        self._overlap: Overlap | None = None
        self._overlap_of: int | None = None
        self._rescuable: set[int] = set()

    @classmethod
    async def open(cls, services: Services, stream: Stream, folders: Folders) -> Self:
        """Continue where the catalogue says the recording stands."""
        ledger = cls(services, stream, folders)
        if stream.recording_id is None:
            return ledger
        async with services.database.read() as connection:
            takes = await recordings.takes(connection, stream.recording_id)
            segments = await recordings.segments(connection, stream.recording_id)
        if segments and takes:
            last, take = segments[-1], takes[-1]
            ledger._take, ledger._sequence = take, last.sequence + 1
            ledger._last_sha256 = last.sha256
            # Takes of one epoch behind each other may come from one folder, if the source's clock was set back.
            ledger._rescuable = {other.number for other in takes if other.epoch == take.epoch}
            ledger._clock = TakeClock(take.base_ticks, take.origin_pts, last.pts_ticks)
            ledger._end_ticks = last.start_ticks + last.duration_ticks
            ledger.longest_ticks = max(segment.duration_ticks for segment in segments)
        return ledger

    @property
    def folder(self) -> int | None:
        """The folder whose files were committed last; None before the first."""
        return self._folder

    @property
    def next_folder(self) -> int:
        """Where the next ffmpeg works: the number of the take that it begins, should it deliver anything."""
        return 0 if self._take is None else self._take.number + 1

    @property
    def has_media(self) -> bool:
        """Whether anything is committed."""
        return self._take is not None

    async def commit(self, file: Path, folder: int, *, partial: bool = False) -> None:
        """Bring a file into store and catalogue; it is gone from its folder, which has this number, afterwards.

        What is no whole number of packets is cut and marked as partial; what holds nothing, or only what a
        server has sent before, is dropped. Raises `FencedError`, `StorageError`, `DatabaseError`; then the
        file is still there.
        """
        if folder != self._folder and self._take is not None and self._overlap_of != folder:
            self._overlap, self._overlap_of = await self._find_tail(), folder
        found = await asyncio.to_thread(_examine, file, self._overlap)
        if found is None:
            logger.info("stream %s: %s holds nothing new", self.stream.id, file.name)
        elif found.sha256 != self._last_sha256:  # else the process died between the commit and the removal
            await self._commit(file, folder, found, partial=partial)
        await asyncio.to_thread(file.unlink)

    async def _commit(self, file: Path, folder: int, found: _Examined, *, partial: bool) -> None:
        first = folder != self._folder
        clock, span = self._place(found, first=first)
        if not first and clock.latest <= self._clock.latest:
            # The source's clock has been set back: from here on it is another take.
            first, (clock, span) = True, self._place(found, first=True)
        stored = await self._store(file, folder)
        has_video = found.times.tracks.video is not None
        async with self._services.database.write() as tx:
            recording_id = await recordings.begin(tx, self.stream, has_video=has_video)
            take = await recordings.begin_take(tx, self.stream, recording_id) if first else self._take
            assert take is not None  # noqa: S101 - there is one unless this is the first of its take
            segment = MediaSegment(
                recording_id=recording_id,
                take_id=take.id,
                sequence=self._sequence,
                key=stored.key,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                start_ticks=span.start,
                duration_ticks=span.duration,
                pts_ticks=clock.latest,
                arrived_at=found.arrived_at,
                partial=partial or found.cut,
            )
            await recordings.commit_segment(tx, self.stream, segment, clock.origin or 0, has_video=has_video)
            if first:
                await streams.set_error(tx, self.stream, None)
        self._take, self._folder, self._clock, self._end_ticks = take, folder, clock, span.end
        self._sequence, self._last_sha256 = self._sequence + 1, stored.sha256
        self.longest_ticks = max(self.longest_ticks, span.duration)
        if self.recording_id is None:
            self.recording_id = recording_id
            await asyncio.to_thread(self.folders.publish_spool, recording_id)

    def _place(self, found: _Examined, *, first: bool) -> tuple[TakeClock, Span]:
        start, duration = found.times.span(first_of_take=first)
        return (TakeClock(self._end_ticks) if first else self._clock).place(start, duration)

    async def _find_tail(self) -> Overlap:
        """What the server may send again: the end of what is committed."""
        assert self.recording_id is not None  # noqa: S101 - there is a take
        async with self._services.database.read() as connection:
            segments = await recordings.segments(connection, self.recording_id, self._sequence - 1 - _TAIL)
        store = self._services.store
        tail = [b"".join([chunk async for chunk in store.read(segment.key)]) for segment in segments]
        return await asyncio.to_thread(Overlap, tail)

    async def _store(self, file: Path, folder: int) -> StoredObject:
        """Into the store by a second name, so that the first stays until the row is written."""
        link = file.with_suffix(".adopt")

        def duplicate() -> None:
            link.unlink(missing_ok=True)
            try:
                link.hardlink_to(file)
            except OSError:
                shutil.copyfile(file, link)

        await asyncio.to_thread(duplicate)
        prefix = f"streams/{self.stream.id}/{folder}/{self._sequence:08d}-"
        return await self._services.store.adopt(link, prefix, ".ts")

    async def note(self, error: str) -> None:
        """Why nothing comes at the moment: on the stream and, once there is media, as a gap."""
        async with self._services.database.write() as tx:
            await streams.set_error(tx, self.stream, error)
            if self.recording_id is not None:
                await recordings.open_gap(tx, self.stream, self.recording_id, error)

    async def finish(self) -> None:
        """Nothing more will come: close the books and have the rest done, in one transaction."""
        async with self._services.database.write() as tx:
            if self.recording_id is None:
                await streams.end(tx, self.stream)
                return
            await recordings.finish(tx, self.stream, self.recording_id)
            for kind in ("finalise", "transcribe"):
                await jobs.enqueue(tx, kind, str(self.recording_id), recording_id=self.recording_id)

    async def salvage(self) -> None:
        """Commit what earlier processes have left behind, oldest first; see `commit` for errors."""
        for number in await asyncio.to_thread(self._left_behind):
            if self._take is not None and number <= self._take.number and number != self._folder:
                if number not in self._rescuable:
                    # Another host has recorded on meanwhile: the media clock has no place for this any more.
                    folder = self.folders.take(number)
                    logger.error("media of take %s come too late and stay in %s.late", number, folder)
                    await asyncio.to_thread(folder.rename, folder.with_suffix(".late"))
                    continue
                self._folder = number
            await self.commit_rest(number)

    async def commit_rest(self, number: int, listed: str = "") -> None:
        """Commit the files of a take whose ffmpeg has ended and remove its folder.

        The last is marked as partial unless ffmpeg has listed it as finished.
        """
        folder = self.folders.take(number)
        files = await asyncio.to_thread(files_in, folder)
        for file in files:
            await self.commit(file, number, partial=file == files[-1] and file.name > listed)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _left_behind(self) -> list[int]:
        if not self.folders.takes.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.folders.takes.iterdir() if entry.name.isdigit())


@dataclass(frozen=True, slots=True)
class _Examined:
    times: SegmentTimes
    sha256: str
    arrived_at: datetime
    cut: bool


def _examine(file: Path, overlap: Overlap | None) -> _Examined | None:
    """Read a finished file, after cutting off a torn end and a known beginning; None if nothing is left."""
    state = file.stat()
    written = file.read_bytes()
    data = written[: whole_packets(len(written))]
    if overlap is not None and data:
        data = overlap.trim(data)
    try:
        times = read_times(data)
    except UnreadableMediaError:
        return None
    if data != written:
        _rewrite(file, data, state.st_mtime_ns)
    arrived_at = datetime.fromtimestamp(state.st_mtime, UTC)
    return _Examined(times, hashlib.sha256(data).hexdigest(), arrived_at, cut=len(data) != len(written))


def _rewrite(file: Path, data: bytes, modified_ns: int) -> None:
    """Change a file at once or not at all; it keeps its time."""
    copy = file.with_suffix(".cut")
    copy.write_bytes(data)
    os.utime(copy, ns=(modified_ns, modified_ns))
    copy.replace(file)


def files_in(folder: Path) -> list[Path]:
    """The media files in a take's folder, oldest first. Blocks."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if _NAME.fullmatch(file.name))
