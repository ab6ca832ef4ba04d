"""A withheld range is deleted for good: not a byte and not a word of it stays below the data folder."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import update

from streamarchive import ingest, jobs, withholding
from streamarchive.catalogue import (
    corrections,
    interviews,
    media_segments,
    tables,
    transcripts,
    withheld,
)
from streamarchive.ingest import Details
from streamarchive.media import commands
from streamarchive.media.probe import probe
from streamarchive.media.recut import without
from streamarchive.media.segments import packet_payload, packet_pid, read_tracks
from streamarchive.models import AssetKind, CueDraft, JobState, RunStage, Word
from streamarchive.protocols import StoredObject
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.media import make, run_ffmpeg
from tests.processes import child
from tests.takes import assets_of, finalise, record_takes
from workers import purger
from workers.indexer import drain
from workers.runner import run_job

START_MS, END_MS = 5_000, 9_000
CANARY = "heliotrope"
SAMPLE = 40
"""Bytes of a picture's middle: the same in MPEG-TS and MP4, and nowhere else by chance."""


async def purge(services):
    """Do the one job; how it ended."""
    job = await jobs.claim(services.database, (jobs.PURGE,), "test")
    await run_job(services, purger.purge, job, asyncio.Event())
    async with services.database.read() as connection:
        return await jobs.get(connection, job.id)


async def ask(services, recording_id, start_ms=START_MS, end_ms=END_MS):
    """An admin wants it gone."""
    async with services.database.write() as tx:
        found = await withholding.withhold(tx, recording_id, start_ms, end_ms)
        await withholding.purge(tx, found.id)
    return found.id


async def say_canary(services, recording_id):
    """Lines in and beside the range, heard twice and corrected."""
    lines = [
        CueDraft(at, at + 900, f"{word} at {at}", "en", (Word(f"{word} at {at}", at, at + 900, 0.9),))
        for at, word in ((1_000, "fine"), (5_500, CANARY), (7_000, CANARY), (9_500, "fine"))
    ]
    for identity in ("1", "2"):
        async with services.database.write() as tx:
            run = await transcripts.begin_run(
                tx, recording_id, RunStage.FINAL, engine="test", model="test", model_identity=identity
            )
            await transcripts.append(tx, run, lines, 10_000)
            await transcripts.adopt(tx, run)
    async with services.database.write() as tx:
        cue = (await transcripts.of_recording(tx, recording_id))[1]
        await corrections.edit(tx, cue.id, cue.revision, f"{CANARY} corrected", None)
    await drain(services)


async def pictures_in_range(services, recording_id):
    """A piece of every picture in the range, as it stands in the segments."""
    _, segments = await assets_of(services, recording_id)
    samples = []
    for segment in segments:
        async with services.store.local(segment.key) as file:
            data = file.read_bytes()
        pid, track = next((pid, track) for pid, track in read_tracks(data).items() if track.video)
        for at, pts in zip(track.starts, track.pts, strict=True):
            ms = (segment.start_ticks + pts - segment.pts_ticks) / 90
            payload = packet_payload(data, at + 188) if at + 376 <= len(data) else b""
            if START_MS <= ms < END_MS and packet_pid(data, at + 188) == pid and not data[at + 189] & 0x40:
                samples.append(payload[60 : 60 + SAMPLE])
    return [sample for sample in samples if len(sample) == SAMPLE]


def files_with(folder: Path, needles):
    """The files below the folder that hold any of these."""
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path for path, content in contents.items() if any(needle in content for needle in needles)}


async def recorded(services, folder):
    """Twelve seconds of noise in segments, with lines, and its MP4."""
    source = folder / "noise.ts"
    run_ffmpeg(
        "-f", "lavfi", "-i", "nullsrc=s=160x90:r=25,geq=random(1)*255:128:128", "-f", "lavfi", "-i", "sine",
        "-t", 12, "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac",
        source,
    )  # fmt: skip
    recording_id = await record_takes(services, source)
    assert (await finalise(services)).state is JobState.DONE
    source.unlink()
    await say_canary(services, recording_id)
    return recording_id


