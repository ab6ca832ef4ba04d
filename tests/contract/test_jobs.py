from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from multiprocessing.connection import Connection

import pytest
from sqlalchemy import insert, select, update

from streamarchive import jobs
from streamarchive.catalogue import changes, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, DatabaseUnavailableError, FencedError, NotFoundError
from streamarchive.models import Job, JobId, JobState
from tests import factories
from tests.interleaving import interleaved
from tests.processes import child
from tests.waiting import until_async

_t = tables.job
KINDS = ("transcribe", "finalise")
PAST = timedelta(seconds=-1)


async def enqueue(database: Database, key: str = "1", kind: str = "transcribe", **options: object) -> JobId:
    async with database.write() as tx:
        return await jobs.enqueue(tx, kind, key, **options)  # type: ignore[arg-type]


async def claim(database: Database, owner: str = "worker", **options: object) -> Job:
    job = await jobs.claim(database, KINDS, owner, **options)  # type: ignore[arg-type]
    assert job is not None
    return job


async def stored(database: Database, job_id: JobId) -> Job:
    async with database.read() as connection:
        return await jobs.get(connection, job_id)


async def make_due(database: Database, job_id: JobId, after: timedelta = timedelta()) -> None:
    """As if its pause were over, or took so long from now on."""
    async with database.write() as tx:
        run_after = await now(tx) + after
        await tx.execute(update(tables.job).where(tables.job.c.id == job_id).values(run_after=run_after))


async def cancel(database: Database, job_id: JobId) -> None:
    async with database.write() as tx:
        await jobs.cancel(tx, job_id)


# --- claiming -----------------------------------------------------------------------------------------------


async def test_the_most_urgent_comes_first_then_the_longest_waiting(database: Database) -> None:
    for key, priority in (("a", jobs.LATER), ("b", jobs.NORMAL), ("c", jobs.LIVE), ("d", jobs.NORMAL)):
        await enqueue(database, key, priority=priority)
    order = [(await claim(database)).key for _ in range(4)]
    assert order == ["c", "b", "d", "a"]
    assert await jobs.claim(database, KINDS, "worker") is None


async def test_only_what_was_asked_for_is_claimed(database: Database) -> None:
    await enqueue(database, "1", "other")
    await enqueue(database, "2", priority=jobs.NORMAL)
    await enqueue(database, "3", delay=timedelta(hours=1), priority=jobs.LIVE)
    assert await jobs.claim(database, KINDS, "worker", below=jobs.NORMAL) is None
    assert (await claim(database)).key == "2"
    assert await jobs.claim(database, KINDS, "worker") is None


