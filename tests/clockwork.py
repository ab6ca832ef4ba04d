"""A source whose picture and sound tell the time, and readers of both: is a moment where the media clock says?

The picture carries the strip of the demo's picture, 25 times a second. The sound is silence with a short burst of
a pure tone every quarter of a second, whose pitch numbers it. Both count milliseconds from the beginning of the
source. Decoding is PyAV's, so that what is measured is not measured by the code that made it.
"""

from __future__ import annotations

import io
import math
import subprocess
import wave
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import av
import numpy as np

from streamarchive.catalogue import media_segments
from streamarchive.clock import PTS_MODULUS, unwrap
from streamarchive.demo.picture import HEIGHT, WIDTH, Picture, read_strip
from streamarchive.media.commands import ffmpeg_path
from streamarchive.models import MediaSegment, RecordingId
from streamarchive.services import Services
from tests.truth import SPLIT

FRAME_MS = 40
BURST_MS = 250
SOUND_RATE = 48_000
WRAP_SECONDS = PTS_MODULUS / 90_000
"""Where the time stamps of MPEG-TS begin again."""
_LENGTH_MS = 30
_LOWEST_HZ, _STEP_HZ, _PITCHES = 800, 200, 24
_EDGE_MS = 60
"""A decoder that begins in the middle needs so long until what it gives is right."""

Readings = Mapping[int, float]
"""What was shown or heard (milliseconds of the source) and at which millisecond of the medium."""


@dataclass(frozen=True)
class Clocks:
    """The readings of one medium."""

    picture: Readings = field(default_factory=dict)
    sound: Readings = field(default_factory=dict)


# --- making ---------------------------------------------------------------------------------------------


