"""HLS playlists of recordings, read and written once for everybody who watches.

While it is on air a player asks for the whole playlist again for every segment; after four hours that are 7,200
entries. So what has been read of a recording is kept, new segments are read in addition, and a playlist is
written and compressed when there is something new in it, beside the event loop.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from streamarchive.catalogue import media_segments, withheld
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.media_segments import Extent
from streamarchive.clock import PTS_MODULUS, TICKS_PER_MS, to_ms
from streamarchive.media import playlists as hls
from streamarchive.models import Interview, InterviewId, MediaSegment, RecordingId

_SOUND_MS = 1_000
"""How far the sound of a segment lies before or behind its picture, at most."""
_NOTHING = Extent(-1, 0)
_MOST = 20
"""Recordings whose segments are kept; those of four hours take some 5 MB."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The segments of a recording, in order; those in `gone`, by their sequence numbers, were purged."""

    recording_id: RecordingId
    extent: Extent = _NOTHING
    segments: tuple[MediaSegment, ...] = ()
    gone: frozenset[int] = frozenset()

    def shows(self, interview: Interview, segment: MediaSegment) -> bool:
        """Whether an interview gives out this segment of it."""
        return segment.sequence not in self.gone and shows(interview, segment)

    def still_shows(self, interview: Interview, segment: MediaSegment) -> bool:
        """The same for one seen before: a purge may have put a shorter one in its place."""
        at = bisect_left(self.segments, segment.sequence, key=lambda one: one.sequence)
        return self.segments[at : at + 1] == (segment,) and self.shows(interview, segment)

    def newest_shown(self, interview: Interview) -> MediaSegment | None:
        """The last one that an interview gives out."""
        return next((one for one in reversed(self.segments) if self.shows(interview, one)), None)


@dataclass(frozen=True, slots=True)
class Playlist:
    """A playlist as it is sent."""

    text: bytes
    gzipped: bytes
    etag: str
    """Of the text, unquoted."""


@dataclass(slots=True)
class _Kept:
    recorded: Recorded
    written: dict[InterviewId, tuple[object, Playlist | None]] = field(default_factory=dict)
    """What each playlist was written from, and what came of it."""
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Playlists:
    """Segments and playlists of the recordings that somebody has lately asked for."""

    def __init__(self, database: Database) -> None:
        """Of what this catalogue knows."""
        self._database = database
        self._kept: OrderedDict[RecordingId, _Kept] = OrderedDict()

    async def recorded(self, recording_id: RecordingId, extent: Extent) -> Recorded:
        """What has been recorded, at least as far as this extent, which has just been read."""
        async with self._up_to(recording_id, extent) as kept:
            return kept.recorded

    async def playlist(
        self, interview: Interview, recording_id: RecordingId, extent: Extent, *, grows: bool
    ) -> Playlist | None:
        """The playlist of an interview that shows so much of a recording; None if nothing in it can be played."""
        async with self._up_to(recording_id, extent) as kept:
            recorded = kept.recorded
            source = (recorded.extent, interview.in_ms, interview.out_ms, interview.withheld, grows)
            known, playlist = kept.written.get(interview.id, (None, None))
            if known != source:
                playlist = await asyncio.to_thread(write, interview, recorded, grows=grows)
                kept.written[interview.id] = source, playlist
        return playlist

    @asynccontextmanager
    async def _up_to(self, recording_id: RecordingId, extent: Extent) -> AsyncIterator[_Kept]:
        """What is kept of a recording, read as far as that; for nobody else meanwhile."""
        kept = self._kept.setdefault(recording_id, _Kept(Recorded(recording_id)))
        self._kept.move_to_end(recording_id)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        async with kept.busy:
            if kept.recorded.extent != extent:
                kept.recorded = await self._read(kept.recorded)
            yield kept

    async def _read(self, before: Recorded) -> Recorded:
        """What is there now; only what has come in addition is read if nothing else has changed."""
        recording_id = before.recording_id
        async with self._database.read() as connection:
            extent = await media_segments.extent(connection, recording_id)
            added = await media_segments.of_recording(connection, recording_id, before.extent.newest)
            if before.segments and extent.changes == before.extent.changes:
                return Recorded(recording_id, extent, (*before.segments, *added), before.gone)
            present = await media_segments.of_recording(connection, recording_id)
            gone = await withheld.purged_segments(connection, recording_id)
        segments = sorted([*present, *gone], key=lambda segment: segment.sequence)
        return Recorded(recording_id, extent, tuple(segments), frozenset(one.sequence for one in gone))


def write(interview: Interview, recorded: Recorded, *, grows: bool) -> Playlist | None:
    """The playlist of an interview that shows this; None if nothing in it can be played."""
    segments = [segment for segment in recorded.segments if interview.cuts_in(*_times(segment))]
    shown = {segment.sequence for segment in segments if recorded.shows(interview, segment)}
    if not shown:
        return None
    kind = hls.live if grows else hls.complete
    text = kind(segments, _address, lambda segment: segment.sequence not in shown).encode()
    return Playlist(text, gzip.compress(text, 6, mtime=0), hashlib.sha256(text).hexdigest()[:32])


def shows(interview: Interview, segment: MediaSegment) -> bool:
    """Whether any of it lies between the interview's in and out point, and none of it is withheld.

    Its sound may begin before its picture and go on after it.
    """
    start_ms, end_ms = _times(segment)
    hidden = interview.withholds(start_ms - _SOUND_MS, end_ms + _SOUND_MS)
    return interview.cuts_in(start_ms, end_ms) and not hidden


def _times(segment: MediaSegment) -> tuple[int, int]:
    """Where it lies on the media clock, in milliseconds: every one that it has any part of."""
    return segment.start_ticks // TICKS_PER_MS, -(-segment.end_ticks // TICKS_PER_MS)


def _address(segment: MediaSegment) -> str:
    """Relative; tells a page which time stamp its moment of the media clock has."""
    return f"segments/{segment.sequence}-{to_ms(segment.start_ticks)}-{segment.pts_ticks % PTS_MODULUS}.ts"
