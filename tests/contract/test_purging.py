"""The words of a range that is deleted for good."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from streamarchive import withholding
from streamarchive.catalogue import (
    accounts,
    captioning,
    corrections,
    outbox,
    purging,
    saved_searches,
    tables,
    transcripts,
    withheld,
)
from streamarchive.catalogue.corrections import StaleCueError
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.saved_searches import NewHit
from streamarchive.catalogue.withheld import WithheldRange
from streamarchive.errors import EditError, UsageError
from streamarchive.models import Cue, RecordingId, Role, RunStage
from streamarchive.protocols import CueDocument
from streamarchive.search import feed
from tests import factories
from tests.factories import commit, line, segment
from tests.interleaving import interleaved

WORDS = (tables.cue, tables.run_line, tables.revision, tables.strike, tables.suggestion, tables.change)


async def everything(database: Database) -> str:
    """All that the tables with words hold."""
    async with database.read() as connection:
        rows = [row for table in WORDS for row in (await connection.execute(select(table))).all()]
    return "\n".join(map(str, rows))


async def lines_of(database: Database, recording_id: RecordingId) -> list[Cue]:
    async with database.read() as connection:
        return await transcripts.of_recording(connection, recording_id)


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
        late = {"text": "the canary", "lang": "en", "certain": 0, "start_ms": 10_600}
        await captioning.say(tx, recording_id, late)  # whoever says so was killed before it said more
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


async def purge_words(database: Database, recording_id: RecordingId, start_ms: int, end_ms: int) -> WithheldRange:
    """Withheld, asked for, and the words gone; the media still to go."""
    async with database.write() as tx:
        found = await withholding.withhold(tx, recording_id, start_ms, end_ms)
        await withholding.purge(tx, found.id)
    async with database.write() as tx:
        [purged] = await purging.asked(tx, recording_id)
        await purging.forget_words(tx, purged)
    return purged


async def texts_of_history(database: Database) -> set[str]:
    """Of all lines that it keeps."""
    async with database.read() as connection:
        rows = (await connection.execute(select(tables.revision.c.before, tables.revision.c.after))).all()
    return {one["text"] for row in rows for lines in row for one in lines}


@pytest.mark.parametrize("stage", [RunStage.FINAL, RunStage.LIVE, RunStage.TRANSLATION])
async def test_a_pass_that_still_hears_the_old_sound_does_not_bring_words_back(
    database: Database, stage: RunStage
) -> None:
    _, recording_id = await factories.uploaded(database)
    run = await factories.run(database, recording_id, stage)
    purged = await purge_words(database, recording_id, 10_000, 12_000)

    async def hear(run: transcripts.Run, at: int, text: str) -> None:
        async with database.write() as tx:
            await transcripts.append(tx, run, [line(at, text), line(at + 20_000, "after it")], at + 22_000)

    await hear(run, 10_500, "the canary sings")
    async with database.write() as tx:
        await purging.done(tx, purged)
    await hear(run, 11_500, "the canary sings on")
    held = await everything(database)
    assert "canary" not in held
    assert "after it" in held
    later = await factories.run(database, recording_id, RunStage.FINAL, identity="another")
    await hear(later, 10_500, "silence")  # that is what is there now
    assert "silence" in await everything(database)


async def test_what_an_editor_was_typing_is_not_carried_over_to_it(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(10_000, "the canary sings"), stage=RunStage.FINAL)
    async with database.read() as connection:
        [seen] = await transcripts.of_recording(connection, recording_id)
    await factories.heard(database, recording_id, line(10_100, "a canary sings"), stage=RunStage.FINAL)
    async with database.read() as connection:
        [now_there] = await transcripts.of_recording(connection, recording_id)
    await purge_words(database, recording_id, 10_500, 11_000)
    for cue in (seen, now_there):
        with pytest.raises(StaleCueError):
            async with database.write() as tx:
                await corrections.edit(tx, cue.id, cue.revision, "the canary sings aloud", None)
    assert "canary" not in await everything(database)


async def test_of_a_line_that_was_moved_into_it_nothing_stays_where_it_stood_before(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    lines = line(2_000, "the canary sings"), line(20_000, "well before it")
    await factories.heard(database, recording_id, *lines, stage=RunStage.FINAL)
    async with database.write() as tx:
        canary, other = await transcripts.of_recording(tx, recording_id)
        await corrections.retime(tx, canary.id, canary.revision, 10_000, 12_000, None)
        moved = await corrections.retime(tx, other.id, other.revision, 30_000, 32_000, None)
    await purge_words(database, recording_id, 10_500, 11_000)
    async with database.write() as tx:
        assert moved.revision_id is not None
        back = await corrections.restore(tx, other.id, moved.cues[0].revision, moved.revision_id, None)
        steps = await corrections.history(tx, canary.id)
        assert [past.line.text for step in steps for past in step.before] == [""]
    assert [cue.start_ms for cue in back.cues] == [20_000]
    assert await texts_of_history(database) == {"well before it", ""}


async def test_a_step_whose_words_are_gone_cannot_be_taken_back(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(10_000, "the canary sings"), stage=RunStage.FINAL)
    async with database.write() as tx:
        [cue] = await transcripts.of_recording(tx, recording_id)
        moved = await corrections.retime(tx, cue.id, cue.revision, 30_000, 32_000, None)
    await purge_words(database, recording_id, 10_500, 11_000)
    async with database.write() as tx:
        [cue] = moved.cues
        assert moved.revision_id is not None
        with pytest.raises(EditError, match="deleted for good"):
            await corrections.restore(tx, cue.id, cue.revision, moved.revision_id, None)


async def test_what_saved_searches_have_found_there_is_forgotten(database: Database) -> None:
    interview_id, recording_id = await factories.uploaded(database)
    lines = line(10_000, "the canary sings"), line(20_000, "the canary again")
    await factories.heard(database, recording_id, *lines, stage=RunStage.FINAL)
    async with database.write() as tx:
        eva = await accounts.add_user(tx, "eva", Role.EDITOR, "no password")
        search = await saved_searches.add(tx, eva.id, "canary", None)
        cues = await transcripts.of_recording(tx, recording_id)
        found = [NewHit(search, cue.id, interview_id, recording_id, cue.start_ms, cue.end_ms) for cue in cues]
        await saved_searches.tell(tx, found)
    await purge_words(database, recording_id, 10_500, 11_000)
    async with database.read() as connection:
        left = await saved_searches.hits(connection, eva.id)
    assert [hit.start_ms for hit in left] == [20_000]


async def test_words_are_not_taken_back_into_a_line_while_they_are_deleted(database: Database) -> None:
    """Nor into one that somebody has moved out of the range since."""
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(0, "the canary sings"), stage=RunStage.FINAL)
    [cue] = await lines_of(database, recording_id)
    async with database.write() as tx:
        edited = await corrections.edit(tx, cue.id, cue.revision, "it sings", None)
        moved = await corrections.retime(tx, cue.id, edited.cues[0].revision, 20_000, 22_000, None)
        found = await withholding.withhold(tx, recording_id, 0, 5_000)
        await withholding.purge(tx, found.id)
        [purged] = await purging.asked(tx, recording_id)
    assert edited.revision_id is not None
    step = edited.revision_id
    _, refused = await interleaved(
        database,
        lambda tx: purging.forget_words(tx, purged),
        lambda tx: corrections.restore(tx, cue.id, moved.cues[0].revision, step, None),
    )
    assert isinstance(refused, EditError)
    assert "canary" not in " ".join(one.text for one in await lines_of(database, recording_id))


async def test_of_files_that_two_workers_have_replaced_none_is_forgotten(database: Database) -> None:
    """One has lost the job and does not know yet: a file that is on no list stays in the store for ever."""
    _, recording_id = await factories.uploaded(database)
    async with database.write() as tx:
        found = await withholding.withhold(tx, recording_id, 1_000, 2_000)
    await interleaved(
        database,
        lambda tx: purging.doom(tx, found.id, ["segments/late"]),
        lambda tx: purging.doom(tx, found.id, ["segments/now"]),
    )
    async with database.read() as connection:
        assert (await withheld.get(connection, found.id)).doomed == ("segments/late", "segments/now")
