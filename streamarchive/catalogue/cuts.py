"""One recording, several interviews: where one ends and the next begins.

A source that stays on air all day is recorded once. A cut shows one interview up to a moment of the media clock
and the next from it on; it can be moved later, and no media segment is touched by it.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, recordings, streams, tables, withheld
from streamarchive.catalogue.database import now
from streamarchive.clock import to_ms
from streamarchive.errors import UsageError
from streamarchive.models import InterviewId, RecordingId, Stream, StreamId, StreamState

_LATEST_MS = 15_000
"""What has been on air since the newest segment came, at most: the rest was missed."""


async def next_interview(
    tx: AsyncConnection,
    stream_id: StreamId,
    interview_id: InterviewId,
    *,
    ends_at: datetime | None = None,
    overruns: bool = False,
) -> int:
    """From now on what comes from this stream belongs to another interview; where, in ms of the media clock.

    The recording goes on without a break. Raises `UsageError` if it does not run, if the interview has a
    recording, or if the one before would be empty.
    """
    stream = await _running(tx, stream_id)
    assert stream.recording_id is not None  # noqa: S101 - it runs
    await withheld.hold(tx, stream.recording_id)
    await interviews.hold(tx, interview_id)
    before, after = await interviews.get(tx, stream.interview_id), await interviews.get(tx, interview_id)
    if after.recording_id is not None:
        raise UsageError("that interview has a recording already; choose another or create one")
    at_ms = await edge(tx, stream.recording_id)
    await interviews.cut(tx, before.id, before.in_ms, at_ms)
    await interviews.attach(tx, after.id, stream.recording_id)
    await interviews.cut(tx, after.id, at_ms, None)
    await tx.execute(
        update(tables.stream)
        .where(tables.stream.c.id == stream_id)
        .values(interview_id=after.id, starts_at=await now(tx), ends_at=ends_at, overruns=overruns)
    )
    await changes.publish(tx, "interview", after.id)
    return at_ms


async def take_up(tx: AsyncConnection, running_id: StreamId, waiting_id: StreamId) -> None:
    """A scheduled stream whose source is being recorded already: that recording goes on for its interview.

    Raises `UsageError` like `next_interview`: then it has to be recorded by itself.
    """
    running, waiting = await _running(tx, running_id), await streams.get(tx, waiting_id)
    if waiting.state is not StreamState.SCHEDULED:
        return  # another recorder has seen to it
    if running.interview_id == waiting.interview_id:  # somebody at the desk has begun it before its time
        await tx.execute(
            update(tables.stream)
            .where(tables.stream.c.id == running_id)
            .values(ends_at=waiting.ends_at, overruns=waiting.overruns)
        )
    else:
        await next_interview(
            tx, running_id, waiting.interview_id, ends_at=waiting.ends_at, overruns=waiting.overruns
        )
    await tx.execute(
        update(tables.stream).where(tables.stream.c.id == waiting_id).values(state=StreamState.ENDED)
    )


async def cut(tx: AsyncConnection, interview_id: InterviewId, in_ms: int | None, out_ms: int | None) -> None:
    """Show the recording from `in_ms` to `out_ms`; an interview that bordered on this one still does.

    Raises `UsageError` if nothing would be left of one of them.
    """
    recording_id = (await interviews.get(tx, interview_id)).recording_id
    if recording_id is not None:  # before any of its interviews: who moves a border has two of them to change
        await withheld.hold(tx, recording_id)
    interview = await interviews.get(tx, interview_id)
    await interviews.cut(tx, interview_id, in_ms, out_ms)
    if interview.recording_id is None:
        return
    for other in await interviews.of_recording(tx, interview.recording_id):
        if other.id == interview_id:
            continue
        if in_ms is not None and interview.in_ms is not None and other.out_ms == interview.in_ms:
            await interviews.cut(tx, other.id, other.in_ms, in_ms)
        if out_ms is not None and interview.out_ms is not None and other.in_ms == interview.out_ms:
            await interviews.cut(tx, other.id, out_ms, other.out_ms)


async def _running(tx: AsyncConnection, stream_id: StreamId) -> Stream:
    statement = select(tables.stream.c.epoch).where(tables.stream.c.id == stream_id)
    epoch = (await tx.execute(statement)).scalar_one_or_none()
    stream = await streams.require_epoch(tx, stream_id, epoch if epoch is not None else -1)
    if stream.state is not StreamState.RECORDING or stream.recording_id is None:
        raise UsageError("nothing is being recorded from this stream; begin the next one while it is on air")
    return stream


async def edge(tx: AsyncConnection, recording_id: RecordingId) -> int:
    """Where the media clock stands now: what is committed and what has been on air since."""
    recording, came = await recordings.get(tx, recording_id), await recordings.last_arrival(tx, recording_id)
    since = (await now(tx)) - (came or recording.started_at)
    return recording.duration_ms + min(max(0, to_ms(round(since.total_seconds() * 90_000))), _LATEST_MS)
