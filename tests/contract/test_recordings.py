from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from streamarchive.catalogue import (
    assets,
    changes,
    media_segments,
    purging,
    recordings,
    retention,
    streams,
    withheld,
)
from streamarchive.catalogue.database import Database
from streamarchive.errors import DatabaseError, FencedError, NotFoundError
from streamarchive.models import AssetKind, Gap, GapReason, Recording, RecordingId, RecordingState, StreamState
from streamarchive.protocols import StoredObject
from tests import factories
from tests.factories import SEGMENT_TICKS, OnAir, commit, segment


async def recording(database: Database, recording_id: RecordingId) -> Recording:
    async with database.read() as connection:
        return await recordings.get(connection, recording_id)


async def sequences(database: Database, recording_id: RecordingId) -> list[int]:
    async with database.read() as connection:
        return [one.sequence for one in await media_segments.of_recording(connection, recording_id)]


async def gaps(database: Database, recording_id: RecordingId) -> list[Gap]:
    async with database.read() as connection:
        return await recordings.gaps(connection, recording_id)


async def open_gap(database: Database, air: OnAir, reason: GapReason = GapReason.BROKE_OFF) -> None:
    async with database.write() as tx:
        await recordings.open_gap(tx, air.stream, air.recording_id, reason, "in words")


async def taken_over(database: Database, air: OnAir) -> OnAir:
    """Another recorder goes on, because the first one's lease has run out."""
    await streams.renew(database, air.stream.id, air.stream.epoch, timedelta(seconds=-1))
    stream = await streams.claim(database, air.stream.id, "another", factories.LEASE)
    assert stream is not None
    async with database.write() as tx:
        recording_id = await recordings.begin(tx, stream, has_video=True)
        take = await recordings.begin_take(tx, stream, recording_id)
    return OnAir(air.interview_id, stream, recording_id, take)


# --- takes and segments -------------------------------------------------------------------------------------


async def test_segments_are_read_as_they_were_committed(database: Database) -> None:
    air = await factories.on_air(database)
    committed = [segment(air.take, number) for number in range(3)]
    committed[2] = replace(committed[2], partial=True)
    await commit(database, air, *committed)
    async with database.read() as connection:
        assert await media_segments.of_recording(connection, air.recording_id) == committed
        assert await media_segments.of_recording(connection, air.recording_id, after_sequence=1) == committed[2:]
        assert await media_segments.get(connection, air.recording_id, 1) == committed[1]
        assert await media_segments.get(connection, air.recording_id, 7) is None
        held = [await media_segments.at(connection, air.recording_id, ms) for ms in (0, 4_001, 12_000, 60_000)]
        assert held == [committed[0], committed[1], committed[2], committed[2]]
        [take] = await recordings.takes(connection, air.recording_id)
    assert (take.origin_pts, take.number, take.base_ticks) == (126_000, 0, 0)
    found = await recording(database, air.recording_id)
    assert (found.duration_ms, found.has_video, found.state) == (12_000, True, RecordingState.OPEN)


async def test_pages_learn_of_every_segment(database: Database) -> None:
    air = await factories.on_air(database)
    async with database.read() as connection:
        last = await changes.newest_id(connection)
    await commit(database, air, segment(air.take, 0), segment(air.take, 1))
    async with database.read() as connection:
        found = await changes.after(connection, last)
    assert [(c.kind, c.interview_id, c.payload) for c in found] == [
        ("media", air.interview_id, {"duration_ms": 4_000 * (n + 1), "sequence": n}) for n in range(2)
    ]


async def test_the_next_owner_continues_the_recording_in_a_take_of_its_own(database: Database) -> None:
    first = await factories.on_air(database)
    await commit(database, first, segment(first.take, 0), segment(first.take, 1))
    second = await taken_over(database, first)
    assert second.recording_id == first.recording_id
    assert (second.take.number, second.take.base_ticks) == (1, 2 * SEGMENT_TICKS)
    await commit(database, second, segment(second.take, 2))
    async with database.read() as connection:
        takes = await recordings.takes(connection, first.recording_id)
    assert [take.number for take in takes] == [0, 1]
    assert takes[0].ended_at is not None
    assert takes[1].ended_at is None
    assert [take.epoch for take in takes] == [first.stream.epoch, second.stream.epoch]


