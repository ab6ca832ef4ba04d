"""Sound as the recogniser takes it: 16 kHz mono 32-bit samples, decoded by ffmpeg in bounded pieces.

Where sound is missing, ffmpeg fills in silence: a sample's number is its time, however long the file is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamarchive.errors import MediaError, NoSoundError, UnreadableMediaError
from streamarchive.media import commands, sandbox
from streamarchive.media.process import FfmpegProcess

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

SAMPLE_RATE = 16_000
PIECE_SAMPLES = 10 * SAMPLE_RATE
"""At most so much is decoded ahead of whoever consumes it (besides the pipe's own buffer)."""
_SAMPLE_BYTES = 4


def samples_to_ms(samples: int) -> int:
    """How long so many samples last, to the nearest millisecond."""
    return (samples * 1000 + SAMPLE_RATE // 2) // SAMPLE_RATE


async def decode(file: Path, name: str | None = None, *, channels: int = 1) -> AsyncGenerator[Samples]:
    """The sound of a file, in pieces of `PIECE_SAMPLES`; what is damaged is skipped over.

    Of two `channels` the pieces have the shape (samples, 2); a file that has one gives it twice. `name` is what
    people call the file. Raises `UnreadableMediaError` if nothing can be decoded, `NoSoundError` if there is no
    sound in it.
    """
    async with await sandbox.start(commands.pcm(file, channels), sandbox.DECODE) as process:
        found = False
        async for samples in _pieces(process.stdout, channels):
            found = True
            yield samples
        await process.wait()
    if not found:
        raise _unreadable(name or file.name, process)


async def decode_transport_stream(
    data: AsyncIterator[bytes], *, live: bool = False, channels: int = 1
) -> AsyncGenerator[Samples]:
    """The sound of MPEG-TS that comes in pieces of any length, from one decoder.

    Sample 0 is the first packet of sound. Pieces have `PIECE_SAMPLES`, or come as soon as anything is decoded
    if `live`. Nothing at all comes of a stream without sound. What `data` raises is raised here.
    """
    arguments = commands.pcm_from_transport_stream(channels)
    async with await sandbox.start(arguments, sandbox.LISTEN, feed=True) as process:
        feeding = asyncio.create_task(_feed(process, data))
        try:
            pieces = _available(process.stdout) if live else _pieces(process.stdout, channels)
            async for samples in pieces:
                yield samples
            await feeding
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding


async def _feed(process: FfmpegProcess, data: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in data:
            process.stdin.write(chunk)
            await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # the decoder has ended; its output says how far it came
    finally:
        process.stdin.close()


async def _pieces(stream: asyncio.StreamReader, channels: int) -> AsyncIterator[Samples]:
    """Whole pieces, then what is left; of several channels in the shape (samples, channels)."""
    frame = _SAMPLE_BYTES * channels
    while True:
        try:
            raw = await stream.readexactly(PIECE_SAMPLES * frame)
        except asyncio.IncompleteReadError as end:
            if len(end.partial) >= frame:
                yield _by_channel(end.partial[: len(end.partial) // frame * frame], channels)
            return
        yield _by_channel(raw, channels)


def _by_channel(raw: bytes, channels: int) -> Samples:
    samples = sanitised(raw)
    return samples if channels == 1 else samples.reshape(-1, channels)


async def _available(stream: asyncio.StreamReader) -> AsyncIterator[Samples]:
    """Whatever there is, as soon as it is there."""
    rest = b""
    while chunk := await stream.read(PIECE_SAMPLES * _SAMPLE_BYTES):
        raw = rest + chunk
        whole = len(raw) // _SAMPLE_BYTES * _SAMPLE_BYTES
        rest = raw[whole:]
        if whole:
            yield sanitised(raw[:whole])


def sanitised(raw: bytes) -> Samples:
    """Finite samples in [-1, 1] from raw little-endian floats.

    One sample that is not a number would make a whole window's spectrum NaN and its text ``!!!!``.
    """
    import numpy as np

    whole = len(raw) // _SAMPLE_BYTES * _SAMPLE_BYTES
    samples = np.frombuffer(raw[:whole], dtype="<f4").astype(np.float32)
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def _unreadable(name: str, process: FfmpegProcess) -> MediaError:
    if any("matches no streams" in line for line in process.stderr_tail):
        return NoSoundError(f"{name} has no sound that could be transcribed")
    why = f" ({process.complaint})" if process.complaint else ""
    return UnreadableMediaError(f"{name} is not media that can be read, or is damaged beyond use{why}")
