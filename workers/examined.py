"""A file that ffmpeg has written, looked at before it goes into the books."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from streamarchive.errors import UnreadableMediaError
from streamarchive.media.overlap import Overlap
from streamarchive.media.segments import SegmentTimes, read_times, whole_packets

from .folders import rewrite


@dataclass(frozen=True, slots=True)
class Examined:
    """What is left of it without a torn end and a known beginning."""

    data: bytes
    times: SegmentTimes
    sha256: str
    arrived_at: datetime
    modified_ns: int
    cut: bool
    """The file holds more than this."""
    torn: bool
    """It does not end with a whole packet."""


def examine(file: Path, overlap: Overlap | None, *, killed: bool = False) -> Examined | None:
    """Read a file without a torn end and a known beginning; None if nothing is left. Blocks."""
    state = file.stat()
    written = file.read_bytes()
    data = whole = written[: whole_packets(len(written))]
    if overlap is not None and data:
        data = overlap.trim(data, torn=killed)
    try:
        times = read_times(data)
    except UnreadableMediaError:
        return None
    return Examined(
        data=data,
        times=times,
        sha256=hashlib.sha256(data).hexdigest(),
        arrived_at=datetime.fromtimestamp(state.st_mtime, UTC),
        modified_ns=state.st_mtime_ns,
        cut=data != written,
        torn=whole != written,
    )


def packets_of(file: Path) -> bytes:
    """The whole packets of a file. Blocks."""
    data = file.read_bytes()
    return data[: whole_packets(len(data))]


def keep_only(file: Path, data: bytes) -> None:
    """Rewrite a file unless it holds just this; it keeps its time. Blocks."""
    if file.read_bytes() != data:
        rewrite(file, data, file.stat().st_mtime_ns)
