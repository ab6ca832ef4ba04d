"""Getting what comes next while what has come is worked on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Got(Generic[T]):
    item: T


async def read_ahead(source: AsyncGenerator[T], room: int) -> AsyncGenerator[T]:
    """The same items, at most `room` of them got before they are asked for.

    What `source` raises is raised here, after the items before it. `source` is closed when this is.
    """
    ready: asyncio.Queue[_Got[T] | Exception | None] = asyncio.Queue(room)
    reading = asyncio.create_task(_read(source, ready), name="reading ahead")
    try:
        while isinstance(found := await ready.get(), _Got):
            yield found.item
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    if found is not None:
        raise found


async def _read(source: AsyncGenerator[T], ready: asyncio.Queue[_Got[T] | Exception | None]) -> None:
    try:
        async with aclosing(source):
            async for item in source:
                await ready.put(_Got(item))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is for who takes the items
        await ready.put(error)
    else:
        await ready.put(None)
