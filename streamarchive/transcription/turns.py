"""One at a time, the most urgent first."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator

Rank = tuple[float, ...]
"""Compared from the left; the lowest is next."""


class Turns:
    """Who waits for the same thing gets it by rank, the lowest first; those of the same rank in order."""

    def __init__(self) -> None:
        self._busy = False
        self._queue: list[tuple[Rank, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def turn(self, rank: Rank) -> AsyncIterator[None]:
        """Wait for it, and have it for the length of the block."""
        if self._busy:
            await self._wait(rank)
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, rank: Rank) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (rank, next(self._numbers), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it was my turn already
            raise

    def _pass_on(self) -> None:
        self._busy = False
        while self._queue:
            _, _, waiting = heapq.heappop(self._queue)
            if not waiting.done():
                self._busy = True
                waiting.set_result(None)
                return
