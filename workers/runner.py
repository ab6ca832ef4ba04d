"""Running workers: every kind is a loop; those that do jobs claim, run, heartbeat and finish them here."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs
from streamarchive.catalogue import workers as registry
from streamarchive.catalogue.watch import watch
from streamarchive.errors import DatabaseError, FencedError, StreamArchiveError
from streamarchive.models import Job
from streamarchive.services import Services

logger = logging.getLogger(__name__)

KINDS = (
    "recorder",
    "live_transcriber",
    "transcriber",
    "ingester",
    "finaliser",
    "indexer",
    "watcher",
    "housekeeping",
)
"""Each is a module beside this one with `async def run(services, stop)`."""

_HEARTBEAT_SECONDS = 5.0
_IDLE_SECONDS = 5.0
_RESTART_SECONDS = 2.0


class JobRun:
    """A job while a worker has it. The handler calls `finish` in the transaction that writes its result."""

    def __init__(self, services: Services, job: Job) -> None:
        self.services = services
        self.job = job
        self.finished = False
        self._progress: float | None = None
        self._message: str | None = None

    def report(self, progress: float, message: str = "") -> None:
        """Where it stands, 0 to 1; shown with the next heartbeat."""
        self._progress, self._message = progress, message

    async def finish(self, tx: AsyncConnection) -> None:
        """Done. Raises `FencedError` if another worker has the job: then the result must not be written."""
        await jobs.finish(tx, self.job)
        self.finished = True

    async def keep(self) -> str:
        """Hold the lease; returns why the work has to stop: ``cancelled`` or ``fenced``."""
        beat = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            quiet = self._progress is None and time.monotonic() - beat < _HEARTBEAT_SECONDS
            if quiet or self.finished:
                continue
            progress, message, self._progress, self._message = self._progress, self._message, None, None
            try:
                cancel = await jobs.heartbeat(
                    self.services.database, self.job, progress=progress, message=message
                )
            except FencedError:
                return "fenced"
            except DatabaseError as error:
                logger.warning("%s %s: no heartbeat: %s", self.job.kind, self.job.key, error)
                if time.monotonic() - beat > jobs.LEASE.total_seconds():
                    return "fenced"
                continue
            beat = time.monotonic()
            if cancel:
                return "cancelled"


Handler = Callable[[JobRun], Awaitable[None]]


def owner_name(kind: str) -> str:
    """Who holds a lease, for people to read."""
    return f"{kind}@{socket.gethostname()}:{os.getpid()}"


async def run_workers(services: Services, kinds: Sequence[str], stop: asyncio.Event) -> None:
    """Run these kinds until `stop` is set; one that fails is logged and begins again."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_register(services, kinds, stop), name="register")
        for kind in kinds:
            module = importlib.import_module(f".{kind}", __package__)
            group.create_task(_supervise(kind, module.run, services, stop), name=kind)


async def _supervise(
    kind: str,
    run: Callable[[Services, asyncio.Event], Awaitable[None]],
    services: Services,
    stop: asyncio.Event,
) -> None:
    while not stop.is_set():
        try:
            await run(services, stop)
        except StreamArchiveError as error:
            logger.error("%s: %s", kind, error)
        except Exception:
            logger.exception("%s failed and begins again", kind)
        else:
            return
        await pause(stop, _RESTART_SECONDS)


async def _register(services: Services, kinds: Sequence[str], stop: asyncio.Event) -> None:
    owner = owner_name("+".join(kinds))
    while not stop.is_set():
        with suppress(StreamArchiveError):
            async with services.database.write() as tx:
                await registry.beat(tx, owner, kinds)
        await pause(stop, registry.BEAT.total_seconds())
    with suppress(StreamArchiveError):
        async with services.database.write() as tx:
            await registry.leave(tx, owner)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until `stop`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def until(stop: asyncio.Event, work: Coroutine[Any, Any, bool]) -> bool:
    """The result of `work`, or False as soon as `stop` is set."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else False
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def serve_jobs(
    services: Services,
    handlers: Mapping[str, Handler],
    stop: asyncio.Event,
    *,
    below: Callable[[], int] = lambda: 100,
) -> None:
    """Do jobs of these kinds, one at a time, most urgent first, until `stop` is set."""
    database, kinds, owner = services.database, tuple(handlers), owner_name("+".join(handlers))
    async with watch(database) as changed:
        while not stop.is_set():
            urgent = below()
            async with database.read() as connection:
                wait = await jobs.seconds_to_next(connection, kinds, below=urgent)
            job = None
            if wait == 0:
                job = await jobs.claim(database, kinds, owner, below=urgent)
            if job is not None:
                await run_job(services, handlers[job.kind], job, stop)
            else:
                pause_seconds = _IDLE_SECONDS if wait is None else min(max(wait, 0.2), _IDLE_SECONDS)
                await until(stop, changed.wait(pause_seconds))


async def run_job(services: Services, handler: Handler, job: Job, stop: asyncio.Event) -> None:
    """Run one claimed job to its end, whichever that is."""
    current = JobRun(services, job)
    work = asyncio.ensure_future(handler(current))
    keep = asyncio.ensure_future(current.keep())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, keep, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks = {work, keep, stopping}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    why = "" if keep.cancelled() else keep.result()
    if not why and stop.is_set():
        why = "stopping"
    with suppress(FencedError):
        await _settle(current, work, why)


async def _settle(current: JobRun, work: asyncio.Future[None], why: str) -> None:
    """Write down how the work ended. `why` it was told to stop, if it was."""
    services, job = current.services, current.job
    error = RuntimeError("its handler cancelled itself") if work.cancelled() else work.exception()
    if why == "fenced":
        logger.warning("%s %s: another worker has it now", job.kind, job.key)
    elif work.cancelled() and why == "cancelled":
        await jobs.cancelled(services.database, job)
    elif work.cancelled() and why == "stopping":
        await jobs.release(services.database, job)
    elif error is not None:
        await _failed(services, job, error)
    elif not current.finished:
        async with services.database.write() as tx:
            await jobs.finish(tx, job)


async def _failed(services: Services, job: Job, error: BaseException) -> None:
    if isinstance(error, FencedError):
        logger.warning("%s", error)
        return
    if isinstance(error, StreamArchiveError):
        sentence, retryable = str(error), error.retryable
        logger.error("%s %s: %s", job.kind, job.key, sentence)
    else:
        sentence, retryable = f"{type(error).__name__}: {error}", True
        logger.error("%s %s failed", job.kind, job.key, exc_info=error)
    await jobs.fail(services.database, job, sentence, retryable=retryable)
