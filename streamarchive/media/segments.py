"""What a finished MPEG-TS segment says about itself: tracks and times, read from its packets.

The list that ffmpeg prints is off by up to 57 ms at the start of a recording, and rounded; the packets are
exact. Only what the recorder's own segments contain is read: PAT, PMT, and the headers of PES packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from streamarchive.clock import PTS_MODULUS, TICKS_PER_SECOND, unwrap
from streamarchive.errors import UnreadableMediaError
from streamarchive.media.codecs import Tracks

PACKET_BYTES = 188
SYNC_BYTE = 0x47
_PAT_PID = 0
_VIDEO = {0x01: "mpeg1video", 0x02: "mpeg2video", 0x1B: "h264", 0x24: "hevc"}
_AUDIO = {0x03: "mp3", 0x04: "mp3", 0x0F: "aac", 0x11: "aac_latm", 0x81: "ac3", 0x87: "eac3"}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_MP3_RATES = (44100, 48000, 32000)
_MP3_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_KBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class SegmentTimes:
    """Where a segment lies, in 90 kHz ticks of its own packets (33 bits, not yet unwrapped)."""

    tracks: Tracks
    lowest_pts: int
    """The lowest of any track: the origin of a take whose first segment this is."""
    first_pts: int
    """The lowest of the track that players go by: the picture, else the sound."""
    end_pts: int
    """Where that track ends (may reach beyond 2**33)."""
    sound_pts: int | None
    """The lowest of the sound."""
    packets: int

    def span(self, *, first_of_take: bool) -> tuple[int, int]:
        """Its PTS and its duration; a take begins with whatever track comes first."""
        start = self.lowest_pts if first_of_take else self.first_pts
        return start, unwrap(self.end_pts, start) - start


@dataclass(slots=True)
class Track:
    """A track of a segment with the time stamps of its PES packets, in the order in which they stand there."""

    codec: str
    video: bool
    pts: list[int] = field(default_factory=list)
    """Unwrapped: near the first one of the segment."""
    dts: list[int] = field(default_factory=list)
    """When they are decoded, unwrapped alike; they rise."""
    starts: list[int] = field(default_factory=list)
    """Offsets of the transport packets in which they begin."""

    def lowest(self) -> int:
        """The lowest of its time stamps."""
        return min(self.pts)

    def step(self) -> int:
        """The usual distance between its packets.

        That between decoding times: where a kill has cut off the B-frames between the last two pictures, those
        are shown far from each other.
        """
        steps = sorted(b - a for a, b in pairwise(self.dts) if b > a)
        return steps[len(steps) // 2] if steps else 0


def whole_packets(size: int) -> int:
    """The length of a file cut down to whole transport packets."""
    return size - size % PACKET_BYTES


def read_times(data: bytes) -> SegmentTimes:
    """Read a segment. Raises `UnreadableMediaError` if it is empty, torn or holds neither picture nor sound."""
    if not data or len(data) % PACKET_BYTES or data[0] != SYNC_BYTE:
        raise UnreadableMediaError(f"a media segment of {len(data)} bytes does not consist of whole packets")
    tracks = read_tracks(data)
    timed = {pid: track for pid, track in tracks.items() if track.pts}
    if not timed:
        raise UnreadableMediaError("a media segment holds neither picture nor sound")
    video = next((track for track in timed.values() if track.video), None)
    sound = next(((pid, track) for pid, track in timed.items() if not track.video), None)
    if video is not None:
        reference, length = video, video.step()
    else:
        assert sound is not None  # noqa: S101 - there is a track and it is no picture
        reference, length = sound[1], _length_of_last(data, *sound)
    return SegmentTimes(
        tracks=Tracks(video.codec if video else None, sound[1].codec if sound else None),
        lowest_pts=min(track.lowest() for track in timed.values()) % PTS_MODULUS,
        first_pts=reference.lowest() % PTS_MODULUS,
        end_pts=max(reference.pts) + length,
        sound_pts=sound[1].lowest() % PTS_MODULUS if sound else None,
        packets=sum(len(track.pts) for track in timed.values()),
    )


def read_tracks(data: bytes) -> dict[int, Track]:
    """The tracks of a segment by PID."""
    tracks: dict[int, Track] = {}
    map_pid, near = -1, None
    for at in range(0, len(data), PACKET_BYTES):
        if not data[at + 1] & 0x40:
            continue
        pid = packet_pid(data, at)
        if pid == _PAT_PID and map_pid < 0:
            map_pid = _program_map_pid(packet_payload(data, at))
        elif pid == map_pid and not tracks:
            tracks = dict(_tracks_of(packet_payload(data, at)))
        elif (track := tracks.get(pid)) is not None:
            times = _pes_times(packet_payload(data, at))
            if times is not None:
                near = times[0] if near is None else near
                track.pts.append(unwrap(times[0], near))
                track.dts.append(unwrap(times[1], near))
                track.starts.append(at)
    return tracks


def packet_pid(data: bytes, at: int) -> int:
    """Which track or table the transport packet at an offset belongs to."""
    return (data[at + 1] & 0x1F) << 8 | data[at + 2]


def packet_payload(data: bytes, at: int) -> bytes:
    """What the transport packet at an offset carries."""
    control = data[at + 3] >> 4 & 3
    start = at + 4
    if control & 2:
        start += 1 + data[start]
    return data[start : at + PACKET_BYTES] if control & 1 else b""


def is_key(data: bytes, at: int) -> bool:
    """Whether the transport packet at an offset says that decoding can begin with it."""
    has_field = data[at + 3] & 0x20 and data[at + 4] > 0
    return bool(has_field and data[at + 5] & 0x40)


def _program_map_pid(payload: bytes) -> int:
    """The PID of the first program's map, from a PAT."""
    table = payload[1 + payload[0] :] if payload else b""
    for at in range(8, min(len(table) - 4, 3 + _section_length(table) - 4), 4):
        if table[at] << 8 | table[at + 1]:
            return (table[at + 2] & 0x1F) << 8 | table[at + 3]
    return -1