def encode(
    seconds: float,
    *output: str | Path,
    first_ms: int = 0,
    sound: bool = True,
    options: Sequence[str] = (),
) -> None:
    """Such a source, H.264 and AAC, into what these last arguments of ffmpeg say; it counts from `first_ms`."""
    count = round(seconds * 1000 / FRAME_MS)
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(1000 // FRAME_MS)]
    inputs = [*raw, "-i", "pipe:0"]
    if sound:
        inputs += ["-i", str(_wave(Path(output[-1]).parent / "bursts.wav", seconds, first_ms))]
    coding = ["-vf", "scale=320:180", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-sc_threshold", "0"]
    coding += ["-threads", "1", "-c:a", "aac", "-b:a", "96k"]
    command = [ffmpeg_path(), "-v", "error", "-y", *inputs, *coding, *options, *map(str, output)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    picture = Picture()
    with process.stdin:
        for number in range(count):
            moment = datetime.fromtimestamp((first_ms + number * FRAME_MS) / 1000, UTC)
            process.stdin.write(picture.frame(moment, {}))
    assert process.wait() == 0


def make_pieces(folder: Path, seconds: int, *, starts_s: float = 0.0) -> list[Path]:
    """The source in pieces of a second, with B-frames; its time stamps begin with so many seconds."""
    folder.mkdir(parents=True)
    options = ["-bf", "2", "-output_ts_offset", f"{starts_s:.3f}"]
    encode(seconds, *SPLIT, folder / "piece%05d.ts", options=options)
    return sorted(folder.glob("piece*.ts"))


def _wave(file: Path, seconds: float, first_ms: int) -> Path:
    samples = np.zeros(int(seconds * SOUND_RATE), np.int16)
    time = np.arange(_LENGTH_MS * SOUND_RATE // 1000) / SOUND_RATE
    for number in range(math.ceil(seconds * 1000 / BURST_MS)):
        burst = (12_000 * np.sin(2 * np.pi * _pitch(first_ms // BURST_MS + number) * time)).astype(np.int16)
        at = number * BURST_MS * SOUND_RATE // 1000
        room = len(samples[at : at + len(burst)])
        samples[at : at + len(burst)] = burst[:room]
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SOUND_RATE)
        sound.writeframes(samples.tobytes())
    return file


def _pitch(number: int) -> int:
    return _LOWEST_HZ + _STEP_HZ * (number % _PITCHES)


# --- reading --------------------------------------------------------------------------------------------


async def media_clock(services: Services, recording_id: RecordingId) -> Clocks:
    """What the catalogue says: each committed segment is decoded by itself and placed by its row."""
    async with services.database.read() as connection:
        segments = await media_segments.of_recording(connection, recording_id)
    picture: dict[int, float] = {}
    sound: dict[int, float] = {}
    for segment in segments:
        data = b"".join([chunk async for chunk in services.store.read(segment.key)])
        picture = dict(_pictures(data, segment)) | picture
        sound.update(counted(_bursts(data, segment), picture))
    return Clocks(picture, sound)


def file_clock(file: Path) -> Clocks:
    """What a player of this file shows and plays, edit lists and all."""
    data = file.read_bytes()
    picture = dict(_pictures(data, None))
    return Clocks(picture, dict(counted(_bursts(data, None), picture)))


def errors(read: Readings, expected: Readings) -> list[float]:
    """How many milliseconds late (early: less than 0) each moment is that both have."""
    return [at - expected[moment] for moment, at in read.items() if moment in expected]


def _pictures(data: bytes, segment: MediaSegment | None) -> Iterator[tuple[int, float]]:
    """The first time that each moment is shown: in place of a torn picture, an older one is shown again."""
    seen = set[int]()
    with _opened(data, segment) as container:
        for frame in _decoded(container, "video"):
            shown = read_strip(frame.to_ndarray(format="gray"))
            if shown is not None and frame.pts is not None and shown not in seen:
                seen.add(shown)
                yield shown, _place(float(frame.pts * frame.time_base), segment)


def _bursts(data: bytes, segment: MediaSegment | None) -> list[tuple[int, float]]:
    """The number of each burst, modulo `_PITCHES`, and when it begins."""
    with _opened(data, segment) as container:
        first = _EDGE_MS if segment is not None else 0
        return [
            (number, _place(began + at / 1000, segment))
            for began, samples in _stretches(container)
            for number, at in bursts_in(samples)
            if first <= at <= len(samples) * 1000 / SOUND_RATE - _EDGE_MS
        ]


def bursts_in(samples: np.ndarray) -> list[tuple[int, float]]:
    """The number of each burst, modulo `_PITCHES`, and after how many milliseconds it begins."""
    return [(_number(samples, at), at) for at in _onsets(samples)]


def _opened(data: bytes, segment: MediaSegment | None) -> av.container.InputContainer:
    return av.open(io.BytesIO(data), format="mpegts" if segment is not None else None)


def _decoded(container: av.container.InputContainer, kind: str) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """The frames of the first track of a kind; what a kill has torn is left out."""
    track = next((track for track in container.streams if track.type == kind), None)
    for packet in container.demux(track) if track is not None else ():
        with suppress(av.InvalidDataError):
            yield from packet.decode()


def _stretches(container: av.container.InputContainer) -> Iterator[tuple[float, np.ndarray]]:
    """Samples that follow each other without a hole, and when the first of them is, in seconds."""
    began, parts, end = 0.0, list[np.ndarray](), 0.0
    for frame in _decoded(container, "audio"):
        at = float(frame.pts * frame.time_base)
        if parts and abs(at - end) > 0.002:
            yield began, np.concatenate(parts)
            parts = []
        if not parts:
            began = at
        parts.append(frame.to_ndarray().mean(axis=0))
        end = at + frame.samples / frame.sample_rate
    if parts:
        yield began, np.concatenate(parts)


def _onsets(samples: np.ndarray) -> list[float]:
    """When bursts begin, in milliseconds: where it becomes loud and stays so."""
    step = SOUND_RATE // 1000
    loud = np.abs(samples[: len(samples) // step * step]).reshape(-1, step).max(axis=1) > 0.1
    found: list[float] = []
    for at in np.flatnonzero(loud[1:] & ~loud[:-1]) + 1:
        if loud[at : at + 20].mean() > 0.9 and (not found or at - found[-1] > BURST_MS / 2):
            found.append(float(at))
    return found


def _number(samples: np.ndarray, at_ms: float) -> int:
    begin = round((at_ms + 5) * SOUND_RATE / 1000)
    piece = samples[begin : begin + 20 * SOUND_RATE // 1000]
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), SOUND_RATE // 10))
    return round((int(spectrum.argmax()) * 10 - _LOWEST_HZ) / _STEP_HZ) % _PITCHES


def counted(bursts: Iterable[tuple[int, float]], picture: Readings) -> Iterator[tuple[int, float]]:
    """Bursts with the source's time: of those that a number may mean, the one nearest to the picture."""
    times = np.array(sorted((at, shown) for shown, at in picture.items()))
    for number, at in bursts:
        near = times[np.abs(times[:, 0] - at).argmin()]
        guess = near[1] + at - near[0]
        rounds = round((guess / BURST_MS - number) / _PITCHES)
        yield (rounds * _PITCHES + number) * BURST_MS, at


def _place(seconds: float, segment: MediaSegment | None) -> float:
    """Milliseconds of the media clock."""
    if segment is None:
        return seconds * 1000
    ticks = unwrap(round(seconds * 90_000), segment.pts_ticks) - segment.pts_ticks + segment.start_ticks
    return ticks / 90


def spread(values: Sequence[float]) -> str:
    """For a table."""
    if not values:
        return "       none"
    return f"{median(values):8.1f} {max(abs(value) for value in values):8.1f}"
