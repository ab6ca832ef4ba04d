"""A worker that does one job and stops before a given step, where a test kills it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import update

from streamarchive import jobs
from streamarchive.catalogue import tables
from streamarchive.catalogue.database import Database, now
from streamarchive.media import sandbox
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from tests.processes import child
from workers import finaliser, retention
from workers.runner import run_job

HANDLERS = {jobs.FINALISE: finaliser.finalise, retention.KIND: retention.release}


class Steps:
    """Counts whatever cannot be undone; before the last of them the process waits for its end."""

    def __init__(self, say: Connection, last: int) -> None:
        self._say, self._left = say, last

    async def step(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._say.send(name)
            await asyncio.Event().wait()


class SteppingStore:
    """A media store, step by step: before each change."""

    def __init__(self, store: Any, steps: Steps) -> None:
        self._store, self._steps = store, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def adopt(self, *arguments: Any) -> Any:
        await self._steps.step("before a file is kept")
        return await self._store.adopt(*arguments)

    async def delete(self, key: str) -> None:
        await self._steps.step("before a file is deleted")
        await self._store.delete(key)


class SteppingDatabase:
    """A catalogue, step by step: before and after each commit."""

    def __init__(self, database: Database, steps: Steps) -> None:
        self._database, self._steps = database, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Any]:
        async with self._database.write() as tx:
            yield tx
            await self._steps.step("before a commit")
        await self._steps.step("behind a commit")


async def work_until(say: Connection, data_dir: Path, kind: str, last: int) -> None:
    """Claim the job of a kind, if it is still to be done, and do it up to the step of this number."""
    steps, start = Steps(say, last), sandbox.start

    async def stepping_start(*arguments: Any, **options: Any) -> Any:
        await steps.step("before ffmpeg")
        return await start(*arguments, **options)

    sandbox.start = stepping_start
    async with open_services(Settings(data_dir=data_dir)) as services:
        job = await jobs.claim(services.database, (kind,), "stepping")
        if job is not None:
            stepped = replace(
                services,
                store=SteppingStore(services.store, steps),
                database=SteppingDatabase(services.database, steps),
            )
            await run_job(stepped, HANDLERS[kind], job, asyncio.Event())
    say.send(None)


async def kill_before(services: Services, kind: str, step: int) -> str | None:
    """Kill a worker before its step of this number: what it was about to do; None if it had done all before."""
    with child(work_until, services.settings.data_dir, kind, step) as worker:
        name: str | None = await asyncio.to_thread(worker.listen, seconds=120)
        if name is not None:
            worker.kill()
    async with services.database.write() as tx:
        past = await now(tx) - timedelta(seconds=1)
        # Nobody waits for the lease of the dead, and no attempt is its last.
        await tx.execute(update(tables.job).where(tables.job.c.kind == kind).values(lease_until=past, attempt=0))
    return name