async def check_gone(services, recording_id, samples):
    folder = services.settings.data_dir
    await drain(services)
    assert files_with(folder, samples) == set()
    assert {path.name for path in files_with(folder, [CANARY.encode()])} <= {"search.sqlite", "search.sqlite-wal"}
    async with services.database.read() as connection:
        cues = await transcripts.of_recording(connection, recording_id)
        segments = await media_segments.of_recording(connection, recording_id)
        [kept] = await withheld.of_recording(connection, recording_id)
    assert [cue.text for cue in cues] == ["fine at 1000", "fine at 9500"]
    assert kept.purged_at is not None
    assert kept.doomed == ()
    for segment in segments:
        async with services.store.local(segment.key) as file:
            data = file.read_bytes()
        assert hashlib.sha256(data).hexdigest() == segment.sha256
        start = segment.pts_ticks + START_MS * 90 - segment.start_ticks
        assert without(data, start, (END_MS - START_MS) * 90) == data
    assert segments[0].start_ticks == 0
    assert segments[-1].end_ticks > END_MS * 90


async def test_nothing_of_a_broadcast_stays_and_its_file_is_made_again(services, tmp_path):
    recording_id = await recorded(services, tmp_path)
    samples = await pictures_in_range(services, recording_id)
    assert len(samples) > 50
    assert len(files_with(services.settings.data_dir, samples)) > 2
    assert files_with(services.settings.data_dir, [CANARY.encode()])
    await ask(services, recording_id)
    job = await purge(services)
    assert (job.state, job.last_error) == (JobState.DONE, None)
    await check_gone(services, recording_id, samples)
    assert (await finalise(services)).state is JobState.DONE
    assets, segments = await assets_of(services, recording_id)
    async with services.store.local(assets[AssetKind.MP4].key) as file:
        info = await probe(file)
    assert abs(info.duration_ms - segments[-1].end_ticks // 90) <= 40  # the media clock is kept
    assert files_with(services.settings.data_dir, samples) == set()
    async with services.database.read() as connection:
        [interview] = await interviews.of_recording(connection, recording_id)
        assert set(withheld.given(interview, assets)) == set(AssetKind) - {AssetKind.ORIGINAL}


async def test_a_part_asked_for_while_another_is_deleted_goes_too(services, tmp_path, monkeypatch):
    """Its asking finds the job under way, and adds none."""
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 8))
    delete_files, later = purger._delete_doomed, []

    async def and_meanwhile(*arguments):
        await delete_files(*arguments)
        if not later:
            later.append(await ask(services, recording_id, 5_000, 6_000))

    monkeypatch.setattr(purger, "_delete_doomed", and_meanwhile)
    await ask(services, recording_id, 1_000, 2_000)
    assert (await purge(services)).state is JobState.DONE
    async with services.database.read() as connection:
        ranges = await withheld.of_recording(connection, recording_id)
    assert [one.purged_at is not None for one in ranges] == [True, True]
    assert await jobs.claim(services.database, (jobs.PURGE,), "test") is None


class Stopping:
    """A store whose owner stands still before a step, for whoever is to kill it there."""

    def __init__(self, store, say: Connection, step: int) -> None:
        self._store, self._say, self._left = store, say, step

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def _step(self) -> None:
        if self._left == 0:
            self._say.send("here")
            await asyncio.Event().wait()
        self._left -= 1

    async def adopt(self, *arguments) -> StoredObject:
        await self._step()
        stored = await self._store.adopt(*arguments)
        await self._step()
        return stored

    async def delete(self, key: str) -> None:
        await self._step()
        await self._store.delete(key)
        await self._step()


async def purge_until(say: Connection, folder: Path, step: int) -> None:
    """Purge in this process, up to a step."""
    async with open_services(Settings(data_dir=folder)) as opened:
        stopping = replace(opened, store=Stopping(opened.store, say, step))
        claimed = await jobs.claim(opened.database, (jobs.PURGE,), f"step {step}")
        assert claimed is not None
        await run_job(stopping, purger.purge, claimed, asyncio.Event())
    say.send("done")


