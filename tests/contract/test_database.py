from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, tables
from streamarchive.catalogue import database as database_module
from streamarchive.catalogue.database import Database, SQLiteConnection, now
from streamarchive.errors import DatabaseError, DatabaseUnavailableError, UsageError
from tests import factories, services
from tests.waiting import PATIENCE, until_async


async def add_term(tx: AsyncConnection, term: str) -> None:
    await tx.execute(
        insert(tables.glossary_term).values(term=term, lang="en", means={}, created_at=await now(tx))
    )


async def terms(database: Database) -> list[str]:
    table = tables.glossary_term
    async with database.read() as connection:
        return [row.term for row in await connection.execute(select(table.c.term).order_by(table.c.id))]


async def test_what_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.write() as tx:
            await add_term(tx, "lidar")
            await changes.publish(tx, "glossary", None)
            raise ZeroDivisionError
    assert await terms(database) == []
    async with database.read() as connection:
        assert await changes.newest_id(connection) == 0


async def test_what_sqlite_has_committed_survives_a_power_cut_and_references_hold(sqlite_catalogue: str) -> None:
    database = Database(sqlite_catalogue)

    async def pragmas(connection: AsyncConnection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "query_only")
        return {name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one() for name in names}

    safe = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    async with database.write() as tx:
        assert await pragmas(tx) == {**safe, "query_only": 0}
    async with database.read() as connection:
        assert await pragmas(connection) == {**safe, "query_only": 1}
    await database.close()


async def test_a_reader_sees_one_state_to_its_end(database: Database) -> None:
    counting = select(func.count()).select_from(tables.glossary_term)
    async with database.read() as connection:
        before = (await connection.execute(counting)).scalar_one()
        async with database.write() as tx:
            await add_term(tx, "lidar")
        assert (await connection.execute(counting)).scalar_one() == before
    assert await terms(database) == ["lidar"]


async def test_a_reader_can_change_nothing(database: Database) -> None:
    with pytest.raises(DatabaseError, match=r"read-?only"):
        async with database.read() as connection:
            await add_term(connection, "lidar")
    assert await terms(database) == []
    with pytest.raises(KeyError):  # nor tell pages what did not happen
        async with database.read() as connection:
            await changes.publish(connection, "glossary", None)


async def test_a_transaction_within_a_transaction_is_refused_at_once(database: Database) -> None:
    async with database.write():
        with pytest.raises(RuntimeError, match="pass that one on"):
            async with database.write():
                pass
    async with database.write() as tx:
        await add_term(tx, "lidar")
    assert await terms(database) == ["lidar"]


async def test_writers_of_one_process_wait_for_each_other(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.write() as tx:
            await add_term(tx, str(number))
            await asyncio.sleep(0)

    await asyncio.gather(*(write(number) for number in range(40)))
    assert sorted(map(int, await terms(database))) == list(range(40))


async def test_a_cancelled_transaction_leaves_nothing_and_the_connection_usable(database: Database) -> None:
    for number in range(20):
        begun = asyncio.Event()

        async def write(begun: asyncio.Event = begun, number: int = number) -> None:
            async with database.write() as tx:
                await add_term(tx, f"cancelled {number}")
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30 * PATIENCE), database.write() as tx:
            await add_term(tx, f"kept {number}")
    assert await terms(database) == [f"kept {number}" for number in range(20)]


async def test_cancelling_at_any_moment_leaves_all_or_nothing(database: Database) -> None:
    """At every await of the transaction: taking the connection, beginning, executing, committing."""
    attempts = 60

    async def write(number: int) -> None:
        async with database.write() as tx:
            await add_term(tx, f"{number} a")
            await add_term(tx, f"{number} b")

    acknowledged = set[int]()
    for number in range(attempts):
        task = asyncio.create_task(write(number))
        for _ in range(random.choice([5, 25, 400]) * number // attempts):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            continue
        acknowledged.add(number)
    async with asyncio.timeout(30 * PATIENCE), database.write() as tx:
        await add_term(tx, "still works")
    found = await terms(database)
    for number in range(attempts):
        pair = [f"{number} a" in found, f"{number} b" in found]
        assert pair in ([True, True], [False, False])
        assert number not in acknowledged or pair[0]
    assert found[-1] == "still works"


async def test_whoever_is_cancelled_while_another_process_writes_leaves_no_lock(sqlite_catalogue: str) -> None:
    """SQLite goes on waiting in its thread; what it gets then, it must not keep."""
    database = Database(sqlite_catalogue)
    path = sqlite_catalogue.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(factories.interview(database))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting], timeout=10)
        assert waiting.cancelled()
        other.execute("COMMIT")
    async with asyncio.timeout(10):
        await factories.interview(database)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM interview").fetchone() == (1,)
    await database.close()


