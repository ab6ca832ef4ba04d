"""A real recogniser on a slower machine."""

from __future__ import annotations

import asyncio
import time


class SlowedEngine:
    """Takes at least `slowness` seconds for each second of a window, whatever the engine itself takes."""

    def __init__(self, engine, slowness):
        self._engine = engine
        self._slowness = slowness
        self._one_at_a_time = asyncio.Lock()
        self.windows = 0
        self.beams = set()

    async def load(self):
        return await self._engine.load()

    async def voice(self, samples, state=b""):
        return await self._engine.voice(samples, state)

    async def transcribe(self, windows, options):
        for window in windows:
            async with self._one_at_a_time:
                began = time.monotonic()
                [result] = [result async for result in self._engine.transcribe([window], options)]
                rest = self._slowness * len(window.samples) / 16_000 - (time.monotonic() - began)
                await asyncio.sleep(max(rest, 0))
            self.windows += 1
            self.beams.add(options.beam_size)
            yield result

    async def close(self):
        await self._engine.close()


class SlowedEngines:
    """Those of an archive, of which the one for what is on air is slower."""

    def __init__(self, engines, slowness):
        self._engines = engines
        self.live = SlowedEngine(engines.live, slowness)

    def __getattr__(self, name):
        return getattr(self._engines, name)
