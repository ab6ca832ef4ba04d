"""Waiting for the sound of a broadcast."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamarchive.transcription import audio
from workers.arriving import Arriving
from workers.listening import Sound

if TYPE_CHECKING:
    from streamarchive.protocols import Samples


async def nothing() -> AsyncGenerator[bytes]:
    for piece in tuple[bytes, ...]():
        yield piece


@pytest.mark.parametrize("steps", range(8))
async def test_whoever_waits_can_be_cancelled_at_the_moment_when_sound_comes(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captioner that did not notice would go on to the end of the broadcast, and its worker would not stop."""
    pieces: asyncio.Queue[Samples] = asyncio.Queue()

    async def decoded(*_: Any, **__: Any) -> AsyncGenerator[Samples]:
        while True:
            yield await pieces.get()

    monkeypatch.setattr(audio, "decode_transport_stream", decoded)
    arriving = Arriving(Sound(nothing(), 0), 0)
    waiting = asyncio.create_task(arriving.next(30))
    await asyncio.wait([waiting], timeout=0.01)
    pieces.put_nowait(np.zeros(160, np.float32))
    for _ in range(steps):
        await asyncio.sleep(0)
    taken = waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled() is not taken
    await arriving.close()
