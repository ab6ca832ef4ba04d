"""One recording that serves several interviews."""

from __future__ import annotations

from datetime import timedelta

import pytest

from streamarchive.catalogue import cuts, interviews, media_segments, recordings, streams
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import UsageError
from streamarchive.models import Interview, InterviewId, Stage, Stream, StreamId, StreamState
from tests import factories
from tests.factories import commit, segment
from tests.interleaving import interleaved


async def interview(database: Database, interview_id: InterviewId) -> Interview:
    async with database.read() as connection:
        return await interviews.get(connection, interview_id)


async def stream(database: Database, stream_id: StreamId) -> Stream:
    async with database.read() as connection:
        return await streams.get(connection, stream_id)


async def begun(database: Database) -> tuple[factories.OnAir, InterviewId, int]:
    """Twelve seconds of one interview, then the next; both, and where it was cut."""
    air = await factories.on_air(database)
    await commit(database, air, *(segment(air.take, number) for number in range(3)))
    following = await factories.interview(database, "The next one")
    async with database.write() as tx:
        at_ms = await cuts.next_interview(tx, air.stream.id, following)
    return air, following, at_ms


async def test_the_next_interview_goes_on_with_the_same_recording(database: Database) -> None:
    air, following, at_ms = await begun(database)
    assert 12_000 <= at_ms <= 27_000
    first, second = await interview(database, air.interview_id), await interview(database, following)
    assert (first.in_ms, first.out_ms) == (None, at_ms)
    assert (second.in_ms, second.out_ms) == (at_ms, None)
    assert first.recording_id == second.recording_id == air.recording_id
    assert (await stream(database, air.stream.id)).interview_id == following
    await commit(database, air, *(segment(air.take, number) for number in range(3, 8)))  # not fenced
    assert (await interview(database, air.interview_id)).stage is Stage.PROCESSING
    assert (await interview(database, following)).stage is Stage.LIVE
    async with database.read() as connection:
        assert [one.id for one in await interviews.on_air(connection)] == [following]
        assert [one.id for one in await interviews.archived(connection)] == [air.interview_id]
        assert len(await media_segments.of_recording(connection, air.recording_id)) == 8


async def test_the_cut_is_moved_from_either_side_and_never_past_the_end_of_one(database: Database) -> None:
    air, following, _ = await begun(database)
    async with database.write() as tx:
        await cuts.cut(tx, following, 9_000, None)
    assert (await interview(database, air.interview_id)).out_ms == 9_000
    async with database.write() as tx:
        await cuts.cut(tx, air.interview_id, 2_000, 10_500)
    assert (await interview(database, following)).in_ms == 10_500
    with pytest.raises(UsageError, match="after the in point"):
        async with database.write() as tx:
            await cuts.cut(tx, following, 1_000, None)
    assert (await interview(database, following)).in_ms == 10_500
    async with database.write() as tx:
        await cuts.cut(tx, following, None, None)  # no border: both show what they like
    assert (await interview(database, air.interview_id)).out_ms == 10_500


async def test_of_two_who_move_the_same_border_at_once_the_later_is_followed(database: Database) -> None:
    air, following, _ = await begun(database)
    done = await interleaved(
        database,
        lambda tx: cuts.cut(tx, following, 9_000, None),
        lambda tx: cuts.cut(tx, air.interview_id, 0, 5_000),
    )
    assert done == [None, None]
    assert (await interview(database, air.interview_id)).out_ms == 5_000
    assert (await interview(database, following)).in_ms == 5_000


async def test_two_streams_cannot_go_on_with_the_same_interview(database: Database) -> None:
    """The second recording would belong to none from there on."""
    both = [await factories.on_air(database), await factories.on_air(database)]
    for air in both:
        await commit(database, air, *(segment(air.take, number) for number in range(3)))
    one, other = both
    following = await factories.interview(database)
    _, refused = await interleaved(
        database,
        lambda tx: cuts.next_interview(tx, one.stream.id, following),
        lambda tx: cuts.next_interview(tx, other.stream.id, following),
    )
    assert isinstance(refused, UsageError)
    assert (await interview(database, following)).recording_id == one.recording_id
    assert (await stream(database, other.stream.id)).interview_id == other.interview_id


async def test_what_does_not_run_has_no_next_interview(database: Database) -> None:
    _, claimed = await factories.claimed_stream(database)
    following = await factories.interview(database)
    recorded, _ = await factories.uploaded(database)
    air = await factories.on_air(database)
    await commit(database, air, segment(air.take, 0))
    for stream_id, interview_id in ((claimed.id, following), (air.stream.id, recorded)):
        with pytest.raises(UsageError):
            async with database.write() as tx:
                await cuts.next_interview(tx, stream_id, interview_id)


@pytest.mark.parametrize(
    ("ends", "overruns", "found"),
    [(None, False, True), (-60, True, True), (-60, False, False), (3600, True, False)],
)
async def test_a_source_without_a_later_end_is_taken_up_by_the_next_stream(
    database: Database, ends: int | None, overruns: bool, found: bool
) -> None:
    interview_id, following = await factories.interview(database), await factories.interview(database)
    async with database.write() as tx:
        moment = await now(tx)
        ends_at = None if ends is None else moment + timedelta(seconds=ends)
        running = await streams.create(tx, interview_id, "http://a.example/x", ends_at=ends_at, overruns=overruns)
        waiting = await streams.create(
            tx, following, "http://a.example/x", ends_at=moment + timedelta(hours=1), overruns=True
        )
        await streams.create(tx, following, "http://b.example/x")
    claimed = await streams.claim(database, running, "a", factories.LEASE)
    assert claimed is not None
    async with database.write() as tx:
        recording_id = await recordings.begin(tx, claimed, has_video=True)
        take = await recordings.begin_take(tx, claimed, recording_id)
    await commit(database, factories.OnAir(interview_id, claimed, recording_id, take), segment(take, 0))
    async with database.read() as connection:
        before = await streams.before(connection, await streams.get(connection, waiting))
    assert (before is not None and before.id == running) is found
    if not found:
        return
    for _ in range(2):  # two recorders may see it at once
        async with database.write() as tx:
            await cuts.take_up(tx, running, waiting)
    one, other = await stream(database, running), await stream(database, waiting)
    assert (one.interview_id, one.ends_at, one.overruns) == (following, other.ends_at, True)
    assert other.state is StreamState.ENDED


async def test_what_somebody_has_begun_by_hand_is_taken_up_with_its_end(database: Database) -> None:
    air, following, _ = await begun(database)
    async with database.write() as tx:
        ends_at = await now(tx) + timedelta(hours=1)
        waiting = await streams.create(tx, following, "http://a.example/x", ends_at=ends_at, overruns=True)
        await cuts.take_up(tx, air.stream.id, waiting)
    running = await stream(database, air.stream.id)
    assert (running.interview_id, running.ends_at, running.overruns) == (following, ends_at, True)
    assert (await stream(database, waiting)).state is StreamState.ENDED
