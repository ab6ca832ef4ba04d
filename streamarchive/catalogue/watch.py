"""Waiting until the catalogue may have changed, without asking it all the time.

SQLite: `PRAGMA data_version` differs when any other connection, of this process or another, has committed.
It is asked only when the write-ahead log has changed, because a look at a file costs a hundredth of it.
PostgreSQL: LISTEN, with a NOTIFY in the transactions that have something to tell (`wake`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import aiosqlite
import psycopg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue.database import Database, at_the_end

_CHANNEL = "streamarchive"
_POLL_SECONDS = 0.15
_FLUSH_SECONDS = 1.0
"""A commit may come so long after its last write to the log: a disk takes its time to flush."""
_ASK_SECONDS = 5.0
"""So often SQLite is asked whatever the log looks like: slower disks and those without times delay, no more."""


class Watch(Protocol):
    """Waits for commits by other connections."""

    async def __aenter__(self) -> Self:
        """Connect."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""

    async def wait(self, seconds: float) -> bool:
        """True as soon as something may have changed since the last call, False after `seconds`."""


def watch(database: Database) -> Watch:
    """A watch on this catalogue."""
    return _SqliteWatch(database.path) if database.path is not None else _PostgresWatch(database.url)


async def wake(tx: AsyncConnection) -> None:
    """Let every watch know once `tx` is committed (SQLite tells by itself)."""
    if tx.dialect.name != "sqlite":
        at_the_end(tx, _notify, None)


async def _notify(tx: AsyncConnection, _items: Sequence[None]) -> None:
    await tx.execute(select(func.pg_notify(_CHANNEL, "")))


class _SqliteWatch:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._seen = -1
        self._state: tuple[int, int] | None = None
        self._busy_until = 0.0
        self._ask_at = 0.0

    async def __aenter__(self) -> Self:
        self._connection = await aiosqlite.connect(self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def wait(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            moment = loop.time()
            if self._worth_asking(moment):
                self._ask_at = moment + _ASK_SECONDS
                try:
                    if await self._changed():
                        return True
                except sqlite3.Error:  # whoever looks for changes then learns what is wrong
                    await asyncio.sleep(_POLL_SECONDS)
                    return True
            left = deadline - loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(_POLL_SECONDS, left))

    def _worth_asking(self, moment: float) -> bool:
        """Whether the log was written to lately: what is written counts only once it is flushed to the disk."""
        state = self._look()
        if state != self._state or state is None:
            self._state, self._busy_until = state, moment + _FLUSH_SECONDS
        return moment < self._busy_until or moment >= self._ask_at

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._log.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    async def _changed(self) -> bool:
        async with self._connection.execute("PRAGMA data_version") as cursor:
            row = await cursor.fetchone()
        version = int(row[0]) if row else 0
        changed, self._seen = version != self._seen, version
        return changed


class _PostgresWatch:
    """A lost connection counts as a change and is opened again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._first = True

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._shut()

    async def wait(self, seconds: float) -> bool:
        if self._first:
            self._first = False
            return True
        if self._connection is None:
            await asyncio.sleep(min(1.0, seconds))
            await self._open()
            return True
        try:
            async with aclosing(self._connection.notifies(timeout=seconds, stop_after=1)) as notices:
                async for _ in notices:
                    return True
        except psycopg.Error:
            await self._shut()
            return True
        return False

    async def _open(self) -> None:
        with suppress(psycopg.Error):
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=10, keepalives_idle=30
            )
            try:
                await self._connection.execute(f"LISTEN {_CHANNEL}")
            except psycopg.Error:
                await self._shut()

    async def _shut(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