def _section_length(table: bytes) -> int:
    return (table[1] & 0x0F) << 8 | table[2] if len(table) > 3 else 0


def _tracks_of(payload: bytes) -> Iterator[tuple[int, Track]]:
    """PIDs and codecs, from a PMT."""
    table = payload[1 + payload[0] :] if payload else b""
    if len(table) < 12:
        return
    end = min(len(table), 3 + _section_length(table) - 4)
    at = 12 + ((table[10] & 0x0F) << 8 | table[11])
    while at + 5 <= end:
        kind, pid = table[at], (table[at + 1] & 0x1F) << 8 | table[at + 2]
        if kind in _VIDEO:
            yield pid, Track(_VIDEO[kind], video=True)
        elif kind in _AUDIO:
            yield pid, Track(_AUDIO[kind], video=False)
        at += 5 + ((table[at + 3] & 0x0F) << 8 | table[at + 4])


def _pes_times(payload: bytes) -> tuple[int, int] | None:
    """The PTS and the DTS of the PES packet that begins here; they are the same where only one is given."""
    if len(payload) < 14 or payload[:3] != b"\0\0\1" or not payload[7] & 0x80:
        return None
    pts = _time_stamp(payload[9:14])
    both = payload[7] & 0x40 and len(payload) >= 19
    return pts, _time_stamp(payload[14:19]) if both else pts


def _time_stamp(field: bytes) -> int:
    a, b, c, d, e = field
    return (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1


def _length_of_last(data: bytes, pid: int, track: Track) -> int:
    """How long the sound in the last PES packet lasts: it may hold several frames."""
    body = bytearray()
    for at in range(track.starts[-1], len(data), PACKET_BYTES):
        if packet_pid(data, at) == pid:
            body += packet_payload(data, at)
    frames = list(_read_frames(track.codec, bytes(body[9 + body[8] :]) if len(body) > 9 else b""))
    ticks = sum(frame.samples * TICKS_PER_SECOND / frame.rate for frame in frames)
    return round(ticks) if frames else track.step()


@dataclass(frozen=True, slots=True)
class _Frame:
    start: int
    length: int
    samples: int
    rate: int


def sound_frames(codec: str, body: bytes) -> list[bytes]:
    """The frames of AAC or MP3 in the body of a PES packet; empty for other codecs."""
    return [body[frame.start : frame.start + frame.length] for frame in _read_frames(codec, body)]


def _read_frames(codec: str, body: bytes) -> Iterator[_Frame]:
    header = {"aac": _adts_header, "mp3": _mp3_header}.get(codec)
    at = 0
    while header is not None and at + 7 <= len(body):
        frame = header(body, at)
        if frame is None:
            return
        yield frame
        at += frame.length


def _adts_header(body: bytes, at: int) -> _Frame | None:
    """An AAC frame with its ADTS header."""
    if body[at] != 0xFF or body[at + 1] & 0xF6 != 0xF0:
        return None
    index = body[at + 2] >> 2 & 15
    length = (body[at + 3] & 3) << 11 | body[at + 4] << 3 | body[at + 5] >> 5
    if index >= len(_AAC_RATES) or length < 7:
        return None
    return _Frame(at, length, 1024 * (1 + (body[at + 6] & 3)), _AAC_RATES[index])


def _mp3_header(body: bytes, at: int) -> _Frame | None:
    """A frame of MPEG audio, layer III."""
    if body[at] != 0xFF or body[at + 1] & 0xE0 != 0xE0:
        return None
    version, bits, index = body[at + 1] >> 3 & 3, body[at + 2] >> 4, body[at + 2] >> 2 & 3
    if version == 1 or bits in (0, 15) or index == 3 or body[at + 1] >> 1 & 3 != 1:
        return None
    full = version == 3
    rate = _MP3_RATES[index] >> (0 if full else 1 if version == 2 else 2)
    samples = 1152 if full else 576
    kbits = (_MP3_KBITS if full else _MP3_KBITS_LOW)[bits]
    length = samples // 8 * kbits * 1000 // rate + (body[at + 2] >> 1 & 1)
    return _Frame(at, length, samples, rate)
