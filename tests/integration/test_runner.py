from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select

from streamarchive import jobs
from streamarchive.catalogue import tables
from streamarchive.catalogue import workers as registry
from streamarchive.catalogue.database import Database
from streamarchive.errors import ModelUnavailableError, UnreadableMediaError
from streamarchive.models import Job, JobId, JobState
from streamarchive.services import Services, open_services
from streamarchive.settings import load_settings
from tests.waiting import PATIENCE, until_async
from workers import runner
from workers.runner import Handler, JobRun

KIND = "finalise"


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Services]:
    settings = load_settings({"data_dir": tmp_path}, environ={}, dotenv=None)
    async with open_services(settings) as opened:
        yield opened


async def claimed(database: Database, key: str = "1", **options: timedelta) -> Job:
    async with database.write() as tx:
        await jobs.enqueue(tx, KIND, key)
    job = await jobs.claim(database, [KIND], "worker", **options)  # type: ignore[arg-type]
    assert job is not None
    return job


async def stored(database: Database, job_id: JobId) -> Job:
    async with database.read() as connection:
        return await jobs.get(connection, job_id)


async def results(database: Database) -> int:
    async with database.read() as connection:
        return len((await connection.execute(select(tables.event.c.id))).all())


async def write_result(run: JobRun) -> None:
    async with run.services.database.write() as tx:
        await tx.execute(insert(tables.event).values(names={}))
        await run.finish(tx)


async def hang(_: JobRun) -> None:
    await asyncio.Event().wait()


async def run(archive: Services, handler: Handler) -> Job:
    """A job that this handler has had, as it stands afterwards."""
    job = await claimed(archive.database)
    async with asyncio.timeout(30):
        await runner.run_job(archive, handler, job, asyncio.Event())
    return await stored(archive.database, job.id)


# --- ends ---------------------------------------------------------------------------------------------------


async def test_a_job_is_done_with_its_result_or_when_its_handler_is_through(archive: Services) -> None:
    async def nothing_to_write(_: JobRun) -> None:
        pass

    for handler in (write_result, nothing_to_write):
        assert (await run(archive, handler)).state is JobState.DONE
    assert await results(archive.database) == 1


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (ModelUnavailableError("The model is missing."), JobState.QUEUED, "The model is missing."),
        (UnreadableMediaError("This is no media."), JobState.PARKED, "This is no media."),
        (ZeroDivisionError("division"), JobState.QUEUED, "ZeroDivisionError: division"),
        (asyncio.CancelledError(), JobState.QUEUED, "RuntimeError: its handler cancelled itself"),
    ],
)
async def test_a_failure_is_tried_again_or_parked_and_tells_why(
    archive: Services, error: BaseException, state: JobState, said: str
) -> None:
    async def fail(_: JobRun) -> None:
        raise error

    job = await run(archive, fail)
    assert (job.state, job.last_error, job.attempt) == (state, said, 1)


async def test_an_error_after_the_result_does_not_undo_it(archive: Services) -> None:
    async def fail_afterwards(current: JobRun) -> None:
        await write_result(current)
        raise ZeroDivisionError

    assert (await run(archive, fail_afterwards)).state is JobState.DONE


async def test_progress_is_shown_while_it_runs(archive: Services) -> None:
    async def work(current: JobRun) -> None:
        current.report(0.5, "half")

        async def shown() -> bool:
            return (await stored(archive.database, current.job.id)).message == "half"

        await until_async(shown, "the progress to be stored")

    job = await run(archive, work)
    assert (job.state, job.message) == (JobState.DONE, "half")


# --- being stopped ------------------------------------------------------------------------------------------


async def stopped(archive: Services, begin: Callable[[Job, asyncio.Event], Awaitable[None]]) -> tuple[Job, bool]:
    """A job that hangs until `begin` does something about it; and whether its handler could tidy up."""
    tidied = False

    async def work(current: JobRun) -> None:
        nonlocal tidied
        try:
            current.report(0.1)
            await hang(current)
        finally:
            async with archive.database.read() as connection:  # may take its time
                await jobs.get(connection, current.job.id)
            tidied = True

    stop = asyncio.Event()
    job = await claimed(archive.database)
    running = asyncio.create_task(runner.run_job(archive, work, job, stop))
    await asyncio.sleep(0)
    await begin(job, stop)
    async with asyncio.timeout(10 * PATIENCE):
        await running
    return await stored(archive.database, job.id), tidied


async def test_a_cancelled_job_stops(archive: Services) -> None:
    async def cancel(job: Job, _: asyncio.Event) -> None:
        async with archive.database.write() as tx:
            await jobs.cancel(tx, job.id)

    job, tidied = await stopped(archive, cancel)
    assert (job.state, tidied) == (JobState.CANCELLED, True)


