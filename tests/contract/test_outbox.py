from __future__ import annotations

import asyncio
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamarchive.catalogue import corrections, interviews, outbox, transcripts
from streamarchive.catalogue.database import Database, now
from streamarchive.catalogue.outbox import Batch
from streamarchive.errors import EditError
from streamarchive.models import CueId, InterviewId, RecordingId, RunStage
from streamarchive.protocols import CueDocument, InterviewDocument, Operation, Tombstone
from streamarchive.search import feed
from tests import factories
from tests.factories import line
from tests.interleaving import interleaved


async def oldest(database: Database, limit: int = 500) -> Batch:
    async with database.read() as connection:
        return await outbox.oldest(connection, limit)


async def remove(database: Database, batch: Batch) -> None:
    async with database.write() as tx:
        await outbox.remove(tx, batch)


async def drain(database: Database) -> list[Operation]:
    """What an index would be told, and the outbox empty afterwards."""
    async with database.read() as connection:
        batch = await outbox.oldest(connection, limit=100_000)
        operations = await feed.operations(connection, batch)
    await remove(database, batch)
    return operations


async def test_subjects_come_in_order_and_once_however_often_they_changed(database: Database) -> None:
    async with database.write() as tx:
        await outbox.put_cues(tx, [CueId(3), CueId(1), CueId(3)])
        await outbox.put_interview(tx, InterviewId("0123456789"))
        await outbox.put_cues(tx, [CueId(1), CueId(2)])
    batch = await oldest(database)
    assert batch.cue_ids == (3, 1, 2)
    assert batch.interview_ids == ("0123456789",)
    assert len(batch.row_ids) == 6
    assert len((await oldest(database, limit=2)).row_ids) == 2


async def test_what_is_written_while_a_batch_is_indexed_stays(database: Database) -> None:
    async with database.write() as tx:
        await outbox.put_cues(tx, [CueId(1), CueId(2)])
    batch = await oldest(database)
    async with database.write() as tx:
        await outbox.put_cues(tx, [CueId(1)])
    await remove(database, batch)
    assert (await oldest(database)).cue_ids == (1,)


async def test_of_two_recordings_shown_at_once_the_one_that_is_left_is_named(database: Database) -> None:
    interview_id = await factories.interview(database)
    (_, left), (_, shown) = await factories.uploaded(database), await factories.uploaded(database)
    await interleaved(
        database,
        lambda tx: interviews.attach(tx, interview_id, left),
        lambda tx: interviews.attach(tx, interview_id, shown),
    )
    assert (await oldest(database)).left == ((interview_id, left),)


async def test_two_interviews_exchange_their_recordings_at_once(database: Database) -> None:
    shown = [await factories.uploaded(database), await factories.uploaded(database)]
    for _, recording_id in shown:
        await factories.heard(database, recording_id, line(0, "a line"))
    (one, first), (other, second) = shown

    async def exchange(interview_id: InterviewId, *taken: RecordingId) -> None:
        for recording_id in taken * 5:
            async with database.write() as tx:
                await interviews.attach(tx, interview_id, recording_id)

    await asyncio.gather(exchange(one, second, first), exchange(other, first, second))
    assert {left for _, left in (await oldest(database, 10_000)).left} == {first, second}


async def test_how_much_waits_and_since_when_is_known(database: Database) -> None:
    async with database.write() as tx:
        assert await outbox.waiting(tx) == (0, None)
        before = await now(tx)
        await outbox.put_cues(tx, [CueId(1), CueId(2)])
    async with database.read() as connection:
        count, since = await outbox.waiting(connection)
        assert count == 2
        assert since is not None
        assert before <= since <= await now(connection)


async def test_an_interview_and_its_cues_become_documents(database: Database) -> None:
    interview_id, recording_id = await factories.uploaded(database, "Cockpit")
    await factories.heard(database, recording_id, line(0, "a b"), stage=RunStage.FINAL)
    by_kind = {type(operation): operation for operation in await drain(database)}
    document, cue = by_kind[InterviewDocument], by_kind[CueDocument]
    assert isinstance(document, InterviewDocument)
    assert isinstance(cue, CueDocument)
    assert (document.interview_id, document.text) == (interview_id, "Cockpit")
    assert (cue.interview_id, cue.text, cue.start_ms) == (interview_id, "a b", 0)


async def test_a_cue_that_is_gone_leaves_a_tombstone_of_a_higher_version(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, line(0, "live"))
    [made] = [op for op in await drain(database) if isinstance(op, CueDocument)]
    async with database.write() as tx:
        await transcripts.withdraw(tx, recording_id, 0)
    [gone] = await drain(database)
    assert isinstance(gone, Tombstone)
    assert gone.id == made.id
    assert gone.version > made.version


