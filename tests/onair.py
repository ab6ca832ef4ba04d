"""Streams on air for tests: ffmpeg makes them in real time, a local server serves them and can misbehave."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from streamarchive.media.commands import ffmpeg_path
from tests import waiting


class OnAir:
    """A live HLS stream below `url`. `mood` is ``ok``, ``refuse`` (503), ``hang`` or ``gone`` (404)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mood = "ok"
        self.base = ""
        self.served = 0
        self.login = ""
        """What has to be sent as ``Authorization``, if anything."""
        self.calm = asyncio.Event()
        self.encoder: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.base}/live.m3u8"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.login and request.headers.get("Authorization") != self.login:
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="air"'})
        if self.mood == "hang":
            await self.calm.wait()
        if self.mood == "refuse":
            raise web.HTTPServiceUnavailable
        file = self.folder / request.match_info["name"]
        if self.mood == "gone" or not file.is_file():
            raise web.HTTPNotFound
        self.served += 1
        return web.FileResponse(file)

    async def radio(self, request: web.Request) -> web.StreamResponse:
        """Progressive sound as internet radio sends it: without a length, without an end."""
        response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
        await response.prepare(request)
        process = await asyncio.create_subprocess_exec(
            ffmpeg_path(), *_QUIET, "-re", "-f", "lavfi", "-i", "sine=frequency=330", "-c:a", "libmp3lame",
            "-f", "mp3", "-", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            while chunk := await process.stdout.read(1024):
                await response.write(chunk)
        finally:
            process.kill()
            await process.communicate()
        return response

    def end(self) -> None:
        """End the broadcast and say so in the playlist."""
        assert self.encoder is not None
        self.encoder.kill()
        self.encoder.wait()
        playlist = self.folder / "live.m3u8"
        playlist.write_text(playlist.read_text() + "#EXT-X-ENDLIST\n")


_QUIET = ("-hide_banner", "-nostdin", "-v", "error")


@asynccontextmanager
async def on_air(folder: Path, *, segment_seconds: int = 1) -> AsyncIterator[OnAir]:
    """Broadcast until the end of the block."""
    folder.mkdir()
    stream = OnAir(folder)
    picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"]
    stream.encoder = process = subprocess.Popen(
        [ffmpeg_path(), *_QUIET, *picture, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
         *coding, "-threads", "1", "-c:a", "aac", "-f", "hls", "-hls_time", str(segment_seconds),
         "-hls_list_size", "8",
         "-hls_flags", "delete_segments", "-hls_segment_filename", "part%05d.ts", "live.m3u8"],
        cwd=folder,
    )  # fmt: skip
    app = web.Application()
    app.router.add_get("/radio", stream.radio)
    app.router.add_get("/{name}", stream.serve)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stream.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        await asyncio.to_thread(waiting.until, (folder / "live.m3u8").is_file, "the broadcast to begin")
        yield stream
    finally:
        stream.calm.set()
        process.kill()
        process.wait()
        await runner.cleanup()
