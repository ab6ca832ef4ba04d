"""Synthesised interviews on air over local HLS, with the times at which each sentence was said and published."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from streamarchive.demo.broadcast import Broadcast, Schedule, SpokenSentence
from streamarchive.demo.encoder import EncodedSegment
from streamarchive.demo.playlist import LivePlaylist
from streamarchive.demo.voices import Synthesiser
from streamarchive.text import tokens

_ENOUGH = 0.6
"""Share of the words of a sentence's end that a caption has to have: recognisers make mistakes."""
_HOUR = timedelta(hours=1)


class _Noting(LivePlaylist):
    """A playlist that knows when each of its segments was published."""

    def __init__(self) -> None:
        super().__init__(0)
        self.published: list[tuple[float, float]] = []
        """(where the segment ends in the stream, when it was published by the wall clock), in seconds."""
        self._end = 0.0

    async def add(self, segment: EncodedSegment) -> str | None:
        stale = await super().add(segment)
        self._end += segment.seconds
        self.published.append((self._end, time.time()))
        return stale


@dataclass
class Source:
    """One broadcast and where it can be had."""

    broadcast: Broadcast
    url: str
    playlist: _Noting = field(default_factory=_Noting)

    def __post_init__(self) -> None:
        """Note when segments are published."""
        self.broadcast.playlist = self.playlist

    def published(self) -> Iterator[tuple[SpokenSentence, float]]:
        """The sentences whose end has been published, and when that was."""
        for sentence in list(self.broadcast.recent):
            end = sentence.end_ms / 1000
            at = next((at for until, at in self.playlist.published if until >= end), None)
            if at is not None:
                yield sentence, at


@asynccontextmanager
async def on_air(folder: Path, count: int) -> AsyncIterator[list[Source]]:
    """So many broadcasts at once, until the end of the block."""
    synthesiser = Synthesiser()
    sources: dict[str, Source] = {}

    async def serve(request: web.Request) -> web.StreamResponse:
        source, name = sources[request.match_info["id"]], request.match_info["name"]
        if name == "live.m3u8":
            await source.playlist.wait_if_due()
            headers = {"Cache-Control": "no-store"}
            return web.Response(
                text=source.playlist.text(), content_type="application/vnd.apple.mpegurl", headers=headers
            )
        file = source.broadcast.folder / name
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    app = web.Application()
    app.router.add_get(r"/{id}/{name:live\.m3u8|segment-\d+\.ts}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for number in range(count):
        broadcast = Broadcast.begin(folder, Schedule.draw(7_000 + number, _HOUR), synthesiser)
        sources[broadcast.schedule.id] = Source(broadcast, f"{address}/{broadcast.schedule.id}/live.m3u8")
    running = [asyncio.create_task(source.broadcast.run()) for source in sources.values()]
    try:
        yield list(sources.values())
    finally:
        for source in sources.values():
            source.broadcast.end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 10)
        await runner.cleanup()


def units(text: str) -> list[str]:
    """Latin words and single Chinese characters, folded."""
    return [token.text for token in tokens(text)]


def ends_with(shown: str, said: str) -> bool:
    """Whether a caption has the second half of a sentence, but for mistakes."""
    whole, there = units(said), set(units(shown))
    end = whole[len(whole) // 2 :]
    return sum(unit in there for unit in end) >= _ENOUGH * len(end)
