"""Segments go once the verified file has taken their place, and never before."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from sqlalchemy import update

from streamarchive import jobs
from streamarchive.catalogue import assets, cuts, interviews, media_segments, tables
from streamarchive.catalogue import retention as rules
from streamarchive.models import AssetKind, JobState
from streamarchive.protocols import StoredObject
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.media import make
from tests.stepping import kill_before
from tests.takes import assets_of, finalise, record_takes
from workers import retention
from workers.runner import run_job


@pytest.fixture
async def services(tmp_path):
    """Nothing is kept a day longer than it is needed."""
    async with open_services(Settings(data_dir=tmp_path / "archive", keep_segments=0)) as opened:
        yield opened


@pytest.fixture
def source(tmp_path):
    return make(tmp_path / "a.ts", 9)


async def transcribed(services):
    """The final pass has been over it, as far as jobs tell."""
    async with services.database.write() as tx:
        await tx.execute(update(tables.job).where(tables.job.c.kind == "transcribe").values(state=JobState.DONE))


async def asked(services):
    """What the rule asks for now."""
    await retention.ask(services)
    return await jobs.claim(services.database, (retention.KIND,), "test")


async def done(services, job):
    await run_job(services, retention.release, job, asyncio.Event())
    async with services.database.read() as connection:
        return await jobs.get(connection, job.id)


async def has_whole_copy(services, recording_id):
    """Whether the segments or the file are there to the last byte; a segment that is listed has to be."""
    files, segments = await assets_of(services, recording_id)

    async def is_sound(key, sha256):
        if await services.store.size(key) is None:
            return False
        content = b"".join([chunk async for chunk in services.store.read(key)])
        return hashlib.sha256(content).hexdigest() == sha256

    sound = [await is_sound(segment.key, segment.sha256) for segment in segments]
    assert all(sound), "a segment is listed, and its file is gone"
    file = files.get(AssetKind.MP4)
    return bool(segments) or (file is not None and file.verified and await is_sound(file.key, file.sha256))


async def test_segments_go_when_the_file_is_verified_and_the_days_are_over(services, source):
    recording_id = await record_takes(services, source)
    assert await asked(services) is None, "its file has not been made yet"
    _, segments = await assets_of(services, recording_id)
    await finalise(services)
    assert await asked(services) is None, "the final pass has yet to hear it"
    await transcribed(services)
    job = await done(services, await asked(services))
    assert (job.state, job.last_error) == (JobState.DONE, None)
    files, left = await assets_of(services, recording_id)
    assert left == []
    assert [await services.store.size(segment.key) for segment in segments] == [None] * len(segments)
    assert await has_whole_copy(services, recording_id)
    async with services.database.read() as connection:
        assert await rules.were_released(connection, recording_id)
        assert await media_segments.get(connection, recording_id, 0) is None
    assert await asked(services) is None
    async with services.database.write() as tx:
        await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
    assert (await finalise(services)).state is JobState.DONE, "the file is all there is, and that is well"
    assert (await assets_of(services, recording_id))[0] == files
    assert files[AssetKind.ORIGINAL].key == files[AssetKind.MP4].key


async def test_files_can_be_made_again_of_the_one_that_is_left(services, source):
    recording_id = await record_takes(services, source)
    await finalise(services)
    await transcribed(services)
    await done(services, await asked(services))
    before, _ = await assets_of(services, recording_id)
    async with services.database.write() as tx:
        stored = StoredObject(before[AssetKind.MP4].key, before[AssetKind.MP4].size_bytes, "")
        await assets.put(tx, recording_id, AssetKind.MP4, stored, "video/mp4", "of an older program")
        await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
    assert (await finalise(services)).last_error is None
    after, _ = await assets_of(services, recording_id)
    assert after[AssetKind.MP4].verified
    assert after[AssetKind.ORIGINAL] == before[AssetKind.ORIGINAL]
    assert await services.store.size(after[AssetKind.ORIGINAL].key)


async def test_without_the_setting_nothing_goes(services, source):
    recording_id = await record_takes(services, source)
    await transcribed(services)
    await finalise(services)
    forever = Settings(data_dir=services.settings.data_dir)
    async with open_services(forever) as patient:
        await retention.ask(patient)
        assert await jobs.claim(patient.database, (retention.KIND,), "test") is None
    assert (await assets_of(services, recording_id))[1]


async def test_a_file_that_has_been_damaged_since_saves_the_segments(services, source, tmp_path):
    recording_id = await record_takes(services, source)
    await transcribed(services)
    await finalise(services)
    files, segments = await assets_of(services, recording_id)
    stored = next(services.settings.data_dir.rglob(files[AssetKind.MP4].key.rsplit("/", 1)[-1]))
    damaged = bytearray(stored.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    stored.write_bytes(damaged)
    job = await done(services, await asked(services))
    assert job.state is JobState.PARKED
    assert "damaged in the store, so its segments are kept" in job.last_error
    assert (await assets_of(services, recording_id))[1] == segments
    assert await has_whole_copy(services, recording_id)


async def test_what_is_cut_or_shared_meanwhile_keeps_its_segments(services, source):
    recording_id = await record_takes(services, source)
    await transcribed(services)
    await finalise(services)
    job = await asked(services)
    async with services.database.write() as tx:
        [interview_id] = await interviews.ids_of_recording(tx, recording_id)
        await cuts.cut(tx, interview_id, 2_000, None)
    assert (await done(services, job)).state is JobState.DONE
    _, segments = await assets_of(services, recording_id)
    assert segments
    assert await has_whole_copy(services, recording_id)
    assert await asked(services) is None


async def test_a_kill_at_any_step_of_the_release_loses_nothing(services, source):
    recording_id = await record_takes(services, source)
    await transcribed(services)
    await finalise(services)
    _, segments = await assets_of(services, recording_id)
    await retention.ask(services)
    killed, step = [], 1
    while (name := await kill_before(services, retention.KIND, step)) is not None:
        killed.append(name)
        assert await has_whole_copy(services, recording_id)
        # What is committed is not done again: the steps are counted from there.
        step = 1 if name == "behind a commit" else step + 1
    assert set(killed) == {"before a commit", "behind a commit", "before a file is deleted"}
    assert await has_whole_copy(services, recording_id)
    assert (await assets_of(services, recording_id))[1] == []
    assert [await services.store.size(segment.key) for segment in segments] == [None] * len(segments)


async def finalising(services, recording_id):
    """The job that makes its files."""
    async with services.database.read() as connection:
        [job] = [job for job in await jobs.of_recording(connection, recording_id) if job.kind == jobs.FINALISE]
    return job


async def test_a_kill_at_any_step_of_finalising_leaves_what_can_be_played(services, source):
    """The segments are there all the time; once there is a file, it is the whole and it is verified."""
    recording_id = await record_takes(services, source)
    await transcribed(services)
    killed, step = [], 1
    while (name := await kill_before(services, jobs.FINALISE, step)) is not None:
        killed.append(name)
        files, segments = await assets_of(services, recording_id)
        assert segments
        assert set(files) in (set(), set(AssetKind) - {AssetKind.ORIGINAL}), "all files at once or none"
        assert await has_whole_copy(services, recording_id)
        if (await finalising(services, recording_id)).state is not JobState.DONE:  # killed behind its last commit
            assert await asked(services) is None, "while it is worked on, nothing is deleted"
        step = 1 if name == "behind a commit" else step + 4
    assert {"before ffmpeg", "before a file is kept"} <= set(killed)
    assert (await finalising(services, recording_id)).state is JobState.DONE
    files, _ = await assets_of(services, recording_id)
    assert files[AssetKind.MP4].verified
    assert not list((services.settings.data_dir / "finalise").iterdir())
