"""Files are made again without what may not be shown, on the same clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from streamarchive import ingest, jobs, withholding
from streamarchive.catalogue import assets, interviews, withheld
from streamarchive.ingest import Details
from streamarchive.media.probe import probe
from streamarchive.media.verification import TOLERANCE_MS
from streamarchive.models import AssetKind, JobState
from tests.integration.test_purging import ask, heard_and_seen, purge
from tests.media import make
from tests.takes import assets_of, finalise, record_takes
from workers import finaliser
from workers.runner import run_job

ALL = set(AssetKind) - {AssetKind.ORIGINAL}


async def given(services, recording_id):
    """What its interview gives out."""
    async with services.database.read() as connection:
        [interview] = await interviews.of_recording(connection, recording_id)
        return withheld.given(interview, await assets.of_recording(connection, recording_id))


async def watch(services, recording_id):
    """When its pictures are shown, what is loud, and how long it is, of the MP4 that is given out."""
    asset = (await given(services, recording_id))[AssetKind.MP4]
    async with services.store.local(asset.key) as file:
        return *await heard_and_seen(file), (await probe(file)).duration_ms


async def withhold(services, recording_id, start_ms, end_ms):
    async with services.database.write() as tx:
        return (await withholding.withhold(tx, recording_id, start_ms, end_ms)).id


async def test_a_hole_in_the_second_take_keeps_the_clock_and_lifting_brings_it_back(services, tmp_path):
    recording_id = await record_takes(
        services, make(tmp_path / "a.ts", 6), make(tmp_path / "b.ts", 8, frames_between_keys=24)
    )
    assert (await finalise(services)).state is JobState.DONE
    before, _, whole_ms = await watch(services, recording_id)
    range_id = await withhold(services, recording_id, 5_500, 8_200)
    assert set(await given(services, recording_id)) <= {AssetKind.POSTER}
    assert (await finalise(services)).state is JobState.DONE
    assert set(await given(services, recording_id)) == ALL
    times, loud, length_ms = await watch(services, recording_id)
    assert not [at for at in times if 5_500 <= at < 8_200]
    assert not loud(5_500, 8_200)
    assert loud(4_000, 5_300)
    assert loud(8_500, 13_000)
    assert abs(length_ms - whole_ms) <= TOLERANCE_MS
    assert {at for at in before if at < 5_400 or at > 9_300} <= {
        near for at in times for near in (at - 1, at, at + 1)
    }
    async with services.database.write() as tx:
        await withholding.lift(tx, range_id)
    assert (await finalise(services)).state is JobState.DONE
    after, loud, _ = await watch(services, recording_id)
    assert after == before
    assert loud(6_500, 8_000)


async def test_what_is_withheld_while_a_file_is_made_is_not_in_it(services, tmp_path, monkeypatch):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 8))
    make_poster, withheld_once = finaliser.assembly.take_picture, []

    async def and_meanwhile(*arguments, **options):
        await make_poster(*arguments, **options)
        if not withheld_once:
            withheld_once.append(await withhold(services, recording_id, 2_000, 4_000))

    monkeypatch.setattr(finaliser.assembly, "take_picture", and_meanwhile)
    assert (await finalise(services)).state is JobState.DONE
    times, loud, _ = await watch(services, recording_id)
    assert not [at for at in times if 2_000 <= at < 4_000]
    assert not loud(2_000, 4_000)
    assert await jobs.claim(services.database, ("finalise",), "test") is None  # it was under way: none waits
    _, segments = await assets_of(services, recording_id)
    kept = {path for path in services.settings.data_dir.rglob("*.mp4") if path.is_file()}
    assert len(kept) == 1
    assert segments


async def test_what_is_withheld_while_a_job_finds_its_files_made_is_left_out_by_it(
    services, tmp_path, monkeypatch
):
    """It is still under way, so that no other is asked for."""
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 8))
    assert (await finalise(services)).state is JobState.DONE
    look, withheld_once = finaliser._is_made, []

    async def and_meanwhile(*arguments):
        is_made = await look(*arguments)
        if not withheld_once:
            withheld_once.append(await withhold(services, recording_id, 2_000, 4_000))
        return is_made

    async with services.database.write() as tx:
        await jobs.enqueue(tx, jobs.FINALISE, str(recording_id), recording_id=recording_id)
    monkeypatch.setattr(finaliser, "_is_made", and_meanwhile)
    assert (await finalise(services)).state is JobState.DONE
    times, loud, _ = await watch(services, recording_id)
    assert not [at for at in times if 2_000 <= at < 4_000]
    assert not loud(2_000, 4_000)


async def test_what_is_deleted_for_good_while_a_file_is_made_is_not_in_it(services, tmp_path, monkeypatch):
    """By a worker on another host: it begins and ends while this one makes its file of the old segments."""
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 8))
    elsewhere = replace(services, settings=services.settings.model_copy(update={"data_dir": tmp_path / "other"}))
    make_poster, purged = finaliser.assembly.take_picture, []

    async def and_meanwhile(*arguments, **options):
        await make_poster(*arguments, **options)
        if not purged:
            await ask(services, recording_id, 2_000, 4_000)
            purged.append(await purge(elsewhere))

    monkeypatch.setattr(finaliser.assembly, "take_picture", and_meanwhile)
    job = await finalise(services)
    assert (job.state, job.last_error) == (JobState.DONE, None)
    assert [job.state for job in purged] == [JobState.DONE]
    times, loud, _ = await watch(services, recording_id)
    assert not [at for at in times if 2_000 <= at < 4_000]
    assert not loud(2_000, 4_000)
    assert len([path for path in services.settings.data_dir.rglob("*.mp4") if path.is_file()]) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mp3"])
async def test_an_upload_with_a_cut_is_given_without_what_lies_outside(services, tmp_path, suffix):
    source = make(tmp_path / f"upload{suffix}", 10, video=suffix != ".mp3")
    interview_id = await ingest.import_file(
        services.database, services.store, source, Details({"en": "Talk"}, ("en",)),
        incoming=services.settings.incoming, lines=[],
    )  # fmt: skip
    assert (await finalise(services)).state is JobState.DONE
    async with services.database.write() as tx:
        await withholding.cut(tx, interview_id, 2_000, 7_000)
        recording_id = (await interviews.get(tx, interview_id)).recording_id
    assert not set(await given(services, recording_id)) & {AssetKind.MP4, AssetKind.M4A, AssetKind.ORIGINAL}
    assert (await finalise(services)).state is JobState.DONE
    shown = await given(services, recording_id)
    assert AssetKind.ORIGINAL not in shown
    async with services.store.local(shown[AssetKind.M4A].key) as file:
        _, loud = await heard_and_seen(file)
    assert not loud(0, 1_950)
    assert loud(2_200, 6_800)
    assert not loud(7_100, 12_000)
    if suffix != ".mp3":
        times, _, _ = await watch(services, recording_id)
        assert min(times) >= 2_000 - 1 or min(times) == 0
        assert max(times) < 7_000


async def test_a_job_that_finds_nothing_changed_makes_nothing(services, tmp_path):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 6))
    assert (await finalise(services)).state is JobState.DONE
    before = await given(services, recording_id)
    async with services.database.write() as tx:
        await withholding.make_again(tx, recording_id)
    job = await jobs.claim(services.database, ("finalise",), "test")
    await run_job(services, finaliser.finalise, job, asyncio.Event())
    assert await given(services, recording_id) == before
