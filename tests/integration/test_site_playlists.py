"""Playlists that are kept for all who watch are those that would be written from the catalogue now."""

from __future__ import annotations

import asyncio
import gzip
import random

import aiohttp
import pytest

from streamarchive.catalogue import cuts, media_segments, purging, withheld
from streamarchive.protocols import StoredObject
from tests.site import SEGMENT_MS
from web import playlists
from web.playlists import Playlists


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


class Watched:
    """A broadcast, and one object that has kept its playlist from the beginning."""

    def __init__(self, site, broadcast):
        self.site, self.broadcast = site, broadcast
        self.kept = Playlists(site.services.database)
        self.ranges = []

    async def playlist(self, kept):
        interview = await self.site.interview(self.broadcast.interview_id)
        async with self.site.services.database.read() as connection:
            extent = await media_segments.extent(connection, self.broadcast.recording_id)
        recorded = await kept.recorded(self.broadcast.recording_id, extent)
        found = await kept.playlist(interview, self.broadcast.recording_id, extent, grows=True)
        return interview, recorded, found

    async def check(self):
        interview, recorded, found = await self.playlist(self.kept)
        _, expected_recorded, expected = await self.playlist(Playlists(self.site.services.database))
        assert recorded == expected_recorded
        assert recorded.newest_shown(interview) == expected_recorded.newest_shown(interview)
        assert found == expected

    async def some(self, pace, steps, weights):
        """One of these steps, and often a look at what has come of it."""
        (step,) = pace.choices(steps, weights)
        await step(pace)
        if pace.random() < 0.7:
            await self.check()

    async def withhold(self, pace):
        start = pace.randrange(max(self.broadcast.sequence, 1)) * SEGMENT_MS
        async with self.site.services.database.write() as tx:
            held = await withheld.withhold(tx, self.broadcast.recording_id, start, start + pace.randint(1, 9_000))
        self.ranges.append(held)

    async def lift(self, pace):
        if self.ranges:
            held = self.ranges.pop(pace.randrange(len(self.ranges)))
            async with self.site.services.database.write() as tx:
                await withheld.lift(tx, held.id)

    async def purge(self, pace):
        """What lies in it whole goes, the first that does not becomes shorter."""
        if not self.ranges:
            return
        held = self.ranges.pop(pace.randrange(len(self.ranges)))
        async with self.site.services.database.read() as connection:
            segments = await media_segments.of_recording(connection, self.broadcast.recording_id)
        async with self.site.services.database.write() as tx:
            await withheld.ask_purge(tx, held.id)
            for one in segments:
                start_ms = one.sequence * SEGMENT_MS
                inside = held.stretch.start_ms <= start_ms and start_ms + SEGMENT_MS <= held.stretch.end_ms
                shorter = StoredObject(one.key + ".shorter", one.size_bytes - 188, one.sha256)
                if held.stretch.meets(start_ms, start_ms + SEGMENT_MS):
                    await purging.replace_segment(tx, held, one, None if inside else shorter)
            await purging.done(tx, held)

    async def cut(self, pace):
        end = pace.choice([None, self.broadcast.sequence * SEGMENT_MS + 500])
        async with self.site.services.database.write() as tx:
            await cuts.cut(tx, self.broadcast.interview_id, pace.choice([None, 2_500]), end)

    async def add(self, pace):
        if self.broadcast.picture + 4 > len(self.site.media.segments):
            await self.interrupt(pace)
        await self.broadcast.add_segments(pace.randint(1, 4))

    async def interrupt(self, _pace):
        """The next take's time stamps begin anew."""
        await self.broadcast.interrupt()
        self.broadcast.picture = 0


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_kept_is_what_would_be_read_now(site, seed):
    pace = random.Random(seed)
    watched = Watched(site, await site.go_live({"en": "On air"}))
    await watched.add(pace)
    for _ in range(25):
        on_air = (watched.add, watched.interrupt, watched.withhold, watched.lift, watched.cut)
        await watched.some(pace, on_air, (6, 1, 2, 1, 1))
    await watched.broadcast.end()
    for _ in range(15):
        await watched.some(pace, (watched.withhold, watched.lift, watched.purge, watched.cut), (3, 1, 3, 1))
    await watched.check()


async def test_it_is_read_and_written_once_for_all_who_ask(site, monkeypatch):
    watched = Watched(site, await site.go_live({"en": "On air"}))
    await watched.broadcast.add_segments(5)
    written, read = [], []
    write, segments = playlists.write, media_segments.of_recording

    def counted(*args, **options):
        written.append(args)
        return write(*args, **options)

    async def seen(connection, recording_id, after=-1):
        found = await segments(connection, recording_id, after)
        read.append(len(found))
        return found

    monkeypatch.setattr(playlists, "write", counted)
    await watched.playlist(watched.kept)
    monkeypatch.setattr(media_segments, "of_recording", seen)
    await watched.broadcast.add_segments(1)
    found = await asyncio.gather(*(watched.playlist(watched.kept) for _ in range(50)))
    assert len({playlist.etag for _, _, playlist in found}) == 1
    assert len(written) == 2
    assert read == [1]


async def test_it_is_sent_compressed_once_and_not_again_while_nothing_is_new(site, browser):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(10)
    url = f"{site.url}/interviews/{broadcast.interview_id}/playlist.m3u8"
    asked = {"Accept-Encoding": "gzip"}
    async with browser.get(url, headers=asked) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Cache-Control"] == "private, no-cache"
        tag, compressed = response.headers["ETag"], await response.read()
    async with browser.get(url, headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
        assert response.headers["ETag"] != tag
        assert await response.read() == gzip.decompress(compressed)
    async with browser.get(url, headers={**asked, "If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    await broadcast.add_segments(1)
    async with browser.get(url, headers={**asked, "If-None-Match": tag}) as response:
        assert response.status == 200
        assert gzip.decompress(await response.read()).count(b"segments/") == 11
