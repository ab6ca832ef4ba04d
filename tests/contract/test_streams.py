from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from streamarchive.catalogue import changes, recordings, streams, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import FencedError, NotFoundError
from streamarchive.models import InterviewId, Stream, StreamId, StreamState
from tests import factories

PAST = timedelta(seconds=-1)
URL = "http://source.example/live.m3u8"


async def create(database: Database, **times: timedelta) -> tuple[InterviewId, StreamId]:
    interview_id = await factories.interview(database)
    async with database.write() as tx:
        moment = await now(tx)
        stream_id = await streams.create(
            tx, interview_id, URL, **{name: moment + shift for name, shift in times.items()}
        )
    return interview_id, stream_id


async def claim(database: Database, stream_id: StreamId, owner: str, lease: timedelta) -> Stream:
    stream = await streams.claim(database, stream_id, owner, lease)
    assert stream is not None
    return stream


async def due(database: Database) -> list[StreamId]:
    async with database.read() as connection:
        return [stream.id for stream in await streams.due(connection)]


async def test_a_stream_is_due_between_its_start_and_its_end_while_nobody_has_it(database: Database) -> None:
    _, later = await create(database, starts_at=timedelta(hours=1))
    _, second = await create(database)
    _, first = await create(database, starts_at=timedelta(hours=-1))
    assert await due(database) == [first, second]
    stream = await claim(database, first, "a", factories.LEASE)
    assert await due(database) == [second]
    async with database.write() as tx:
        await streams.end(tx, stream)
    assert await due(database) == [second]
    await claim(database, second, "a", PAST)
    assert await due(database) == [second]
    assert later not in await due(database)


async def test_only_one_of_many_gets_a_stream(database: Database) -> None:
    _, stream_id = await create(database)
    claims = await asyncio.gather(
        *(streams.claim(database, stream_id, str(number), factories.LEASE) for number in range(8))
    )
    assert len([stream for stream in claims if stream is not None]) == 1


async def test_the_epoch_rises_with_every_owner_and_fences_the_one_before(database: Database) -> None:
    _, stream_id = await create(database)
    first = await claim(database, stream_id, "a", PAST)
    renewed = await streams.renew(database, stream_id, first.epoch, PAST)  # late, but nobody came
    assert (renewed.owner, renewed.epoch) == ("a", first.epoch)
    second = await claim(database, stream_id, "b", factories.LEASE)
    assert (second.owner, second.epoch) == ("b", first.epoch + 1)
    with pytest.raises(FencedError, match="another process"):
        await streams.renew(database, stream_id, first.epoch, factories.LEASE)
    for step in (
        lambda tx: streams.require_epoch(tx, stream_id, first.epoch),
        lambda tx: streams.end(tx, first),
        lambda tx: recordings.begin(tx, first, has_video=True),
    ):
        with pytest.raises(FencedError):
            async with database.write() as tx:
                await step(tx)
    await streams.release(database, stream_id, first.epoch)  # too late to give away what is b's
    async with database.read() as connection:
        assert await streams.get(connection, stream_id) == second


async def test_nobody_can_take_a_stream_over_while_its_owner_commits(database: Database) -> None:
    """The lease has run out, but what the first commits now is still before the second's time."""
    _, stream_id = await create(database)
    first = await claim(database, stream_id, "a", PAST)
    owned, commit = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with database.write() as tx:
            await streams.require_epoch(tx, stream_id, first.epoch)
            owned.set()
            await commit.wait()
            await recordings.begin(tx, first, has_video=True)

    writing = asyncio.create_task(write())
    await owned.wait()
    taking = asyncio.create_task(claim(database, stream_id, "b", factories.LEASE))
    await asyncio.wait([taking], timeout=0.3)
    assert not taking.done()
    commit.set()
    await writing
    second = await taking
    assert second.recording_id is not None
    assert second.state is StreamState.RECORDING


async def test_an_owner_may_write_from_several_tasks_at_once(database: Database) -> None:
    """Each makes sure of the stream and then changes it: with a lock that is shared at first they deadlock."""
    _, stream_id = await create(database)
    stream = await claim(database, stream_id, "a", factories.LEASE)

    async def write(number: int) -> None:
        async with database.write() as tx:
            await streams.require_epoch(tx, stream_id, stream.epoch)
            await asyncio.sleep(0)
            await streams.set_error(tx, stream, str(number))

    await asyncio.gather(*(write(number) for number in range(12)))
    async with database.read() as connection:
        assert (await streams.get(connection, stream_id)).last_error in map(str, range(12))


async def test_what_is_released_can_be_claimed_at_once(database: Database) -> None:
    _, stream_id = await create(database)
    stream = await claim(database, stream_id, "a", factories.LEASE)
    assert await streams.claim(database, stream_id, "b", factories.LEASE) is None
    await streams.release(database, stream_id, stream.epoch)
    assert await due(database) == [stream_id]
    assert (await claim(database, stream_id, "b", factories.LEASE)).epoch == stream.epoch + 1


