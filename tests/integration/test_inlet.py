"""The named pipe between the site and a recorder, where either side is told to stop at the worst moment."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamarchive.media.inlet import Inlet
from tests.waiting import until_async


@asynccontextmanager
async def cancelled_while(inlet: Inlet, step: str, work: Callable[[], object]) -> AsyncIterator[None]:
    """A task that is cancelled while a thread does this step for it; the thread comes back in the block."""
    reached, going_on = threading.Event(), threading.Event()
    does = getattr(inlet, step)

    def late() -> object:
        found = does()
        if found is not None:
            reached.set()
            going_on.wait(30)
        return found

    setattr(inlet, step, late)
    task = asyncio.ensure_future(work())  # type: ignore[call-overload]
    await asyncio.to_thread(reached.wait, 30)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    setattr(inlet, step, does)
    going_on.set()
    yield


def opened_here(folder: Path) -> list[str]:
    """Which files below a folder this process has open."""
    targets = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return [target for target in targets if target.startswith(str(folder))]


@pytest.fixture
def inlet(tmp_path: Path) -> Inlet:
    return Inlet(tmp_path, 1)


async def test_an_encoder_that_gives_way_leaves_the_pipe_to_the_next(inlet: Inlet) -> None:
    halt = asyncio.Event()
    waiting = asyncio.create_task(inlet.wait_for_encoder(halt))
    async with cancelled_while(inlet, "_try_open", lambda: inlet.open(30)):
        pipe = await inlet.open(30)
    assert pipe is not None
    os.write(pipe, b"media")
    reader = await waiting
    assert os.read(reader, 10) == b"media"
    os.close(pipe)
    assert os.read(reader, 10) == b"", "nobody else writes"
    os.close(reader)


async def test_a_recorder_that_is_cancelled_leaves_no_pipe_open(inlet: Inlet, tmp_path: Path) -> None:
    async with cancelled_while(inlet, "_make", lambda: inlet.wait_for_encoder(asyncio.Event())):

        async def all_closed() -> bool:
            return not opened_here(tmp_path)

        await until_async(all_closed, "the pipe to be closed")
