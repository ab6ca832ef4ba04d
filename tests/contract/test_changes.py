from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection

import psutil
import pytest
from sqlalchemy import insert, text

from streamarchive.catalogue import changes, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.catalogue.watch import watch
from streamarchive.models import InterviewId
from tests.processes import child
from tests.waiting import PATIENCE, until_async

INTERVIEW = InterviewId("0123456789")


async def publish(database: Database, *kinds: str) -> None:
    for kind in kinds:
        async with database.write() as tx:
            await changes.publish(tx, kind, INTERVIEW, {"n": 1})


@pytest.fixture
def never_asked_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite is asked only where its log has changed: what is missed so is not found by and by."""
    monkeypatch.setattr("streamarchive.catalogue.watch._ASK_SECONDS", 3600.0)


async def kinds_after(database: Database, last_id: int) -> list[str]:
    async with database.read() as connection:
        return [change.kind for change in await changes.after(connection, last_id)]


# --- what is kept -------------------------------------------------------------------------------------------


async def test_changes_are_read_in_the_order_of_their_ids(database: Database) -> None:
    await publish(database, "a", "b", "c")
    async with database.read() as connection:
        found = await changes.after(connection, 0)
        assert await changes.newest_id(connection) == found[-1].id
        assert await changes.after(connection, found[0].id, limit=1) == [found[1]]
    assert [change.kind for change in found] == ["a", "b", "c"]
    assert {(change.interview_id, change.payload["n"]) for change in found} == {(INTERVIEW, 1)}


async def test_what_is_said_twice_in_a_transaction_is_said_once(database: Database) -> None:
    async with database.write() as tx:
        for number in (1, 1, 2, 1):
            await changes.publish(tx, "job", INTERVIEW, {"n": number})
        await changes.publish(tx, "job", None, {"n": 1})
    async with database.read() as connection:
        found = [(change.interview_id, change.payload["n"]) for change in await changes.after(connection, 0)]
    assert found == [(INTERVIEW, 1), (INTERVIEW, 2), (None, 1)]


async def test_pruning_keeps_the_newest_and_never_gives_an_id_twice(database: Database) -> None:
    await publish(database, *"abcde")
    async with database.write() as tx:
        assert await changes.prune(tx, keep=2) == 3
    assert await kinds_after(database, 0) == ["d", "e"]
    async with database.write() as tx:
        before = await changes.newest_id(tx)
        assert await changes.prune(tx, keep=0) == 2
    await publish(database, "f")
    async with database.read() as connection:
        assert await changes.newest_id(connection) == before + 1
    assert await kinds_after(database, before) == ["f"]


async def test_a_page_can_go_on_while_nothing_it_has_not_seen_was_pruned(database: Database) -> None:
    async def known() -> list[bool]:
        async with database.read() as connection:
            return [await changes.knows(connection, last_id) for last_id in range(8)]

    assert await known() == [True] + [False] * 7  # nothing has happened yet; ids from elsewhere are unknown
    await publish(database, *"abcde")
    assert await known() == [True] * 6 + [False] * 2
    async with database.write() as tx:
        await changes.prune(tx, keep=2)
    assert await known() == [False] * 3 + [True] * 3 + [False] * 2


# --- the tail -----------------------------------------------------------------------------------------------


async def write_changes(say: Connection, url: str, name: str, count: int) -> None:
    """Publish first, then dawdle: without the lock a later id would be committed before an earlier one."""
    database = Database(url)
    for number in range(count):
        async with database.write() as tx:
            await changes.publish(tx, f"{name}-{number}", INTERVIEW)
            await tx.execute(insert(tables.outbox).values(subject="cue:0", at=await now(tx)))
            if not database.is_sqlite:
                await tx.execute(text("SELECT pg_sleep(random() * 0.01)"))
    await database.close()
    say.send("done")


async def test_a_tail_sees_every_change_of_many_writers_once(database: Database) -> None:
    writers, count = 3, 60
    with (
        child(write_changes, database.url, "0", count) as first,
        child(write_changes, database.url, "1", count) as second,
        child(write_changes, database.url, "2", count) as third,
    ):
        seen: list[str] = []
        last_id = 0
        while len(seen) < writers * count:
            all_are_done = all(one.heard.poll() for one in (first, second, third))
            async with database.read() as connection:
                found = await changes.after(connection, last_id, limit=7)
            seen += [change.kind for change in found]
            last_id = found[-1].id if found else last_id
            if all_are_done and not found:
                break
        assert sorted(seen) == sorted(f"{w}-{n}" for w in range(writers) for n in range(count))


async def test_ids_become_visible_in_order_however_long_a_transaction_takes(
    postgresql_catalogue: str,
) -> None:
    """A writer that has drawn its id and not committed holds up those that would draw a later one."""
    database = Database(postgresql_catalogue)
    async with asyncio.TaskGroup() as group:
        drawn, commit = asyncio.Event(), asyncio.Event()

        async def dawdle() -> None:
            async with database.write() as tx:
                await changes._insert(tx, [{"interview_id": None, "kind": "slow", "payload": {}}])
                drawn.set()
                await commit.wait()

        group.create_task(dawdle())
        await drawn.wait()
        quick = group.create_task(publish(database, "quick"))

        async def waits_for_the_lock() -> bool:
            async with database.read() as connection:
                waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                return bool((await connection.execute(text(waiting))).scalar_one())

        await until_async(waits_for_the_lock, "the second writer to wait")
        assert not quick.done()
        assert await kinds_after(database, 0) == []
        commit.set()
    assert await kinds_after(database, 0) == ["slow", "quick"]
    await database.close()


async def test_writers_that_touch_the_same_rows_in_different_order_do_not_deadlock(database: Database) -> None:
    """One publishes before it changes a row, the other after: the lock comes last for both."""
    async with database.write() as tx:
        await tx.execute(insert(tables.event).values(id=1, names={}))

    async def write(*, publish_first: bool) -> None:
        for _ in range(15):
            async with database.write() as tx:
                if publish_first:
                    await changes.publish(tx, "a", None)
                await tx.execute(tables.event.update().values(names={"en": str(publish_first)}))
                if not publish_first:
                    await changes.publish(tx, "b", None)

    await asyncio.gather(*(write(publish_first=bool(number % 2)) for number in range(4)))
    assert len(await kinds_after(database, 0)) == 60


# --- watching -----------------------------------------------------------------------------------------------


async def publish_when_told(say: Connection, url: str, hear: Connection) -> None:
    database = Database(url)
    say.send("ready")
    while await asyncio.to_thread(hear.recv):
        await publish(database, "told")
        say.send(time.monotonic())
    await database.close()


async def test_a_watch_wakes_within_a_second_of_another_process(database: Database) -> None:
    from multiprocessing import Pipe

    hear, tell = Pipe(duplex=False)
    with child(publish_when_told, database.url, hear) as other:
        assert other.listen() == "ready"
        async with watch(database) as changed:
            await changed.wait(5)  # the first answer is always yes
            while await changed.wait(0.5):
                pass
            for _ in range(5):
                waiting = asyncio.create_task(changed.wait(20))
                tell.send(True)
                assert await waiting is True
                woken = time.monotonic()
                assert woken - await asyncio.to_thread(other.listen) < 1.0 * PATIENCE
                while await changed.wait(0.5):
                    pass
        tell.send(False)


async def test_a_watch_keeps_quiet_while_nothing_happens(database: Database) -> None:
    async with watch(database) as changed:
        assert await changed.wait(5) is True
        while await changed.wait(0.5):
            pass
        before = time.monotonic()
        assert await changed.wait(1.0) is False
        assert time.monotonic() - before > 0.9
        async with database.read() as connection:
            await changes.newest_id(connection)
        assert await changed.wait(0.3) is False  # reading is nothing
        with pytest.raises(ZeroDivisionError):
            async with database.write() as tx:
                await changes.publish(tx, "a", None)
                raise ZeroDivisionError
        assert await changed.wait(0.3) is False  # nor is what was rolled back


@pytest.mark.usefixtures("never_asked_in_vain")
async def test_no_change_between_two_waits_is_missed(database: Database) -> None:
    async with watch(database) as changed:
        await changed.wait(5)
        for _ in range(20):
            while await changed.wait(0):
                pass
            await publish(database, "a")
            assert await changed.wait(30 * PATIENCE) is True


async def test_a_commit_is_noticed_on_a_disk_that_flushes_late_or_keeps_no_times(
    sqlite_catalogue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written to the log long ago, or unseen, counts only now."""
    database = Database(sqlite_catalogue)
    watching = watch(database)
    monkeypatch.setattr(watching, "_look", lambda: (1, 1))
    monkeypatch.setattr(
        "streamarchive.catalogue.watch._ASK_SECONDS", 2.0
    )  # and still longer than is looked after a write
    async with watching as changed:
        while await changed.wait(1.5):
            pass
        await publish(database, "a")
        assert await changed.wait(20) is True
    await database.close()


