"""Sources that fall silent without a word, one for every protocol, and come back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.blackhole import blackhole
from tests.encoders import encoder
from tests.services import free_port
from tests.truth import Truth


@dataclass(frozen=True)
class Silent:
    """A source: its address, and how it is silenced and brought back."""

    url: str
    silence: Callable[[], None]
    restore: Callable[[], None]


@asynccontextmanager
async def cut_off(url: str) -> AsyncIterator[Silent]:
    """A source on TCP whose cable is pulled: packets are lost, nothing is closed."""
    parts = urlsplit(url)
    assert parts.port is not None
    async with blackhole(parts.port) as line:
        address = parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{line.port}").geturl()
        yield Silent(address, line.cut, line.mend)


@asynccontextmanager
async def rtmp(server: str) -> AsyncIterator[Silent]:
    """RTMP from a server whose cable is pulled."""
    async with encoder("-f", "flv", f"{server}/key"), cut_off(f"{server}/key") as source:
        yield source


@asynccontextmanager
async def srt() -> AsyncIterator[Silent]:
    """SRT from an encoder that stands still, until another takes its place."""
    port, process = free_port(), list[asyncio.subprocess.Process]()

    async def keep_sending() -> None:
        while True:
            async with encoder("-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener") as started:
                process[:] = [started]
                await started.wait()

    def send(number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            process[0].send_signal(number)

    task = asyncio.create_task(keep_sending())
    try:
        yield Silent(f"srt://127.0.0.1:{port}", lambda: send(signal.SIGSTOP), lambda: send(signal.SIGKILL))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def moody(truth: Truth, way: str, mood: str | int) -> AsyncIterator[Silent]:
    """HTTP from a server in a mood; see `tests.truth`."""
    yield Silent(getattr(truth, way), lambda: truth.set_mood(mood), lambda: truth.set_mood("ok"))