async def test_an_offered_stream_is_given_to_the_first_that_stands_by(database: Database) -> None:
    _, stream_id = await create(database)
    first = await claim(database, stream_id, "a", factories.LEASE)
    assert not await streams.stand_by(database, stream_id, "b"), "it is not on offer"
    await streams.offer(database, stream_id, first.epoch, factories.LEASE)
    ready = await asyncio.gather(*(streams.stand_by(database, stream_id, name) for name in "bcd"))
    assert sorted(ready) == [False, False, True]
    offered = await streams.renew(database, stream_id, first.epoch, factories.LEASE)
    assert offered.offered
    assert offered.successor in tuple("bcd")
    await streams.hand_over(database, offered, factories.LEASE)
    async with database.read() as connection:
        given = await streams.get(connection, stream_id)
    assert (given.owner, given.epoch) == (offered.successor, first.epoch + 1)
    assert (given.offered, given.successor) == (False, None)
    assert await due(database) == []
    for step in (
        streams.hand_over(database, offered, factories.LEASE),
        streams.offer(database, stream_id, first.epoch, factories.LEASE),
    ):
        with pytest.raises(FencedError):
            await step


async def test_a_lead_in_makes_a_stream_due_earlier(database: Database) -> None:
    interview_id = await factories.interview(database)
    async with database.write() as tx:
        later = await now(tx) + timedelta(minutes=10)
        far = await streams.create(tx, interview_id, URL, starts_at=later, lead_in=timedelta(minutes=1))
        near = await streams.create(tx, interview_id, URL, starts_at=later, lead_in=timedelta(minutes=11))
    assert await due(database) == [near]
    async with database.read() as connection:
        assert await streams.next_start(connection) == (await streams.get(connection, far)).begins_at


async def test_an_ended_stream_is_nobodys(database: Database) -> None:
    interview_id, stream_id = await create(database)
    stream = await claim(database, stream_id, "a", factories.LEASE)
    async with database.write() as tx:
        await streams.end(tx, stream)
    assert await streams.claim(database, stream_id, "b", factories.LEASE) is None
    async with database.read() as connection:
        [found] = await streams.of_interview(connection, interview_id)
    assert (found.state, found.owner, found.lease_until) == (StreamState.ENDED, None, None)


async def test_a_recorder_learns_of_a_stop_when_it_renews(database: Database) -> None:
    interview_id, stream_id = await create(database)
    stream = await claim(database, stream_id, "a", factories.LEASE)
    assert not stream.stop_requested
    async with database.write() as tx:
        last = await changes.newest_id(tx)
        await streams.request_stop(tx, stream_id)
    assert (await streams.renew(database, stream_id, stream.epoch, factories.LEASE)).stop_requested
    async with database.read() as connection:
        [change] = await changes.after(connection, last)
    assert (change.kind, change.interview_id) == ("interview", interview_id)


async def test_what_is_wrong_with_a_source_is_shown_until_it_is_right(database: Database) -> None:
    _, stream_id = await create(database)
    first = await claim(database, stream_id, "a", PAST)
    second = await claim(database, stream_id, "b", factories.LEASE)
    steps = ((second, "refused", "refused"), (first, "late", "refused"), (second, None, None))
    for stream, error, shown in steps:
        async with database.write() as tx:
            await streams.set_error(tx, stream, error)
        async with database.read() as connection:
            assert (await streams.get(connection, stream_id)).last_error == shown


async def test_no_stream_is_no_stream(database: Database) -> None:
    for step in (streams.get, streams.request_stop):
        with pytest.raises(NotFoundError):
            async with database.write() as tx:
                await step(tx, StreamId(7))
    assert await streams.claim(database, StreamId(7), "a", factories.LEASE) is None


# --- a clock that was ahead ---------------------------------------------------------------------------------


async def set_clock_back(database: Database, stream_id: StreamId, by: timedelta) -> None:
    """What is there was written by a clock that was ahead by so much."""
    table = tables.stream
    async with database.write() as tx:
        stream = await streams.get(tx, stream_id)
        values = {"begins_at": stream.begins_at + by, "starts_at": stream.starts_at + by}
        if stream.lease_until is not None:
            values["lease_until"] = stream.lease_until + by
        await tx.execute(update(table).where(table.c.id == stream_id).values(values))


async def test_a_recording_goes_on_after_a_restart_though_the_clock_says_it_has_not_begun(
    database: Database,
) -> None:
    air = await factories.on_air(database)
    await streams.release(database, air.stream.id, air.stream.epoch)
    await set_clock_back(database, air.stream.id, timedelta(hours=8))
    assert await due(database) == [air.stream.id]


async def test_no_lease_lasts_for_hours_because_the_clock_has_been_set_back(database: Database) -> None:
    _, stream_id = await create(database)
    held = await claim(database, stream_id, "a", timedelta(seconds=15))
    await set_clock_back(database, stream_id, timedelta(hours=8))
    async with database.write() as tx:
        assert await streams.clock_set_back(tx) == 1
        lease_until = (await streams.get(tx, stream_id)).lease_until
        assert lease_until is not None
        assert lease_until <= await now(tx) + timedelta(minutes=1)
    renewed = await streams.renew(database, stream_id, held.epoch, timedelta(seconds=15))
    async with database.write() as tx:
        assert await streams.clock_set_back(tx) == 0
        assert await streams.get(tx, stream_id) == renewed
