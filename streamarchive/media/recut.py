"""Taking a stretch of time out of a finished MPEG-TS segment, so that nothing of it stays.

What is left keeps its time stamps: there is a hole in the segment. Packets are dropped, never changed but for
their counters. Of the picture everything goes from the first picture in the stretch on, in the order of decoding,
up to the first key frame behind it; those in between refer to what is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from streamarchive.clock import unwrap
from streamarchive.media.segments import PACKET_BYTES, Track, is_key, packet_pid, read_tracks

_HAS_PAYLOAD = 0x10


def without(data: bytes, pts: int, duration: int) -> bytes:
    """A segment without what lies from this PTS on (33 bits) for so many ticks; empty if no media is left.

    The same bytes come back if nothing of it lies there.
    """
    tracks = {pid: track for pid, track in read_tracks(data).items() if track.pts}
    if not tracks:
        return data
    start = unwrap(pts, min(track.lowest() for track in tracks.values()))
    dropped = {pid: set(_dropped(data, track, start, start + duration)) for pid, track in tracks.items()}
    if not any(dropped.values()):
        return data
    if all(len(dropped[pid]) == len(track.starts) for pid, track in tracks.items()):
        return b""
    return _keep(data, tracks, dropped)


def _dropped(data: bytes, track: Track, start: int, end: int) -> Iterator[int]:
    """Which of its PES packets have to go, by number."""
    if not track.video:
        # One holds several frames: it lasts until the next one begins.
        ends = [later for _, later in pairwise(track.pts)] + [max(track.pts) + track.step()]
        for number, (begins, until) in enumerate(zip(track.pts, ends, strict=True)):
            if begins < end and until > start:
                yield number
        return
    inside, resumed = False, None
    step = track.step()
    for number, pts in enumerate(track.pts):
        if not inside and resumed is None and pts + step > start and pts < end:
            inside = True
        if inside and pts >= end and is_key(data, track.starts[number]):
            inside, resumed = False, pts
        if inside or (resumed is not None and pts < resumed):
            yield number


def _keep(data: bytes, tracks: dict[int, Track], dropped: dict[int, set[int]]) -> bytes:
    """The transport packets of everything else, counted anew."""
    number = dict.fromkeys(tracks, -1)
    borders = {pid: {at: index for index, at in enumerate(track.starts)} for pid, track in tracks.items()}
    counters: dict[int, int] = {}
    kept = bytearray()
    for at in range(0, len(data), PACKET_BYTES):
        pid = packet_pid(data, at)
        if pid in tracks:
            number[pid] = borders[pid].get(at, number[pid])
            if number[pid] in dropped[pid] or (number[pid] < 0 and dropped[pid]):
                continue
        packet = bytearray(data[at : at + PACKET_BYTES])
        counter = counters.get(pid, packet[3] & 0x0F)
        packet[3] = packet[3] & 0xF0 | counter
        counters[pid] = (counter + 1) & 0x0F if packet[3] & _HAS_PAYLOAD else counter
        kept += packet
    return bytes(kept)
