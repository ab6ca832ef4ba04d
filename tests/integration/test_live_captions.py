"""Captions of what is on air, with a real catalogue, store, ffmpeg and recogniser."""

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from streamarchive import jobs
from streamarchive.catalogue import captioning, changes, corrections, transcripts
from streamarchive.models import RunStage
from streamarchive.services import Engines, open_services
from streamarchive.settings import Settings
from streamarchive.transcription.pace import Pace, PaceRules, Rung
from tests.archive import MODEL
from tests.recorded import ENGLISH, Broadcast, speak, split_take
from tests.slowed import SlowedEngines
from tests.waiting import until_async
from workers import live_transcriber, transcriber
from workers.live_transcriber import Follower
from workers.runner import JobRun

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENTENCES = ENGLISH[:4]
LONG = ENGLISH[:6] * 2
PATIENCE = 120
"""Seconds; a busy machine may need them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines():
    """Started once for all tests here."""
    made = Engines(Settings(model=str(MODEL), device="cpu"))
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def services(tmp_path, engines):
    async with open_services(Settings(data_dir=tmp_path / "archive")) as opened:
        yield replace(opened, engines=engines)


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    """A take's media and spool files, its sentences' times."""
    folder = tmp_path_factory.mktemp("take")
    times = speak(folder / "talk.wav", SENTENCES)
    media, spool = split_take(folder, folder / "talk.wav", starts_s=300, later_s=0.5)
    return media, spool, [(start + 500, end + 500) for start, end in times]


@pytest.fixture
def media(take, tmp_path):
    """Media segments that may be given away."""
    return shutil.copytree(take[0], tmp_path / "media")


@asynccontextmanager
async def at_work(work):
    """Cancelled at the end, whatever happens."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def cues_of(services, recording_id):
    async with services.database.read() as connection:
        return await transcripts.of_recording(connection, recording_id)


def agree(cues, times, sentences=SENTENCES, within_ms=200):
    assert [cue.text for cue in cues] == list(sentences)
    for cue, (start_ms, end_ms) in zip(cues, times, strict=True):
        assert abs(cue.start_ms - start_ms) <= within_ms
        assert abs(cue.end_ms - end_ms) <= within_ms


