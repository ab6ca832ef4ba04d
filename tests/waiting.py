"""Waiting for a condition: the one place of the tests that polls.

`seconds` is what it may take on a machine that has nothing else to do. A busy one gets `PATIENCE` times as much:
nothing is timed here, a limit only ends what would never end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.05
PATIENCE = 5


def until(probe: Callable[[], T], what: str, *, seconds: float = 30) -> T:
    """Call `probe` until it returns something true; that. Fails with `what` when the time is up."""
    deadline = time.monotonic() + seconds * PATIENCE
    pause = threading.Event()
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * PATIENCE:g} s in vain for {what}")
        pause.wait(INTERVAL)
    return value


async def until_async(probe: Callable[[], Awaitable[T]], what: str, *, seconds: float = 30) -> T:
    """The same for a probe that is awaited."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not (value := await probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * PATIENCE:g} s in vain for {what}")
        await asyncio.sleep(INTERVAL)
    return value