async def test_a_process_that_stops_gives_its_job_back(archive: Services) -> None:
    async def stop_process(_: Job, stop: asyncio.Event) -> None:
        stop.set()

    job, tidied = await stopped(archive, stop_process)
    assert (job.state, job.attempt, tidied) == (JobState.QUEUED, 0, True)


async def test_a_worker_that_lost_its_job_stops_and_leaves_it_alone(archive: Services) -> None:
    async def take_over(job: Job, _: asyncio.Event) -> None:
        async with archive.database.write() as tx:  # in one step: a heartbeat would renew what has run out
            await tx.execute(tables.job.update().values(lease_until=job.created_at))
            at_once: Any = SimpleNamespace(write=lambda: contextlib.nullcontext(tx))
            assert await jobs.claim(at_once, [KIND], "another") is not None

    job, tidied = await stopped(archive, take_over)
    assert (job.state, job.epoch, tidied) == (JobState.RUNNING, 2, True)


async def test_a_runner_that_is_cancelled_takes_its_handler_along(archive: Services) -> None:
    ended = asyncio.Event()

    async def work(current: JobRun) -> None:
        try:
            await hang(current)
        finally:
            ended.set()

    job = await claimed(archive.database)
    running = asyncio.create_task(runner.run_job(archive, work, job, asyncio.Event()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert ended.is_set()


async def test_tidying_up_after_the_result_is_not_interrupted(
    archive: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is done has no lease to keep; that its heartbeat would be refused means nothing."""
    monkeypatch.setattr(runner, "_HEARTBEAT_SECONDS", 0)
    tidied = False

    async def work(current: JobRun) -> None:
        nonlocal tidied
        await write_result(current)
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=2.5)
        tidied = True

    assert (await run(archive, work)).state is JobState.DONE
    assert tidied


# --- serving ------------------------------------------------------------------------------------------------


async def test_jobs_are_served_as_they_come_and_a_bad_one_stops_nothing(archive: Services) -> None:
    seen: list[str] = []

    async def work(current: JobRun) -> None:
        seen.append(current.job.key)
        if current.job.key == "bad":
            raise UnreadableMediaError("This is no media.")

    stop = asyncio.Event()
    serving = asyncio.create_task(runner.serve_jobs(archive, {KIND: work}, stop))
    for key in ("1", "bad", "2"):
        async with archive.database.write() as tx:
            await jobs.enqueue(tx, KIND, key)

        async def had(key: str = key) -> bool:
            return key in seen

        await until_async(had, f"job {key} to be done", seconds=3)
    stop.set()
    async with asyncio.timeout(5 * PATIENCE):
        await serving
    assert seen == ["1", "bad", "2"]


async def test_what_has_to_wait_for_live_work_does_not_keep_a_worker_busy(
    archive: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = 0
    claim = jobs.claim

    async def counted(*arguments: object, **options: object) -> Job | None:
        nonlocal claims
        claims += 1
        return await claim(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "claim", counted)
    async with archive.database.write() as tx:
        backlog = await jobs.enqueue(tx, KIND, "1", priority=jobs.LATER)
    live = True
    asked = asyncio.Semaphore(0)

    def below() -> int:
        asked.release()
        return jobs.NORMAL if live else 100

    stop = asyncio.Event()
    serving = asyncio.create_task(runner.serve_jobs(archive, {KIND: write_result}, stop, below=below))
    await asked.acquire()
    await asked.acquire()
    assert claims == 0
    live = False
    async with archive.database.write() as tx:
        await jobs.enqueue(tx, "other", "1")  # something happens

    async def done() -> bool:
        return (await stored(archive.database, backlog)).state is JobState.DONE

    await until_async(done, "the backlog to go on")
    stop.set()
    await serving


# --- processes ----------------------------------------------------------------------------------------------


async def test_workers_are_known_while_they_live(archive: Services) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run_workers(archive, ["housekeeping", "indexer"], stop))

    async def alive() -> list[registry.WorkerProcess]:
        async with archive.database.read() as connection:
            return await registry.alive(connection)

    [worker] = await until_async(alive, "the workers to register")
    assert worker.kinds == ("housekeeping", "indexer")
    stop.set()
    async with asyncio.timeout(5 * PATIENCE):
        await running
    assert await alive() == []


async def test_a_worker_that_fails_begins_again(
    archive: Services, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_RESTART_SECONDS", 0.01)
    stop, runs = asyncio.Event(), 0

    async def fail_twice(_services: Services, _stop: asyncio.Event) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ZeroDivisionError
        if runs == 2:
            raise ModelUnavailableError("The model is missing.")

    with caplog.at_level(logging.ERROR):
        await runner._supervise("kind", fail_twice, archive, stop)
    assert runs == 3
    assert "The model is missing." in caplog.text