async def test_captions_come_while_the_sound_is_still_being_written(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    spool, stop = broadcast.spool_folder(0), asyncio.Event()
    files = sorted(take[1].iterdir())

    async def some():
        return await cues_of(services, broadcast.recording_id)

    async def done():
        async with services.database.read() as connection:
            runs = await transcripts.runs(connection, broadcast.recording_id)
        return [run for run in runs if run.finished_at]

    async with at_work(live_transcriber.run(services, stop)) as worker:
        for file in files[: len(files) // 2]:
            shutil.copyfile(file, spool / file.name)
        first = (await until_async(some, "a first caption", seconds=PATIENCE))[0]
        assert first.text == SENTENCES[0]
        for file in files[len(files) // 2 :]:
            shutil.copyfile(file, spool / file.name)
        recording_id = await broadcast.finish()
        await until_async(done, "the live run to end", seconds=PATIENCE)
        stop.set()
        await worker
    agree(await cues_of(services, recording_id), take[2])


async def test_without_a_spool_the_media_segments_are_heard(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    recording_id = await broadcast.finish()
    await Follower(services, recording_id).run()
    agree(await cues_of(services, recording_id), take[2])


async def test_after_an_interruption_no_line_is_lost_or_doubled(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    shutil.copytree(take[1], broadcast.spool_folder(0), dirs_exist_ok=True)
    for lines in (1, 2, 3):

        async def enough(lines=lines):
            return len(await cues_of(services, broadcast.recording_id)) >= lines

        async with at_work(Follower(services, broadcast.recording_id).run()):
            await until_async(enough, f"{lines} captions", seconds=PATIENCE)
    recording_id = await broadcast.finish()
    await Follower(services, recording_id).run()
    agree(await cues_of(services, recording_id), take[2])
    async with services.database.read() as connection:
        assert len(await transcripts.runs(connection, recording_id)) == 1


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_two_at_the_same_recording_write_each_line_once(database, request, take, media, tmp_path, engines):
    url = request.getfixturevalue("postgresql_database") if database == "postgresql" else ""
    async with open_services(Settings(data_dir=tmp_path / "archive", database=url)) as opened:
        await _two_at_the_same_recording(replace(opened, engines=engines), take, media)


async def _two_at_the_same_recording(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    shutil.copytree(take[1], broadcast.spool_folder(0), dirs_exist_ok=True)
    recording_id = await broadcast.finish()
    both = [Follower(services, recording_id).run() for _ in range(2)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [str(o) for o in outcomes if o] == ["it is transcribed by another process, or has been by now"]
    agree(await cues_of(services, recording_id), take[2])


async def test_lines_beyond_the_end_of_a_take_are_withdrawn(services, take, media, tmp_path):
    """The recorder was killed: of the first take less was saved than had been heard."""
    other = shutil.copytree(take[0], tmp_path / "other")
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media, files=2)
    shutil.copytree(take[1], broadcast.spool_folder(0), dirs_exist_ok=True)

    async def heard():
        return len(await cues_of(services, broadcast.recording_id)) >= len(SENTENCES) - 1

    async with at_work(Follower(services, broadcast.recording_id).run()) as work:
        await until_async(heard, "captions beyond the end", seconds=PATIENCE)
        await broadcast.commit(other)
        shutil.copytree(take[1], broadcast.spool_folder(1), dirs_exist_ok=True)
        recording_id = await broadcast.finish()
        await work
    base = broadcast.bases_ms[1]
    kept = [(s, span) for s, span in zip(SENTENCES, take[2], strict=True) if span[0] < base]
    assert 0 < len(kept) < len(SENTENCES) - 1
    moved = [(start + base, end + base) for start, end in take[2]]
    cues = await cues_of(services, recording_id)
    assert [cue.text for cue in cues] == [*(s for s, _ in kept), *SENTENCES]
    agree(cues[len(kept) :], moved)


async def test_the_final_pass_replaces_the_live_lines_and_nothing_comes_after(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    shutil.copytree(take[1], broadcast.spool_folder(0), dirs_exist_ok=True)
    recording_id = await broadcast.finish()
    job = await jobs.claim(services.database, ["transcribe"], "test")
    await transcriber.transcribe(JobRun(services, job))
    await Follower(services, recording_id).run()
    agree(await cues_of(services, recording_id), take[2])
    async with services.database.read() as connection:
        assert {run.stage for run in await transcripts.runs(connection, recording_id)} == {RunStage.FINAL}


async def test_what_is_being_said_is_told_before_it_stands(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    spool, files = broadcast.spool_folder(0), sorted(take[1].iterdir())

    async def told():
        async with services.database.read() as connection:
            found = await changes.after(connection, 0)
        return [change.payload["text"] for change in found if change.kind == "said"]

    async def begins_like_the_second():
        return [text for text in await told() if text.startswith("Let us")]

    async def nothing_more():
        return await told() == [""]

    # However slow this machine is, and though all media has been there from the beginning.
    pace = Pace(PaceRules(costs=0, plain_ms=60_000, narrow_ms=60_000))
    middle = len(files) * 6_000 // (take[2][-1][1] + 600)
    async with at_work(Follower(services, broadcast.recording_id, pace=pace).run()) as work:
        for file in files[:middle]:  # up to the middle of the second sentence
            shutil.copyfile(file, spool / file.name)
        await until_async(begins_like_the_second, "provisional text")
        assert [cue.text for cue in await cues_of(services, broadcast.recording_id)] == [SENTENCES[0]]
        for file in files[middle:]:
            shutil.copyfile(file, spool / file.name)
        recording_id = await broadcast.finish()
        await work
    await until_async(nothing_more, "the provisional text to go")
    agree(await cues_of(services, recording_id), take[2])


@pytest.fixture(scope="module")
def long_take(tmp_path_factory):
    """More than fits into one window."""
    folder = tmp_path_factory.mktemp("long")
    times = speak(folder / "talk.wav", LONG)
    media, spool = split_take(folder, folder / "talk.wav")
    return media, spool, times


async def test_what_a_slow_engine_leaves_out_is_said_and_the_final_pass_hears_it(services, long_take, tmp_path):
    """Forty seconds wait when it begins: after one window it goes on with the newest sound."""
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(shutil.copytree(long_take[0], tmp_path / "media"))
    shutil.copytree(long_take[1], broadcast.spool_folder(0), dirs_exist_ok=True)
    pace = Pace(PaceRules(plain_ms=500, narrow_ms=1_000, skip_ms=2_000, worth=0.1))

    async def left_out():
        async with services.database.read() as connection:
            return await captioning.skips(connection, broadcast.recording_id)

    engines = SlowedEngines(services.engines, 0.15)
    slowed = replace(services, engines=engines)
    async with at_work(Follower(slowed, broadcast.recording_id, pace=pace).run()) as work:
        [skip] = await until_async(left_out, "something to be left out")
        recording_id = await broadcast.finish()
        await work
    assert pace.rung is Rung.SKIPPING
    assert engines.live.beams == {1}
    async with services.database.read() as connection:
        fares = await captioning.of_recording(connection, recording_id)
    assert fares.skipped_ms == skip.end_ms - skip.start_ms > 2_000
    cues = await cues_of(services, recording_id)
    assert 0 < len(cues) < len(LONG)
    assert not [cue for cue in cues if cue.start_ms < skip.end_ms and cue.end_ms > skip.start_ms]
    job = await jobs.claim(services.database, ["transcribe"], "test")
    await transcriber.transcribe(JobRun(services, job))
    agree(await cues_of(services, recording_id), long_take[2], LONG)
    assert await left_out() == []


async def test_why_there_are_no_captions_is_written_down(services, take, media, tmp_path):
    broken = Engines(Settings(model=str(MODEL), live_model=str(tmp_path / "missing.pt"), device="cpu"))
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)

    async def complaint():
        async with services.database.read() as connection:
            fares = await captioning.of_recording(connection, broadcast.recording_id)
        return fares and fares.problem

    async with at_work(live_transcriber.run(replace(services, engines=broken), asyncio.Event())):
        problem = await until_async(complaint, "a complaint", seconds=PATIENCE)
    await broken.close()
    assert "missing.pt does not exist: set STREAMARCHIVE_LIVE_MODEL to" in problem
    recording_id = await broadcast.finish()
    await Follower(services, recording_id).run()
    assert await complaint() is None


async def test_a_correction_on_air_outlives_what_is_heard_after_it_and_the_final_pass(services, take, media):
    broadcast = await Broadcast.begin(services)
    await broadcast.commit(media)
    spool, files = broadcast.spool_folder(0), sorted(take[1].iterdir())

    async def some():
        return await cues_of(services, broadcast.recording_id)

    async with at_work(Follower(services, broadcast.recording_id).run()) as work:
        for file in files[: len(files) // 2]:
            shutil.copyfile(file, spool / file.name)
        first = (await until_async(some, "a first caption", seconds=PATIENCE))[0]
        async with services.database.write() as tx:
            await corrections.edit(tx, first.id, first.revision, "I prefer the wipers.", None)
        for file in files[len(files) // 2 :]:
            shutil.copyfile(file, spool / file.name)
        recording_id = await broadcast.finish()
        await work
    expected = ["I prefer the wipers.", *SENTENCES[1:]]
    assert [cue.text for cue in await cues_of(services, recording_id)] == expected
    job = await jobs.claim(services.database, ["transcribe"], "test")
    await transcriber.transcribe(JobRun(services, job))
    assert [cue.text for cue in await cues_of(services, recording_id)] == expected
