"""The engines and their transactions, over SQLite and PostgreSQL alike.

SQLite: WAL and `synchronous=FULL`, so that what was committed survives a power cut; writers begin with
`BEGIN IMMEDIATE` because upgrading a read transaction can fail half-way through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event as events
from sqlalchemy import func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamarchive.errors import DatabaseError
from streamarchive.settings import redact

_BUSY_SECONDS = 30


class Database:
    """Opens transactions. One object a process; `close` it at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = Path(parsed.database or "") if self.is_sqlite else None
        if self.is_sqlite:
            self._reader = _sqlite_engine(parsed, "BEGIN", pool_size=4)
            # One connection: writers of this process queue here, not in SQLite's busy handler.
            self._writer = _sqlite_engine(parsed, "BEGIN IMMEDIATE", pool_size=1)
        else:
            self._reader = self._writer = create_async_engine(
                parsed.set(drivername="postgresql+psycopg"), pool_size=5, pool_pre_ping=True
            )

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees one state of the catalogue and changes nothing."""
        return self._transaction(self._reader)

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that is committed at the end of the block, durably, or leaves nothing at all."""
        return self._transaction(self._writer)

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            async with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            reason = str(error.orig).strip().split("\n")[0]
            raise DatabaseError(f"the catalogue {redact(self.url)} failed: {reason}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()


async def now(connection: AsyncConnection) -> datetime:
    """The time by the database's clock, which all processes share."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return moment.astimezone(UTC)


def _sqlite_engine(url: URL, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS},
    )

    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Any) -> None:  # noqa: ANN401 - a sync Connection
        connection.exec_driver_sql(begin)

    events.listen(engine.sync_engine, "connect", on_connect)
    events.listen(engine.sync_engine, "begin", on_begin)
    return engine