@pytest.mark.usefixtures("never_asked_in_vain")
async def test_a_watch_that_is_cancelled_can_be_used_again(database: Database) -> None:
    async with watch(database) as changed:
        await changed.wait(5)
        for _ in range(20):
            waiting = asyncio.create_task(changed.wait(20))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        while await changed.wait(0.5):
            pass
        await publish(database, "a")
        assert await changed.wait(30 * PATIENCE) is True


async def test_a_lost_connection_counts_as_a_change_and_is_opened_again(postgresql_catalogue: str) -> None:
    database = Database(postgresql_catalogue)
    async with watch(database) as changed:
        await changed.wait(5)
        async with database.write() as tx:
            await tx.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            )
        assert await changed.wait(30 * PATIENCE) is True
        while await changed.wait(0.5):
            pass
        await publish(database, "a")
        assert await changed.wait(30 * PATIENCE) is True
    await database.close()


async def watch_idly(say: Connection, url: str) -> None:
    database = Database(url)
    async with watch(database) as changed:
        while await changed.wait(0.5):
            pass
        process = psutil.Process()
        before = sum(process.cpu_times()[:2])
        for _ in range(4):
            await changed.wait(0.5)
        say.send(sum(process.cpu_times()[:2]) - before)
    await database.close()


async def test_watching_costs_next_to_nothing(database: Database) -> None:
    """Seconds of a core in two seconds of watching; the server as a whole may use 2 % when idle."""
    with child(watch_idly, database.url) as one:
        assert one.listen() < 0.06


async def test_a_catalogue_that_cannot_be_asked_counts_as_changed(sqlite_catalogue: str) -> None:
    """Whoever looks then is told what is wrong, as everywhere."""
    database = Database(sqlite_catalogue)
    async with watch(database) as changed:
        await changed.wait(0.1)
        await database.close()
        assert database.path is not None
        for file in database.path.parent.glob(f"{database.path.name}*"):
            file.write_bytes(b"no catalogue" * 1_000)
        assert await changed.wait(30)