async def test_a_purge_that_is_killed_at_any_step_is_taken_up_again(services, tmp_path):
    recording_id = await recorded(services, tmp_path)
    samples = await pictures_in_range(services, recording_id)
    await ask(services, recording_id)
    said, step = "here", 0
    while said == "here":
        with child(purge_until, services.settings.data_dir, step) as worker:
            said = worker.listen(seconds=60)
            if said == "here":
                worker.kill()
        async with services.database.write() as tx:  # as if its lease had passed, and nobody had counted
            again = update(tables.job).where(tables.job.c.state == JobState.RUNNING)
            await tx.execute(again.values(state=JobState.QUEUED, attempt=0))
        step += 1
    assert step > 4
    await check_gone(services, recording_id, samples)


async def test_of_an_upload_the_rest_takes_its_place(services, tmp_path):
    source = make(tmp_path / "upload.mp4", 12)
    interview_id = await ingest.import_file(
        services.database, services.store, source, Details({"en": "Talk"}, ("en",)),
        incoming=services.settings.incoming, lines=[],
    )  # fmt: skip
    assert (await finalise(services)).state is JobState.DONE
    async with services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
    before = (await assets_of(services, recording_id))[0][AssetKind.ORIGINAL]
    async with services.store.local(before.key) as file:
        whole, _ = await heard_and_seen(file)
    await ask(services, recording_id)
    assert (await purge(services)).state is JobState.DONE
    assets, _ = await assets_of(services, recording_id)
    original = assets[AssetKind.ORIGINAL]
    assert original.key != before.key
    assert await services.store.size(before.key) is None
    assert set(assets) == {AssetKind.ORIGINAL, AssetKind.POSTER}  # that is a picture of another moment
    async with services.store.local(original.key) as file:
        times, loud = await heard_and_seen(file)
    assert not [at for at in times if START_MS <= at < END_MS]
    assert times == [at for at in whole if not START_MS <= at < END_MS]  # there is a key frame every second
    assert not loud(START_MS, END_MS)
    assert loud(1_000, 4_500)
    assert loud(9_500, 11_500)
    assert (await finalise(services)).state is JobState.DONE
    assets, _ = await assets_of(services, recording_id)
    async with services.database.read() as connection:
        interview = await interviews.get(connection, interview_id)
    assert AssetKind.MP4 in withheld.given(interview, assets)


async def heard_and_seen(file):
    """When its pictures are shown, in ms, and a function that says whether anything is heard in a stretch."""
    process = await asyncio.create_subprocess_exec(
        commands.ffmpeg_path(), "-v", "error", "-i", file, "-map", "0:v", "-fps_mode", "passthrough",
        "-enc_time_base", "1/1000", "-f", "framemd5", "-", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    listing, _ = await process.communicate()
    times = [int(line.split(b",")[2]) for line in listing.splitlines() if not line.startswith(b"#")]
    process = await asyncio.create_subprocess_exec(
        commands.ffmpeg_path(), "-v", "error", "-i", file, "-map", "0:a", "-ac", "1", "-ar", "8000", "-f",
        "s16le", "-", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    sound, _ = await process.communicate()

    def loud(start_ms, end_ms):
        return any(byte for byte in sound[start_ms * 16 : end_ms * 16])

    return times, loud


@pytest.mark.parametrize("borders", [(0, 3_000), (9_000, 12_500)])
async def test_the_beginning_and_the_end_can_go_too(services, tmp_path, borders):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 12))
    assert (await finalise(services)).state is JobState.DONE
    await ask(services, recording_id, *borders)
    assert (await purge(services)).state is JobState.DONE
    assert (await finalise(services)).state is JobState.DONE
    assets, _ = await assets_of(services, recording_id)
    async with services.store.local(assets[AssetKind.MP4].key) as file:
        times, loud = await heard_and_seen(file)
    assert not [at for at in times if borders[0] <= at < borders[1]]
    assert not loud(*borders)
    assert loud(4_000, 8_500)
    assert min(abs(at - 6_000) for at in times) <= 40
