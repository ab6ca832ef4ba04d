"""The final pass over what is recorded, with a real catalogue, store, ffmpeg and recogniser."""

import asyncio
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import pytest_asyncio

from streamarchive import ingest, jobs
from streamarchive.catalogue import interviews, transcripts
from streamarchive.errors import EngineDiedError, ModelUnavailableError
from streamarchive.ingest import Details
from streamarchive.models import RunStage
from streamarchive.services import Engines, open_services
from streamarchive.settings import Settings
from tests.archive import MODEL
from tests.recorded import ENGLISH, MANDARIN, Broadcast, run_ffmpeg, speak, split_take
from workers import transcriber
from workers.runner import JobRun, run_job

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO_BATCHES = ENGLISH * 16
"""Twelve windows, of which the recogniser takes eight at once."""


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


async def imported(services, file, languages=("en",)):
    details = Details(titles={"en": "Talk"}, languages=languages)
    incoming = services.settings.data_dir / "incoming"
    interview_id = await ingest.import_file(services.database, services.store, file, details, incoming=incoming)
    async with services.database.read() as connection:
        return (await interviews.get(connection, interview_id)).recording_id


async def claimed(services):
    job = await jobs.claim(services.database, ["transcribe"], "test")
    assert job is not None
    return job


async def transcribed(services):
    """Do the next job to its end."""
    job = await claimed(services)
    await transcriber.transcribe(JobRun(services, job))


async def cues_of(services, recording_id):
    async with services.database.read() as connection:
        return await transcripts.of_recording(connection, recording_id)


def agree(cues, sentences, times, within_ms=150):
    assert [cue.text for cue in cues] == list(sentences)
    for cue, (start_ms, end_ms) in zip(cues, times, strict=True):
        assert abs(cue.start_ms - start_ms) <= within_ms
        assert abs(cue.end_ms - end_ms) <= within_ms


async def test_an_imported_file_gets_its_lines_in_both_languages(services, tmp_path):
    sentences = (ENGLISH[0], *MANDARIN, ENGLISH[1])
    times = speak(tmp_path / "talk.wav", sentences)
    recording_id = await imported(services, tmp_path / "talk.wav", ("zh", "en"))
    await transcribed(services)
    cues = await cues_of(services, recording_id)
    agree(cues, sentences, times)
    assert [cue.lang for cue in cues] == ["en", "zh", "zh", "en"]
    assert all(cue.words for cue in cues)
    async with services.database.read() as connection:
        (job,) = [job for job in await jobs.of_recording(connection, recording_id) if job.kind == "transcribe"]
        (run,) = await transcripts.runs(connection, recording_id)
    assert (job.state, job.progress) == ("done", 1.0)
    assert run.stage is RunStage.FINAL
    assert run.finished_at is not None
    assert "Demo recogniser" in run.note


async def test_an_interrupted_pass_that_is_continued_equals_an_undisturbed_one(services, tmp_path):
    speak(tmp_path / "talk.wav", TWO_BATCHES, pause_ms=500)
    undisturbed = await imported(services, tmp_path / "talk.wav")
    await transcribed(services)
    expected = await cues_of(services, undisturbed)
    assert len(expected) > 20

    recording_id = await imported(services, tmp_path / "talk.wav")
    stop = asyncio.Event()
    job = await claimed(services)
    work = asyncio.create_task(run_job(services, stopping_after_first_window(services, stop), job, stop))
    await work
    async with services.database.read() as connection:
        (run,) = await transcripts.runs(connection, recording_id)
    assert 0 < run.covered_ms < expected[-1].start_ms
    assert await cues_of(services, recording_id) == []

    await transcribed(services)
    found = await cues_of(services, recording_id)
    assert [(c.start_ms, c.end_ms, c.text, c.words) for c in found] == [
        (c.start_ms, c.end_ms, c.text, c.words) for c in expected
    ]
    async with services.database.read() as connection:
        assert len(await transcripts.runs(connection, recording_id)) == 1


