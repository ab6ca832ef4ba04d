"""Where the sound of a take comes from while it is on air.

On the recorder's host: the spool of short audio-only MPEG-TS files that ffmpeg writes beside the media, read as
it grows. Elsewhere, or where the spool has been forgotten: the committed media segments. Both carry the take's
own time stamps, from which the place of the first sample on the media clock is known to the tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from streamarchive.catalogue import media_segments
from streamarchive.clock import to_ms, unwrap
from streamarchive.errors import UnreadableMediaError
from streamarchive.media.segments import read_times, whole_packets
from streamarchive.models import MediaSegment, RecordingId, Take
from streamarchive.services import Services

from .folders import SPOOL_NAME, files_in

_CHUNK = 1 << 16
_LOOK_SECONDS = 0.15
"""How often a file that grows is looked at."""
_SEGMENT_SECONDS = 1.0
"""How often new media segments are looked for."""

Ended = Callable[[], Awaitable[bool]]
"""Whether nothing more will be added to the take."""


@dataclass(frozen=True, slots=True)
class Sound:
    """MPEG-TS and where on the media clock its first sound is."""

    data: AsyncGenerator[bytes]
    starts_at_ms: int


def spool_folder(services: Services, recording_id: RecordingId, take: Take) -> Path:
    """Where a recorder on this host puts the sound of a take."""
    return services.settings.data_dir.absolute() / "spool" / str(recording_id) / str(take.number)


class Listening:
    """Waits for the sound of one take. What has turned out to hold none is not read again: it may be hours."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._silent = -1
        """Up to this sequence number no segment that was looked at has any sound."""

    async def sound(self, take: Take, from_ms: int, ended: Ended) -> Sound | None:
        """The sound of the take from `from_ms` on or a little before; None as long as there is none."""
        async with self._services.database.read() as connection:
            own = await media_segments.of_take(connection, take.id, self._silent)
        if take.origin_pts is None or not own:
            return None
        folder = spool_folder(self._services, take.recording_id, take)
        found = await asyncio.to_thread(_spooled, folder, take, own[-1].pts_ticks, from_ms)
        if found is not None:
            file, starts_at_ms = found
            return Sound(_follow_files(file, ended), starts_at_ms)
        return await self._in_segments(take, own, from_ms, ended)

    async def _in_segments(self, take: Take, own: list[MediaSegment], from_ms: int, ended: Ended) -> Sound | None:
        begun = [segment for segment in own if to_ms(segment.start_ticks) <= from_ms] or own[:1]
        for segment in [begun[-1], *(s for s in own if s.sequence > begun[-1].sequence)]:
            starts_at = await sound_begins(self._services, segment)
            if starts_at is not None:
                return Sound(_follow_segments(self._services, take, segment.sequence, ended), starts_at)
            self._silent = segment.sequence
        return None


# --- the spool ------------------------------------------------------------------------------------------


def _spooled(folder: Path, take: Take, near_pts: int, from_ms: int) -> tuple[Path, int] | None:
    """The last file that begins no later than `from_ms`, or the first there is. Blocks."""
    earliest = None
    for file in reversed(files_in(folder, SPOOL_NAME)):
        starts_at_ms = _start_of(file, take, near_pts)
        if starts_at_ms is None:
            continue
        earliest = (file, starts_at_ms)
        if starts_at_ms <= from_ms:
            break
    return earliest


def _start_of(file: Path, take: Take, near_pts: int) -> int | None:
    """Where a file begins on the media clock; None if it cannot be told yet."""
    try:
        data = file.read_bytes()
        times = read_times(data[: whole_packets(len(data))])
    except (OSError, UnreadableMediaError):
        return None
    if times.sound_pts is None or take.origin_pts is None:
        return None
    return to_ms(take.base_ticks + unwrap(times.sound_pts, near_pts) - take.origin_pts)


async def _follow_files(first: Path, ended: Ended) -> AsyncGenerator[bytes]:
    """The bytes of this file and those that follow it, as they are written."""
    file: Path | None = first
    while file is not None:
        try:
            opened = await asyncio.to_thread(file.open, "rb")
        except OSError:
            return  # the spool has been removed
        try:
            async for chunk in _follow(opened, file, ended):
                yield chunk
        finally:
            opened.close()
        file = await asyncio.to_thread(_next, file)


async def _follow(opened: BinaryIO, file: Path, ended: Ended) -> AsyncGenerator[bytes]:
    """A file's bytes until it is final, which it is once there is a next one or the take has ended."""
    while True:
        final = await asyncio.to_thread(_next, file) is not None or await ended()
        while chunk := await asyncio.to_thread(opened.read, _CHUNK):
            yield chunk
        if final:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _next(file: Path) -> Path | None:
    """The file behind this one; usually the next number, unless files have been forgotten meanwhile."""
    match = SPOOL_NAME.fullmatch(file.name)
    following = file.with_name(f"a{int(match[1]) + 1:08d}.ts") if match else file
    if following != file and following.exists():
        return following
    if file.exists():
        return None
    return next((later for later in files_in(file.parent, SPOOL_NAME) if later.name > file.name), None)


# --- media segments ---------------------------------------------------------------------------------------


async def _follow_segments(services: Services, take: Take, first: int, ended: Ended) -> AsyncGenerator[bytes]:
    """The bytes of the take's segments from number `first` on, as they are committed."""
    done = first - 1
    while True:
        final = await ended()
        async with services.database.read() as connection:
            fresh = await media_segments.of_recording(connection, take.recording_id, after_sequence=done)
        for segment in fresh:
            if segment.take_id == take.id:
                async for chunk in services.store.read(segment.key):
                    yield chunk
            done = segment.sequence
        if final:
            return
        await asyncio.sleep(_SEGMENT_SECONDS)


async def sound_begins(services: Services, segment: MediaSegment) -> int | None:
    """Where on the media clock, in milliseconds, a segment's sound begins; None if it has none."""
    data = b"".join([chunk async for chunk in services.store.read(segment.key)])
    try:
        times = await asyncio.to_thread(read_times, data)
    except UnreadableMediaError:
        return None
    if times.sound_pts is None:
        return None
    into = unwrap(times.sound_pts, segment.pts_ticks) - segment.pts_ticks
    return to_ms(segment.start_ticks + into)
