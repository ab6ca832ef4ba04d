"""The engines and their transactions, over SQLite and PostgreSQL alike.

SQLite: WAL and `synchronous=FULL`, so that what was committed survives a power cut; writers begin with
`BEGIN IMMEDIATE` because upgrading a read transaction can fail half-way through. PostgreSQL: readers see one
snapshot, as they do on SQLite; writers see what others have committed meanwhile, and lock what they build on.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import event as events
from sqlalchemy import func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamarchive.catalogue.columns import storable
from streamarchive.errors import DatabaseError, DatabaseUnavailableError, UsageError
from streamarchive.settings import redact

_BUSY_SECONDS = 30
_PATIENCE_SECONDS = 0.5
_SOON_WRITTEN_BYTES = 1 << 28
"""Takes a few seconds on a slow disk: a recorder renews its lease within fifteen."""
_SUSPICIOUS = re.compile(r"\\u0000|[\ud800-\udfff]")
_LAST_STEPS = "streamarchive.last_steps"

Step = Callable[[AsyncConnection, Sequence[Any]], Awaitable[None]]


class SQLiteConnection(sqlite3.Connection):
    """Rolls back and lets go of its locks when it is closed, whatever is unfinished.

    SQLite keeps a closed connection's transaction for as long as one of its statements has rows that nobody took.
    Whoever is cancelled leaves such a statement behind, in the frames of a traceback: until those are collected
    nobody else could write. See https://www.sqlite.org/c3ref/close.html.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - sqlite3's own
        super().__init__(*args, **options)
        self._cursors = WeakSet[sqlite3.Cursor]()

    def cursor(self, *args: Any) -> Any:  # noqa: ANN401 - sqlite3's own
        """As the base class does."""
        opened = super().cursor(*args)
        self._cursors.add(opened)
        return opened

    def execute(self, *args: Any) -> Any:  # noqa: ANN401 - sqlite3's own
        """As the base class does, which would open a cursor that we do not know."""
        return self.cursor().execute(*args)

    def close(self) -> None:
        """As the base class does, its cursors first; once more does nothing."""
        opened, self._cursors = self._cursors, WeakSet[sqlite3.Cursor]()
        for cursor in list(opened):
            cursor.close()
        super().close()


class Database:
    """Opens transactions. One object a process; `close` it at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = Path(parsed.database or "") if self.is_sqlite else None
        self._writing: set[asyncio.Task[Any] | None] = set()
        if self.is_sqlite:
            self._reader = _sqlite_engine(parsed, writes=False)
            # One connection: writers of this process queue here, not in SQLite's busy handler.
            self._writer = _sqlite_engine(parsed, writes=True)
        else:
            self._writer = _engine(parsed.set(drivername="postgresql+psycopg"), pool_size=5, pool_pre_ping=True)
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the catalogue and can change nothing."""
        async with self._transaction(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block, durably, or leaves nothing at all.

        Keep it short: on SQLite everybody else waits. Whoever is cancelled while it commits cannot know
        whether it did. A second one inside it would wait for the first for ever, so that is refused.
        """
        task = asyncio.current_task()
        if task in self._writing:
            raise RuntimeError("this task is inside a writing transaction already: pass that one on")
        self._writing.add(task)
        try:
            async with self._transaction(self._writer) as tx, _last_steps(tx):
                yield tx
        finally:
            self._writing.discard(task)

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            async with engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise DatabaseUnavailableError(
                f"the catalogue {redact(self.url)} cannot be used at the moment, "
                f"check that its database runs and has room: {_reason(error)}"
            ) from error
        except (DataError, OverflowError) as error:
            raise UsageError("a number or a text is larger than the catalogue can keep") from error
        except DBAPIError as error:
            raise DatabaseError(f"the catalogue {redact(self.url)} refused: {_reason(error)}") from error

    async def forget(self, *, is_quiet: bool) -> None:
        """Leave nothing of what was deleted or replaced in SQLite's files. PostgreSQL has its own ways.

        Pages that rows have moved out of keep what was in them (`secure_delete` overwrites the rest), so the file
        is written anew; meanwhile nobody else writes, and unless it `is_quiet` a large one is left as it is.
        Raises `DatabaseUnavailableError` where others are in the way for long.
        """
        if not self.is_sqlite:
            return
        async with self._writer.connect() as connection:
            await connection.rollback()
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                await driver.execute_fetchall(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
                if is_quiet or await asyncio.to_thread(self._is_soon_written):
                    await driver.execute_fetchall("VACUUM")
                [(is_busy, *_)] = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                raise DatabaseUnavailableError(f"the catalogue cannot be written anew: {error}") from error
            finally:
                await driver.execute_fetchall(f"PRAGMA busy_timeout={round(_PATIENCE_SECONDS * 1000)}")
        if is_busy:
            raise DatabaseUnavailableError("readers keep the catalogue's log from being cut off; try again")

    def _is_soon_written(self) -> bool:
        return self.path is not None and self.path.stat().st_size <= _SOON_WRITTEN_BYTES

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()


@asynccontextmanager
async def _last_steps(tx: AsyncConnection) -> AsyncIterator[None]:
    pooled, steps = tx.info, dict[Step, list[Any]]()
    pooled[_LAST_STEPS] = steps
    try:
        yield
        for step, items in steps.items():
            await step(tx, items)
    finally:
        del pooled[_LAST_STEPS]


def at_the_end(tx: AsyncConnection, step: Step, item: object) -> None:
    """Have `step` called, once and last of all before `tx` is committed, with all items given for it."""
    steps: dict[Step, list[Any]] = tx.info[_LAST_STEPS]
    steps.setdefault(step, []).append(item)


async def now(connection: AsyncConnection) -> datetime:
    """The time by the database's clock, which all processes share."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return moment.astimezone(UTC)


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).strip().split("\n")[0]


def _engine(url: URL, **options: Any) -> AsyncEngine:  # noqa: ANN401 - SQLAlchemy's own options
    return create_async_engine(url, json_serializer=_as_json, **options)


def _as_json(value: object) -> str:
    written = json.dumps(value, ensure_ascii=False)
    if _SUSPICIOUS.search(written):  # rare, and mending word by word is slow
        written = json.dumps(storable(value), ensure_ascii=False)
    return written


def _sqlite_engine(url: URL, *, writes: bool) -> AsyncEngine:
    engine = _engine(
        url.set(drivername="sqlite+aiosqlite"),
        pool_size=1 if writes else 4,
        max_overflow=0,
        connect_args={
            "timeout": _PATIENCE_SECONDS if writes else _BUSY_SECONDS,
            "factory": SQLiteConnection,
        },
    )
    pragmas = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"]
    if not writes:
        pragmas.append("query_only=ON")

    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    events.listen(engine.sync_engine, "connect", on_connect)
    events.listen(engine.sync_engine, "begin", _begin_writing if writes else _begin_reading)
    return engine


def _begin_reading(connection: Any) -> None:  # noqa: ANN401 - a sync Connection
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Any) -> None:  # noqa: ANN401 - a sync Connection
    """Wait for other processes in short turns: in the middle of one, nobody can be cancelled."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            busy = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # or a kind of it
            if not busy or time.monotonic() > deadline:
                raise
        else:
            return