async def test_a_recogniser_that_is_killed_costs_no_line(services, tmp_path):
    speak(tmp_path / "talk.wav", TWO_BATCHES, pause_ms=500)
    undisturbed = await imported(services, tmp_path / "talk.wav")
    await transcribed(services)
    expected = await cues_of(services, undisturbed)

    recording_id = await imported(services, tmp_path / "talk.wav")
    asked = Asked(services.engines.final)
    engines = SimpleNamespace(final=asked, diarizer=services.engines.diarizer)
    job = JobRun(replace(services, engines=engines), await claimed(services))
    work = asyncio.create_task(transcriber.transcribe(job))
    while asked.times < 2 or not await covered(services, recording_id):  # so it is at work when it is killed
        await asyncio.wait([work], timeout=0.02)
        assert not work.done()
    os.kill(services.engines.final.pid, signal.SIGKILL)
    with pytest.raises(EngineDiedError, match="signal 9"):
        await work
    reached = await covered(services, recording_id)
    assert 0 < reached < expected[-1].start_ms

    await transcriber.transcribe(job)
    found = await cues_of(services, recording_id)
    assert [(c.start_ms, c.end_ms, c.text, c.words) for c in found] == [
        (c.start_ms, c.end_ms, c.text, c.words) for c in expected
    ]


class Asked:
    """A recogniser that counts its batches."""

    def __init__(self, engine):
        self._engine, self.times = engine, 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    async def transcribe(self, windows, options):
        """As it does."""
        self.times += 1
        async for result in self._engine.transcribe(windows, options):
            yield result


async def covered(services, recording_id):
    """How far the first run over it has come."""
    async with services.database.read() as connection:
        runs = await transcripts.runs(connection, recording_id)
    return runs[0].covered_ms if runs else 0


def stopping_after_first_window(services, stop):
    """The handler, and a stop as soon as the catalogue holds its first window."""

    async def handler(job):
        work = asyncio.create_task(transcriber.transcribe(job))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=0.02)
                async with services.database.read() as connection:
                    runs = await transcripts.runs(connection, job.job.recording_id)
                if runs and runs[0].covered_ms:
                    stop.set()
            await work
        finally:
            work.cancel()
            await asyncio.wait([work])

    return handler


async def test_a_missing_model_is_an_error_worth_a_retry_that_says_what_to_do(tmp_path):
    speak(tmp_path / "talk.wav", ENGLISH[:1])
    settings = Settings(data_dir=tmp_path / "archive", model=str(tmp_path / "none.pt"), device="cpu")
    async with open_services(settings) as services:
        recording_id = await imported(services, tmp_path / "talk.wav")
        job = await claimed(services)
        await run_job(services, transcriber.transcribe, job, asyncio.Event())
        async with services.database.read() as connection:
            again = await jobs.get(connection, job.id)
        assert again.state == "queued"
        assert "none.pt does not exist: set STREAMARCHIVE_MODEL" in again.last_error
        with pytest.raises(ModelUnavailableError):
            await services.engines.final.load()
        assert await cues_of(services, recording_id) == []


async def test_silence_is_an_empty_transcript(services, tmp_path):
    silence = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "5"]
    await asyncio.to_thread(run_ffmpeg, *silence, tmp_path / "silence.wav")
    recording_id = await imported(services, tmp_path / "silence.wav")
    await transcribed(services)
    assert await cues_of(services, recording_id) == []


async def test_sound_that_begins_later_than_the_picture_keeps_its_time(services, tmp_path):
    times = speak(tmp_path / "talk.wav", ENGLISH[:2])
    picture = ["-f", "lavfi", "-i", "testsrc2=s=128x96:r=10:d=12"]
    late = ["-itsoffset", "3.7", "-i", tmp_path / "talk.wav"]
    codecs = ["-map", "0:v", "-map", "1:a", "-c:v", "mpeg4", "-c:a", "aac"]
    await asyncio.to_thread(run_ffmpeg, *picture, *late, *codecs, tmp_path / "late.mp4")
    recording_id = await imported(services, tmp_path / "late.mp4")
    await transcribed(services)
    moved = [(start + 3_700, end + 3_700) for start, end in times]
    agree(await cues_of(services, recording_id), ENGLISH[:2], moved)


async def test_takes_of_a_stream_stand_end_to_end(services, tmp_path):
    """Two takes with time stamps that have nothing to do with each other, the sound later than the picture."""
    times = speak(tmp_path / "talk.wav", ENGLISH[:2])
    broadcast = await Broadcast.begin(services)
    for number, starts_s in enumerate((700, 95_000)):
        folder = tmp_path / f"take{number}"
        media, _ = await asyncio.to_thread(
            split_take, folder, tmp_path / "talk.wav", starts_s=starts_s, later_s=0.8
        )
        await broadcast.commit(media)
    recording_id = await broadcast.finish()
    await transcribed(services)
    expected = [(s + 800 + base, e + 800 + base) for base in broadcast.bases_ms for s, e in times]
    agree(await cues_of(services, recording_id), ENGLISH[:2] * 2, expected)