async def test_whoever_lost_the_stream_writes_nothing_any_more(database: Database) -> None:
    first = await factories.on_air(database)
    await commit(database, first, segment(first.take, 0))
    second = await taken_over(database, first)
    for write in (
        lambda tx: recordings.commit_segment(tx, first.stream, segment(first.take, 1), 0, has_video=True),
        lambda tx: recordings.begin(tx, first.stream, has_video=True),
        lambda tx: recordings.begin_take(tx, first.stream, first.recording_id),
        lambda tx: recordings.open_gap(tx, first.stream, first.recording_id, GapReason.STALLED),
        lambda tx: recordings.finish(tx, first.stream, first.recording_id),
    ):
        with pytest.raises(FencedError):
            async with database.write() as tx:
                await write(tx)
    await commit(database, second, segment(second.take, 1))
    assert await sequences(database, first.recording_id) == [0, 1]
    assert await gaps(database, first.recording_id) == []
    assert (await recording(database, first.recording_id)).state is RecordingState.OPEN


async def test_a_segment_is_committed_once(database: Database) -> None:
    """The same place in the recording or the same time in its take a second time: nothing changes."""
    air = await factories.on_air(database)
    await commit(database, air, segment(air.take, 0), segment(air.take, 1))
    for doubled in (segment(air.take, 1), replace(segment(air.take, 1), sequence=2)):
        async with database.read() as connection:
            last = await changes.newest_id(connection)
        with pytest.raises(DatabaseError):
            await commit(database, air, doubled)
        async with database.read() as connection:
            assert await changes.newest_id(connection) == last
    assert await sequences(database, air.recording_id) == [0, 1]
    assert (await recording(database, air.recording_id)).duration_ms == 8_000


# --- gaps ---------------------------------------------------------------------------------------------------


async def test_a_gap_begins_at_the_last_arrival_and_ends_with_the_next_segment(database: Database) -> None:
    air = await factories.on_air(database)
    last = segment(air.take, 0)
    await commit(database, air, last)
    await open_gap(database, air)
    await open_gap(database, air, GapReason.REFUSED)  # still the same one
    [gap] = await gaps(database, air.recording_id)
    assert (gap.at_ms, gap.began_at, gap.ended_at) == (4_000, last.arrived_at, None)
    assert (gap.reason, gap.detail) == (GapReason.BROKE_OFF, "in words")
    await commit(database, air, segment(air.take, 1), first=True)
    [gap] = await gaps(database, air.recording_id)
    assert gap.ended_at is not None
    assert gap.ended_at >= gap.began_at
    await open_gap(database, air)
    await commit(database, air, segment(air.take, 2), first=True)
    assert [(gap.at_ms, gap.ended_at is None) for gap in await gaps(database, air.recording_id)] == [
        (4_000, False),
        (8_000, False),
    ]


async def test_what_is_rescued_later_stands_before_the_gap(database: Database) -> None:
    air = await factories.on_air(database)
    await commit(database, air, segment(air.take, 0))
    await open_gap(database, air)
    rescued = segment(air.take, 1)
    await commit(database, air, rescued)
    [gap] = await gaps(database, air.recording_id)
    assert (gap.at_ms, gap.began_at, gap.ended_at) == (8_000, rescued.arrived_at, None)


async def test_a_take_that_goes_on_where_the_last_one_ended_leaves_no_gap(database: Database) -> None:
    air = await factories.on_air(database)
    await commit(database, air, segment(air.take, 0))
    await open_gap(database, air)
    async with database.write() as tx:
        last = await changes.newest_id(tx)
    await commit(database, air, segment(air.take, 1), first=True, joined=True)
    assert await gaps(database, air.recording_id) == []
    async with database.read() as connection:
        assert {change.kind for change in await changes.after(connection, last)} == {"media", "gap"}


async def test_a_late_beginning_is_no_gap_and_nor_is_the_end(database: Database) -> None:
    air = await factories.on_air(database)
    await open_gap(database, air)
    assert await gaps(database, air.recording_id) == []
    await commit(database, air, segment(air.take, 0))
    await open_gap(database, air)
    async with database.write() as tx:
        await recordings.finish(tx, air.stream, air.recording_id)
    assert await gaps(database, air.recording_id) == []


# --- ends and files -----------------------------------------------------------------------------------------


