"""The demo's broadcaster, a process of its own: `python -m streamarchive.demo.broadcaster FOLDER`.

It keeps a broadcast on air, one after another, and serves two things on loopback: the stream, as HLS below
``/broadcasts/{id}/live.m3u8``, and a control interface in JSON: ``GET /status``, ``POST /say`` with ``lang``,
``template`` and ``choices``, ``POST /end``, and ``POST /figures`` for whoever measures. With `--leashed` it ends
when its standard input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import secrets
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from streamarchive.demo.broadcast import Broadcast, Schedule, unfinished
from streamarchive.demo.dialogue import Utterance
from streamarchive.demo.grammar import grammar
from streamarchive.demo.voices import Synthesiser
from streamarchive.errors import StreamArchiveError, UsageError

_logger = logging.getLogger(__name__)

LENGTH = timedelta(minutes=10)
_KEPT = 3
"""Broadcasts whose files are kept, the current one included."""
_LONGEST_QUEUE = 5
"""Requested sentences that may wait."""
_RECENT = 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Broadcaster:
    """Broadcasts one after another."""

    def __init__(self, folder: Path, length: timedelta) -> None:
        """Load the voices. Raises `TranscriptionError` where there are none."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._length = length
        self._synthesiser = Synthesiser()
        self._on_air: list[Broadcast] = []

    @property
    def current(self) -> Broadcast:
        """What is on air."""
        if not self._on_air:
            raise web.HTTPServiceUnavailable
        return self._on_air[-1]

    def find(self, broadcast_id: str) -> Broadcast | None:
        """The current broadcast or one that ended lately."""
        return next((one for one in self._on_air if one.schedule.id == broadcast_id), None)

    async def run(self) -> None:
        """Be on air until cancelled; continues a broadcast that was cut off."""
        schedule = unfinished(self._folder)
        while True:
            self._on_air.append(self._begin(schedule))
            await self.current.run()
            schedule = None
            self._tidy()

    def _begin(self, schedule: Schedule | None) -> Broadcast:
        if schedule:
            _logger.info("continuing broadcast %s", schedule.id)
            return Broadcast(self._folder / schedule.id, schedule, self._synthesiser)
        fresh = Schedule.draw(secrets.randbelow(10**9), self._length)
        _logger.info("broadcast %s begins", fresh.id)
        return Broadcast.begin(self._folder, fresh, self._synthesiser)

    def _tidy(self) -> None:
        self._on_air = self._on_air[-_KEPT:]
        folders = sorted(own for own in self._folder.iterdir() if own.is_dir())
        for own in folders[:-_KEPT]:
            shutil.rmtree(own, ignore_errors=True)


