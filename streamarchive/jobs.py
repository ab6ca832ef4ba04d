"""The job table: work that is done at least once, by any number of workers, on SQLite and PostgreSQL alike.

It is our own because enqueueing has to share the transaction of the data it is about. Every claim raises the
job's epoch; whoever holds an older epoch gets a `FencedError` when it reports, so what two workers may do twice
is only work, never a result. After its last attempt a job is parked: shown to people, retried by them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, FencedError, NotFoundError
from streamarchive.models import Job, JobId, JobState, RecordingId

_t = tables.job
FINALISE, TRANSCRIBE, TRANSLATE, PURGE = "finalise", "transcribe", "translate", "purge"
"""Kinds that are asked for in one place and done in another."""
LIVE, NORMAL, LATER = 10, 50, 90
"""Priorities; lower comes first."""
LEASE = timedelta(seconds=30)
_OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.PARKED)


async def enqueue(
    tx: AsyncConnection,
    kind: str,
    key: str,
    *,
    recording_id: RecordingId | None = None,
    payload: Mapping[str, Any] | None = None,
    priority: int = NORMAL,
    max_attempts: int = 5,
    delay: timedelta = timedelta(0),
) -> JobId:
    """Have this done once `tx` is committed.

    If it is asked for already, that job's id; whoever wanted that one cancelled is overruled.
    """
    moment = await now(tx)
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    statement = (
        make(_t)
        .values(
            kind=kind,
            key=key,
            recording_id=recording_id,
            payload=dict(payload or {}),
            state=JobState.QUEUED,
            priority=priority,
            attempt=0,
            max_attempts=max_attempts,
            epoch=0,
            run_after=moment + delay,
            cancel_requested=False,
            progress=0.0,
            message="",
            started_progress=0.0,
            created_at=moment,
            updated_at=moment,
        )
        .on_conflict_do_nothing()
        .returning(_t.c.id)
    )
    found = None
    while found is None:  # one that is open when we insert may be done when we look
        found = (await tx.execute(statement)).scalar_one_or_none()
        if found is None:
            found = await _still_wanted(tx, kind, key)
    await _announce(tx, recording_id)
    return JobId(found)


async def _still_wanted(tx: AsyncConnection, kind: str, key: str) -> int | None:
    """The open job, which nobody wants to be cancelled any more; None if there is none."""
    row = (await tx.execute(_open_job(kind, key).add_columns(_t.c.cancel_requested))).one_or_none()
    if row is None or not row.cancel_requested:
        return None if row is None else int(row.id)
    undo = update(_t).where(_t.c.id == row.id, _t.c.state.in_(_OPEN)).values(cancel_requested=False)
    found: int | None = (await tx.execute(undo.returning(_t.c.id))).scalar_one_or_none()
    return found


async def claim(
    database: Database, kinds: Sequence[str], owner: str, *, lease: timedelta = LEASE, below: int = 100
) -> Job | None:
    """Take the most urgent job that may run now, of these kinds and of a priority below `below`."""
    async with database.write() as tx:
        moment = await now(tx)
        while (job := await _most_urgent(tx, kinds, below, moment)) is not None:
            if job.cancel_requested:
                await _set(tx, job, {"state": JobState.CANCELLED})
            elif job.state is JobState.RUNNING and job.attempt >= job.max_attempts:
                # What ended its worker must not end one worker after the other.
                await _set(tx, job, {"state": JobState.PARKED, "last_error": "its worker ended without a word"})
            else:
                return await _set(
                    tx,
                    job,
                    {
                        "state": JobState.RUNNING,
                        "owner": owner,
                        "epoch": job.epoch + 1,
                        "attempt": job.attempt + 1,
                        "lease_until": moment + lease,
                        "started_at": moment,
                        "started_progress": job.progress,
                    },
                )
    return None


async def _most_urgent(tx: AsyncConnection, kinds: Sequence[str], below: int, moment: datetime) -> Job | None:
    """What waits and may run, or ran and has lost its worker; nobody else gets it before `tx` ends."""
    ready = or_(
        (_t.c.state == JobState.QUEUED) & (_t.c.run_after <= moment),
        (_t.c.state == JobState.RUNNING) & (_t.c.lease_until < moment),
    )
    pick = select(_t).where(ready, _t.c.kind.in_(kinds), _t.c.priority < below)
    pick = pick.order_by(_t.c.priority, _t.c.run_after, _t.c.id).limit(1)
    if tx.dialect.name != "sqlite":
        pick = pick.with_for_update(skip_locked=True)
    row = (await tx.execute(pick)).one_or_none()
    return _job(row) if row else None


async def heartbeat(
    database: Database,
    job: Job,
    *,
    progress: float | None = None,
    message: str | None = None,
    lease: timedelta = LEASE,
) -> bool:
    """Keep the lease and show progress (0 to 1); whether a cancel was asked for. Raises `FencedError`."""
    async with database.write() as tx:
        moment = await now(tx)
        values: dict[str, Any] = {"lease_until": moment + lease, "updated_at": moment}
        if progress is not None:
            values["progress"] = min(max(progress, 0.0), 1.0)
        if message is not None:
            values["message"] = message
        row = await _update_held(tx, job, values)
        if progress is not None or message is not None:
            await _announce(tx, job.recording_id)
    return bool(row.cancel_requested)


async def require_held(tx: AsyncConnection, job: Job) -> None:
    """Raise `FencedError` if another worker has the job by now; nobody can claim it before `tx` ends.

    For what a handler writes on its way, before `finish`.
    """
    await _as_held(tx, job)


async def advance(tx: AsyncConnection, job: Job) -> None:
    """A part is done in `tx` that no later attempt will do again: this one counts as the first.

    So what is killed now and then comes to its end however long it is, and what kills its worker at the same
    place each time is parked as before. Raises `FencedError` as `require_held` does.
    """
    await _update_held(tx, job, {"attempt": 1})


async def finish(tx: AsyncConnection, job: Job) -> None:
    """Done, in the transaction that writes the result. Raises `FencedError`: then the result must not be."""
    await _update_held(tx, job, {"state": JobState.DONE, "progress": 1.0, "last_error": None})
    await _announce(tx, job.recording_id)


async def fail(database: Database, job: Job, error: str, *, retryable: bool = True) -> JobState:
    """Try again later, ever later, or park it for a person; the state that it has now."""
    async with database.write() as tx:
        attempt = (await _as_held(tx, job)).attempt  # it may have advanced since it was claimed
        again = retryable and attempt < job.max_attempts
        pause = min(2.0**attempt, 600.0) * random.uniform(0.75, 1.25)  # noqa: S311 - only spreads the load
        values = {
            "state": _unless_cancelled(JobState.QUEUED if again else JobState.PARKED),
            "run_after": await now(tx) + timedelta(seconds=pause),
            "last_error": error,
        }
        row = await _update_held(tx, job, values)
        await _announce(tx, job.recording_id)
    return JobState(row.state)


async def release(database: Database, job: Job) -> None:
    """Give it back undone, because this process is stopping; the attempt does not count."""
    async with database.write() as tx:
        state = _unless_cancelled(JobState.QUEUED)
        await _update_held(tx, job, {"state": state, "attempt": _t.c.attempt - 1})
        await _announce(tx, job.recording_id)


def _unless_cancelled(state: JobState) -> ColumnElement[str]:
    return case((_t.c.cancel_requested, literal(JobState.CANCELLED)), else_=literal(state))


async def cancelled(database: Database, job: Job) -> None:
    """The worker has stopped because a cancel was asked for. It waits if the job has been asked for anew."""
    async with database.write() as tx:
        await _update_held(tx, job, {"state": _unless_cancelled(JobState.QUEUED)})
        await _announce(tx, job.recording_id)


async def cancel(tx: AsyncConnection, job_id: JobId) -> None:
    """Never mind this job: at once if it waits, as soon as its worker notices if it runs."""
    job = await _locked(tx, job_id)
    if job.state is JobState.RUNNING:
        await _set(tx, job, {"cancel_requested": True})
    elif job.state in _OPEN:
        await _set(tx, job, {"state": JobState.CANCELLED})


async def retry(tx: AsyncConnection, job_id: JobId) -> None:
    """Let a parked or cancelled job, or one that waits for its next attempt, run now with fresh attempts.

    Raises `ConflictError` if the same has been asked for anew since it was cancelled.
    """
    job = await _locked(tx, job_id)
    if job.state in (JobState.RUNNING, JobState.DONE):
        return
    values = {"state": JobState.QUEUED, "attempt": 0, "run_after": await now(tx), "cancel_requested": False}
    try:
        async with tx.begin_nested():  # somebody may be asking for it at this moment: only the index knows
            await _set(tx, job, values)
    except IntegrityError as error:
        raise ConflictError(
            f"job {job.id} ({job.kind}) has been asked for anew; that one is under way already"
        ) from error


async def get(connection: AsyncConnection, job_id: JobId) -> Job:
    """Raises `NotFoundError`."""
    return await _one(connection, job_id, select(_t))


async def _locked(tx: AsyncConnection, job_id: JobId) -> Job:
    """The job as it stays until `tx` changes it."""
    return await _one(tx, job_id, select(_t) if tx.dialect.name == "sqlite" else select(_t).with_for_update())


async def _one(connection: AsyncConnection, job_id: JobId, statement: Select[Any]) -> Job:
    row = (await connection.execute(statement.where(_t.c.id == job_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}")
    return _job(row)


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[Job]:
    """The newest job of each kind about this recording."""
    rows = await connection.execute(select(_t).where(_t.c.recording_id == recording_id).order_by(_t.c.id))
    return list({row.kind: _job(row) for row in rows}.values())


async def newest(connection: AsyncConnection, kind: str, keys: Collection[str]) -> dict[str, Job]:
    """The newest job of this kind for each of these keys, by key."""
    rows = await connection.execute(select(_t).where(_t.c.kind == kind, _t.c.key.in_(keys)).order_by(_t.c.id))
    return {row.key: _job(row) for row in rows}


async def parked(connection: AsyncConnection, recording_ids: Collection[RecordingId]) -> set[RecordingId]:
    """Those of these recordings of which a job has stopped and waits for a person."""
    statement = select(_t.c.recording_id).where(
        _t.c.recording_id.in_(recording_ids), _t.c.state == JobState.PARKED
    )
    return {row.recording_id for row in await connection.execute(statement)}


async def running(connection: AsyncConnection) -> int:
    """How many are being done at this moment."""
    statement = select(func.count()).select_from(_t).where(_t.c.state == JobState.RUNNING)
    return int((await connection.execute(statement)).scalar_one())


async def seconds_to_next(connection: AsyncConnection, kinds: Sequence[str], *, below: int = 100) -> float | None:
    """How long until a waiting or abandoned job of these kinds may be claimed, 0 if now; None if there is none.

    By the database's clock: a worker's own may be wrong.
    """
    due: list[datetime] = []
    for state, column in ((JobState.QUEUED, _t.c.run_after), (JobState.RUNNING, _t.c.lease_until)):
        first = select(func.min(column)).where(_t.c.state == state, _t.c.kind.in_(kinds), _t.c.priority < below)
        found = (await connection.execute(first)).scalar_one_or_none()
        due += [found] if found else []
    if not due:
        return None
    return max(0.0, (min(due) - await now(connection)).total_seconds())


async def clock_set_back(tx: AsyncConnection) -> int:
    """Let nobody wait for hours because the clock has been set back by hours; how many jobs that concerned.

    What is written in the future was written before. A worker that lives renews its lease long before the one
    that it gets here is over.
    """
    moment = await now(tx)
    queued = (_t.c.state == JobState.QUEUED) & (_t.c.updated_at > moment + LEASE)
    running = (_t.c.state == JobState.RUNNING) & (_t.c.lease_until > moment + 2 * LEASE)
    changed = 0
    for which, column, until in ((queued, _t.c.run_after, moment), (running, _t.c.lease_until, moment + LEASE)):
        statement = update(_t).where(which).values({column: until, "updated_at": moment})
        changed += (await tx.execute(statement)).rowcount
    if changed:
        await _announce(tx, None)
    return changed


def _open_job(kind: str, key: str) -> Select[Any]:
    return select(_t.c.id).where(_t.c.kind == kind, _t.c.key == key, _t.c.state.in_(_OPEN))


def _held(job: Job) -> ColumnElement[bool]:
    return (_t.c.id == job.id) & (_t.c.epoch == job.epoch) & (_t.c.state == JobState.RUNNING)


async def _as_held(tx: AsyncConnection, job: Job) -> Job:
    """The job as it is now and stays until `tx` ends. Raises `FencedError`."""
    statement = select(_t).where(_held(job))
    if tx.dialect.name != "sqlite":
        statement = statement.with_for_update(key_share=True)
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise _fenced(job)
    return _job(row)


def _fenced(job: Job) -> FencedError:
    return FencedError(f"job {job.id} ({job.kind}) belongs to another worker now")


async def _update_held(tx: AsyncConnection, job: Job, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a row
    statement = update(_t).where(_held(job)).values({"updated_at": await now(tx), **values}).returning(_t)
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise _fenced(job)
    return row


async def _set(tx: AsyncConnection, job: Job, values: Mapping[str, Any]) -> Job:
    """Change a job that `tx` has locked."""
    statement = update(_t).where(_t.c.id == job.id).values({"updated_at": await now(tx), **values})
    row = (await tx.execute(statement.returning(_t))).one()
    await _announce(tx, job.recording_id)
    return _job(row)


async def _announce(tx: AsyncConnection, recording_id: RecordingId | None) -> None:
    """Tell the pages of the interviews concerned, or all that show jobs if it concerns none."""
    concerned = await interviews.ids_of_recording(tx, recording_id) if recording_id is not None else []
    for interview_id in concerned:
        await changes.publish(tx, "job", interview_id)
    if not concerned:
        await changes.publish(tx, "job", None)


def _job(row: Any) -> Job:  # noqa: ANN401 - a result row
    return Job(
        id=row.id,
        kind=row.kind,
        key=row.key,
        recording_id=row.recording_id,
        payload=row.payload,
        state=JobState(row.state),
        priority=row.priority,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        epoch=row.epoch,
        run_after=row.run_after,
        lease_until=row.lease_until,
        cancel_requested=row.cancel_requested,
        progress=row.progress,
        message=row.message,
        last_error=row.last_error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        started_at=row.started_at,
        started_progress=row.started_progress,
    )
