"""Recordings: takes, media segments and gaps. Their files are in `streamarchive.catalogue.assets`.

Everything a recorder writes is fenced: it passes its `Stream` as claimed, and gets a `FencedError` once another
recorder has claimed it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, delete, func, insert, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, streams, tables
from streamarchive.catalogue.database import now
from streamarchive.clock import TICKS_PER_MS
from streamarchive.errors import NotFoundError
from streamarchive.models import (
    Gap,
    GapReason,
    InterviewId,
    MediaSegment,
    Recording,
    RecordingId,
    RecordingState,
    Stream,
    StreamState,
    Take,
)


async def begin(tx: AsyncConnection, stream: Stream, *, has_video: bool) -> RecordingId:
    """Open the recording of a claimed stream, or continue the one that it has."""
    current = await streams.require_epoch(tx, stream.id, stream.epoch)
    if current.recording_id is not None:
        return current.recording_id
    recording_id = await _insert(tx, "stream", RecordingState.OPEN, has_video=has_video)
    await tx.execute(
        update(tables.stream)
        .where(tables.stream.c.id == stream.id)
        .values(recording_id=recording_id, state=StreamState.RECORDING)
    )
    await interviews.attach(tx, stream.interview_id, recording_id)
    return recording_id


async def create_uploaded(
    tx: AsyncConnection, interview_id: InterviewId, *, duration_ms: int, has_video: bool, damage: str | None
) -> RecordingId:
    """The recording that an uploaded or imported file is."""
    recording_id = await _insert(
        tx, "upload", RecordingState.FINISHED, has_video=has_video, damage=damage, duration_ms=duration_ms
    )
    await interviews.attach(tx, interview_id, recording_id)
    return recording_id


async def _insert(
    tx: AsyncConnection,
    origin: str,
    state: RecordingState,
    *,
    has_video: bool,
    damage: str | None = None,
    duration_ms: int = 0,
) -> RecordingId:
    moment = await now(tx)
    statement = (
        insert(tables.recording)
        .values(
            origin=origin,
            state=state,
            started_at=moment,
            ended_at=moment if state is RecordingState.FINISHED else None,
            duration_ticks=duration_ms * TICKS_PER_MS,
            has_video=has_video,
            damage=damage,
        )
        .returning(tables.recording.c.id)
    )
    return RecordingId((await tx.execute(statement)).scalar_one())


async def begin_take(
    tx: AsyncConnection, stream: Stream, recording_id: RecordingId, number: int | None = None
) -> Take:
    """A new ffmpeg process contributes from here on; it begins where the media so far ends.

    It gets this number, or the next one if that is taken.
    """
    await streams.require_epoch(tx, stream.id, stream.epoch)
    table = tables.take
    moment = await now(tx)
    last = (
        await tx.execute(select(func.max(table.c.number)).where(table.c.recording_id == recording_id))
    ).scalar()
    base = (
        await tx.execute(select(tables.recording.c.duration_ticks).where(tables.recording.c.id == recording_id))
    ).scalar_one()
    await tx.execute(
        update(table)
        .where(table.c.recording_id == recording_id, table.c.ended_at.is_(None))
        .values(ended_at=moment)
    )
    row = (
        await tx.execute(
            insert(table)
            .values(
                recording_id=recording_id,
                number=max(number or 0, 0 if last is None else last + 1),
                epoch=stream.epoch,
                base_ticks=base,
                started_at=moment,
            )
            .returning(table)
        )
    ).one()
    return _take(row)


async def commit_segment(
    tx: AsyncConnection,
    stream: Stream,
    segment: MediaSegment,
    origin_pts: int,
    *,
    has_video: bool,
    first: bool = False,
    joined: bool = False,
) -> None:
    """Add a stored media segment; `origin_pts` is the lowest PTS of its take, fixed by the first segment.

    The `first` of a take closes the open gap. If it is `joined`, it goes on where the last take ended, and what
    seemed a gap is none. Any other was recorded before the gap.
    """
    current = await streams.require_epoch(tx, stream.id, stream.epoch)
    values = {field.name: getattr(segment, field.name) for field in fields(segment)}
    await tx.execute(insert(tables.media_segment).values(**values))
    await tx.execute(
        update(tables.take)
        .where(tables.take.c.id == segment.take_id, tables.take.c.origin_pts.is_(None))
        .values(origin_pts=origin_pts)
    )
    end_ticks = segment.start_ticks + segment.duration_ticks
    seen = {"has_video": True} if has_video else {}  # a later take may have none
    await tx.execute(
        update(tables.recording)
        .where(tables.recording.c.id == segment.recording_id)
        .values(duration_ticks=end_ticks, **seen)
    )
    if await _close_gap(tx, segment, first=first, joined=joined):
        await _tell_all(tx, current, segment.recording_id, "gap", {})
    payload = {"duration_ms": end_ticks // TICKS_PER_MS, "sequence": segment.sequence}
    await _tell_all(tx, current, segment.recording_id, "media", payload)


async def _close_gap(tx: AsyncConnection, segment: MediaSegment, *, first: bool, joined: bool) -> bool:
    """What a segment means to the gap that is open; whether one was."""
    table = tables.gap
    is_open = and_(table.c.recording_id == segment.recording_id, table.c.ended_at.is_(None))
    if joined:
        return (await tx.execute(delete(table).where(is_open))).rowcount > 0
    if not first:
        end = segment.start_ticks + segment.duration_ticks
        later = {"began_at": segment.arrived_at, "at_ticks": end}
        return (await tx.execute(update(table).where(is_open).values(**later))).rowcount > 0
    began_at = segment.arrived_at - timedelta(milliseconds=segment.duration_ticks // TICKS_PER_MS)
    ended_at = case((table.c.began_at > began_at, table.c.began_at), else_=began_at)
    return (await tx.execute(update(table).where(is_open).values(ended_at=ended_at))).rowcount > 0


async def open_gap(
    tx: AsyncConnection, stream: Stream, recording_id: RecordingId, reason: GapReason, detail: str = ""
) -> None:
    """From now on media is missing, until the next segment is committed. One open gap at a time."""
    current = await streams.require_epoch(tx, stream.id, stream.epoch)
    table, recording = tables.gap, tables.recording
    still_open = select(table.c.id).where(table.c.recording_id == recording_id, table.c.ended_at.is_(None))
    if (await tx.execute(still_open)).first() is not None:
        return
    at_ticks = (
        await tx.execute(select(recording.c.duration_ticks).where(recording.c.id == recording_id))
    ).scalar_one()
    if at_ticks == 0:
        return  # nothing has been recorded yet: a late beginning is no gap
    began_at = await last_arrival(tx, recording_id) or await now(tx)
    gap = {"at_ticks": at_ticks, "began_at": began_at, "reason": reason, "detail": detail}
    await tx.execute(insert(table).values(recording_id=recording_id, **gap))
    await _tell_all(tx, current, recording_id, "gap", {"at_ms": at_ticks // TICKS_PER_MS, "reason": reason})


async def _tell_all(
    tx: AsyncConnection, stream: Stream, recording_id: RecordingId, kind: str, payload: dict[str, Any]
) -> None:
    """Pages of every interview that shows the recording, and of the one that is on air."""
    concerned = {stream.interview_id, *await interviews.ids_of_recording(tx, recording_id)}
    for interview_id in sorted(concerned):
        await changes.publish(tx, kind, interview_id, payload)


async def last_arrival(tx: AsyncConnection, recording_id: RecordingId) -> datetime | None:
    """When its newest media came."""
    table = tables.media_segment
    statement = select(table.c.arrived_at).where(table.c.recording_id == recording_id)
    arrived: datetime | None = (
        await tx.execute(statement.order_by(table.c.sequence.desc()).limit(1))
    ).scalar_one_or_none()
    return arrived


async def finish(tx: AsyncConnection, stream: Stream, recording_id: RecordingId) -> None:
    """No more media will come; also ends the stream. A gap at the very end is none."""
    await streams.require_epoch(tx, stream.id, stream.epoch)
    moment = await now(tx)
    await tx.execute(
        delete(tables.gap).where(tables.gap.c.recording_id == recording_id, tables.gap.c.ended_at.is_(None))
    )
    await tx.execute(
        update(tables.recording)
        .where(tables.recording.c.id == recording_id)
        .values(state=RecordingState.FINISHED, ended_at=moment)
    )
    await streams.end(tx, stream)
    await _tell_all(tx, stream, recording_id, "interview", {})


async def get(connection: AsyncConnection, recording_id: RecordingId) -> Recording:
    """Raises `NotFoundError`."""
    statement = select(tables.recording).where(tables.recording.c.id == recording_id)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no recording {recording_id}")
    return _recording(row)


async def all_ids(connection: AsyncConnection) -> list[RecordingId]:
    """Every recording there is, oldest first."""
    table = tables.recording
    return [RecordingId(row.id) for row in await connection.execute(select(table.c.id).order_by(table.c.id))]


async def by_ids(connection: AsyncConnection, ids: Collection[RecordingId]) -> dict[RecordingId, Recording]:
    """Those of them that exist."""
    rows = await connection.execute(select(tables.recording).where(tables.recording.c.id.in_(ids)))
    return {row.id: _recording(row) for row in rows}


async def of_interview(connection: AsyncConnection, interview_id: InterviewId) -> list[Recording]:
    """Every recording made or handed in for an interview, newest first: the one it shows and its alternates."""
    stream, upload, interview = tables.stream, tables.upload, tables.interview
    own = union(
        select(stream.c.recording_id).where(stream.c.interview_id == interview_id),
        select(upload.c.recording_id).where(upload.c.interview_id == interview_id),
        select(interview.c.recording_id).where(interview.c.id == interview_id),
    ).subquery()
    statement = select(tables.recording).where(tables.recording.c.id.in_(select(own.c.recording_id)))
    return [_recording(row) for row in await connection.execute(statement.order_by(tables.recording.c.id.desc()))]


async def open_recordings(connection: AsyncConnection) -> list[Recording]:
    """Those that are on air."""
    statement = select(tables.recording).where(tables.recording.c.state == RecordingState.OPEN)
    return [_recording(row) for row in await connection.execute(statement.order_by(tables.recording.c.id))]


async def takes(connection: AsyncConnection, recording_id: RecordingId) -> list[Take]:
    """In the order of the media clock."""
    table = tables.take
    statement = select(table).where(table.c.recording_id == recording_id).order_by(table.c.number)
    return [_take(row) for row in await connection.execute(statement)]


async def gaps(connection: AsyncConnection, recording_id: RecordingId) -> list[Gap]:
    """In the order of the media clock; the last may still be open."""
    table = tables.gap
    statement = select(table).where(table.c.recording_id == recording_id).order_by(table.c.id)
    return [
        Gap(
            row.recording_id,
            row.at_ticks // TICKS_PER_MS,
            row.began_at,
            row.ended_at,
            GapReason(row.reason),
            row.detail,
        )
        for row in await connection.execute(statement)
    ]


def _recording(row: Any) -> Recording:  # noqa: ANN401 - a result row
    return Recording(
        id=row.id,
        origin=row.origin,
        state=RecordingState(row.state),
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration_ms=row.duration_ticks // TICKS_PER_MS,
        has_video=row.has_video,
        damage=row.damage,
    )


def _take(row: Any) -> Take:  # noqa: ANN401 - a result row
    return Take(
        id=row.id,
        recording_id=row.recording_id,
        number=row.number,
        epoch=row.epoch,
        base_ticks=row.base_ticks,
        origin_pts=row.origin_pts,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
