"""What a server sends again after a reconnect, found by content and cut off.

An HLS server lists what it has sent before, internet radio begins with a burst of the last seconds. A picture,
or a frame of sound, is the same bytes each time, so the end of what is there already is looked for at the
beginning of what comes next. The cut is made at a key frame. Where a process was killed, the file that it was
writing is held back until then and gives way from the last key frame on that both have: nothing is lost and
nothing doubled. What was committed cannot give way: there, the rest of its last group of pictures is lost.

Where there is little yet, what comes again may begin before it. What is neither known nor surely new waits: if
it is followed by what is known, it was sent before the recording began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamarchive.clock import TICKS_PER_SECOND
from streamarchive.errors import UnreadableMediaError
from streamarchive.media.segments import (
    PACKET_BYTES,
    Track,
    is_key,
    packet_payload,
    packet_pid,
    read_times,
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
    """Takes from a new take what the last one has already."""

    def __init__(self, tail: Sequence[bytes], held: bytes = b"", *, ahead: float = 0.0) -> None:
        """`tail` holds the last segments that are committed, in order, `held` a torn file behind them.

        The new take may begin so many seconds before all of these: what is known is not given up for so long.
        Takes some milliseconds a megabyte.
        """
        self.held = held
        """What of the torn file is to be committed, once `over`."""
        self.joined = False
        """Whether the new take goes on exactly where the old one ends: nothing is missing between them."""
        self.met = False
        """Whether anything has come that is known."""
        self._ahead = ahead
        self._known = [unit.digest for data in tail for unit in units(data)]
        self._committed = len(self._known)
        self._held_units = units(held) if held else []
        self._known += [unit.digest for unit in self._held_units]

    @property
    def over(self) -> bool:
        """Whether nothing more can come again."""
        return not self._known

    @property
    def undecided(self) -> bool:
        """Whether what came so far may be older than all that is known."""
        return not self.met and not self.over

    def give_up(self) -> None:
        """What came so far is new, and so is what follows."""
        self._known = []

    def trim(self, data: bytes, *, torn: bool = False) -> bytes:
        """The segment without what is known already; empty if all of it is.

        One that is `torn` is the last of its take, and its last picture may be cut.
        """
        if self.over:
            return data
        found = units(data)
        at, repeated = _match(self._known, [unit.digest for unit in found], torn=torn)
        if repeated == 0:
            if self.met or self._ahead <= 0:
                self.give_up()
            self._ahead -= seconds_of(data)
            return data
        self.met = True
        if torn and repeated == len(found):
            return b""
        if at + repeated < len(self._known):  # more may come again
            self._known = self._known[at + repeated :]
            self._committed -= at + repeated
            return b""
        return self._join(data, found, at, repeated)

    def _join(self, data: bytes, found: Sequence[Unit], at: int, repeated: int) -> bytes:
        """Cut at a key frame. Unit n of the segment is unit `at` + n of what is known; `at` may be negative."""
        whole = len(self._known) - (0 if _equal_end(self._known, found, at) else 1)
        borders = [
            number
            for number, unit in enumerate(found)
            if unit.start is not None and self._committed <= at + number <= whole
        ]
        self._known = []
        if borders:
            cut = borders[-1]
            first = at + cut - self._committed
            if first < len(self._held_units) and (start := self._held_units[first].start) is not None:
                self.held = _split(self.held, start)[0] if first else b""
            self.joined = True
        else:
            cut = next((n for n in range(repeated, len(found)) if found[n].start is not None), len(found))
            self.joined = cut == repeated
        start = found[cut].start if cut < len(found) else None
        return b"" if start is None else _split(data, start)[1]


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
    return [Unit(_digest(body), at if is_key(data, at) else None) for at, body in _bodies(data, pid, track)]


def seconds_of(data: bytes) -> float:
    """How long a segment lasts; nothing if it cannot be read."""
    try:
        _, ticks = read_times(data).span(first_of_take=True)
    except UnreadableMediaError:
        return 0.0
    return ticks / TICKS_PER_SECOND


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


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _match(known: Sequence[bytes], new: Sequence[bytes], *, torn: bool) -> tuple[int, int]:
    """Where in `known` `new` begins (negative: before it), and how many of `new` are repeated; 0 if none.

    What is repeated goes on to the end of `known`, or to that of `new`. The very last of `known` may have been
    torn by a crash: it need not be equal. Nor need that of `new`, if it is `torn`.
    """
    for at in (*range(len(known)), *range(-1, -len(new), -1)):
        count = min(len(known) - at, len(new))
        begin = max(0, -at)
        lenient = (torn or at + count == len(known)) and count - begin > 1
        compared = count - 1 if lenient else count
        if compared > begin and known[at + begin : at + compared] == new[begin:compared]:
            return at, count
    return 0, 0


def _equal_end(known: Sequence[bytes], found: Sequence[Unit], at: int) -> bool:
    """Whether the last of `known` is what came again, and not torn."""
    return known[-1] == found[len(known) - 1 - at].digest


def _split(data: bytes, cut: int) -> tuple[bytes, bytes]:
    """A segment before and from the unit at `cut`: the other tracks at the same time, the tables in both."""
    tracks = read_tracks(data)
    pid = packet_pid(data, cut)
    pts = tracks[pid].pts[tracks[pid].starts.index(cut)]
    begins = {
        other: next((at for at, time in zip(track.starts, track.pts, strict=True) if time >= pts), len(data))
        for other, track in tracks.items()
    }
    begins[pid] = cut
    before, after = bytearray(), bytearray()
    for at in range(0, len(data), PACKET_BYTES):
        packet = data[at : at + PACKET_BYTES]
        border = begins.get(packet_pid(data, at))
        if border is None or at < border:
            before += packet
        if border is None or at >= border:
            after += packet
    return bytes(before), bytes(after)
