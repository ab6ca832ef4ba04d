"""Recorders in tests: run one, have a stream recorded, look at what the catalogue then says."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from streamarchive.catalogue import database as clock
from streamarchive.catalogue import interviews, media_segments, recordings, streams
from streamarchive.media.overlap import units
from streamarchive.media.segments import read_times
from streamarchive.models import StreamState
from tests.waiting import until_async
from workers import recorder
from workers.capture import Patience

QUICK = Patience(stall=6.0, stop=0.5, lease=3.0, renew=0.5, first_retry=0.1, longest_retry=0.5, tidy=0.2)
CALM = replace(QUICK, stall=60.0, stop=10.0)
"""For sources that never fall silent: a machine that stands still for a while is none that does."""


@asynccontextmanager
async def recording_worker(services, patience=CALM):
    stop = asyncio.Event()
    task = asyncio.create_task(recorder.run(services, stop, patience))
    try:
        yield
    finally:
        stop.set()
        await task


async def schedule(services, url, *, seconds=None, allowed=True):
    async with services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Live"}, languages=("en",))
        moment = await clock.now(tx)
        ends_at = moment + timedelta(seconds=seconds) if seconds else None
        return await streams.create(tx, interview_id, url, ends_at=ends_at, exact_host_allowed=allowed)


async def state(services, stream_id):
    """The stream, its segments, takes and gaps."""
    async with services.database.read() as connection:
        stream = await streams.get(connection, stream_id)
        if stream.recording_id is None:
            return stream, [], [], []
        segments = await media_segments.of_recording(connection, stream.recording_id)
        takes = await recordings.takes(connection, stream.recording_id)
        return stream, segments, takes, await recordings.gaps(connection, stream.recording_id)


async def until_segments(services, stream_id, count, *, takes=1):
    async def enough():
        _, segments, there, _ = await state(services, stream_id)
        return len(segments) >= count and len(there) >= takes

    await until_async(enough, f"{count} segments in {takes} takes", seconds=60)


async def until_ended(services, stream_id):
    async def ended():
        return (await state(services, stream_id))[0].state is StreamState.ENDED

    await until_async(ended, "the end of the stream", seconds=60)


async def request_stop(services, stream_id):
    async with services.database.write() as tx:
        await streams.request_stop(tx, stream_id)


async def check_books(services, stream_id):
    """Every committed segment is there, whole, in its place, and its sound and picture come once only."""
    _, segments, takes, _ = await state(services, stream_id)
    assert [segment.sequence for segment in segments] == list(range(len(segments)))
    end, seen = 0, set()
    for segment in segments:
        content = b"".join([chunk async for chunk in services.store.read(segment.key)])
        assert hashlib.sha256(content).hexdigest() == segment.sha256
        assert len(content) == segment.size_bytes
        assert abs(segment.start_ticks - end) <= 3600, "segments do not stand end to end"
        end = segment.end_ticks
        times = read_times(content)
        first = next(take for take in takes if take.id == segment.take_id)
        assert segment.start_ticks - first.base_ticks == segment.pts_ticks - (first.origin_pts or 0)
        assert times.first_pts >= segment.pts_ticks
        if times.tracks.video:
            pictures = [unit.digest for unit in units(content)]
            assert not seen.intersection(pictures), "pictures have been recorded twice"
            seen.update(pictures)
    return segments