async def test_what_earlier_passes_have_left_is_not_looked_at_again(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    for number in range(4):
        await factories.heard(database, recording_id, line(0, f"pass {number}"), stage=RunStage.FINAL)
    await drain(database)
    async with database.write() as tx:
        await outbox.put_recording(tx, recording_id)
        assert (await outbox.waiting(tx))[0] == 1
    [document] = await drain(database)
    assert isinstance(document, CueDocument)
    assert document.text == "pass 3"


async def test_a_recording_in_two_interviews_has_its_cues_in_both(database: Database) -> None:
    first, recording_id = await factories.uploaded(database)
    second = await factories.interview(database)
    await factories.heard(database, recording_id, line(0, "a"), line(4_000, "b"), stage=RunStage.FINAL)
    await drain(database)
    async with database.write() as tx:
        await interviews.attach(tx, second, recording_id)
    documents = [op for op in await drain(database) if isinstance(op, CueDocument)]
    assert sorted((op.interview_id, op.text) for op in documents) == sorted(
        (interview_id, text) for interview_id in (first, second) for text in ("a", "b")
    )


async def test_an_interview_that_shows_another_recording_now_leaves_nothing_of_the_old_one(
    database: Database,
) -> None:
    interview_id, old = await factories.uploaded(database)
    _, new = await factories.uploaded(database)
    await factories.heard(database, old, line(0, "old"), stage=RunStage.FINAL)
    await factories.heard(database, new, line(0, "new"), stage=RunStage.FINAL)
    made = {op.text: op for op in await drain(database) if isinstance(op, CueDocument)}
    async with database.write() as tx:
        await interviews.attach(tx, interview_id, new)
    operations = await drain(database)
    [gone] = [op for op in operations if isinstance(op, Tombstone)]
    assert (gone.id, gone.version > made["old"].version) == (made["old"].id, True)
    shown = [op for op in operations if isinstance(op, CueDocument) and op.interview_id == interview_id]
    assert [op.text for op in shown] == ["new"]
    async with database.write() as tx:  # and back again
        await interviews.attach(tx, interview_id, old)
    again = [op for op in await drain(database) if isinstance(op, CueDocument) and op.text == "old"]
    assert [(op.id, op.version > gone.version) for op in again] == [(gone.id, True)]


async def test_everything_there_is_is_what_a_rebuilt_index_gets(database: Database) -> None:
    ids = []
    for number in range(3):
        interview_id, recording_id = await factories.uploaded(database, f"Talk {number}")
        await factories.heard(database, recording_id, line(0, f"cue {number}"), stage=RunStage.FINAL)
        await factories.heard(database, recording_id, line(0, f"now {number}"), stage=RunStage.FINAL)
        ids.append(interview_id)
    changes = {op.id: op for op in await drain(database) if not isinstance(op, Tombstone)}
    rebuilt = {op.id: op async for part in feed.everything(database) for op in part.operations}
    assert rebuilt == changes
    assert sorted(op.text for op in rebuilt.values() if isinstance(op, CueDocument)) == [
        "now 0",
        "now 1",
        "now 2",
    ]


# --- what a version names -------------------------------------------------------------------------------


class Step(NamedTuple):
    """Something that happens to a transcript: to its line number `line`, or at `slot` (of two seconds)."""

    kind: str
    line: int
    slot: int


class Shown(NamedTuple):
    """All that search knows of a line: the line and the one after it."""

    start_ms: int
    text: str
    speaker: str | None
    following: tuple[int, int, str] | None


steps = st.builds(
    Step,
    st.sampled_from(["append", "insert", "edit", "delete", "retime", "speaker", "merge", "withdraw", "adopt"]),
    st.integers(0, 5),
    st.integers(0, 9),
)


async def happen(database: Database, recording_id: RecordingId, step: Step) -> None:
    async with database.write() as tx:
        there = await transcripts.of_recording(tx, recording_id)
        at = step.slot * 2_000
        match step.kind:
            case "insert":
                await corrections.insert(tx, recording_id, at, at + 1_000, f"slot {step.slot}", "en", None)
            case "withdraw":
                await transcripts.withdraw(tx, recording_id, at)
        if there and step.kind in {"edit", "delete", "retime", "speaker", "merge"}:
            cue = there[step.line % len(there)]
            expected = cue.id, cue.revision
            match step.kind:
                case "edit":
                    await corrections.edit(tx, *expected, f"edited {step.slot}", None)
                case "delete":
                    await corrections.delete(tx, *expected, None)
                case "retime":
                    await corrections.retime(tx, *expected, at, at + 1_500, None)
                case "speaker":
                    await corrections.set_speaker(tx, *expected, f"Voice {step.slot}", None)
                case "merge" if cue != there[-1]:
                    await corrections.merge(tx, *expected, "next", None)
    if step.kind in {"append", "adopt"}:
        lines = [line(slot * 2_000, f"{step.kind} {slot}") for slot in range(step.line, step.slot)]
        stage = RunStage.LIVE if step.kind == "append" else RunStage.FINAL
        await factories.heard(database, recording_id, *lines, stage=stage)


async def shown(database: Database, recording_id: RecordingId) -> dict[CueId, tuple[int, Shown]]:
    """Each line's version, and what it names."""
    async with database.read() as connection:
        there = await transcripts.of_recording(connection, recording_id)
        following = await transcripts.following(connection, there)
    found = {}
    for cue in there:
        other = following.get(cue.id)
        known = (other.id, other.start_ms, other.text) if other else None
        found[cue.id] = cue.version, Shown(cue.start_ms, cue.text, cue.speaker, known)
    return found


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(happened=st.lists(steps, min_size=1, max_size=8))
async def test_a_version_names_one_state_of_a_line_and_of_the_line_after_it(
    database: Database, happened: list[Step]
) -> None:
    """So deliveries may be late, doubled and in any order; and whatever differs stands in the outbox."""
    _, recording_id = await factories.uploaded(database)
    ever: dict[tuple[CueId, int], Shown] = {}
    before: dict[CueId, tuple[int, Shown]] = {}
    for step in happened:
        await remove(database, await oldest(database, limit=1_000))
        try:
            await happen(database, recording_id, step)
        except EditError:
            continue  # e.g. lines that may not overlap
        after = await shown(database, recording_id)
        for cue_id, (version, state) in after.items():
            assert ever.setdefault((cue_id, version), state) == state
            assert version >= before.get(cue_id, (0, state))[0]
        differing = {cue_id for cue_id in before.keys() | after.keys() if before.get(cue_id) != after.get(cue_id)}
        assert differing <= set((await oldest(database, limit=1_000)).cue_ids)
        before = after
