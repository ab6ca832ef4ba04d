"""A line to a server that can be cut as a pulled cable cuts it: nothing arrives any more, and nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Blackhole:
    """Forwards TCP connections on `port` to another port of this machine, until it swallows everything."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._lines: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Swallow what is sent from now on; connections stay, and new ones are taken without an answer."""
        self._open.clear()

    def mend(self) -> None:
        """New connections go through; the old ones are reset, as their routers would."""
        for line in self._lines:
            line.cancel()
        self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._carry(reader, back))
                    ways.create_task(self._carry(there, writer))
            finally:
                back.transport.abort()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._lines.discard(line)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def blackhole(target: int) -> AsyncIterator[Blackhole]:
    """A line to this port."""
    hole = Blackhole(target)
    server = await asyncio.start_server(hole.serve, "127.0.0.1", 0)
    hole.port = server.sockets[0].getsockname()[1]
    try:
        yield hole
    finally:
        server.close()
        hole.mend()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
