"""The product over a bucket: it is recorded, played, finished and deleted, also while the server is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import aiohttp
import pytest

from streamarchive.catalogue import recordings
from streamarchive.models import AssetKind, GapReason, JobState, RecordingState, StreamState, Visibility
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.integration.test_purging import ask, purge
from tests.integration.test_schedules import plan
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
from tests.services import S3Server
from tests.site import open_site
from tests.takes import assets_of, finalise
from tests.truth import broadcast
from tests.waiting import until_async


def url_of(server: S3Server) -> str:
    return f"s3://{S3Server.BUCKET}/talks?endpoint={server.endpoint}"


def keys_in(server: S3Server) -> set[str]:
    """Every object below the prefix."""
    folder = server.objects / "talks"
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
async def services(tmp_path, s3_server):
    async with open_services(Settings(data_dir=tmp_path / "archive", media=url_of(s3_server))) as opened:
        yield opened


async def until_waiting(services, stream_id, take, count):
    """Until a take has so many finished files here, and one that is being written."""
    folder = services.settings.data_dir / "recorder" / str(stream_id) / str(take)

    async def enough():
        return len(list(folder.glob("s????????.ts"))) > count

    await until_async(enough, f"{count} files of take {take} that wait")


async def pictures(services, stream_id, truth):
    """The places of all recorded pictures in the broadcast, take by take."""
    _, segments, takes, _ = await state(services, stream_id)
    return [
        truth.places([await content(services, each.key) for each in segments if each.take_id == take.id])
        for take in takes
    ]


async def content(services, key):
    return b"".join([chunk async for chunk in services.store.read(key)])


def is_whole(places):
    """None is missing in between, none is there twice."""
    return all(later == earlier + 1 for earlier, later in pairwise(places))


async def test_what_is_recorded_while_the_store_is_away_is_played_finished_and_deleted(
    tmp_path, media, s3_server, pieces
):
    async with open_site(tmp_path, media, store=url_of(s3_server)) as site, broadcast(pieces) as truth:
        services = site.services
        stream_id = await schedule(services, truth.endless)
        async with recording_worker(services):
            await until_segments(services, stream_id, 1)
            await asyncio.to_thread(s3_server.stop)
            await until_waiting(services, stream_id, 0, 3)
            _, before, _, _ = await state(services, stream_id)
            s3_server.start()
            await until_segments(services, stream_id, len(before) + 4)
            await request_stop(services, stream_id)
            await until_ended(services, stream_id)
        segments = await check_books(services, stream_id)
        stream, _, _, gaps = await state(services, stream_id)
        [places] = await pictures(services, stream_id, truth)
        assert is_whole(places)
        assert gaps == []
        assert list((tmp_path / "archive" / "recorder" / str(stream_id)).iterdir()) == []

        assert (await finalise(services)).last_error is None
        files, _ = await assets_of(services, stream.recording_id)
        assert files[AssetKind.MP4].verified
        await site.show(stream.interview_id, Visibility.PUBLIC)
        await play(site, stream.interview_id, segments, await content(services, files[AssetKind.MP4].key))

        await ask(services, stream.recording_id, 2_000, 4_000)
        job = await purge(services)
        assert (job.state, job.last_error) == (JobState.DONE, None)
        assert files[AssetKind.MP4].key not in keys_in(s3_server)
        assert (await finalise(services)).last_error is None
        files, left = await assets_of(services, stream.recording_id)
        assert {segment.key for segment in segments} - {segment.key for segment in left}
        assert keys_in(s3_server) == {kept.key for kept in (*files.values(), *left)}
        assert list(services.settings.fetched.iterdir()) == []


async def play(site, interview_id, segments, whole):
    """As a browser does: the playlist, a segment of it, the file by ranges."""
    base = f"{site.url}/interviews/{interview_id}"
    async with aiohttp.ClientSession() as browser:
        async with browser.get(f"{base}/playlist.m3u8") as answer:
            lines = (await answer.text()).splitlines()
        listed = [line for line in lines if line and not line.startswith("#")]
        assert len(listed) == len(segments)
        for line, segment in zip(listed, segments, strict=True):
            async with browser.get(f"{base}/{line}") as answer:
                assert await answer.read() == await content(site.services, segment.key)
        for asked, start, end in (("0-99", 0, 100), ("1000-200000", 1_000, 200_001), ("-50", -50, None)):
            async with browser.get(f"{base}/media.mp4", headers={"Range": f"bytes={asked}"}) as answer:
                assert answer.status == 206
                assert await answer.read() == whole[start:end]
        async with browser.get(f"{base}/media.mp4") as answer:
            assert await answer.read() == whole


@pytest.mark.parametrize(
    ("mood", "reasons"),
    [(503, {GapReason.BROKE_OFF, GapReason.REFUSED, GapReason.NETWORK}), ("hang", {GapReason.STALLED})],
)
async def test_sources_and_recorders_may_break_off_while_the_store_is_away(
    services, s3_server, pieces, mood, reasons
):
    """What each take has recorded waits, and every gap is written down."""
    async with broadcast(pieces) as truth:
        stream_id = await schedule(services, truth.endless)
        async with recording_worker(services, QUICK):
            await until_segments(services, stream_id, 1)
            await asyncio.to_thread(s3_server.stop)
            await until_waiting(services, stream_id, 0, 2)
            truth.set_mood(mood)
            assert (await until_gap(services, stream_id)).reason in reasons
            truth.set_mood("ok")
            await until_waiting(services, stream_id, 1, 2)
        async with recording_worker(services, QUICK):
            await until_waiting(services, stream_id, 2, 2)
            s3_server.start()
            await until_segments(services, stream_id, 6, takes=3)
            await request_stop(services, stream_id)
            await until_ended(services, stream_id)
        await check_books(services, stream_id)
        _, _, takes, gaps = await state(services, stream_id)
        of_takes = await pictures(services, stream_id, truth)
    assert [take.number for take in takes] == [0, 1, 2]
    assert [gap.at_ms for gap in gaps] == [take.base_ticks // 90 for take in takes[1:]]
    assert all(gap.began_at <= gap.ended_at for gap in gaps)
    for places in of_takes:  # the last picture of a take is torn
        assert is_whole([place for place in places if place is not None])
        assert len(places) > 50


async def until_gap(services, stream_id):
    async def noted():
        return (await state(services, stream_id))[3]

    [gap] = await until_async(noted, "the gap")
    return gap


async def test_what_waits_for_the_store_is_no_silence(services, s3_server, pieces):
    """A stream past its end goes on while its source delivers."""
    quick = replace(QUICK, stall=60.0, quiet=15.0)
    async with broadcast(pieces) as truth:
        stream_id = await plan(services, truth.endless, ends=1)
        async with recording_worker(services, quick):
            await until_segments(services, stream_id, 1)
            await asyncio.to_thread(s3_server.stop)
            await until_waiting(services, stream_id, 0, 6)
            stream, before, _, _ = await state(services, stream_id)
            assert stream.overrun(before[-1].arrived_at + timedelta(seconds=quick.quiet))
            s3_server.start()
            await until_segments(services, stream_id, len(before) + 7)
            stream, _, takes, gaps = await state(services, stream_id)
            assert (stream.state, len(takes), gaps) == (StreamState.RECORDING, 1, [])
            truth.set_mood("hang")
            await until_ended(services, stream_id)
        await check_books(services, stream_id)


async def test_a_recording_is_over_once_the_store_has_all_of_it(services, s3_server, pieces):
    async with broadcast(pieces) as truth:
        stream_id = await schedule(services, truth.endless)
        async with recording_worker(services):
            await until_segments(services, stream_id, 1)
            await asyncio.to_thread(s3_server.stop)
            await until_waiting(services, stream_id, 0, 2)
            await request_stop(services, stream_id)
            epoch = (await state(services, stream_id))[0].epoch

            async def tried_again():
                stream, _, _, _ = await state(services, stream_id)
                return stream.epoch > epoch + 1 and "cannot be reached" in (stream.last_error or "")

            await until_async(tried_again, "two more attempts to end it")
            stream, committed, _, _ = await state(services, stream_id)
            async with services.database.read() as connection:
                recording = await recordings.get(connection, stream.recording_id)
            assert recording.state is not RecordingState.FINISHED
            s3_server.start()
            await until_ended(services, stream_id)
        segments = await check_books(services, stream_id)
        _, _, takes, gaps = await state(services, stream_id)
        [places] = await pictures(services, stream_id, truth)
    assert len(segments) > len(committed) + 1
    assert is_whole(places[:-1])
    assert (len(takes), gaps) == (1, [])