SLOW_ROWS = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)"
    " SELECT i FROM n WHERE i > 200000"
)
"""The first row is a while in coming, and many more are behind it."""


async def cancelled_while_rows_are_awaited(
    transaction: AbstractAsyncContextManager[AsyncConnection],
) -> asyncio.Task[None]:
    begun = asyncio.Event()

    async def ask() -> None:
        async with transaction as connection:
            begun.set()
            await connection.execute(SLOW_ROWS)

    task = asyncio.create_task(ask())
    await begun.wait()
    await asyncio.wait([task], timeout=0.01)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return task


async def test_whoever_is_cancelled_before_the_rows_came_leaves_no_lock(database: Database) -> None:
    """Its traceback holds the statement, which must not hold the transaction."""
    kept = [await cancelled_while_rows_are_awaited(database.write()) for _ in range(3)]
    async with asyncio.timeout(30 * PATIENCE), database.write() as tx:
        await add_term(tx, "still works")
    assert all(task.cancelled() for task in kept)


@pytest.mark.parametrize("begin", [lambda connection: connection, lambda connection: connection.cursor()])
async def test_a_closed_connection_holds_no_lock_whoever_keeps_its_rows(
    sqlite_catalogue: str, begin: Callable[[sqlite3.Connection], sqlite3.Connection | sqlite3.Cursor]
) -> None:
    path = sqlite_catalogue.removeprefix("sqlite:///")
    connection = sqlite3.connect(path, factory=SQLiteConnection, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    rows = begin(connection).execute("SELECT 1 UNION SELECT 2")
    assert next(rows) == (1,)
    connection.close()
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")


async def test_a_connection_can_be_closed_twice(sqlite_catalogue: str) -> None:
    """As it is when whoever was cancelled is cancelled again meanwhile: its thread has to end all the same."""
    connection = sqlite3.connect(sqlite_catalogue.removeprefix("sqlite:///"), factory=SQLiteConnection)
    kept = connection.cursor()
    kept.execute("SELECT 1 UNION SELECT 2")
    connection.close()
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


async def test_cancelled_readers_do_not_hold_the_log(sqlite_catalogue: str) -> None:
    database = Database(sqlite_catalogue)
    kept = [await cancelled_while_rows_are_awaited(database.read()) for _ in range(3)]
    await factories.interview(database)
    await database.forget(is_quiet=True)
    assert all(task.cancelled() for task in kept)
    await database.close()


async def test_a_writer_that_never_gets_its_turn_is_told_to_try_again(
    sqlite_catalogue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.1)
    database = Database(sqlite_catalogue)
    with closing(sqlite3.connect(database.path or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError, match="locked"):
            await factories.interview(database)
        async with database.read() as connection:  # readers do not mind
            assert await changes.newest_id(connection) == 0
        other.execute("COMMIT")
    await factories.interview(database)
    await database.close()


async def test_cancelled_readers_give_their_connections_back(database: Database) -> None:
    async def read() -> None:
        async with database.read() as connection:
            await connection.execute(select(func.count()).select_from(tables.glossary_term))
            await asyncio.Event().wait()

    for _ in range(30):
        task = asyncio.create_task(read())
        for _ in range(random.randrange(25)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    async with asyncio.timeout(30 * PATIENCE):
        assert await terms(database) == []


async def test_closing_leaves_no_thread_behind(catalogue_url: str) -> None:
    before = threading.active_count()
    opened = Database(catalogue_url)
    for _ in range(3):
        await asyncio.gather(*(terms(opened) for _ in range(6)))
        task = asyncio.create_task(factories.interview(opened))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await opened.close()

    async def ended() -> bool:
        return threading.active_count() <= before

    await until_async(ended, "the connections' threads to end")


async def test_a_catalogue_that_is_away_is_worth_a_retry_and_keeps_its_password(tmp_path: object) -> None:
    url = f"postgresql://user:secret@127.0.0.1:{services.free_port()}/name"
    opened = Database(url)
    with pytest.raises(DatabaseUnavailableError) as caught:
        async with opened.read():
            pass
    assert caught.value.retryable
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await opened.close()


async def test_a_statement_that_is_wrong_is_not_worth_a_retry(database: Database) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with database.write() as tx:
            await add_term(tx, "lidar")
            await tx.execute(text("INSERT INTO take (id, recording_id) VALUES (1, 1)"))
    assert not caught.value.retryable
    assert await terms(database) == []


async def test_a_number_that_no_column_holds_is_a_mistake_of_whoever_sent_it(database: Database) -> None:
    with pytest.raises(UsageError, match="larger than the catalogue can keep"):
        async with database.read() as connection:
            await connection.execute(select(tables.cue).where(tables.cue.c.id == 10**30))
    with pytest.raises(UsageError):
        async with database.write() as tx:
            await add_term(tx, "lidar")
            await tx.execute(tables.recording.update().values(duration_ticks=10**30))
    assert await terms(database) == []


@pytest.mark.parametrize("hostile", ["a\x00b", "\ud800", "a\udcffb", "\U0001f600 访谈 ' \" \\u0000 %s :name"])
async def test_any_text_is_stored_and_read_again(database: Database, hostile: str) -> None:
    """Damaged captions and command lines of other encodings bring what databases or UTF-8 cannot say."""
    async with database.write() as tx:
        await add_term(tx, hostile)
        await changes.publish(tx, "glossary", None, {"text": [hostile, {hostile: 1}]})
    async with database.read() as connection:
        [change] = await changes.after(connection, 0)
    [term] = await terms(database)
    assert change.payload == {"text": [term, {term: 1}]}
    clean = not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in hostile)
    assert (term == hostile) is clean
    assert len(term.encode()) >= len(hostile)


@pytest.mark.parametrize("is_quiet", [True, False])
async def test_what_was_deleted_is_in_no_file_of_sqlite_any_more(
    sqlite_catalogue: str, is_quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what another program left in pages that are free; a large file waits until it is quiet."""
    monkeypatch.setattr(database_module, "_SOON_WRITTEN_BYTES", 1 << 10)
    database = Database(sqlite_catalogue)
    assert database.path is not None
    async with database.write() as tx:
        for number in range(50):
            await add_term(tx, f"canary {number} " * 500)
    with closing(sqlite3.connect(database.path)) as other:
        other.execute("PRAGMA secure_delete=OFF")
        other.execute("DELETE FROM glossary_term")
        other.commit()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"canary" in database.path.read_bytes()
    async with database.write() as tx:
        await add_term(tx, "lidar")
    await database.forget(is_quiet=is_quiet)
    files = list(database.path.parent.glob(f"{database.path.name}*"))
    assert any(b"canary" in file.read_bytes() for file in files) is not is_quiet
    monkeypatch.undo()
    await database.forget(is_quiet=False)  # it is small
    assert not any(b"canary" in file.read_bytes() for file in files)
    assert await terms(database) == ["lidar"]
    await database.close()


async def test_a_reader_in_the_way_of_forgetting_is_told_of(
    sqlite_catalogue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0)
    database = Database(sqlite_catalogue)
    async with database.write() as tx:
        await add_term(tx, "lidar")
    async with database.read() as connection:
        await connection.execute(select(tables.glossary_term.c.id))
        with pytest.raises(DatabaseUnavailableError, match="try again"):
            await database.forget(is_quiet=True)
    await database.forget(is_quiet=True)
    assert await terms(database) == ["lidar"]
    await database.close()
