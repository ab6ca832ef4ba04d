"""Encoders that send to us, and servers that we ask: ffmpeg with a test picture and a tone, in real time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

from streamarchive.media.commands import ffmpeg_path

TONE = ("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2", "-pix_fmt", "yuv420p", "-threads", "1")
AAC, OPUS = ("-c:a", "aac"), ("-c:a", "libopus")


def picture() -> Sequence[str]:
    """A test picture with noise, so that no two encoders ever send the same."""
    noise = f"noise=alls=12:allf=t:all_seed={random.randrange(1 << 30)}"
    return ("-re", "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25,{noise}")


@contextlib.asynccontextmanager
async def encoder(
    *target: str, codecs: Sequence[str] = (*H264, *AAC), inputs: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """ffmpeg that sends to `target` until the end of the block, or until the other side hangs up."""
    process = await asyncio.create_subprocess_exec(
        ffmpeg_path(),
        "-hide_banner",
        "-nostdin",
        "-v",
        "fatal",
        *(inputs or (*picture(), *TONE)),
        *codecs,
        *target,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def persistent_encoder(*target: str, codecs: Sequence[str] = (*H264, *AAC)) -> AsyncIterator[None]:
    """One that begins anew whenever it was hung up on, or nobody was there."""

    async def keep_sending() -> None:
        while True:
            async with encoder(*target, codecs=codecs) as process:
                await process.wait()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(keep_sending())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
