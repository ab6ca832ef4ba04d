"""Which segments may go: everything that speaks against it, one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs
from streamarchive.catalogue import assets, cuts, interviews, media_segments, recordings, retention, withheld
from streamarchive.catalogue.database import Database
from streamarchive.models import AssetKind, JobState, RecordingId
from streamarchive.protocols import StoredObject
from tests import factories
from tests.factories import commit, segment

KIND = "release"
NOW = timedelta(0)


async def finished(database: Database, *, verified: bool = True) -> factories.OnAir:
    """A broadcast that is over, with its file, on which nobody works any more."""
    air = await factories.on_air(database)
    await commit(database, air, *(segment(air.take, number) for number in range(3)))
    async with database.write() as tx:
        await recordings.finish(tx, air.stream, air.recording_id)
        await put_file(tx, air.recording_id, verified=verified)
        for job in await jobs.of_recording(tx, air.recording_id):
            await jobs.cancel(tx, job.id)
    return air


async def put_file(tx: AsyncConnection, recording_id: RecordingId, *, verified: bool) -> None:
    stored = StoredObject("whole.mp4", 5, "0" * 64)
    await assets.put(tx, recording_id, AssetKind.MP4, stored, "video/mp4", "takes", verified=verified)


async def due(database: Database, keep: timedelta = NOW) -> list[RecordingId]:
    async with database.read() as connection:
        return await retention.due(connection, keep, but=KIND)


async def test_a_broadcast_with_a_verified_file_may_lose_its_segments_after_its_days(database: Database) -> None:
    air = await finished(database)
    assert await due(database) == [air.recording_id]
    assert await due(database, timedelta(days=1)) == []


async def is_cut(tx: AsyncConnection, air: factories.OnAir) -> None:
    await cuts.cut(tx, air.interview_id, 4_000, None)


async def is_shared(tx: AsyncConnection, air: factories.OnAir) -> None:
    other = await interviews.create(tx, titles={"en": "Another"})
    await interviews.attach(tx, other, air.recording_id)


async def is_worked_on(tx: AsyncConnection, air: factories.OnAir) -> None:
    await jobs.enqueue(tx, "transcribe", "again", recording_id=air.recording_id)


async def has_a_withheld_range(tx: AsyncConnection, air: factories.OnAir) -> None:
    await withheld.withhold(tx, air.recording_id, 1_000, 2_000)


async def has_an_unverified_file(tx: AsyncConnection, air: factories.OnAir) -> None:
    await put_file(tx, air.recording_id, verified=False)


@pytest.mark.parametrize(
    "reason", [is_cut, is_shared, is_worked_on, has_a_withheld_range, has_an_unverified_file]
)
async def test_segments_stay_while_they_are_needed(
    database: Database, reason: Callable[[AsyncConnection, factories.OnAir], Awaitable[None]]
) -> None:
    air = await finished(database)
    async with database.write() as tx:
        await reason(tx, air)
    assert await due(database) == []
    async with database.read() as connection:
        assert not await retention.is_due(connection, air.recording_id, but=KIND)


async def test_what_is_on_air_or_has_no_file_keeps_its_segments(database: Database) -> None:
    live = await factories.on_air(database)
    await commit(database, live, segment(live.take, 0))
    async with database.write() as tx:
        await put_file(tx, live.recording_id, verified=True)
    await factories.uploaded(database)
    assert await due(database) == []


async def test_a_failed_job_stands_against_it_and_its_own_does_not(database: Database) -> None:
    air = await finished(database)
    async with database.write() as tx:
        await jobs.enqueue(tx, KIND, "1", recording_id=air.recording_id)
    assert await due(database) == [air.recording_id]
    async with database.write() as tx:
        await jobs.enqueue(tx, "finalise", "1", recording_id=air.recording_id)
    job = await jobs.claim(database, ("finalise",), "test")
    assert job is not None
    assert await jobs.fail(database, job, "it does not decode", retryable=False) is JobState.PARKED
    assert await due(database) == []


async def test_released_segments_are_known_by_their_files_until_nobody_needs_those(database: Database) -> None:
    air = await finished(database)
    async with database.read() as connection:
        keys = [one.key for one in await media_segments.of_recording(connection, air.recording_id)]
        assert await retention.released_keys(connection, air.recording_id) == []
        assert not await retention.were_released(connection, air.recording_id)
    async with database.write() as tx:
        await retention.release(tx, air.recording_id)
    async with database.read() as connection:
        assert await media_segments.of_recording(connection, air.recording_id) == []
        assert await retention.released_keys(connection, air.recording_id) == list(dict.fromkeys(keys))
        assert await retention.were_released(connection, air.recording_id)
    assert await due(database) == []
