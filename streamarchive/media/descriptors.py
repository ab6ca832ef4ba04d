"""Files that a thread opens for a task."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

Descriptor = TypeVar("Descriptor", bound=int | None)


async def opened(opening: Callable[..., Descriptor], *arguments: object) -> Descriptor:
    """The descriptor that a thread opens, if it does.

    A thread cannot be stopped: what it opens when nobody waits for it any more is closed again, else its locks
    and its end of a pipe would last as long as the process.
    """
    work = asyncio.ensure_future(asyncio.to_thread(opening, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(_close)
        raise


def _close(work: asyncio.Future[Descriptor]) -> None:
    if not work.cancelled() and work.exception() is None and (descriptor := work.result()) is not None:
        os.close(descriptor)
