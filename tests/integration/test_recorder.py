from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from datetime import timedelta

from streamarchive import jobs
from streamarchive.catalogue import database as clock
from streamarchive.catalogue import interviews, recordings, streams
from streamarchive.media.segments import read_times
from streamarchive.models import JobState, RecordingState
from tests.media import make
from tests.onair import on_air
from tests.recording import (
    QUICK,
    check_books,
    recording_worker,
    request_stop,
    schedule,
    state,
    until_ended,
    until_segments,
)
from tests.waiting import until_async
from workers import recorder
from workers.capture import Patience
from workers.stream_recorder import StreamRecorder


async def test_a_live_stream_becomes_a_finished_recording_with_its_jobs(services, air):
    stream_id = await schedule(services, air.url, seconds=20)
    async with recording_worker(services):
        await until_ended(services, stream_id)
    stream, segments, takes, gaps = await state(services, stream_id)
    await check_books(services, stream_id)
    assert len(takes) == 1
    assert gaps == []
    assert sum(segment.duration_ticks for segment in segments) > 10 * 90_000
    assert not any(segment.partial for segment in segments[:-1])
    async with services.database.read() as connection:
        recording = await recordings.get(connection, stream.recording_id)
        queued = await jobs.of_recording(connection, stream.recording_id)
    assert recording.state is RecordingState.FINISHED
    assert recording.has_video
    assert {(job.kind, job.state) for job in queued} == {
        ("finalise", JobState.QUEUED),
        ("transcribe", JobState.QUEUED),
    }
    assert not list((services.settings.data_dir / "recorder" / str(stream_id)).iterdir())


async def test_live_transcribers_find_the_sound_in_short_files(services, air):
    stream_id = await schedule(services, air.url)
    async with recording_worker(services):
        await until_segments(services, stream_id, 2)
        stream, segments, takes, _ = await state(services, stream_id)
        spool = services.settings.data_dir / "spool" / str(stream.recording_id) / str(takes[0].number)
        files = sorted(spool.glob("a????????.ts"))
        assert len(files) > len(segments)
        heard = read_times(files[0].read_bytes())
        assert heard.tracks.video is None
        assert abs(heard.lowest_pts - (takes[0].origin_pts or 0)) < 90_000 // 10
        assert read_times(files[1].read_bytes()).first_pts - heard.first_pts < 2 * 90_000


async def test_a_scheduled_stream_begins_in_time(services, air):
    async with services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Later"}, languages=("en",))
        starts_at = await clock.now(tx) + timedelta(seconds=3)
        stream_id = await streams.create(
            tx,
            interview_id,
            air.url,
            starts_at=starts_at,
            ends_at=starts_at + timedelta(seconds=12),
            exact_host_allowed=True,
        )
    async with recording_worker(services):
        await until_ended(services, stream_id)
    stream, segments, _, _ = await state(services, stream_id)
    async with services.database.read() as connection:
        recording = await recordings.get(connection, stream.recording_id)
    assert recording.started_at >= starts_at
    assert segments


async def test_a_stop_ends_the_recording_with_its_last_second(services, air):
    stream_id = await schedule(services, air.url)
    async with recording_worker(services):
        await until_segments(services, stream_id, 1)
        await request_stop(services, stream_id)
        await until_ended(services, stream_id)
    segments = await check_books(services, stream_id)
    assert len(segments) >= 2, "the segment that was being written is committed"


async def test_a_worker_that_stops_leaves_a_recording_that_the_next_continues(services, air):
    stream_id = await schedule(services, air.url)
    async with recording_worker(services):
        await until_segments(services, stream_id, 1)
    stream, before, _, gaps = await state(services, stream_id)
    assert stream.owner is None
    assert [gap.ended_at for gap in gaps] == [None]
    async with recording_worker(services):
        await until_segments(services, stream_id, len(before) + 2, takes=2)
        await request_stop(services, stream_id)
        await until_ended(services, stream_id)
    segments = await check_books(services, stream_id)
    assert segments[: len(before)] == before
    _, _, takes, gaps = await state(services, stream_id)
    assert len(takes) == 2
    assert len(gaps) == 1
    assert gaps[0].at_ms == takes[1].base_ticks // 90
    assert gaps[0].ended_at is not None
    assert gaps[0].began_at <= gaps[0].ended_at


async def test_a_recorder_that_fails_to_look_knows_what_it_records(services, air, monkeypatch):
    """When it is stopped, that is brought to a clean pause."""
    look, failed = recorder._look, asyncio.Event()

    async def fails_once(*arguments):
        if arguments[1] and not failed.is_set():
            failed.set()
            raise ZeroDivisionError
        return await look(*arguments)

    monkeypatch.setattr(recorder, "_look", fails_once)
    stream_id = await schedule(services, air.url)
    async with recording_worker(services):
        await until_segments(services, stream_id, 1)
        await failed.wait()
    stream, _, _, gaps = await state(services, stream_id)
    assert (stream.owner, [gap.ended_at for gap in gaps]) == (None, [None])


