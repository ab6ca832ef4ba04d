"""What live captions tell beside their lines, over both kinds of catalogue."""

from __future__ import annotations

import pytest

from streamarchive.catalogue import captioning, changes, recordings
from streamarchive.catalogue.captioning import Captioning, Skip
from streamarchive.catalogue.database import Database
from streamarchive.models import RecordingId, RunStage
from tests.factories import OnAir, heard, on_air


@pytest.fixture
async def air(database: Database) -> OnAir:
    """An interview that is being recorded."""
    return await on_air(database)


async def told(database: Database, after: int = 0) -> list[tuple[str, dict[str, object]]]:
    async with database.read() as connection:
        found = await changes.after(connection, after)
    kinds = ("said", "captioning", "skip")
    return [(change.kind, dict(change.payload)) for change in found if change.kind in kinds]


async def test_of_what_is_being_said_only_the_newest_is_kept(database: Database, air: OnAir) -> None:
    for text in ("The smart", "The smart cockpit", ""):
        async with database.write() as tx:
            await captioning.say(tx, air.recording_id, {"text": text, "lang": "en"})
    assert await told(database) == [("said", {"text": "", "lang": "en"})]


async def test_pages_learn_how_captions_fare_when_what_they_show_changes(database: Database, air: OnAir) -> None:
    for lag_ms in (0, 1_000, 4_999, 5_000, 6_000, 9_999, 10_000, 300):
        async with database.write() as tx:
            await captioning.report(tx, air.recording_id, lag_ms=lag_ms)
    assert [kind for kind, _ in await told(database)] == ["captioning"] * 3
    async with database.write() as tx:
        await captioning.report(tx, air.recording_id, problem="there is no model")
    [now] = await _on_air(database)
    assert (now.recording_id, now.lag_ms, now.problem) == (air.recording_id, 0, "there is no model")
    assert len(await told(database)) == 4


async def test_what_is_left_out_is_one_stretch_until_it_is_heard(database: Database, air: OnAir) -> None:
    async with database.write() as tx:
        await captioning.report(tx, air.recording_id)
        for start, end in ((1_000, 5_000), (5_000, 6_000), (60_000, 90_000)):
            await captioning.skip(tx, air.recording_id, start, end)
    assert await _skips(database, air.recording_id) == [Skip(1_000, 6_000), Skip(60_000, 90_000)]
    assert (await _on_air(database))[0].skipped_ms == 35_000
    async with database.write() as tx:
        await captioning.forget_skips(tx, air.recording_id, beyond_ms=70_000)
    assert await _skips(database, air.recording_id) == [Skip(1_000, 6_000), Skip(60_000, 70_000)]
    async with database.write() as tx:
        await captioning.forget_skips(tx, air.recording_id, beyond_ms=60_000)
    assert await _skips(database, air.recording_id) == [Skip(1_000, 6_000)]
    await heard(database, air.recording_id, stage=RunStage.FINAL)
    assert await _skips(database, air.recording_id) == []


async def test_who_is_off_air_is_in_no_list(database: Database, air: OnAir) -> None:
    async with database.write() as tx:
        await captioning.report(tx, air.recording_id, lag_ms=1_000)
    async with database.write() as tx:
        await recordings.finish(tx, air.stream, air.recording_id)
    assert await _on_air(database) == []
    async with database.read() as connection:
        assert (await captioning.of_recording(connection, air.recording_id)) is not None


async def _on_air(database: Database) -> list[Captioning]:
    async with database.read() as connection:
        return await captioning.on_air(connection)


async def _skips(database: Database, recording_id: RecordingId) -> list[Skip]:
    async with database.read() as connection:
        return await captioning.skips(connection, recording_id)
