"""Waiting until an interview is processed, with or without a server beside us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamarchive import jobs
from streamarchive.catalogue import interviews, outbox, streams
from streamarchive.catalogue import workers as registry
from streamarchive.catalogue.watch import watch
from streamarchive.cli.console import Progress
from streamarchive.errors import StreamArchiveError
from streamarchive.models import InterviewId, Job, JobState, StreamState
from streamarchive.services import Services
from workers import runner

_LOOK_SECONDS = 1.0


@asynccontextmanager
async def workers_for(services: Services, kinds: tuple[str, ...]) -> AsyncIterator[None]:
    """See to it that somebody does these kinds of work: the workers that are there, else our own meanwhile.

    Workers of our own that fail end the block with their error.
    """
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_fill_in(services, kinds, stop))
            try:
                yield
            finally:
                stop.set()
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def _fill_in(services: Services, kinds: tuple[str, ...], stop: asyncio.Event) -> None:
    """Do whatever nobody else does, from the moment nobody does."""
    while not stop.is_set():
        async with services.database.read() as connection:
            there = {kind for process in await registry.alive(connection) for kind in process.kinds}
        missing = tuple(kind for kind in kinds if kind not in there)
        if missing:
            await runner.run_workers(services, missing, stop)
            return
        await runner.pause(stop, registry.FRESH.total_seconds())


async def until_recorded(services: Services, interview_id: InterviewId, show: Progress) -> None:
    """Until its stream has ended. Raises `StreamArchiveError` if nothing could be recorded at all."""
    async with watch(services.database) as changed:
        while True:
            async with services.database.read() as connection:
                stream = (await streams.of_interview(connection, interview_id))[0]
            if stream.state is StreamState.ENDED:
                if stream.recording_id is None:
                    raise StreamArchiveError(stream.last_error or f"{stream.url} delivered nothing")
                return
            show(0.0, stream.last_error or stream.state)
            await changed.wait(_LOOK_SECONDS)


async def until_processed(services: Services, interview_id: InterviewId, show: Progress) -> None:
    """Until every job about its recording is done and the index knows of it. Raises on the first failure."""
    async with watch(services.database) as changed:
        while True:
            async with services.database.read() as connection:
                interview = await interviews.get(connection, interview_id)
                recording_id = interview.recording_id
                found = await jobs.of_recording(connection, recording_id) if recording_id is not None else []
                waiting, _ = await outbox.waiting(connection)
            _raise_failure(found)
            if found and all(job.state is JobState.DONE for job in found) and waiting == 0:
                show(1.0)
                return
            if found:
                show(sum(job.progress for job in found) / len(found), _message(found))
            await changed.wait(_LOOK_SECONDS)


def _raise_failure(found: list[Job]) -> None:
    for job in found:
        if job.state is JobState.CANCELLED:
            raise StreamArchiveError(f"the job {job.kind!r} was cancelled")
        if job.state is not JobState.DONE and job.last_error:
            raise StreamArchiveError(job.last_error)


def _message(found: list[Job]) -> str:
    return next((job.message for job in found if job.state is JobState.RUNNING and job.message), "")
