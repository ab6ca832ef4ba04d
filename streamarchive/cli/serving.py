"""`serve` and `work`: the web site in this process, the workers in child processes.

Workers share as few processes as keep out of each other's way: recording has one of its own, everything else
another, the engine a third. A process of Python and its libraries costs some 70 MB, so six would be too many.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from streamarchive.catalogue import workers as registry
from streamarchive.cli import console
from streamarchive.errors import StreamArchiveError, UsageError
from streamarchive.services import open_services
from streamarchive.settings import Settings, as_environment
from workers import runner

logger = logging.getLogger(__name__)

GROUPS = (
    ("recorder", "ingester", "finaliser"),
    ("live_transcriber", "transcriber", "indexer", "watcher", "housekeeping"),
)
_STOP_SECONDS = 20.0
"""A recorder may need so long to hand its streams over to one on another machine."""
_LINGER_SECONDS = 1.0
"""What answers that are under way get at the end; a paused download would go on for ever."""
_RESTART_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


async def serve(settings: Settings, options: argparse.Namespace) -> None:
    """Until Ctrl-C or SIGTERM."""
    stop = stop_on_signals()
    async with site(settings, workers=not options.no_workers) as address:
        console.note(f"StreamArchive is at {address} (Ctrl-C stops it)")
        await stop.wait()


async def work(settings: Settings, options: argparse.Namespace) -> None:
    """Run some kinds of workers until Ctrl-C or SIGTERM."""
    unknown = [kind for kind in options.kinds if kind not in runner.KINDS]
    if unknown:
        raise UsageError(f"unknown kind {unknown[0]!r}; the kinds are {', '.join(runner.KINDS)}")
    if options.parent:
        _die_with(options.parent)
    kinds = options.kinds or runner.KINDS
    if options.check:
        await _check_workers(settings, kinds)
        return
    stop = stop_on_signals()
    async with open_services(settings) as services:
        await runner.run_workers(services, kinds, stop)


async def _check_workers(settings: Settings, kinds: Sequence[str]) -> None:
    """Raise if one of these kinds has not been seen on this machine lately."""
    async with open_services(settings) as services, services.database.read() as connection:
        processes = await registry.alive(connection)
    here = {kind for process in processes if process.host == socket.gethostname() for kind in process.kinds}
    missing = [kind for kind in kinds if kind not in here]
    if missing:
        raise StreamArchiveError(f"no {missing[0]} is at work on {socket.gethostname()}; see its log")
    console.out(f"at work on {socket.gethostname()}: {', '.join(kinds)}")


def stop_on_signals() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def site(settings: Settings, *, workers: bool) -> AsyncIterator[str]:
    """The web site, and its workers, for the length of the block; yields its address."""
    from aiohttp import web as http

    from web.app import create_app

    async with open_services(settings) as services:
        app_runner = http.AppRunner(
            create_app(services), handle_signals=False, access_log=None, shutdown_timeout=_LINGER_SECONDS
        )
        await app_runner.setup()
        try:
            listener = http.TCPSite(app_runner, settings.host, settings.port)
            await _listen(listener, settings)
            port = app_runner.addresses[0][1]
            async with _children(settings, GROUPS if workers else ()):
                yield settings.base_url or f"http://{settings.host}:{port}"
        finally:
            await app_runner.cleanup()


async def _listen(listener: object, settings: Settings) -> None:
    try:
        await listener.start()  # type: ignore[attr-defined]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StreamArchiveError(
                f"port {settings.port} of {settings.host} is taken by another program; "
                "stop that one or choose another with --port"
            ) from error
        raise StreamArchiveError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}"
        ) from error


@asynccontextmanager
async def _children(settings: Settings, groups: Sequence[Sequence[str]]) -> AsyncIterator[None]:
    stop = asyncio.Event()
    keepers = [asyncio.create_task(_keep_running(settings, group, stop)) for group in groups]
    try:
        yield
    finally:
        stop.set()
        for keeper in keepers:
            with suppress(asyncio.CancelledError):
                await keeper


async def _keep_running(settings: Settings, kinds: Sequence[str], stop: asyncio.Event) -> None:
    """One child process with these kinds; started again if it ends before `stop`."""
    environment = {**os.environ, **as_environment(settings)}
    command = [sys.executable, "-m", "streamarchive", "work", *kinds, "--parent", str(os.getpid())]
    while not stop.is_set():
        try:
            with deaf_to_ctrl_c():
                child = await asyncio.create_subprocess_exec(*command, env=environment)
        except OSError as error:  # no memory or no number for a process: that passes
            logger.error("the workers %s cannot be started: %s; trying again", kinds, error.strerror)
            await runner.pause(stop, _RESTART_SECONDS)
            continue
        ended, stopping = asyncio.ensure_future(child.wait()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await _end(child)
        elif not stop.is_set():
            logger.error("the workers %s ended with status %s; starting them again", kinds, child.returncode)
            await runner.pause(stop, _RESTART_SECONDS)


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Children started in this block never get the terminal's Ctrl-C: we stop them, in order and at any time.

    A signal that is blocked here stays blocked in them; one that is merely handled would end a child that is
    still importing with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _end(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _die_with(parent: int) -> None:
    """Have the kernel end this process in good order when its parent is gone (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise StreamArchiveError("the server that started these workers is gone")
