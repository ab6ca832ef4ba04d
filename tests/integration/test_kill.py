"""kill -9 of a process that writes: what it has acknowledged is there, what it has not is whole or absent."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

from streamarchive.catalogue import interviews, schema, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.models import RunStage
from tests import factories
from tests.processes import child

ROUNDS = 20


async def commit_without_end(say: Connection, url: str, first: int) -> None:
    """Media segments and captions, as a recorder and a live transcriber write them; tells what is committed."""
    database = Database(url)
    air = await factories.on_air(database)
    live = await factories.run(database, air.recording_id, RunStage.LIVE)
    number = 0
    while True:
        await factories.commit(database, air, factories.segment(air.take, number))
        async with database.write() as tx:
            lines = [factories.line(number * 4_000 + at, f"{first}-{number}-{at}") for at in (0, 2_000)]
            await transcripts.append(tx, live, lines, (number + 1) * 4_000)
        say.send((air.recording_id, number))
        number += 1


async def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    url = f"sqlite:///{path}"
    schema.migrate(url)
    acknowledged: list[tuple[int, int]] = []
    for number in range(ROUNDS):
        with child(commit_without_end, url, number) as writer:
            acknowledged += [writer.listen() for _ in range(random.randrange(1, 7))]
            writer.kill()
            acknowledged += writer.rest()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        segments = connection.execute("SELECT recording_id, sequence FROM media_segment").fetchall()
        texts = [row[0] for row in connection.execute("SELECT text FROM cue")]
        waiting = connection.execute(
            "SELECT count(DISTINCT subject) FROM outbox WHERE subject LIKE 'cue:%'"
        ).fetchone()[0]
    assert len(acknowledged) >= ROUNDS
    assert set(acknowledged) <= set(segments)
    assert (
        len(segments) - len(acknowledged) <= 2 * ROUNDS
    )  # at most one each that was not yet told, and one begun
    assert len(set(texts)) == len(texts) == waiting
    assert len(texts) % 2 == 0  # both lines of a transaction or none
    assert len(texts) >= 2 * len(acknowledged)


async def test_a_process_that_is_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Its lock goes with it: the next writer gets in at once, and a copy taken meanwhile is whole."""
    path = tmp_path / "catalogue.sqlite"
    url = f"sqlite:///{path}"
    schema.migrate(url)
    with child(hold_the_lock, url) as holder:
        assert holder.listen() == "held"
        holder.kill()
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copyfile(source, tmp_path / f"copy.sqlite{suffix}")
    for name in ("catalogue.sqlite", "copy.sqlite"):
        database = Database(f"sqlite:///{tmp_path / name}")
        interview_id = await factories.interview(database)
        async with database.read() as connection:
            assert [i.id for i in await interviews.latest(connection)] == [interview_id]
        await database.close()


async def hold_the_lock(say: Connection, url: str) -> None:
    database = Database(url)
    async with database.write() as tx:
        await interviews.create(tx, titles={"en": "Never there"})
        say.send("held")
        await asyncio.Event().wait()
