"""What a server sends again after a reconnect, found by content and cut off.

An HLS server lists what it has sent before, internet radio begins with a burst of the last seconds. A picture,
or a frame of sound, is the same bytes each time, so the end of what is committed is looked for at the beginning
of what comes next. The cut is made at a key frame: up to one group of pictures is lost there, nothing is
doubled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamarchive.media.segments import (
    PACKET_BYTES,
    Track,
    packet_payload,
    packet_pid,
    read_tracks,
    sound_frames,
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A picture or a frame of sound, known by its content."""

    digest: bytes
    start: int | None
    """Offset of the transport packet it begins in, if a player can begin with it."""


class Overlap:
    """Takes from a new take what the end of the last one has already."""

    def __init__(self, tail: Sequence[bytes]) -> None:
        """`tail` holds the last segments that are committed, in order. Takes some milliseconds a megabyte."""
        self._known = [unit.digest for data in tail for unit in units(data)]

    @property
    def over(self) -> bool:
        """Whether nothing more can come again."""
        return not self._known

    def trim(self, data: bytes) -> bytes:
        """The segment without what is known already; empty if all of it is."""
        if self.over:
            return data
        found = units(data)
        repeated, self._known = _match(self._known, [unit.digest for unit in found])
        if repeated == 0:
            return data
        cut = next((unit.start for unit in found[repeated:] if unit.start is not None), None)
        return b"" if cut is None else _from(data, cut)


def units(data: bytes) -> list[Unit]:
    """The pictures of a segment, or if it has none, its frames of sound, in the order of the packets."""
    tracks = read_tracks(data)
    pid, track = next(
        ((pid, track) for pid, track in tracks.items() if track.video and track.pts),
        next(((pid, track) for pid, track in tracks.items() if track.pts), (-1, None)),
    )
    if track is None:
        return []
    if not track.video:
        return [unit for at, body in _bodies(data, pid, track) for unit in _frames(track.codec, at, body)]
    return [Unit(_digest(body), at if _is_key(data, at) else None) for at, body in _bodies(data, pid, track)]


def _frames(codec: str, at: int, body: bytes) -> Iterator[Unit]:
    frames = sound_frames(codec, body) or [body]
    for number, frame in enumerate(frames):
        yield Unit(_digest(frame), at if number == 0 else None)


def _bodies(data: bytes, pid: int, track: Track) -> Iterator[tuple[int, bytes]]:
    """Where each PES packet begins, and what it carries."""
    borders = [*track.starts, len(data)]
    for start, end in pairwise(borders):
        body = b"".join(
            packet_payload(data, at) for at in range(start, end, PACKET_BYTES) if packet_pid(data, at) == pid
        )
        yield start, body[9 + body[8] :] if len(body) > 9 else b""


def _is_key(data: bytes, at: int) -> bool:
    """Whether the packet says that decoding can begin here."""
    has_field = data[at + 3] & 0x20 and data[at + 4] > 0
    return bool(has_field and data[at + 5] & 0x40)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _match(known: list[bytes], new: list[bytes]) -> tuple[int, list[bytes]]:
    """How many of `new` are repeated, and what of `known` may still be.

    What is repeated begins somewhere in `known` and goes on to its end, or to the end of `new`. The very last
    of `known` may have been torn by a crash: it need not be equal.
    """
    for at in range(len(known)):
        count = min(len(known) - at, len(new))
        torn = at + count == len(known) and count > 1
        compared = count - 1 if torn else count
        if compared and known[at : at + compared] == new[:compared]:
            return count, known[at + count :]
    return 0, []


def _from(data: bytes, cut: int) -> bytes:
    """The segment from the unit at `cut` on: that track from there, the others from the same time, all tables."""
    tracks = read_tracks(data)
    pid = packet_pid(data, cut)
    pts = tracks[pid].pts[tracks[pid].starts.index(cut)]
    begins = {
        other: next((at for at, time in zip(track.starts, track.pts, strict=True) if time >= pts), len(data))
        for other, track in tracks.items()
    }
    begins[pid] = cut
    return b"".join(
        data[at : at + PACKET_BYTES]
        for at in range(0, len(data), PACKET_BYTES)
        if at >= begins.get(packet_pid(data, at), 0)
    )
