"""The books of one claimed stream: finished files go in, media segments on the media clock come out.

A file is committed once it is checked, in the store and durable; the row is written only while the stream is
still ours. Until then it stays where the recorder put it, so that a crash at any point loses nothing: the next
recorder finds it and commits it, or finds it committed. The file that a process was writing when it died is
held back for a while: what comes next may hold it whole (see `streamarchive.media.overlap`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from streamarchive import jobs
from streamarchive.catalogue import media_segments, recordings, streams
from streamarchive.clock import TICKS_PER_SECOND, Span, TakeClock
from streamarchive.media.overlap import Overlap, seconds_of
from streamarchive.models import GapReason, MediaSegment, Stream, Take
from streamarchive.protocols import StoredObject
from streamarchive.services import Services

from .examined import Examined, examine, keep_only, packets_of
from .folders import Folders, files_in, rewrite

logger = logging.getLogger(__name__)

_TAIL = 8
"""How many segments back a server is expected to repeat itself after a reconnect."""
_LEFT_AHEAD = 60.0
"""How many seconds before what is there a take may begin that another process has left behind."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The last file of a take whose process has died."""

    file: Path
    folder: int
    since: float
    joined: bool
    """Whether it begins exactly where what is before it ends, though it is of another take."""


class Ledger:
    """Commits the files of one stream while its epoch lasts."""

    def __init__(self, services: Services, stream: Stream, folders: Folders) -> None:
        self.stream = stream
        self.folders = folders
        self.recording_id = stream.recording_id
        self.last_arrival: datetime | None = None
        """When the newest media came."""
        self._came_at: float | None = None
        self._services = services
        self._take: Take | None = None
        self._clock = TakeClock()
        self._end_ticks = 0
        self._sequence = 0
        self._last_sha256 = ""
        self._folder: int | None = None
        self._held: _Held | None = None
        self._overlap: Overlap | None = None
        self._overlap_of: int | None = None
        self._ahead: dict[int, float] = {}
        self._undecided: list[Path] = []
        """Files of the take that `_overlap` is for, which may be older than all that is there."""
        self._rescuable: set[int] = set()
        self._waiting: set[int] = set()

    @classmethod
    async def open(cls, services: Services, stream: Stream, folders: Folders) -> Self:
        """Continue where the catalogue says the recording stands."""
        ledger = cls(services, stream, folders)
        if stream.recording_id is None:
            return ledger
        async with services.database.read() as connection:
            takes = await recordings.takes(connection, stream.recording_id)
            segments = await media_segments.of_recording(connection, stream.recording_id)
        if segments and takes:
            last, take = segments[-1], takes[-1]
            ledger._take, ledger._sequence = take, last.sequence + 1
            ledger._last_sha256, ledger.last_arrival = last.sha256, last.arrived_at
            # Takes of one epoch behind each other may come from one folder, if the source's clock was set back.
            ledger._rescuable = {other.number for other in takes if other.epoch == take.epoch}
            ledger._clock = TakeClock(take.base_ticks, take.origin_pts, last.pts_ticks)
            ledger._end_ticks = last.end_ticks
        await asyncio.to_thread(folders.publish_spool, stream.recording_id)
        return ledger

    def has_got(self, folder: int) -> bool:
        """Whether anything of the take in this folder is committed, or will be."""
        held = self._held is not None and self._held.folder == folder
        undecided = bool(self._undecided) and folder == self._overlap_of
        return folder == self._folder or held or undecided or folder in self._waiting

    @property
    def is_undecided(self) -> bool:
        """Whether files wait for those behind them to tell whether they are new."""
        return bool(self._undecided)

    def expect(self, folder: int, ahead: float) -> None:
        """The take in this folder begins at most so many seconds before the newest media that came."""
        self._ahead[folder] = ahead

    def let_wait(self, folder: int) -> None:
        """What is in this folder cannot be stored now; `salvage` commits it later."""
        self._waiting.add(folder)

    def seconds_missing(self) -> float | None:
        """How long ago the newest media came; None if there is none. Blocks."""
        came = [] if self.last_arrival is None else [self.last_arrival]
        for number in self.folders.left_behind():
            files = files_in(self.folders.take(number))
            came += [datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files]
        return max(0.0, (datetime.now(UTC) - max(came)).total_seconds()) if came else None

    @property
    def seconds_quiet(self) -> float:
        """How long nothing has come, whatever the clock on the wall says; endless before the first."""
        return math.inf if self._came_at is None else time.monotonic() - self._came_at

    def notice(self, folder: int) -> None:
        """Of this take media come, though they cannot be committed now. Blocks."""
        files = files_in(self.folders.take(folder))
        came = [datetime.fromtimestamp(file.stat().st_mtime, UTC) for file in files]
        if came and (self.last_arrival is None or max(came) > self.last_arrival):
            self.last_arrival, self._came_at = max(came), time.monotonic()

    def next_folder(self) -> int:
        """Where the next ffmpeg works: the number of the take that it begins, should anything come. Blocks."""
        taken = -1 if self._take is None else self._take.number
        return max([taken, *self.folders.left_behind()]) + 1

    @property
    def has_media(self) -> bool:
        """Whether anything is committed, or will be."""
        return self._take is not None or self._held is not None

    async def commit(self, file: Path, folder: int, *, partial: bool = False) -> None:
        """Bring a file into store and catalogue; it is gone from its folder, which has this number, afterwards.

        What is no whole number of packets is cut and marked as partial; what holds nothing, or only what a
        server has sent before, is dropped. What may be older than the recording waits where it is. Raises
        `FencedError`, `StorageError`, `DatabaseError`; then the file is still there.
        """
        if file in self._undecided:
            return
        found, joined = await self._new_in(file, folder)
        if self._overlap is not None and self._overlap.undecided:
            self._undecided.append(file)
            await asyncio.to_thread(self.notice, folder)
            return
        await self._decide(folder)
        if found is None:
            logger.info("stream %s: %s holds nothing new", self.stream.id, file.name)
        elif found.sha256 != self._last_sha256:  # else the process died between the commit and the removal
            await self._commit(file, folder, found, partial=partial, joined=joined)
            self._overlap = None
        await asyncio.to_thread(file.unlink)

    async def _new_in(self, file: Path, folder: int, *, killed: bool = False) -> tuple[Examined | None, bool]:
        """What a file holds that is not there already, and whether that goes on exactly where the rest ends.

        The file keeps only that: what is looked for once is not looked for again, should an error follow. What is
        held back is settled once it is known what of it came again. `killed`: the file ends anywhere.
        """
        if folder != self._folder and self.has_media and self._overlap_of != folder:
            self._overlap, self._overlap_of = await self._find_overlap(folder), folder
        overlap = self._overlap
        found = await asyncio.to_thread(examine, file, overlap, killed=killed)
        if found is not None and found.cut:
            await asyncio.to_thread(rewrite, file, found.data, found.modified_ns)
        if overlap is None or not overlap.over:
            return found, False
        # What takes the place of all that was held back begins where that began.
        joined = overlap.joined and (self._held is None or bool(overlap.held) or self._held.joined)
        await self._settle(overlap.held)
        return found, joined

    async def _decide(self, folder: int) -> None:
        """Commit the files that waited; or drop them, if what is known came behind them."""
        while self._undecided:
            file = self._undecided[0]
            if self._overlap is None or not self._overlap.met:
                found = await asyncio.to_thread(examine, file, None)
                if found is not None:
                    await self._commit(file, folder, found, partial=False, joined=False)
            await asyncio.to_thread(file.unlink)
            del self._undecided[0]

    async def _conclude(self, folder: int) -> None:
        """Nothing more comes in this take: what waits is new."""
        if self._overlap is not None and self._overlap.undecided:
            self._overlap.give_up()
            await self._settle(self._overlap.held)
        await self._decide(folder)

    async def _commit(
        self, file: Path, folder: int, found: Examined, *, partial: bool, joined: bool, ends: bool = False
    ) -> None:
        """`ends`: its process has died since, so a gap begins behind it."""
        first = folder != self._folder
        joined = first and joined
        clock, span = self._place(found, first=first)
        if not first and clock.latest <= self._clock.latest:
            # The source's clock has been set back: from here on it is another take.
            first, (clock, span) = True, self._place(found, first=True)
        stored = await self._store(file, folder)
        has_video = found.times.tracks.video is not None
        async with self._services.database.write() as tx:
            recording_id = await recordings.begin(tx, self.stream, has_video=has_video)
            take = (
                await recordings.begin_take(tx, self.stream, recording_id, folder)
                if first or self._take is None
                else self._take
            )
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
                partial=partial or found.torn,
            )
            origin = clock.origin or 0
            await recordings.commit_segment(
                tx, self.stream, segment, origin, has_video=has_video, first=first, joined=joined
            )
            if first:
                await streams.set_error(tx, self.stream, None)
            if ends:
                reason = GapReason.PROCESS_DIED
                await recordings.open_gap(tx, self.stream, recording_id, reason, "the recorder was interrupted")
        self._take, self._folder, self._clock, self._end_ticks = take, folder, clock, span.end
        self._sequence, self._last_sha256 = self._sequence + 1, stored.sha256
        self.last_arrival, self._came_at = found.arrived_at, time.monotonic()
        if self.recording_id is None:
            self.recording_id = recording_id
            await asyncio.to_thread(self.folders.publish_spool, recording_id)

    def _place(self, found: Examined, *, first: bool) -> tuple[TakeClock, Span]:
        start, duration = found.times.span(first_of_take=first)
        return (TakeClock(self._end_ticks) if first else self._clock).place(start, duration)

    async def _find_overlap(self, folder: int) -> Overlap:
        """What the server may send again: the end of what is committed, and what is held back."""
        segments, store = [], self._services.store
        if self.recording_id is not None:
            async with self._services.database.read() as connection:
                segments = await media_segments.of_recording(
                    connection, self.recording_id, self._sequence - 1 - _TAIL
                )
        tail = [b"".join([chunk async for chunk in store.read(segment.key)]) for segment in segments]
        held = b"" if self._held is None else await asyncio.to_thread(packets_of, self._held.file)
        known = sum(segment.duration_ticks for segment in segments) / TICKS_PER_SECOND + seconds_of(held)
        return await asyncio.to_thread(Overlap, tail, held, ahead=self._ahead.get(folder, 0.0) - known)

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

    # --- what is held back --------------------------------------------------------------------------------

    async def _hold(self, file: Path, folder: int) -> None:
        """Wait with what is new in a torn file until it is known whether it comes again."""
        data = await asyncio.to_thread(packets_of, file)
        if not data or hashlib.sha256(data).hexdigest() == self._last_sha256:
            found, joined = None, False
        else:
            found, joined = await self._new_in(file, folder, killed=True)
        await self._conclude(folder)
        if found is None:
            await asyncio.to_thread(shutil.rmtree, file.parent, ignore_errors=True)
            return
        await self.settle()  # only one file is held back at a time
        self._held = _Held(file, folder, time.monotonic(), joined or folder == self._folder)

    async def settle(self, *, older_than: float = 0.0) -> None:
        """Commit what is held back as it is, if it has been for so many seconds; see `commit` for errors."""
        if self._held is not None and time.monotonic() - self._held.since >= older_than:
            await self._settle(await asyncio.to_thread(packets_of, self._held.file))

    async def _settle(self, data: bytes) -> None:
        """Commit `data` as what remains of the file that is held back."""
        held = self._held
        if held is None:
            return
        if data:
            await asyncio.to_thread(keep_only, held.file, data)
            found = await asyncio.to_thread(examine, held.file, None)
            if found is not None:
                ends = held.folder != self._folder  # it begins its take, and so closes the gap before it
                await self._commit(held.file, held.folder, found, partial=True, joined=held.joined, ends=ends)
        await asyncio.to_thread(shutil.rmtree, held.file.parent, ignore_errors=True)
        self._held = None

    # --- the course of a recording ------------------------------------------------------------------------

    async def note(self, reason: GapReason, sentence: str) -> None:
        """Why nothing comes at the moment: on the stream and, once there is media, as a gap."""
        async with self._services.database.write() as tx:
            await streams.set_error(tx, self.stream, sentence)
            if self.recording_id is not None:
                await recordings.open_gap(tx, self.stream, self.recording_id, reason, sentence)

    async def finish(self) -> None:
        """Nothing more will come: close the books and have the rest done, in one transaction."""
        await self.settle()
        async with self._services.database.write() as tx:
            if self.recording_id is None:
                await streams.end(tx, self.stream)
                return
            await recordings.finish(tx, self.stream, self.recording_id)
            for kind in (jobs.FINALISE, jobs.TRANSCRIBE):
                await jobs.enqueue(tx, kind, str(self.recording_id), recording_id=self.recording_id)

    async def salvage(self, *, before: int | None = None) -> None:
        """Commit what earlier processes have left behind, oldest first; only takes `before` this one.

        A later one may be that of a recorder that gets ready to take over.

        The very last file is held back. See `commit` for errors: nothing of a later take is committed then.
        """
        found = False
        for number in await asyncio.to_thread(self.folders.left_behind):
            if before is not None and number >= before:
                break
            if self._held is not None and self._held.folder == number:
                continue
            if self._take is not None and number <= self._take.number and number != self._folder:
                if number not in self._rescuable:
                    # Another host has recorded on meanwhile: the media clock has no place for this any more.
                    folder = self.folders.take(number)
                    logger.error("media of take %s come too late and stay in %s.late", number, folder)
                    await asyncio.to_thread(folder.rename, folder.with_suffix(".late"))
                    continue
                self._folder = number
            if await asyncio.to_thread(files_in, self.folders.take(number)):
                await self._part_from(number)
                found = True
            self._ahead.setdefault(number, _LEFT_AHEAD)
            await self.commit_rest(number)
        if found and before is not None:
            await self._part_from(before)

    async def _part_from(self, number: int) -> None:
        """There is a gap before this take. Of takes that wait for the store, only the first one's end is told."""
        if number != self._folder and self.recording_id is not None:
            async with self._services.database.write() as tx:
                reason, sentence = GapReason.BROKE_OFF, "the source ended or broke off"
                await recordings.open_gap(tx, self.stream, self.recording_id, reason, sentence)

    async def commit_rest(self, number: int, listed: str = "") -> None:
        """Commit the files of a take whose ffmpeg has ended and remove its folder.

        The last is held back unless ffmpeg has listed it as finished.
        """
        folder = self.folders.take(number)
        files = await asyncio.to_thread(files_in, folder)
        for file in files:
            if file == files[-1] and file.name > listed:
                await self._hold(file, number)
                break
            await self.commit(file, number)
        else:
            await self._conclude(number)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._overlap, self._overlap_of = None, None  # the next take may get the same number
        self._ahead.pop(number, None)
