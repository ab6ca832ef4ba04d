"""Getting what comes next while what has come is worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def read_ahead(source: AsyncGenerator[T], room: int) -> AsyncGenerator[T]:
    """The same items, at most `room` of them ready before they are asked for.

    What `source` raises is raised here, after the items before it. `source` is closed when this is.
    """
    ready: asyncio.Queue[tuple[T, ...]] = asyncio.Queue()
    places = asyncio.Semaphore(room)

    async def read() -> None:
        async with aclosing(source):
            async for item in source:
                await places.acquire()
                ready.put_nowait((item,))

    reading = asyncio.create_task(read(), name="reading ahead")
    reading.add_done_callback(lambda _: ready.put_nowait(()))
    try:
        while found := await ready.get():
            places.release()
            yield found[0]
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # where nobody asks any further, nobody needs to know
    reading.result()
