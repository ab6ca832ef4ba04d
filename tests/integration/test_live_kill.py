"""ffmpeg is killed on air while captions run ahead of what is recorded: sound that is short by its take's end."""

import asyncio
import os
import signal
from collections import Counter
from itertools import pairwise

from streamarchive.catalogue import interviews, recordings, streams, transcripts
from streamarchive.clock import to_ms
from streamarchive.models import RunStage
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.archive import MODEL
from tests.recording import recording_worker, request_stop, state, until_ended
from tests.speaking import on_air
from tests.waiting import until_async
from workers import live_transcriber

KILLS = 2
PATIENCE = 120
"""Seconds; a busy machine may need them."""


async def test_what_is_heard_of_a_take_that_is_killed_is_shown_once(tmp_path):
    """Its last file is not whole yet; what its successor fetches again takes the place of that file's sound."""
    settings = Settings(data_dir=tmp_path / "archive", model=str(MODEL), device="cpu")
    (tmp_path / "air").mkdir()
    async with open_services(settings) as services, on_air(tmp_path / "air", 1) as [source]:
        async with services.database.write() as tx:
            interview_id = await interviews.create(tx, titles={"en": "On air"}, languages=("en", "zh"))
            stream_id = await streams.create(tx, interview_id, source.url, exact_host_allowed=True)
        stop = asyncio.Event()
        listening = asyncio.create_task(live_transcriber.run(services, stop))
        try:
            async with recording_worker(services):
                for number in range(KILLS):
                    await until_async(
                        lambda n=number: _ahead(services, stream_id, n), "captions", seconds=PATIENCE
                    )
                    pid = settings.data_dir / "recorder" / str(stream_id) / str(number) / "ffmpeg.pid"
                    os.kill(int(pid.read_text()), signal.SIGKILL)
                await until_async(lambda: _ahead(services, stream_id, KILLS), "captions", seconds=PATIENCE)
                await request_stop(services, stream_id)
                await until_ended(services, stream_id)
            await until_async(lambda: _heard(services, stream_id), "the end of the live runs", seconds=PATIENCE)
        finally:
            stop.set()
            await listening
        said = Counter(sentence.text for sentence in source.broadcast.recent)
        _, segments, takes, _ = await state(services, stream_id)
        cues = await _cues(services, stream_id)
    assert len(takes) == KILLS + 1
    assert cues[-1].start_ms < to_ms(segments[-1].end_ticks)
    assert all(before.end_ms <= after.start_ms + 500 for before, after in pairwise(cues))
    heard = Counter(cue.text for cue in cues if cue.text in said)
    assert heard
    assert heard <= said, "a sentence is shown twice"


async def _ahead(services, stream_id, take):
    """Whether this take has a caption that ends behind all that is recorded."""
    _, segments, takes, _ = await state(services, stream_id)
    if len(takes) <= take or not segments:
        return False
    committed_ms = to_ms(segments[-1].end_ticks)
    return any(cue.end_ms > committed_ms for cue in await _cues(services, stream_id))


async def _heard(services, stream_id):
    """Whether every take has been heard to its end."""
    stream, _, takes, _ = await state(services, stream_id)
    async with services.database.read() as connection:
        runs = await transcripts.runs(connection, stream.recording_id)
        recording = await recordings.get(connection, stream.recording_id)
    done = [run for run in runs if run.stage is RunStage.LIVE and run.finished_at]
    return len(done) == len(takes) and recording.duration_ms > 0


async def _cues(services, stream_id):
    stream, _, _, _ = await state(services, stream_id)
    async with services.database.read() as connection:
        return await transcripts.of_recording(connection, stream.recording_id)
