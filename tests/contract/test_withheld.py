"""What is withheld of a recording, and what the catalogue says may be shown."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs, withholding
from streamarchive.catalogue import (
    assets,
    captioning,
    changes,
    cuts,
    interviews,
    outbox,
    recordings,
    transcripts,
    withheld,
)
from streamarchive.catalogue.database import Database
from streamarchive.errors import UsageError
from streamarchive.models import (
    Asset,
    AssetKind,
    Interview,
    InterviewId,
    JobState,
    RecordingId,
    Stretch,
)
from streamarchive.protocols import CueDocument, StoredObject, Tombstone
from streamarchive.search import feed
from tests import factories
from tests.factories import commit, line, segment
from tests.interleaving import interleaved

LINES = (
    line(0, "before it"),
    line(10_000, "the canary sings"),
    line(12_500, "and sings on"),
    line(20_000, "after it"),
)


async def interview(database: Database, interview_id: InterviewId) -> Interview:
    async with database.read() as connection:
        return await interviews.get(connection, interview_id)


async def recorded(database: Database) -> tuple[InterviewId, RecordingId]:
    """A minute with these lines, known to search."""
    interview_id, recording_id = await factories.uploaded(database)
    await factories.heard(database, recording_id, *LINES)
    async with database.write() as tx:
        await outbox.remove(tx, await outbox.oldest(tx))
    return interview_id, recording_id


async def withhold(database: Database, recording_id: RecordingId, start_ms: int, end_ms: int) -> int:
    async with database.write() as tx:
        return (await withholding.withhold(tx, recording_id, start_ms, end_ms, reason="slander")).id


async def test_the_last_line_that_is_shown_is_in_the_cut_and_not_withheld(database: Database) -> None:
    interview_id, recording_id = await recorded(database)

    async def last() -> str | None:
        async with database.read() as connection:
            found = await transcripts.last_shown(connection, await interviews.get(connection, interview_id))
        return found.text if found else None

    assert await last() == "after it"
    await withhold(database, recording_id, 13_000, 60_000)
    assert await last() == "the canary sings"
    async with database.write() as tx:
        await cuts.cut(tx, interview_id, None, 9_000)
    assert await last() == "before it"
    await withhold(database, recording_id, 0, 500)
    assert await last() is None


async def test_every_interview_of_the_recording_is_without_it_until_it_is_lifted(database: Database) -> None:
    interview_id, recording_id = await recorded(database)
    other = await factories.interview(database, "The other half")
    async with database.write() as tx:
        await interviews.attach(tx, other, recording_id)
        await cuts.cut(tx, other, 11_000, None)
    range_id = await withhold(database, recording_id, 11_000, 14_000)
    for one, spans in (
        (interview_id, [Stretch(0, 11_000), Stretch(14_000, 60_000)]),
        (other, [Stretch(14_000, 60_000)]),
    ):
        known = await interview(database, one)
        assert withheld.spans(known, 60_000) == spans
        assert not known.shows(10_999, 11_001)  # it touches
        assert not known.shows(13_999, 20_000)
        assert known.shows(14_000, 20_000)
    async with database.write() as tx:
        await withholding.lift(tx, range_id)
    assert withheld.spans(await interview(database, interview_id), 60_000) == [Stretch(0, 60_000)]
    async with database.read() as connection:
        [kept] = await withheld.of_recording(connection, recording_id)
    assert (kept.reason, kept.is_hole) == ("slander", False)


async def test_ranges_may_overlap_and_each_is_lifted_alone(database: Database) -> None:
    interview_id, recording_id = await recorded(database)
    first = await withhold(database, recording_id, 5_000, 12_000)
    await withhold(database, recording_id, 10_000, 70_000)
    assert withheld.spans(await interview(database, interview_id), 60_000) == [Stretch(0, 5_000)]
    async with database.write() as tx:
        await withholding.lift(tx, first)
    assert withheld.spans(await interview(database, interview_id), 60_000) == [Stretch(0, 10_000)]
    async with database.write() as tx:
        with pytest.raises(UsageError, match="already"):
            await withholding.lift(tx, first)


@pytest.mark.parametrize("borders", [(5_000, 5_000), (6_000, 5_000), (-1, 5_000)])
async def test_a_range_without_length_is_refused(database: Database, borders: tuple[int, int]) -> None:
    _, recording_id = await recorded(database)
    with pytest.raises(UsageError):
        await withhold(database, recording_id, *borders)
    async with database.read() as connection:
        assert await withheld.of_recording(connection, recording_id) == []


async def test_search_learns_of_its_lines_and_of_the_one_before(database: Database) -> None:
    interview_id, recording_id = await recorded(database)
    range_id = await withhold(database, recording_id, 11_000, 11_500)
    async with database.read() as connection:
        assert await withheld.unsettled(connection) == {interview_id}
        batch = await outbox.oldest(connection)
        told = await feed.operations(connection, batch)
        cues = await transcripts.of_recording(connection, recording_id)
    texts = {f"{interview_id}-{cue.id}": cue.text for cue in cues}
    gone = {texts[one.id] for one in told if isinstance(one, Tombstone)}
    written = {one.text: one.following for one in told if isinstance(one, CueDocument)}
    assert gone == {"the canary sings"}
    assert written == {"before it": ""}  # it went on with what is withheld
    async with database.write() as tx:
        await outbox.remove(tx, batch)
    async with database.read() as connection:
        assert await withheld.unsettled(connection) == set()
    async with database.write() as tx:
        await withholding.lift(tx, range_id)
    async with database.read() as connection:
        told = await feed.operations(connection, await outbox.oldest(connection))
    assert {one.text for one in told if isinstance(one, CueDocument)} == {"before it", "the canary sings"}
    assert all(one.version > 1 for one in told)


async def test_a_line_that_comes_later_is_withheld_as_well(database: Database) -> None:
    _, recording_id = await recorded(database)
    await withhold(database, recording_id, 30_000, 40_000)
    await factories.heard(database, recording_id, line(31_000, "said late"))
    async with database.read() as connection:
        told = await feed.operations(connection, await outbox.oldest(connection))
        lately = [text for _, text in await transcripts.shown_lately(connection, 100)]
    assert not [one for one in told if isinstance(one, CueDocument) and one.text == "said late"]
    assert "said late" not in lately
    assert "after it" in lately


async def test_what_is_being_said_is_forgotten_and_pages_are_told(database: Database) -> None:
    air = await factories.on_air(database)
    await commit(database, air, *(segment(air.take, number) for number in range(3)))
    async with database.write() as tx:
        await captioning.say(
            tx, air.recording_id, {"text": "canary", "lang": "en", "certain": 0, "start_ms": 8_000}
        )
    async with database.read() as connection:
        before = await changes.newest_id(connection)
    await withhold(database, air.recording_id, 4_000, 12_000)
    async with database.read() as connection:
        told = await changes.after(connection, before)
        everything = await changes.after(connection, 0)
        waiting = await jobs.of_recording(connection, air.recording_id)
    assert {change.kind for change in told} == {"said", "withheld"}
    assert not [change for change in everything if "canary" in str(change.payload)]
    assert waiting == []  # there is no file yet


async def test_files_are_given_only_if_all_that_is_in_them_may_be_shown(database: Database) -> None:
    interview_id, recording_id = await recorded(database)
    stored = StoredObject("recordings/1/a.mp4", 1, "0" * 64)
    async with database.write() as tx:
        await assets.put(tx, recording_id, AssetKind.MP4, stored, "video/mp4", "x")
        moment = (Stretch(10_000, 10_001),)
        await assets.put(tx, recording_id, AssetKind.POSTER, stored, "image/jpeg", "x", moment)

    async def given() -> set[AssetKind]:
        async with database.read() as connection:
            files = await assets.of_recording(connection, recording_id)
            return set(withheld.given(await interviews.get(connection, interview_id), files))

    assert await given() == {AssetKind.MP4, AssetKind.POSTER}
    range_id = await withhold(database, recording_id, 20_000, 21_000)
    assert await given() == {AssetKind.POSTER}
    async with database.read() as connection:
        [job] = await jobs.of_recording(connection, recording_id)
    assert (job.kind, job.state) == ("finalise", JobState.QUEUED)
    async with database.write() as tx:
        shows = (Stretch(0, 20_000), Stretch(21_000, 60_000))
        await assets.put(tx, recording_id, AssetKind.MP4, stored, "video/mp4", "y", shows)
    assert await given() == {AssetKind.MP4, AssetKind.POSTER}
    async with database.write() as tx:
        await withholding.lift(tx, range_id)
        await withholding.cut(tx, interview_id, 15_000, None)
    assert await given() == set()  # an upload with a cut is not given out whole


async def test_the_files_of_a_recording_that_is_chosen_are_made_to_match_the_cut(database: Database) -> None:
    interview_id, recording_id = await recorded(database)
    async with database.write() as tx:
        await recordings.create_uploaded(tx, interview_id, duration_ms=60_000, has_video=True, damage=None)
        await withholding.cut(tx, interview_id, 1_000, 5_000)
        assert await jobs.of_recording(tx, recording_id) == []
        await withholding.choose(tx, interview_id, recording_id)
        assert [job.kind for job in await jobs.of_recording(tx, recording_id)] == ["finalise"]
    assert (await interview(database, interview_id)).recording_id == recording_id


async def test_a_file_of_which_nobody_knows_what_it_shows_is_given_while_nothing_is_hidden(
    database: Database,
) -> None:
    interview_id, recording_id = await recorded(database)
    unknown = Asset(recording_id, AssetKind.MP4, "key", 1, "video/mp4")
    assert withheld.may_give(await interview(database, interview_id), unknown)
    await withhold(database, recording_id, 20_000, 21_000)
    assert not withheld.may_give(await interview(database, interview_id), unknown)


def test_holes_lie_between_and_around_what_is_shown() -> None:
    shown = [Stretch(5, 10), Stretch(20, 30)]
    assert withheld.holes(shown, 40) == [Stretch(0, 5), Stretch(10, 20), Stretch(30, 40)]
    assert withheld.holes([Stretch(0, 40)], 40) == []


@pytest.mark.parametrize("change", ["cut", "chosen"])
async def test_what_is_to_be_shown_changes_before_a_job_has_looked_or_after_its_end(
    database: Database, change: str
) -> None:
    """In between it would find the job under way, which ends with what it has seen."""
    interview_id, first = await factories.uploaded(database)
    other, second = await factories.uploaded(database)
    recording_id = first if change == "cut" else second
    async with database.write() as tx:
        await withholding.cut(tx, interview_id, 1_000, 9_000)
        await withholding.cut(tx, other, 20_000, 30_000)
    while (job := await jobs.claim(database, (jobs.FINALISE,), "test")) and job.recording_id != recording_id:
        pass
    assert job is not None

    async def look(tx: AsyncConnection) -> list[Stretch]:
        await withheld.hold(tx, recording_id)
        return await withheld.shown_by_all(tx, recording_id)

    async def show_another_part(tx: AsyncConnection) -> None:
        if change == "cut":
            await withholding.cut(tx, interview_id, 2_000, 8_000)
        else:
            await withholding.choose(tx, interview_id, second)

    seen, _ = await interleaved(database, look, show_another_part, rest=lambda tx: jobs.finish(tx, job))
    async with database.read() as connection:
        [newest] = await jobs.of_recording(connection, recording_id)
        assert (newest.state is JobState.QUEUED) or seen == await withheld.shown_by_all(connection, recording_id)
