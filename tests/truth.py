"""A broadcast that is truthful about itself: every picture is known, so what a recording lacks can be counted.

A source of one-second pieces is made beforehand, each beginning with a key frame. It is served in real time, as
HLS with a window of pieces or as one endless MPEG-TS response that begins, as streaming servers do, with the last
key frame. Each picture is unique, and known by the hash that `streamarchive.media.overlap` gives it.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from streamarchive.media.overlap import units
from tests.media import run_ffmpeg

RATE = 25
"""Pictures a second; a piece lasts one."""
WINDOW = 12
# One muxer for all pieces: its packets are counted through, as they are in a broadcast.
SPLIT = ("-f", "segment", "-segment_time", "1", "-segment_format", "mpegts", "-individual_header_trailer", "0")
"""How ffmpeg makes pieces."""
_STEPS = 10
"""In so many steps each piece of the endless response is sent."""


def make_pieces(folder: Path, seconds: int) -> list[Path]:
    """Encode so many pieces."""
    folder.mkdir(parents=True)
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=160x90:rate={RATE}", "-f", "lavfi", "-i", "sine=330:r=48000"]
    coding = ["-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(RATE)]
    sound = ["-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "aac", "-b:a", "64k"]
    run_ffmpeg(*picture, *coding, *sound, *SPLIT, folder / "piece%05d.ts")
    return sorted(folder.glob("piece*.ts"))


@dataclass
class Truth:
    """A broadcast on air. `mood` is ``ok``, ``hang``, ``frozen`` (only the playlist), ``garbage`` or a status."""

    pieces: Sequence[Path]
    base: str = ""
    mood: str | int = "ok"
    began: float = field(default_factory=time.monotonic)
    asked: list[float] = field(default_factory=list)
    """When ffmpeg began to read, in seconds of the broadcast."""
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    frozen_at: float = 0.0
    window: int = WINDOW
    """Pieces that the playlist lists."""
    listeners: int = 0
    sent: float = 0.0
    """How many listen to the endless response, and how far it is, in seconds of the broadcast."""

    def now(self) -> float:
        """How far the broadcast is, in seconds."""
        return time.monotonic() - self.began

    def late(self) -> float:
        """How many seconds the endless response is behind, for whoever is the last to have asked for it."""
        return self.now() - self.sent if self.listeners else 0.0

    @property
    def hls(self) -> str:
        """The playlist's address."""
        return f"{self.base}/live.m3u8"

    @property
    def endless(self) -> str:
        """The endless response's address."""
        return f"{self.base}/live.ts"

    def set_mood(self, mood: str | int) -> None:
        """Misbehave from now on, also towards those who are connected."""
        self.frozen_at = self.now()
        self.mood = mood
        self.calm = asyncio.Event()
        if mood == "ok":
            self.calm.set()

    @functools.cached_property
    def place_of(self) -> dict[bytes, int]:
        """Every picture's place in the broadcast."""
        known = (unit.digest for piece in self.pieces for unit in units(piece.read_bytes()))
        return {digest: place for place, digest in enumerate(known)}

    def places(self, segments: Iterable[bytes]) -> list[int | None]:
        """Where each recorded picture belongs; None for one that is torn."""
        return [self.place_of.get(unit.digest) for data in segments for unit in units(data)]

    async def playlist(self, request: web.Request) -> web.StreamResponse:
        await self._behave()
        at = self.frozen_at if self.mood == "frozen" else self.now()
        done = min(int(at), len(self.pieces))
        first = max(0, done - self.window)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, done):
            lines += ["#EXTINF:1.0,", f"piece{number:05d}.ts"]
        if _is_ffmpeg(request):
            self.asked.append(self.now())
        return web.Response(text="\n".join(lines) + "\n", content_type="application/vnd.apple.mpegurl")

    async def piece(self, request: web.Request) -> web.StreamResponse:
        await self._behave()
        return web.FileResponse(self.pieces[int(request.match_info["number"])])

    async def stream(self, request: web.Request) -> web.StreamResponse:
        await self._behave()
        response = web.StreamResponse(headers={"Content-Type": "video/mp2t"})
        await response.prepare(request)
        if _is_ffmpeg(request):
            self.asked.append(self.now())
        self.sent = self.now()
        self.listeners += 1
        try:
            await self._send(request, response)
        finally:
            self.listeners -= 1
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse) -> None:
        with suppress(ConnectionError):
            for number in range(int(self.now()), len(self.pieces)):
                data = await asyncio.to_thread(self.pieces[number].read_bytes)
                size = -(-len(data) // _STEPS)
                for step in range(_STEPS):
                    await asyncio.sleep(number + (step + 1) / _STEPS - self.now())
                    if self.mood != "ok":
                        await self._interrupt(request)
                        return
                    await response.write(data[step * size : (step + 1) * size])
                    self.sent = number + (step + 1) / _STEPS

    async def _interrupt(self, request: web.Request) -> None:
        """What a mood does to somebody who is connected already."""
        if self.mood == "hang":
            await self.calm.wait()
        elif request.transport is not None:
            request.transport.abort()

    async def _behave(self) -> None:
        if self.mood == "hang":
            await self.calm.wait()
        elif self.mood == "garbage":
            raise web.HTTPOk(text="<html>Welcome to the hotel network. Please sign in.</html>")
        elif isinstance(self.mood, int):
            raise _REFUSALS[self.mood]


_REFUSALS = {403: web.HTTPForbidden, 404: web.HTTPNotFound, 503: web.HTTPServiceUnavailable}


def _is_ffmpeg(request: web.Request) -> bool:
    return request.headers.get("User-Agent", "").startswith("Lavf")


@asynccontextmanager
async def broadcast(
    pieces: Sequence[Path], *, begin_at: float = 5.0, window: int = WINDOW
) -> AsyncIterator[Truth]:
    """On air until the end of the block; `begin_at` seconds of it are over already."""
    truth = Truth(pieces, window=window)
    truth.began -= begin_at
    app = web.Application()
    app.router.add_get("/live.m3u8", truth.playlist)
    app.router.add_get("/piece{number:[0-9]{5}}.ts", truth.piece)
    app.router.add_get("/live.ts", truth.stream)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    truth.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield truth
    finally:
        truth.calm.set()
        await runner.cleanup()
