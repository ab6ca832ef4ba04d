"""Which media segments are not needed any more: those of broadcasts that are played from a verified file."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Select, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, media_segments, tables
from streamarchive.catalogue.database import now
from streamarchive.models import AssetKind, JobState, RecordingId, RecordingState, StreamState

_OPEN_JOBS = (JobState.QUEUED, JobState.RUNNING, JobState.PARKED)


async def due(connection: AsyncConnection, keep: timedelta, *, but: str, limit: int = 50) -> list[RecordingId]:
    """Recordings of which the segments may go, the oldest first. Jobs of the kind `but` do not count as open."""
    before = await now(connection) - keep
    recording = tables.recording.c
    statement = _free(but).where(recording.ended_at < before).order_by(recording.ended_at).limit(limit)
    return [RecordingId(row.id) for row in await connection.execute(statement)]


async def is_due(connection: AsyncConnection, recording_id: RecordingId, *, but: str) -> bool:
    """Whether nothing speaks against it now but time."""
    statement = _free(but).where(tables.recording.c.id == recording_id)
    return (await connection.execute(statement)).first() is not None


def _free(but: str) -> Select[tuple[int]]:
    """Recordings with segments that nobody needs: over, verified, shown whole by one interview, not worked on.

    The file of a recording that is cut, shared or has withheld ranges does not hold all of it.
    """
    recording, segment, asset, job = tables.recording.c, tables.media_segment, tables.asset, tables.job
    stream, interview = tables.stream, tables.interview
    own_segments = and_(segment.c.recording_id == recording.id, segment.c.deleted_at.is_(None))
    verified = and_(
        asset.c.recording_id == recording.id,
        asset.c.kind.in_((AssetKind.MP4, AssetKind.M4A)),
        asset.c.verified_at.is_not(None),
    )
    worked_on = and_(job.c.recording_id == recording.id, job.c.state.in_(_OPEN_JOBS), job.c.kind != but)
    recorded = and_(stream.c.recording_id == recording.id, stream.c.state != StreamState.ENDED)
    showing = select(func.count()).where(interview.c.recording_id == recording.id).scalar_subquery()
    cut = and_(
        interview.c.recording_id == recording.id,
        or_(interview.c.in_ms.is_not(None), interview.c.out_ms.is_not(None)),
    )
    withheld = tables.withheld_range
    holes = and_(withheld.c.recording_id == recording.id, withheld.c.lifted_at.is_(None))
    return select(recording.id).where(
        recording.state == RecordingState.FINISHED,
        exists().where(own_segments),
        exists().where(verified),
        ~exists().where(worked_on),
        ~exists().where(recorded),
        showing == 1,
        ~exists().where(cut),
        ~exists().where(holes),
    )


async def release(tx: AsyncConnection, recording_id: RecordingId) -> None:
    """From now on nothing is played or made from its segments; their files can be deleted."""
    table = tables.media_segment
    await tx.execute(
        update(table)
        .where(table.c.recording_id == recording_id, table.c.deleted_at.is_(None))
        .values(deleted_at=await now(tx))
    )
    await media_segments.note_change(tx, recording_id)
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await changes.publish(tx, "interview", interview_id, {})


async def released_keys(connection: AsyncConnection, recording_id: RecordingId) -> list[str]:
    """The files of its segments that no segment needs."""
    table = tables.media_segment
    needed = select(table.c.key).where(table.c.recording_id == recording_id, table.c.deleted_at.is_(None))
    statement = select(table.c.key).where(
        table.c.recording_id == recording_id, table.c.deleted_at.is_not(None), table.c.key.not_in(needed)
    )
    rows = await connection.execute(statement.order_by(table.c.sequence))
    return list(dict.fromkeys(row.key for row in rows))


async def were_released(connection: AsyncConnection, recording_id: RecordingId) -> bool:
    """Whether there were segments, and they are not kept any more."""
    table = tables.media_segment
    statement = select(table.c.id).where(table.c.recording_id == recording_id, table.c.deleted_at.is_not(None))
    return (await connection.execute(statement.limit(1))).first() is not None
