from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from streamarchive.catalogue import changes, corrections, outbox, tables, transcripts
from streamarchive.catalogue import cues as rows_of_lines
from streamarchive.catalogue.database import Database
from streamarchive.editing.rendition import Rendition
from streamarchive.errors import NotFoundError
from streamarchive.models import Cue, CueDraft, CueId, RecordingId, RunStage, Script
from tests import factories
from tests.factories import line

IDENTITY = {"engine": "openai", "model": "demo", "model_identity": "1"}


async def cues(database: Database, recording_id: RecordingId) -> list[Cue]:
    async with database.read() as connection:
        return await transcripts.of_recording(connection, recording_id)


async def texts(database: Database, recording_id: RecordingId) -> list[str]:
    return [cue.text for cue in await cues(database, recording_id)]


async def drain_outbox(database: Database) -> set[CueId]:
    """The cues that search has to look at, once."""
    async with database.write() as tx:
        batch = await outbox.oldest(tx, limit=100_000)
        await outbox.remove(tx, batch)
    return set(batch.cue_ids)


async def mark(database: Database, cue: Cue, **values: object) -> None:
    async with database.write() as tx:
        await tx.execute(update(tables.cue).where(tables.cue.c.id == cue.id).values(**values))


async def adopt(database: Database, recording_id: RecordingId, *lines: CueDraft) -> None:
    await factories.heard(database, recording_id, *lines, stage=RunStage.FINAL)


# --- what is read of what was heard ---------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [RunStage.LIVE, RunStage.FINAL])
async def test_chinese_is_read_in_one_script_and_kept_as_it_was_heard(
    database: Database, stage: RunStage
) -> None:
    _, recording_id = await factories.uploaded(database)
    heard = replace(line(0, "這個系統很乾淨。"), lang="zh")
    rendition = Rendition(Script.SIMPLIFIED)
    run = await factories.run(database, recording_id, stage)
    async with database.write() as tx:
        await transcripts.append(tx, run, [heard], 30_000, rendition)
        if stage is RunStage.FINAL:
            await transcripts.adopt(tx, run, rendition=rendition)
        kept = await transcripts.run_lines(tx, run.id)
    assert [each.text for each in kept] == ["這個系統很乾淨。"]
    assert await texts(database, recording_id) == ["这个系统很干净。"]


# --- runs ---------------------------------------------------------------------------------------------------


