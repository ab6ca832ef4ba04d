"""HLS playlists written from the catalogue: growing (EVENT) while on air, complete (VOD) afterwards.

Pure. ffmpeg never writes a playlist: after a crash or on a full disk its own was empty or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from streamarchive.clock import TICKS_PER_SECOND, to_seconds
from streamarchive.models import MediaSegment

MEDIA_TYPE = "application/vnd.apple.mpegurl"
MINIMUM_TARGET_SECONDS = 4
"""Declared at least, so that the value does not change when the first segment is a short one."""

Address = Callable[[MediaSegment], str]
"""Where a player finds a segment."""


Absent = Callable[[MediaSegment], bool]
"""Whether a segment is not to be had: it keeps its place and its length, and players go past it."""


def _present(_: MediaSegment) -> bool:
    return False


def live(segments: Sequence[MediaSegment], address: Address, absent: Absent = _present) -> str:
    """The playlist of a recording on air: everything so far, so that viewers can rewind to the start."""
    return _write(segments, address, absent, kind="EVENT", ended=False)


def complete(segments: Sequence[MediaSegment], address: Address, absent: Absent = _present) -> str:
    """The playlist of a recording to which nothing more comes."""
    return _write(segments, address, absent, kind="VOD", ended=True)


def target_duration(segments: Sequence[MediaSegment]) -> int:
    """The longest observed duration, rounded, in seconds; a camera's rare key frames make long segments."""
    longest = max((segment.duration_ticks for segment in segments), default=0)
    return max(MINIMUM_TARGET_SECONDS, (longest + TICKS_PER_SECOND // 2) // TICKS_PER_SECOND)


def began_at(segment: MediaSegment) -> datetime:
    """When its first picture was taken, as near as its arrival tells."""
    return segment.arrived_at - timedelta(seconds=segment.duration_ticks / TICKS_PER_SECOND)


def _write(segments: Sequence[MediaSegment], address: Address, absent: Absent, *, kind: str, ended: bool) -> str:
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:6",
        f"#EXT-X-TARGETDURATION:{target_duration(segments)}",
        f"#EXT-X-PLAYLIST-TYPE:{kind}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f"#EXT-X-MEDIA-SEQUENCE:{segments[0].sequence if segments else 0}",
    ]
    take, hole = None, False
    for segment in segments:
        if segment.take_id != take and take is not None:
            lines.append("#EXT-X-DISCONTINUITY")
        missing = absent(segment)
        if segment.take_id != take or hole > missing:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_date(began_at(segment))}")
        # The same take goes on behind a hole, with the same time stamps: that is no discontinuity, and one that
        # came into a growing playlist afterwards would make players count the others anew.
        if missing:
            lines.append("#EXT-X-GAP")
        take, hole = segment.take_id, missing
        lines += [f"#EXTINF:{to_seconds(segment.duration_ticks)},", address(segment)]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
