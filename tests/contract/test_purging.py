"""The words of a range that is deleted for good."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from streamarchive import withholding
from streamarchive.catalogue import corrections, outbox, purging, tables, transcripts, withheld
from streamarchive.catalogue.database import Database
from streamarchive.errors import UsageError
from streamarchive.models import RunStage
from streamarchive.protocols import CueDocument
from streamarchive.search import feed
from tests import factories
from tests.factories import commit, line, segment

WORDS = (tables.cue, tables.run_line, tables.revision, tables.strike, tables.suggestion, tables.change)


async def everything(database: Database) -> str:
    """All that the tables with words hold."""
    async with database.read() as connection:
        rows = [row for table in WORDS for row in (await connection.execute(select(table))).all()]
    return "\n".join(map(str, rows))


async def test_lines_history_and_what_machines_heard_are_emptied(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    lines = [line(0, "before it"), line(10_000, "the canary sings"), line(20_000, "after it")]
    await factories.heard(database, recording_id, *lines, stage=RunStage.FINAL)
    async with database.write() as tx:
        cue = (await transcripts.of_recording(tx, recording_id))[1]
        await corrections.edit(tx, cue.id, cue.revision, "canary sings aloud", None)
        before = (await transcripts.of_recording(tx, recording_id))[0]
        await corrections.edit(tx, before.id, before.revision, "well before it", None)
    assert "canary" in await everything(database)
    async with database.write() as tx:
        found = await withholding.withhold(tx, recording_id, 10_500, 11_000)
        await withholding.purge(tx, found.id)
    async with database.write() as tx:
        [purged] = await purging.asked(tx, recording_id)
        await purging.forget_words(tx, purged)
        await purging.done(tx, purged)
    held = await everything(database)
    assert "canary" not in held
    assert "well before it" in held
    async with database.read() as connection:
        current = [cue.text for cue in await transcripts.of_recording(connection, recording_id)]
        told = await feed.operations(connection, await outbox.oldest(connection))
        history = await corrections.history(connection, before.id)
        assert await purging.asked(connection, recording_id) == []
    assert current == ["well before it", "after it"]
    assert "canary" not in str([one for one in told if isinstance(one, CueDocument)])
    assert len(history) == 1


async def test_it_cannot_be_lifted_any_more_and_what_is_lifted_or_on_air_is_not_deleted(
    database: Database,
) -> None:
    _, recording_id = await factories.uploaded(database)
    async with database.write() as tx:
        doomed = await withholding.withhold(tx, recording_id, 1_000, 2_000)
        lifted = await withholding.withhold(tx, recording_id, 3_000, 4_000)
        await withholding.lift(tx, lifted.id)
        await withholding.purge(tx, doomed.id)
        await withholding.purge(tx, doomed.id)  # twice is once
    air = await factories.on_air(database)
    await commit(database, air, segment(air.take, 0))
    async with database.write() as tx:
        live = await withholding.withhold(tx, air.recording_id, 1_000, 2_000)
        for refuse, range_id in ((withholding.lift, doomed.id), (withholding.purge, lifted.id)):
            with pytest.raises(UsageError):
                await refuse(tx, range_id)
        with pytest.raises(UsageError, match="end of the broadcast"):
            await withholding.purge(tx, live.id)
    async with database.read() as connection:
        assert (await withheld.get(connection, live.id)).holds