async def test_an_unfinished_run_is_continued_where_it_stood(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    first = await factories.run(database, recording_id, RunStage.FINAL)
    assert (first.covered_ms, first.finished_at) == (0, None)
    async with database.write() as tx:
        await transcripts.append(tx, first, [line(0, "one two")], 30_000)
    again = await factories.run(database, recording_id, RunStage.FINAL)
    assert (again.id, again.covered_ms) == (first.id, 30_000)


@pytest.mark.parametrize(
    "different",
    [
        {"stage": RunStage.LIVE},
        {"model_identity": "2"},
        {"engine": "faster"},
        {"settings": {"languages": ["en"]}},
    ],
)
async def test_a_run_that_was_begun_otherwise_is_another(
    database: Database, different: dict[str, object]
) -> None:
    _, recording_id = await factories.uploaded(database)
    begun = []
    for values in ({}, different):
        async with database.write() as tx:
            arguments = {"stage": RunStage.FINAL, **IDENTITY, **values}
            begun.append(await transcripts.begin_run(tx, recording_id, **arguments))  # type: ignore[arg-type]
    assert begun[0].id != begun[1].id
    async with database.read() as connection:
        found = await transcripts.runs(connection, recording_id)
    assert [run.id for run in found] == [begun[1].id, begun[0].id]  # newest first


async def test_a_finished_run_is_not_continued(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    first = await factories.run(database, recording_id, RunStage.LIVE)
    async with database.write() as tx:
        await transcripts.finish_run(tx, first)
    assert (await factories.run(database, recording_id, RunStage.LIVE)).id != first.id


async def test_a_recording_has_one_transcript_whoever_comes_first(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)

    async def ensure() -> int:
        async with database.write() as tx:
            return await transcripts.ensure(tx, recording_id)

    assert len(set(await asyncio.gather(*(ensure() for _ in range(8))))) == 1


# --- while it is on air -------------------------------------------------------------------------------------


async def test_a_live_line_is_at_once_a_cue_for_readers_pages_and_search(database: Database) -> None:
    air = await factories.on_air(database)
    live = await factories.run(database, air.recording_id, RunStage.LIVE)
    await drain_outbox(database)
    async with database.read() as connection:
        last = await changes.newest_id(connection)
    spoken = CueDraft(1_000, 3_000, "电池 battery", "zh", line(1_000, "电池 battery").words, "guest", "noise")
    async with database.write() as tx:
        await transcripts.append(tx, live, [spoken, line(4_000, "and range")], 6_000)
    first, second = await cues(database, air.recording_id)
    assert (first.text, first.lang, first.speaker, first.doubt) == ("电池 battery", "zh", "guest", "noise")
    assert first.words == spoken.words
    assert (first.revision, first.human, first.read) == (0, False, False)
    assert await drain_outbox(database) == {first.id, second.id}
    async with database.read() as connection:
        [change] = await changes.after(connection, last)
        assert await transcripts.get(connection, first.id) == first
    assert (change.kind, change.interview_id) == ("cues", air.interview_id)
    assert change.payload["added"] == [first.id, second.id]


async def test_cues_outbox_and_change_are_one_transaction(database: Database) -> None:
    air = await factories.on_air(database)
    live = await factories.run(database, air.recording_id, RunStage.LIVE)
    await drain_outbox(database)
    async with database.read() as connection:
        last = await changes.newest_id(connection)
    with pytest.raises(ZeroDivisionError):
        async with database.write() as tx:
            await transcripts.append(tx, live, [line(0, "lost")], 2_000)
            raise ZeroDivisionError
    assert await cues(database, air.recording_id) == []
    assert await drain_outbox(database) == set()
    async with database.read() as connection:
        assert await changes.newest_id(connection) == last
        [run] = await transcripts.runs(connection, air.recording_id)
    assert run.covered_ms == 0


async def test_lines_are_read_without_their_words_all_the_same(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await adopt(database, recording_id, line(0, "Good morning."), line(4_000, "And good night."))
    whole = await cues(database, recording_id)
    assert all(cue.words for cue in whole)
    async with database.read() as connection:
        bare = await transcripts.of_recording(connection, recording_id, words=False)
    assert bare == [replace(cue, words=()) for cue in whole]


async def test_silence_is_no_news(database: Database) -> None:
    air = await factories.on_air(database)
    live = await factories.run(database, air.recording_id, RunStage.LIVE)
    async with database.read() as connection:
        last = await changes.newest_id(connection)
    async with database.write() as tx:
        await transcripts.append(tx, live, [], 9_000)
    async with database.read() as connection:
        assert await changes.newest_id(connection) == last
        [run] = await transcripts.runs(connection, air.recording_id)
    assert run.covered_ms == 9_000


async def test_what_lies_beyond_the_end_of_its_take_is_withdrawn(database: Database) -> None:
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, *(line(at, f"at {at}") for at in (0, 4_000, 8_000, 12_000)))
    await mark(database, (await cues(database, air.recording_id))[3], human=True)
    await drain_outbox(database)
    _, leading, gone, _ = await cues(database, air.recording_id)
    async with database.write() as tx:
        await transcripts.withdraw(tx, air.recording_id, 8_000)
    assert await texts(database, air.recording_id) == ["at 0", "at 4000", "at 12000"]
    assert await drain_outbox(database) == {gone.id, leading.id}  # which another line follows now
    async with database.read() as connection:
        with pytest.raises(NotFoundError):
            await transcripts.get(connection, gone.id)
        versions = await transcripts.versions(connection, [gone.id])
    assert versions[gone.id] == (gone.version + 1, air.recording_id)


async def test_who_withdraws_the_end_does_not_read_the_whole_broadcast(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody else who wants to write waits meanwhile."""
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, *(line(at, f"at {at}") for at in range(0, 400_000, 4_000)))
    read: list[int] = []
    of_row = rows_of_lines.cue

    def counting(row: Any, old: Cue | None = None) -> Cue:
        read.append(row.id)
        return of_row(row, old)

    monkeypatch.setattr(rows_of_lines, "cue", counting)
    async with database.write() as tx:
        await transcripts.withdraw(tx, air.recording_id, 392_000)
    assert len(read) == 2


# --- the final pass -----------------------------------------------------------------------------------------


async def test_readers_see_a_final_pass_when_it_is_complete(database: Database) -> None:
    interview_id, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(0, "live one"), line(4_000, "live two"))
    final = await factories.run(database, recording_id, RunStage.FINAL)
    await drain_outbox(database)
    async with database.write() as tx:
        await transcripts.append(tx, final, [line(0, "final one")], 4_000)
    assert await texts(database, recording_id) == ["live one", "live two"]
    assert await drain_outbox(database) == set()
    async with database.write() as tx:
        await transcripts.append(tx, final, [line(4_000, "final two")], 8_000)
        last = await changes.newest_id(tx)
        await transcripts.adopt(tx, final)
    assert await texts(database, recording_id) == ["final one", "final two"]
    assert len(await drain_outbox(database)) == 4  # two have come, two have gone
    async with database.read() as connection:
        found = await changes.after(connection, last)
        run = (await transcripts.runs(connection, recording_id))[0]
    assert [(c.kind, c.interview_id, c.payload) for c in found] == [("cues", interview_id, {"whole": True})]
    assert run.finished_at is not None


async def test_a_line_that_is_the_same_in_both_stays_the_same_cue(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(0, "same"), line(4_000, "other"))
    before = await cues(database, recording_id)
    await drain_outbox(database)
    await adopt(database, recording_id, line(0, "same"), line(4_000, "another"))
    after = await cues(database, recording_id)
    assert replace(after[0], version=before[0].version) == before[0]
    assert after[1].id != before[1].id
    # For search the first differs as well: it knows how the line after it begins.
    assert after[0].version > before[0].version
    assert await drain_outbox(database) == {after[0].id, before[1].id, after[1].id}


async def test_what_a_person_wrote_or_read_survives_every_pass(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, *(line(at, f"machine {at}") for at in (0, 4_000, 8_000)))
    _, second, third = await cues(database, recording_id)
    async with database.write() as tx:
        await corrections.edit(tx, second.id, second.revision, "written by hand", None)
        await corrections.mark_read(tx, third.id, third.revision, None)
    for number in (1, 2):
        await adopt(
            database, recording_id, *(line(at, f"pass {number} at {at}") for at in (0, 4_000, 8_000, 12_000))
        )
        found = await cues(database, recording_id)
        assert "written by hand" in [cue.text for cue in found]
        assert next(cue for cue in found if cue.id == third.id).text == "machine 8000"
        assert f"pass {number} at 0" in [cue.text for cue in found]
        assert f"pass {number} at 12000" in [cue.text for cue in found]
        assert "machine 0" not in [cue.text for cue in found]
        assert f"pass {number} at 8000" not in [cue.text for cue in found]


async def test_a_pass_waits_for_whoever_changes_a_line_and_sees_it(database: Database) -> None:
    """Else it would replace the line by what it read before the person wrote it."""
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(0, "machine"))
    [cue] = await cues(database, recording_id)
    final = await factories.run(database, recording_id, RunStage.FINAL)
    async with database.write() as tx:
        await transcripts.append(tx, final, [line(0, "final")], 2_000)
    held, commit = asyncio.Event(), asyncio.Event()

    async def edit() -> None:
        async with database.write() as tx:
            await transcripts.hold(tx, cue.transcript_id)
            held.set()
            await commit.wait()
            statement = update(tables.cue).where(tables.cue.c.id == cue.id)
            await tx.execute(statement.values(read=True, revision=1, text="read by a person"))

    async def replace() -> None:
        async with database.write() as tx:
            await transcripts.adopt(tx, final)

    editing = asyncio.create_task(edit())
    await held.wait()
    replacing = asyncio.create_task(replace())
    await asyncio.wait([replacing], timeout=0.3)
    assert not replacing.done()
    commit.set()
    await asyncio.gather(editing, replacing)
    assert await texts(database, recording_id) == ["read by a person"]


async def test_adopting_twice_changes_nothing(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    final = await factories.heard(
        database, recording_id, line(0, "a"), line(0, "b"), line(4_000, "c"), stage=RunStage.FINAL
    )
    before = await cues(database, recording_id)
    await drain_outbox(database)
    async with database.write() as tx:
        await transcripts.adopt(tx, final)
    assert await cues(database, recording_id) == before
    assert await drain_outbox(database) == set()


passes = st.lists(
    st.builds(line, st.integers(0, 9).map(lambda n: n * 2_000), st.sampled_from(["a", "b b", "电池 c", "d e f"])),
    max_size=8,
    unique_by=lambda draft: draft.start_ms,
)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=passes, second=passes)
async def test_whatever_was_there_before_a_pass_is_all_there_is_afterwards(
    database: Database, first: list[CueDraft], second: list[CueDraft]
) -> None:
    """Kept lines keep their ids, versions only rise, search learns of exactly what differs.

    A line that is followed by another one than before differs for search.
    """
    _, recording_id = await factories.uploaded(database)
    await adopt(database, recording_id, *first)
    before = await cues(database, recording_id)
    await drain_outbox(database)
    await adopt(database, recording_id, *second)
    after = await cues(database, recording_id)
    expected = sorted((draft.start_ms, draft.text, draft.words) for draft in second)
    assert [(cue.start_ms, cue.text, cue.words) for cue in after] == expected
    kept = {cue.id for cue in before} & {cue.id for cue in after}
    same = {(cue.start_ms, cue.text) for cue in before} & {(draft.start_ms, draft.text) for draft in second}
    assert len(kept) == len(same)
    gone = {cue.id for cue in before} - kept
    once, now = _followers(before), _followers(after)
    displaced = {cue_id for cue_id in kept if once[cue_id] != now[cue_id]}
    assert await drain_outbox(database) == gone | ({cue.id for cue in after} - kept) | displaced
    async with database.read() as connection:
        versions = await transcripts.versions(connection, gone)
    assert all(versions[cue.id][0] > cue.version for cue in before if cue.id in gone)


def _followers(lines: Sequence[Cue]) -> dict[CueId, CueId | None]:
    """Which line comes after each of these."""
    ids = [cue.id for cue in lines]
    return dict(zip(ids, [*ids[1:], None], strict=False))


async def test_what_a_pass_heard_stays_as_it_was_heard(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    for text in ("first", "second"):
        await adopt(database, recording_id, line(0, text))
    async with database.read() as connection:
        rows = (await connection.execute(select(tables.run_line.c.text).order_by(tables.run_line.c.id))).all()
    assert [row.text for row in rows] == ["first", "second"]


async def test_current_cues_are_paged_by_id(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await adopt(database, recording_id, *(line(at, str(at)) for at in range(0, 20_000, 2_000)))
    await adopt(database, recording_id, *(line(at, str(at)) for at in range(0, 20_000, 4_000)))
    seen: list[str] = []
    after = CueId(0)
    async with database.read() as connection:
        while page := await transcripts.page(connection, after, 2):
            assert len(page) <= 2
            seen += [cue.text for cue in page]
            after = page[-1].id
    assert sorted(seen, key=int) == [str(at) for at in range(0, 20_000, 4_000)]
