"""The final pass over what is recorded, with a real catalogue, store, ffmpeg and recogniser."""

import asyncio
import subprocess
from datetime import timedelta

import pytest

from streamarchive import ingest, jobs
from streamarchive.catalogue import interviews, recordings, streams, transcripts
from streamarchive.clock import TakeClock
from streamarchive.demo.voices import UNHEARD, Synthesiser, save_wave
from streamarchive.errors import ModelUnavailableError
from streamarchive.ingest import Details
from streamarchive.media.commands import ffmpeg_path
from streamarchive.media.segments import read_times
from streamarchive.models import MediaSegment, RunStage
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.archive import MODEL
from workers import transcriber
from workers.runner import JobRun, run_job

ENGLISH = (
    "I prefer the windows because it is really fast.",
    "Let us talk about the navigation now.",
    "How safe is the operating system across the country?",
    "Our team in London has six engineers.",
    "I love the wipers although it is too boring.",
    "It took five minutes to design the radio.",
    "Everybody said the red Fiat was expensive.",
    "Do you trust your black wagon?",
)
MANDARIN = ("我觉得用户体验比隐私更有趣。", "未来五年会有更多的电动车吗？")


@pytest.fixture(scope="module")
def synthesiser():
    return Synthesiser()


@pytest.fixture
async def services(tmp_path):
    settings = Settings(data_dir=tmp_path / "archive", model=str(MODEL), device="cpu")
    async with open_services(settings) as opened:
        yield opened


def record(synthesiser, file, sentences, pause_ms=600):
    """Speak into a wave file; when each sentence begins and ends."""
    voices = {True: UNHEARD["zh"][0], False: UNHEARD["en"][1]}
    return save_wave(file, [synthesiser.speak(voices[s > "\u3000"], s) for s in sentences], pause_ms)


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


async def test_an_imported_file_gets_its_lines_in_both_languages(services, synthesiser, tmp_path):
    sentences = (ENGLISH[0], *MANDARIN, ENGLISH[1])
    times = record(synthesiser, tmp_path / "talk.wav", sentences)
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


async def test_an_interrupted_pass_that_is_continued_equals_an_undisturbed_one(services, synthesiser, tmp_path):
    record(synthesiser, tmp_path / "talk.wav", ENGLISH * 3, pause_ms=500)
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


async def test_a_missing_model_is_an_error_worth_a_retry_that_says_what_to_do(tmp_path, synthesiser):
    record(synthesiser, tmp_path / "talk.wav", ENGLISH[:1])
    settings = Settings(data_dir=tmp_path / "archive", model=str(tmp_path / "none.pt"), device="cpu")
    async with open_services(settings) as services:
        recording_id = await imported(services, tmp_path / "talk.wav")
        job = await claimed(services)
        await run_job(services, transcriber.transcribe, job, asyncio.Event())
        async with services.database.read() as connection:
            again = await jobs.get(connection, job.id)
        assert again.state == "queued"
        assert "none.pt does not exist: set MODEL" in again.last_error
        with pytest.raises(ModelUnavailableError):
            await services.engines.final.load()
        assert await cues_of(services, recording_id) == []


async def test_silence_is_an_empty_transcript(services, tmp_path):
    command = arguments("-f lavfi -i anullsrc=r=16000:cl=mono -t 5")
    await asyncio.to_thread(ffmpeg_run, *command, tmp_path / "silence.wav")
    recording_id = await imported(services, tmp_path / "silence.wav")
    await transcribed(services)
    assert await cues_of(services, recording_id) == []


async def test_sound_that_begins_later_than_the_picture_keeps_its_time(services, synthesiser, tmp_path):
    times = record(synthesiser, tmp_path / "talk.wav", ENGLISH[:2])
    picture = arguments("-f lavfi -i testsrc2=s=128x96:r=10:d=12")
    late = ["-itsoffset", "3.7", "-i", tmp_path / "talk.wav"]
    codecs = arguments("-map 0:v -map 1:a -c:v mpeg4 -c:a aac")
    await asyncio.to_thread(ffmpeg_run, *picture, *late, *codecs, tmp_path / "late.mp4")
    recording_id = await imported(services, tmp_path / "late.mp4")
    await transcribed(services)
    moved = [(start + 3_700, end + 3_700) for start, end in times]
    agree(await cues_of(services, recording_id), ENGLISH[:2], moved)


async def test_takes_of_a_stream_stand_end_to_end(services, synthesiser, tmp_path):
    """Two takes with time stamps that have nothing to do with each other, sound later than picture."""
    times = record(synthesiser, tmp_path / "talk.wav", ENGLISH[:2])
    picture = arguments("-f lavfi -i testsrc2=s=128x96:r=10:d=10 -itsoffset 0.8")
    codecs = arguments("-map 0:v -map 1:a -c:v libx264 -g 20 -bf 2 -c:a aac -f segment -segment_time 2")
    for number, offset in enumerate((700, 95_000)):
        folder = tmp_path / f"take{number}"
        folder.mkdir()
        start = ["-output_ts_offset", str(offset), folder / "s%08d.ts"]
        await asyncio.to_thread(ffmpeg_run, *picture, "-i", tmp_path / "talk.wav", *codecs, *start)
    recording_id, bases = await committed(services, [tmp_path / "take0", tmp_path / "take1"])
    await transcribed(services)
    expected = [(s + 800 + base, e + 800 + base) for base in bases for s, e in times]
    agree(await cues_of(services, recording_id), ENGLISH[:2] * 2, expected)


async def committed(services, folders):
    """A finished recording of these takes, as a recorder would have written it; where each take begins."""
    database, bases, sequence, end = services.database, [], 0, 0
    async with database.write() as tx:
        interview_id = await ingest.create_interview(tx, Details({"en": "Live"}, ("en",)))
        stream_id = await streams.create(tx, interview_id, "http://127.0.0.1/x.m3u8")
    stream = await streams.claim(database, stream_id, "test", timedelta(minutes=1))
    for folder in folders:
        async with database.write() as tx:
            recording_id = await recordings.begin(tx, stream, has_video=True)
            take = await recordings.begin_take(tx, stream, recording_id)
        clock = TakeClock(take.base_ticks)
        bases.append(take.base_ticks // 90)
        for index, file in enumerate(sorted(folder.iterdir())):
            times = read_times(file.read_bytes())
            clock, span = clock.place(*times.span(first_of_take=index == 0))
            stored = await services.store.adopt(file, f"streams/{sequence}-", ".ts")
            segment = MediaSegment(
                recording_id,
                take.id,
                sequence,
                stored.key,
                stored.size_bytes,
                stored.sha256,
                span.start,
                span.duration,
                clock.latest,
                take.started_at,
            )
            async with database.write() as tx:
                await recordings.commit_segment(tx, stream, segment, clock.origin, has_video=True)
            sequence, end = sequence + 1, span.end
    assert end > 0
    async with database.write() as tx:
        await recordings.finish(tx, stream, recording_id)
        await jobs.enqueue(tx, "transcribe", str(recording_id), recording_id=recording_id)
    return recording_id, bases


def arguments(line):
    """A command line without blanks in its words."""
    return line.split()


def ffmpeg_run(*line):
    subprocess.run([ffmpeg_path(), "-nostdin", "-v", "error", *map(str, line)], check=True)