async def test_who_stands_by_waits_for_a_recorder_that_takes_its_time(services, air):
    """That one gives the stream to it, and to nobody else, when its segment is finished or it has to end."""
    patience = replace(QUICK, hand_over=12.0, lease=60.0)
    stream_id = await schedule(services, air.url)
    lease = timedelta(seconds=60)
    first = await streams.claim(services.database, stream_id, "recorder@elsewhere", lease)
    async with services.database.write() as tx:
        await recordings.begin(tx, first, has_video=True)
    await streams.offer(services.database, stream_id, first.epoch, lease)
    offered = (await state(services, stream_id))[0]
    second = StreamRecorder(services, offered, patience, claimed=False)
    try:

        async def stands_by():
            return (await state(services, stream_id))[0].successor is not None

        await until_async(stands_by, "the other recorder to stand by")
        await asyncio.wait([second.task], timeout=patience.hand_over)
        await streams.hand_over(services.database, (await state(services, stream_id))[0], lease)
        await until_segments(services, stream_id, 1)
    finally:
        second.pause()
        await second.task


async def test_a_source_that_says_it_has_ended_ends_the_recording(services, tmp_path):
    async with on_air(tmp_path / "air") as air:
        stream_id = await schedule(services, air.url)
        async with recording_worker(services):
            await until_segments(services, stream_id, 1)
            await asyncio.to_thread(air.end)
            await until_ended(services, stream_id)
    _, _, _, gaps = await state(services, stream_id)
    assert gaps == [], "what is missing after the end is no gap"
    await check_books(services, stream_id)


async def test_radio_without_a_picture(services, air):
    stream_id = await schedule(services, f"{air.base}/radio")
    async with recording_worker(services):
        await until_segments(services, stream_id, 2)
        await request_stop(services, stream_id)
        await until_ended(services, stream_id)
    stream, _, _, _ = await state(services, stream_id)
    await check_books(services, stream_id)
    async with services.database.read() as connection:
        recording = await recordings.get(connection, stream.recording_id)
    assert not recording.has_video
    assert recording.duration_ms > 4000


async def test_a_file_over_http_is_recorded_once(services, air):
    make(air.folder / "talk.ts", 9)
    stream_id = await schedule(services, f"{air.base}/talk.ts")
    async with recording_worker(services):
        await until_ended(services, stream_id)
    segments = await check_books(services, stream_id)
    assert abs(sum(segment.duration_ticks for segment in segments) - 9 * 90_000) < 9000


async def test_a_stream_without_sound_is_recorded(services, air):
    make(air.folder / "mute.ts", 5, audio=False)
    stream_id = await schedule(services, f"{air.base}/mute.ts")
    async with recording_worker(services):
        await until_ended(services, stream_id)
    assert await check_books(services, stream_id)


async def until_refused(services, stream_id):
    """Until there is a sentence about it; then no more is asked for."""

    async def told():
        return (await state(services, stream_id))[0].last_error

    await until_async(told, "a sentence about the source")
    await request_stop(services, stream_id)
    await until_ended(services, stream_id)


async def test_a_source_that_refuses_leaves_nothing_but_a_sentence(services, air):
    air.mood = "refuse"
    stream_id = await schedule(services, air.url)
    async with recording_worker(services):
        await until_refused(services, stream_id)
    stream, _, _, _ = await state(services, stream_id)
    assert stream.recording_id is None
    assert "503" in stream.last_error
    async with services.database.read() as connection:
        assert await recordings.open_recordings(connection) == []


async def test_a_private_address_from_the_web_is_not_asked(services, air):
    stream_id = await schedule(services, air.url, allowed=False)
    served = air.served
    async with recording_worker(services):
        await until_refused(services, stream_id)
    stream, _, _, _ = await state(services, stream_id)
    assert "private network" in stream.last_error
    assert air.served == served


async def test_what_the_server_sends_again_is_not_recorded_twice(services, tmp_path):
    """ffmpeg is killed; its successor fetches what was missed, and begins with what is known."""
    async with on_air(tmp_path / "air", segment_seconds=4) as air:
        stream_id = await schedule(services, air.url)
        work = services.settings.data_dir / "recorder" / str(stream_id)
        async with recording_worker(services):
            await until_segments(services, stream_id, 2)
            os.kill(int((work / "0" / "ffmpeg.pid").read_text()), signal.SIGKILL)
            await until_segments(services, stream_id, 4, takes=2)
            await request_stop(services, stream_id)
            await until_ended(services, stream_id)
    await check_books(services, stream_id)
    _, _, _, gaps = await state(services, stream_id)
    assert gaps == [], "nothing is missing"


async def test_a_fenced_recorder_stops_and_writes_nothing_more(services, air):
    stream_id = await schedule(services, air.url)
    patience = Patience(stall=6.0, stop=0.5, lease=60.0, renew=0.3, first_retry=0.1)
    async with recording_worker(services, patience):
        await until_segments(services, stream_id, 1)
        stream, _, _, _ = await state(services, stream_id)
        another = replace(stream, successor="another@elsewhere")
        await streams.hand_over(services.database, another, timedelta(minutes=5))
        _, before, _, _ = await state(services, stream_id)

        async def ended():
            folder = services.settings.data_dir / "recorder" / str(stream_id) / "0"
            names = [task.get_name() for task in asyncio.all_tasks()]
            return folder.is_dir() and f"stream {stream_id}" not in names

        await until_async(ended, "the recorder to give up")
        _, after, _, _ = await state(services, stream_id)
    assert after == before
    stream, _, _, _ = await state(services, stream_id)
    assert stream.owner == "another@elsewhere"
