"""The sound of a take as it comes, decoded beside the recogniser."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from streamarchive.transcription import audio

from .listening import Sound

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

_AHEAD_SAMPLES = 25 * audio.SAMPLE_RATE
"""What comes while the recogniser works is taken in one piece, up to what fits into a window."""


class Arriving:
    """One persistent decoder; its samples in order, those before `from_ms` left out."""

    def __init__(self, sound: Sound, from_ms: int) -> None:
        """Begin to decode. `close` it."""
        self._starts_at_ms = sound.starts_at_ms
        self._given = 0
        self._wanted = 0
        self._waiting: list[Samples] = []
        self._news = asyncio.Condition()
        self._ended = False
        self.skip_to(from_ms)
        self._task = asyncio.create_task(self._decode(sound), name="live sound")

    @property
    def at_ms(self) -> int:
        """Where on the media clock the next sample that `next` gives is."""
        return self._starts_at_ms + audio.samples_to_ms(max(self._given, self._wanted))

    @property
    def reached_ms(self) -> int:
        """Where on the media clock the sound ends that has been decoded so far."""
        decoded = self._given + sum(len(samples) for samples in self._waiting)
        return self._starts_at_ms + audio.samples_to_ms(decoded)

    def skip_to(self, at_ms: int) -> None:
        """Leave out what comes before this moment; what has been given already stays so."""
        self._wanted = max(self._wanted, (at_ms - self._starts_at_ms) * audio.SAMPLE_RATE // 1000)

    async def next(self, seconds: float) -> Samples | None:
        """What has come since the last call; empty if nothing has for so long or all of it was left out.

        None at the end. Raises what the decoding raised.
        """
        import numpy as np

        async with self._news:
            try:
                async with asyncio.timeout(seconds):  # with Python 3.11, wait_for would lose a cancellation
                    await self._news.wait_for(lambda: self._waiting or self._ended)
            except TimeoutError:
                return np.zeros(0, np.float32)
            taken, self._waiting = self._waiting, []
            self._news.notify_all()
        if not taken:
            await self._task
            return None
        joined = np.concatenate(taken)
        left_out = min(max(self._wanted - self._given, 0), len(joined))
        self._given += len(joined)
        return joined[left_out:]

    async def close(self) -> None:
        """Stop decoding."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _decode(self, sound: Sound) -> None:
        try:
            async with (
                aclosing(sound.data),
                aclosing(audio.decode_transport_stream(sound.data, live=True)) as decoded,
            ):
                async for samples in decoded:
                    async with self._news:
                        self._waiting.append(samples)
                        self._news.notify_all()
                        await self._news.wait_for(self._has_room)
        finally:
            async with self._news:
                self._ended = True
                self._news.notify_all()

    def _has_room(self) -> bool:
        return sum(len(samples) for samples in self._waiting) < _AHEAD_SAMPLES
