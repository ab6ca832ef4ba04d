"""One ffmpeg that turns raw frames and samples into MPEG-TS segments of a second each, as they come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from streamarchive.demo.picture import FRAMES_A_SECOND, HEIGHT, WIDTH
from streamarchive.demo.voices import SAMPLE_RATE
from streamarchive.media.process import FfmpegProcess

SEGMENT_SECONDS = 1

_AT_ONCE = {"probesize": 32, "analyzeduration": 0, "thread_queue_size": 32}
"""ffmpeg would look at five seconds of each raw input first, and starve the other meanwhile."""
_GROUP = FRAMES_A_SECOND * SEGMENT_SECONDS
_H264 = {
    "c:v": "libx264",
    "preset": "ultrafast",
    "tune": "zerolatency",
    "threads": 1,
    "crf": 26,
    "g": _GROUP,
    "keyint_min": _GROUP,
    "sc_threshold": 0,
}
_AAC = {"c:a": "aac", "b:a": "64k", "ar": 48_000}


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """A finished file in the broadcast's folder."""

    name: str
    seconds: float


class Encoder:
    """A running encoder; open it with `encoding`."""

    def __init__(
        self, process: FfmpegProcess, picture: asyncio.StreamWriter, sound: asyncio.StreamWriter
    ) -> None:
        """Take charge of a process and its two pipes."""
        self._process = process
        self._picture = picture
        self._sound = sound

    async def write(self, frame: bytes, samples: bytes) -> None:
        """Feed one frame and the sound that belongs to it. Raises `ConnectionError` once ffmpeg is gone."""
        self._sound.write(samples)
        self._picture.write(frame)
        await self._sound.drain()
        await self._picture.drain()

    async def segments(self) -> AsyncIterator[EncodedSegment]:
        """Files as they are finished; ends with the encoder."""
        async for line in self._process.lines():
            name, start, end = line.rsplit(",", 2)
            yield EncodedSegment(name, float(end) - float(start))

    async def close(self) -> None:
        """Let it finish the last segment."""
        self._sound.close()
        self._picture.close()
        await self._process.wait()

    @property
    def complaint(self) -> str:
        """What ffmpeg said last."""
        return self._process.complaint


@asynccontextmanager
async def encoding(folder: Path, first_number: int, offset_seconds: float) -> AsyncIterator[Encoder]:
    """Start an encoder that writes `folder/segment-NNNNNN.ts`; time stamps begin at `offset_seconds`."""
    picture_end, picture = await _pipe()
    sound_end, sound = await _pipe()
    try:
        process = await FfmpegProcess.start(
            _arguments(picture_end, sound_end, first_number, offset_seconds),
            cwd=folder,
            pass_fds=(picture_end, sound_end),
        )
    except BaseException:
        picture.close()
        sound.close()
        raise
    finally:
        os.close(picture_end)
        os.close(sound_end)
    async with process:
        try:
            yield Encoder(process, picture, sound)
        finally:
            picture.close()
            sound.close()


async def _pipe() -> tuple[int, asyncio.StreamWriter]:
    """The end to read from, for the child, and a writer."""
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(writing, "wb", 0)
    )
    return reading, asyncio.StreamWriter(transport, protocol, None, loop)


def _arguments(picture: int, sound: int, first_number: int, offset_seconds: float) -> list[str]:
    frames = ffmpeg.input(
        f"pipe:{picture}",
        f="rawvideo",
        pix_fmt="yuv420p",
        video_size=(WIDTH, HEIGHT),
        framerate=FRAMES_A_SECOND,
        **_AT_ONCE,
    )
    samples = ffmpeg.input(f"pipe:{sound}", f="s16le", ar=SAMPLE_RATE, ac=1, **_AT_ONCE)
    output = ffmpeg.output(
        frames,
        samples,
        "segment-%06d.ts",
        **_H264,
        **_AAC,
        output_ts_offset=f"{offset_seconds:.3f}",
        f="segment",
        segment_time=SEGMENT_SECONDS,
        segment_time_delta=0.05,
        segment_format="mpegts",
        segment_start_number=first_number,
        # Else each file begins its packet counters anew, which a reader takes for damage.
        individual_header_trailer=0,
        segment_list="pipe:1",
        segment_list_type="csv",
    )
    arguments: list[str] = ffmpeg.compile(output, cmd=[])
    return arguments