class Control:
    """The handlers of the process's small server."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        """Serve this broadcaster."""
        self._broadcaster = broadcaster
        self._figures: dict[str, float | None] = {}

    def app(self) -> web.Application:
        """Everything it serves."""
        app = web.Application(middlewares=[_loopback_only])
        app.router.add_get("/status", self._status)
        app.router.add_post("/say", self._say)
        app.router.add_post("/end", self._end)
        app.router.add_post("/figures", self._keep_figures)
        app.router.add_get("/broadcasts/{id}/live.m3u8", self._playlist)
        app.router.add_get(r"/broadcasts/{id}/{name:segment-\d+\.ts}", self._segment)
        return app

    async def _status(self, request: web.Request) -> web.Response:
        current = self._broadcaster.current
        recent = current.recent[-_RECENT:]
        return web.json_response(
            {
                "broadcast": {**current.describe(), "url": _address(request, current)},
                "waiting": current.studio.waiting,
                "sentences": [line.to_json() for line in recent],
                "figures": self._figures,
            }
        )

    async def _say(self, request: web.Request) -> web.Response:
        studio = self._broadcaster.current.studio
        if studio.waiting >= _LONGEST_QUEUE:
            return _refused(429, "the guest has enough to say for the moment; try again in a few seconds")
        try:
            lang, template, choices = _wish(await request.json())
            words = grammar(lang)
            sentence = words.fill(words.template(template), choices)
            await studio.request(Utterance("guest", sentence))
        except UsageError as error:
            return _refused(400, str(error))
        return web.json_response({"text": sentence.text, "lang": lang, "waiting": studio.waiting}, status=202)

    async def _end(self, _request: web.Request) -> web.Response:
        current = self._broadcaster.current
        current.end()
        return web.json_response({"id": current.schedule.id}, status=202)

    async def _keep_figures(self, request: web.Request) -> web.Response:
        figures = await request.json()
        if not isinstance(figures, dict) or set(figures) != {"caption_s", "searchable_s", "sentences"}:
            return _refused(400, "these are no figures")
        self._figures = figures
        return web.json_response({})

    async def _playlist(self, request: web.Request) -> web.Response:
        broadcast = self._find(request)
        await broadcast.playlist.wait_if_due()
        return web.Response(
            text=broadcast.playlist.text(),
            content_type="application/vnd.apple.mpegurl",
            headers={"Cache-Control": "no-store"},
        )

    async def _segment(self, request: web.Request) -> web.StreamResponse:
        file = self._find(request).folder / request.match_info["name"]
        if not file.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(file, headers={"Content-Type": "video/mp2t"})

    def _find(self, request: web.Request) -> Broadcast:
        found = self._broadcaster.find(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound
        return found


@web.middleware
async def _loopback_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Web pages elsewhere must not reach this through a visitor's browser: names that point at loopback are
    refused, and so are posts of a kind that forms can send."""
    if request.url.host not in {"127.0.0.1", "localhost", "::1"}:
        return _refused(403, "this address is for this machine only")
    if request.method == "POST" and request.content_type != "application/json":
        return _refused(415, "send JSON")
    return await handler(request)


def _wish(body: Any) -> tuple[str, str, list[str]]:  # noqa: ANN401 - JSON
    fields = body if isinstance(body, dict) else {}
    lang, template, choices = (fields.get(name) for name in ("lang", "template", "choices"))
    if not isinstance(lang, str) or not isinstance(template, str) or not isinstance(choices, list):
        raise UsageError("a sentence needs a language, a template and a list of choices")
    return lang, template, [str(choice) for choice in choices]


def _refused(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _address(request: web.Request, broadcast: Broadcast) -> str:
    return f"http://{request.host}/broadcasts/{broadcast.schedule.id}/live.m3u8"


async def serve(folder: Path, port: int, length: timedelta, *, leashed: bool) -> None:
    """Broadcast until a signal arrives or, leashed, standard input is closed."""
    broadcaster = Broadcaster(folder, length)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(wanted, stop.set)
    if leashed:
        await loop.connect_read_pipe(lambda: _Leash(stop), sys.stdin)
    runner = web.AppRunner(Control(broadcaster).app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await _listen(runner, port)
        on_air = asyncio.create_task(broadcaster.run())
        on_air.add_done_callback(lambda _: stop.set())
        await stop.wait()
        on_air.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await on_air
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        raise StreamArchiveError(
            f"the demo's broadcaster cannot listen on port {port}: {error.strerror}"
        ) from error


class _Leash(asyncio.Protocol):
    """Notices that whoever started this process has ended, however it ended."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, _error: Exception | None) -> None:
        self._stop.set()


def main() -> int:
    """Parse the command line and broadcast."""
    parser = argparse.ArgumentParser(description="Keep a synthesised interview on air.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--minutes", type=float, default=LENGTH / timedelta(minutes=1))
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--leashed", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(name)s %(message)s")
    try:
        asyncio.run(
            serve(
                arguments.folder.absolute(),
                arguments.port,
                timedelta(minutes=arguments.minutes),
                leashed=arguments.leashed,
            )
        )
    except StreamArchiveError as error:
        sys.stderr.write(f"streamarchive demo: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