async def test_finishing_ends_recording_and_stream(database: Database) -> None:
    air = await factories.on_air(database)
    await commit(database, air, segment(air.take, 0))
    async with database.read() as connection:
        assert [one.id for one in await recordings.open_recordings(connection)] == [air.recording_id]
    async with database.write() as tx:
        await recordings.finish(tx, air.stream, air.recording_id)
    async with database.read() as connection:
        stream = await streams.of_recording(connection, air.recording_id)
        assert await recordings.open_recordings(connection) == []
    found = await recording(database, air.recording_id)
    assert (found.state, found.origin) == (RecordingState.FINISHED, "stream")
    assert found.ended_at is not None
    assert stream is not None
    assert (stream.state, stream.owner) == (StreamState.ENDED, None)


async def test_an_upload_is_a_finished_recording(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    found = await recording(database, recording_id)
    assert (found.origin, found.state, found.duration_ms) == ("upload", RecordingState.FINISHED, 60_000)
    async with database.read() as connection:
        assert await streams.of_recording(connection, recording_id) is None


async def test_a_file_of_a_kind_replaces_the_one_before_and_tells_its_key(database: Database) -> None:
    interview_id, recording_id = await factories.uploaded(database)

    async def put(key: str) -> str | None:
        async with database.write() as tx:
            stored = StoredObject(key, 5, "0" * 64)
            return await assets.put(tx, recording_id, AssetKind.MP4, stored, "video/mp4", f"from {key}")

    assert [await put("a"), await put("b"), await put("b")] == [None, "a", None]
    async with database.read() as connection:
        found = await assets.of_recording(connection, recording_id)
        told = [c for c in await changes.after(connection, 0) if c.kind == "asset"]
    assert [(asset.key, asset.media_type) for asset in found.values()] == [("b", "video/mp4")]
    assert {change.interview_id for change in told} == {interview_id}


async def test_a_key_that_another_recording_uses_is_not_given_free(database: Database) -> None:
    """The same file taken in twice has the same key: deleting it for one would take it from the other."""
    ids = [(await factories.uploaded(database))[1] for _ in range(2)]
    shared = StoredObject("original/same.mp4", 5, "0" * 64)
    for recording_id in ids:
        async with database.write() as tx:
            await assets.put(tx, recording_id, AssetKind.ORIGINAL, shared, "video/mp4", "same")
    freed = []
    for recording_id in ids:
        async with database.write() as tx:
            freed.append(
                await assets.put(
                    tx, recording_id, AssetKind.ORIGINAL, StoredObject(str(recording_id), 5, ""), "a", "b"
                )
            )
    assert freed == [None, shared.key]


async def test_no_recording_is_no_recording(database: Database) -> None:
    with pytest.raises(NotFoundError):
        await recording(database, RecordingId(7))


async def work_of_extent(database: Database, recording_id: RecordingId) -> int:
    """How many of SQLite's instructions it takes to find out how much there is."""
    done: list[int] = []
    async with database.read() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.set_progress_handler(lambda: done.append(1), 1)
        try:
            await media_segments.extent(connection, recording_id)
        finally:
            await driver.set_progress_handler(None, 1)
    return len(done)


async def test_how_much_there_is_costs_the_same_after_hours(sqlite_catalogue: str) -> None:
    """Every player asks for it with every playlist."""
    database = Database(sqlite_catalogue)
    air = await factories.on_air(database)
    await commit(database, air, *(segment(air.take, number) for number in range(3)), first=True)
    before = await work_of_extent(database, air.recording_id)
    await commit(database, air, *(segment(air.take, number) for number in range(3, 60)))
    assert await work_of_extent(database, air.recording_id) == before
    await database.close()


async def test_how_much_there_is_differs_whenever_segments_do(database: Database) -> None:
    air = await factories.on_air(database)
    seen = []

    async def look() -> None:
        async with database.read() as connection:
            seen.append(await media_segments.extent(connection, air.recording_id))

    await look()
    await commit(database, air, *(segment(air.take, number) for number in range(3)), first=True)
    await look()
    await commit(database, air, segment(air.take, 3))
    await look()
    async with database.write() as tx:
        await recordings.finish(tx, air.stream, air.recording_id)
        held = await withheld.withhold(tx, air.recording_id, 0, 4_000)
        await withheld.ask_purge(tx, held.id)
        [first, *_] = await media_segments.of_recording(tx, air.recording_id)
        await purging.replace_segment(tx, held, first, StoredObject("shorter", first.size_bytes, first.sha256))
    await look()
    async with database.write() as tx:
        await retention.release(tx, air.recording_id)
    await look()
    assert len(set(seen)) == len(seen)