async def test_a_claimed_job_says_what_it_is(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    job_id = await enqueue(database, recording_id=recording_id, payload={"range": [1, 2]}, max_attempts=3)
    job = await claim(database)
    assert (job.id, job.kind, job.key, job.recording_id) == (job_id, "transcribe", "1", recording_id)
    assert (job.payload, job.max_attempts) == ({"range": [1, 2]}, 3)
    assert (job.state, job.attempt, job.epoch) == (JobState.RUNNING, 1, 1)
    assert job == await stored(database, job_id)


async def test_the_wait_for_the_next_is_told_by_the_databases_clock(database: Database) -> None:
    async def seconds(below: int = 100) -> float | None:
        async with database.read() as connection:
            return await jobs.seconds_to_next(connection, KINDS, below=below)

    assert await seconds() is None
    job_id = await enqueue(database, delay=timedelta(seconds=100))
    assert 90 < (await seconds() or 0) <= 100
    await make_due(database, job_id)
    assert await seconds() == 0
    assert await seconds(below=jobs.NORMAL) is None
    await claim(database, lease=timedelta(seconds=50))
    assert 40 < (await seconds() or 0) <= 50


async def test_an_expired_lease_passes_to_another_worker_who_fences_the_first(database: Database) -> None:
    job_id = await enqueue(database)
    first = await claim(database, "first", lease=PAST)
    second = await claim(database, "second")
    assert (second.id, second.attempt, second.epoch) == (job_id, 2, 2)
    with pytest.raises(FencedError, match="another worker"):
        await jobs.heartbeat(database, first, progress=0.5)
    with pytest.raises(FencedError):
        await jobs.fail(database, first, "no")
    for report in (jobs.release, jobs.cancelled):
        with pytest.raises(FencedError):
            await report(database, first)
    for step in (jobs.finish, jobs.require_held, jobs.advance):
        with pytest.raises(FencedError):
            async with database.write() as tx:
                await step(tx, first)
    async with database.write() as tx:
        await jobs.require_held(tx, second)
    assert await stored(database, job_id) == second


async def test_a_heartbeat_keeps_the_lease(database: Database) -> None:
    await enqueue(database)
    job = await claim(database, lease=PAST)
    assert await jobs.heartbeat(database, job) is False
    assert await jobs.claim(database, KINDS, "another") is None


async def test_progress_is_shown_and_stays_between_nought_and_one(database: Database) -> None:
    job_id = await enqueue(database)
    job = await claim(database)
    await jobs.heartbeat(database, job, progress=0.25, message="window 3 of 12")
    found = await stored(database, job_id)
    assert (found.progress, found.message) == (0.25, "window 3 of 12")
    await jobs.heartbeat(database, job, progress=7.0)
    found = await stored(database, job_id)
    assert (found.progress, found.message) == (1.0, "window 3 of 12")


# --- ends ---------------------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_later_and_ever_later(database: Database) -> None:
    job_id = await enqueue(database, max_attempts=5)
    pauses = []
    for attempt in range(1, 5):
        job = await claim(database)
        assert job.attempt == attempt
        assert await jobs.fail(database, job, f"failure {attempt}") is JobState.QUEUED
        found = await stored(database, job_id)
        assert found.last_error == f"failure {attempt}"
        pauses.append((found.run_after - found.updated_at).total_seconds())
        await make_due(database, job_id, after=timedelta(hours=1))
        assert await jobs.claim(database, KINDS, "worker") is None
        await make_due(database, job_id)
    for attempt, pause in enumerate(pauses, start=1):
        assert 0.7 * 2**attempt < pause < 1.3 * 2**attempt


async def test_after_the_last_attempt_it_is_parked_until_a_person_retries_it(database: Database) -> None:
    job_id = await enqueue(database, max_attempts=2)
    for state in (JobState.QUEUED, JobState.PARKED):
        job = await claim(database)
        assert await jobs.fail(database, job, "no model") is state
        if state is JobState.QUEUED:
            await make_due(database, job_id)
    assert await jobs.claim(database, KINDS, "worker") is None
    async with database.write() as tx:
        await jobs.retry(tx, job_id)
    job = await claim(database)
    assert (job.attempt, job.last_error) == (1, "no model")


async def test_what_cannot_succeed_later_is_parked_at_once(database: Database) -> None:
    await enqueue(database)
    assert await jobs.fail(database, await claim(database), "no media", retryable=False) is JobState.PARKED


async def test_what_ends_every_worker_is_parked(database: Database) -> None:
    """A file on which the process dies must not go on killing one worker after the other."""
    job_id = await enqueue(database, max_attempts=2)
    healthy = await enqueue(database, "2", priority=jobs.LATER)
    for _ in range(2):
        await claim(database, lease=PAST)
    assert (await claim(database)).id == healthy
    found = await stored(database, job_id)
    assert (found.state, found.last_error) == (JobState.PARKED, "its worker ended without a word")


async def test_what_comes_further_each_time_is_not_parked(database: Database) -> None:
    """However often it fails or loses its worker; once it comes no further, its attempts run out."""
    job_id = await enqueue(database, max_attempts=2)
    for dies in (True, False, True, True, False):
        job = await claim(database, lease=PAST if dies else jobs.LEASE)
        async with database.write() as tx:
            await jobs.advance(tx, job)
        if not dies:
            assert await jobs.fail(database, job, "killed") is JobState.QUEUED
            await make_due(database, job_id)
    assert await jobs.fail(database, await claim(database), "the same place") is JobState.PARKED


async def test_giving_a_job_back_does_not_count_as_an_attempt(database: Database) -> None:
    job_id = await enqueue(database, max_attempts=1)
    for epoch in range(1, 4):
        job = await claim(database)
        assert (job.attempt, job.epoch) == (1, epoch)
        await jobs.release(database, job)
    assert (await stored(database, job_id)).state is JobState.QUEUED


async def test_result_and_end_are_one_transaction(database: Database) -> None:
    job_id = await enqueue(database)
    job = await claim(database)
    for raises in (True, False):
        try:
            async with database.write() as tx:
                await tx.execute(insert(tables.event).values(names={"en": "result"}))
                await jobs.finish(tx, job)
                if raises:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        async with database.read() as connection:
            results = (await connection.execute(select(tables.event.c.id))).all()
            state = (await jobs.get(connection, job_id)).state
        assert (len(results), state) == ((0, JobState.RUNNING) if raises else (1, JobState.DONE))


async def test_a_result_of_a_fenced_worker_is_not_written(database: Database) -> None:
    await enqueue(database)
    first = await claim(database, lease=PAST)
    await claim(database)
    with pytest.raises(FencedError):
        async with database.write() as tx:
            await tx.execute(insert(tables.event).values(names={"en": "result"}))
            await jobs.finish(tx, first)
    async with database.read() as connection:
        assert (await connection.execute(select(tables.event.c.id))).all() == []


# --- cancelling ---------------------------------------------------------------------------------------------


async def test_a_waiting_job_is_cancelled_at_once(database: Database) -> None:
    job_id = await enqueue(database)
    await cancel(database, job_id)
    assert (await stored(database, job_id)).state is JobState.CANCELLED
    assert await jobs.claim(database, KINDS, "worker") is None


async def test_a_running_job_is_cancelled_when_its_worker_notices(database: Database) -> None:
    job_id = await enqueue(database)
    job = await claim(database)
    await cancel(database, job_id)
    assert (await stored(database, job_id)).state is JobState.RUNNING
    assert await jobs.heartbeat(database, job) is True
    await jobs.cancelled(database, job)
    assert (await stored(database, job_id)).state is JobState.CANCELLED


async def test_a_running_job_is_cancelled_when_its_worker_fails_or_stops_or_dies(database: Database) -> None:
    for number in range(3):
        job_id = await enqueue(database, str(number))
        job = await claim(database, lease=PAST)
        await cancel(database, job_id)
        if number == 0:
            assert await jobs.fail(database, job, "no") is JobState.CANCELLED
        elif number == 1:
            await jobs.release(database, job)
        assert await jobs.claim(database, KINDS, "another") is None
        assert (await stored(database, job_id)).state is JobState.CANCELLED


async def test_a_parked_job_is_cancelled_and_a_done_one_stays_done(database: Database) -> None:
    parked = await enqueue(database)
    await jobs.fail(database, await claim(database), "no", retryable=False)
    await cancel(database, parked)
    assert (await stored(database, parked)).state is JobState.CANCELLED
    done = await enqueue(database)
    job = await claim(database)
    async with database.write() as tx:
        await jobs.finish(tx, job)
    await cancel(database, done)
    assert (await stored(database, done)).state is JobState.DONE


async def test_a_cancelled_job_can_be_retried(database: Database) -> None:
    job_id = await enqueue(database)
    await claim(database, lease=PAST)
    await cancel(database, job_id)
    assert await jobs.claim(database, KINDS, "worker") is None
    async with database.write() as tx:
        await jobs.retry(tx, job_id)
    job = await claim(database)
    assert (job.id, job.attempt, job.cancel_requested) == (job_id, 1, False)


async def test_no_job_is_no_job(database: Database) -> None:
    for step in (jobs.cancel, jobs.retry, jobs.get):
        with pytest.raises(NotFoundError):
            async with database.write() as tx:
                await step(tx, JobId(7))


# --- one open job a key -------------------------------------------------------------------------------------


async def test_the_same_work_is_queued_once_while_it_is_open(database: Database) -> None:
    job_id = await enqueue(database)
    assert await enqueue(database) == job_id
    assert await enqueue(database, "2") != job_id
    assert await enqueue(database, "1", "finalise") != job_id
    job = await claim(database)
    assert await enqueue(database) == job_id  # also while it runs
    await jobs.fail(database, job, "no", retryable=False)
    assert await enqueue(database) == job_id  # and while it is parked
    await cancel(database, job_id)
    again = await enqueue(database)
    assert again > job_id
    with pytest.raises(ConflictError, match="anew"):
        async with database.write() as tx:
            await jobs.retry(tx, job_id)


async def test_a_job_is_retried_while_the_same_is_asked_for_anew(database: Database) -> None:
    job_id = await enqueue(database)
    await cancel(database, job_id)
    again, refused = await interleaved(
        database, lambda tx: jobs.enqueue(tx, "transcribe", "1"), lambda tx: jobs.retry(tx, job_id)
    )
    assert again > job_id
    assert isinstance(refused, ConflictError)


async def test_whoever_retries_several_jobs_goes_on_after_one_that_cannot_be(database: Database) -> None:
    old, other = await enqueue(database), await enqueue(database, "2")
    for job_id in (old, other):
        await cancel(database, job_id)
    await enqueue(database)
    async with database.write() as tx:
        with pytest.raises(ConflictError):
            await jobs.retry(tx, old)
        await jobs.retry(tx, other)
    assert (await stored(database, other)).state is JobState.QUEUED


@pytest.mark.parametrize("has_stopped", [False, True])
async def test_what_is_asked_for_anew_before_its_worker_has_stopped_is_done(
    database: Database, has_stopped: bool
) -> None:
    job_id = await enqueue(database)
    job = await claim(database)
    await cancel(database, job_id)
    if has_stopped:
        assert await jobs.heartbeat(database, job)  # it has seen the wish, and has yet to say so
    assert await enqueue(database) == job_id
    if has_stopped:
        await jobs.cancelled(database, job)
        assert (await claim(database)).id == job_id
    else:
        assert not await jobs.heartbeat(database, job)


async def test_work_is_asked_for_anew_while_it_is_being_cancelled(database: Database) -> None:
    job_id = await enqueue(database)
    job = await claim(database)
    await cancel(database, job_id)
    stopped = update(tables.job).where(tables.job.c.id == job.id).values(state=JobState.CANCELLED)
    _, again = await interleaved(
        database, lambda tx: tx.execute(stopped), lambda tx: jobs.enqueue(tx, "transcribe", "1")
    )
    assert (await stored(database, again)).state is JobState.QUEUED


async def test_work_that_is_rolled_back_is_not_queued(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.write() as tx:
            await jobs.enqueue(tx, "transcribe", "1")
            raise ZeroDivisionError
    assert await jobs.claim(database, KINDS, "worker") is None


async def test_many_ask_for_the_same_work_at_once(database: Database) -> None:
    assert len(set(await asyncio.gather(*(enqueue(database) for _ in range(12))))) == 1


async def test_the_newest_of_each_kind_is_shown_with_a_recording(database: Database) -> None:
    _, recording_id = await factories.uploaded(database)
    old = await enqueue(database, recording_id=recording_id)
    await cancel(database, old)
    new = await enqueue(database, recording_id=recording_id)
    other = await enqueue(database, kind="finalise", recording_id=recording_id)
    await enqueue(database, "unrelated")
    async with database.read() as connection:
        found = await jobs.of_recording(connection, recording_id)
    assert {job.id for job in found} == {new, other}


async def test_pages_learn_of_every_step(database: Database) -> None:
    """The interview's own page where there is one, else those that list all jobs."""
    interview_id, recording_id = await factories.uploaded(database)

    async def learned() -> list[object]:
        async with database.write() as tx:
            found = [change.interview_id for change in await changes.after(tx, 0) if change.kind == "job"]
            await changes.prune(tx, keep=0)
        return found

    await learned()
    job_id = await enqueue(database, recording_id=recording_id)
    assert await learned() == [interview_id]
    job = await claim(database)
    assert await learned() == [interview_id]
    await jobs.heartbeat(database, job)
    assert await learned() == []  # nothing to see
    await jobs.heartbeat(database, job, progress=0.5)
    assert await learned() == [interview_id]
    await cancel(database, job_id)
    await jobs.cancelled(database, job)
    assert await learned() == [interview_id] * 2
    await enqueue(database)
    assert await learned() == [None]


# --- many workers -------------------------------------------------------------------------------------------


async def work_until_nothing_is_left(say: Connection, url: str, owner: str) -> None:
    database = Database(url)
    say.send("ready")
    await until_async(lambda: begun(database), "the jobs")
    while True:
        try:
            job = await jobs.claim(database, KINDS, owner)
            if job is None:
                break
            async with database.write() as tx:
                await tx.execute(insert(tables.event).values(names={"key": job.key, "owner": owner}))
                await jobs.finish(tx, job)
        except DatabaseUnavailableError as error:
            say.send(str(error))
            raise
    await database.close()


async def begun(database: Database) -> bool:
    async with database.read() as connection:
        return (await connection.execute(select(_t.c.id))).first() is not None


async def test_racing_workers_do_every_job_once(database: Database) -> None:
    names = [f"worker {number}" for number in range(4)]
    with (
        child(work_until_nothing_is_left, database.url, names[0]) as one,
        child(work_until_nothing_is_left, database.url, names[1]) as two,
        child(work_until_nothing_is_left, database.url, names[2]) as three,
        child(work_until_nothing_is_left, database.url, names[3]) as four,
    ):
        for worker in (one, two, three, four):
            assert worker.listen() == "ready"
        async with database.write() as tx:
            for number in range(400):
                await jobs.enqueue(tx, KINDS[number % 2], str(number))
    async with database.read() as connection:
        results = [row.names for row in await connection.execute(select(tables.event.c.names))]
        states = {row.state for row in await connection.execute(select(tables.job.c.state))}
        claims = {row.epoch for row in await connection.execute(select(tables.job.c.epoch))}
    assert Counter(result["key"] for result in results) == Counter(map(str, range(400)))
    assert states == {JobState.DONE}
    assert claims == {1}
    assert len({result["owner"] for result in results}) > 1


# --- a clock that was ahead ---------------------------------------------------------------------------------


async def set_clock_back(database: Database, by: timedelta) -> None:
    """What is there was written by a clock that was ahead by so much."""
    columns = [_t.c[name] for name in ("run_after", "lease_until", "created_at", "updated_at")]
    async with database.write() as tx:
        for row in (await tx.execute(select(_t))).all():
            moved = {column.name: at + by for column in columns if (at := getattr(row, column.name)) is not None}
            await tx.execute(update(_t).where(_t.c.id == row.id).values(moved))


async def clock_set_back(database: Database) -> int:
    async with database.write() as tx:
        return await jobs.clock_set_back(tx)


async def test_what_was_asked_for_while_the_clock_was_ahead_does_not_wait_for_that_time(
    database: Database,
) -> None:
    job_id = await enqueue(database)
    await set_clock_back(database, timedelta(hours=8))
    assert await jobs.claim(database, KINDS, "worker") is None
    assert await clock_set_back(database) == 1
    assert (await claim(database)).id == job_id


async def test_a_worker_that_dies_as_the_clock_is_set_back_keeps_its_job_no_longer_than_another(
    database: Database,
) -> None:
    await enqueue(database)
    held = await claim(database)
    await set_clock_back(database, timedelta(hours=8))
    assert await clock_set_back(database) == 1
    assert await jobs.claim(database, KINDS, "another") is None
    assert await jobs.heartbeat(database, held) is False, "one that lives goes on"
    left = (await stored(database, held.id)).lease_until
    async with database.read() as connection:
        assert left is not None
        assert left <= await now(connection) + jobs.LEASE


async def test_with_a_clock_that_goes_right_nothing_is_changed(database: Database) -> None:
    await enqueue(database, "1", delay=timedelta(hours=3))
    await enqueue(database, "2")
    held = await claim(database)
    before = [await stored(database, job_id) for job_id in (JobId(1), held.id)]
    assert await clock_set_back(database) == 0
    assert [await stored(database, job_id) for job_id in (JobId(1), held.id)] == before
