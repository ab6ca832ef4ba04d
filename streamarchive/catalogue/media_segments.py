"""Media segments as the catalogue knows them: those that are kept, in the order of the media clock.

A recorder adds them (`recordings.commit_segment`). A purge deletes some or puts shorter ones in their place, and
retention lets go of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.clock import to_ticks
from streamarchive.models import MediaSegment, RecordingId, TakeId

_t = tables.media_segment


@dataclass(frozen=True, slots=True)
class Extent:
    """What changes whenever a segment of a recording is added, deleted or replaced by a shorter one."""

    newest: int
    """The sequence number of the last segment; -1 without any."""
    changes: int
    """How often segments were deleted or replaced."""


async def of_recording(
    connection: AsyncConnection, recording_id: RecordingId, after_sequence: int = -1
) -> list[MediaSegment]:
    """Those behind `after_sequence`."""
    mine = _kept(_t.c.recording_id == recording_id, _t.c.sequence > after_sequence)
    return await load(connection, mine)


async def of_take(connection: AsyncConnection, take_id: TakeId, after_sequence: int = -1) -> list[MediaSegment]:
    """The same of one take alone: what came before it may be hours."""
    return await load(connection, _kept(_t.c.take_id == take_id, _t.c.sequence > after_sequence))


async def get(connection: AsyncConnection, recording_id: RecordingId, sequence: int) -> MediaSegment | None:
    """One of them; None if there is none of this number, or none any more."""
    found = await load(connection, _kept(_t.c.recording_id == recording_id, _t.c.sequence == sequence))
    return found[0] if found else None


async def at(connection: AsyncConnection, recording_id: RecordingId, at_ms: int) -> MediaSegment | None:
    """The one that holds this moment of the media clock, else the one before it; None if there are none."""
    mine = _kept(_t.c.recording_id == recording_id)
    begun = mine.where(_t.c.start_ticks < to_ticks(at_ms))
    for statement in (begun.order_by(_t.c.sequence.desc()), mine.order_by(_t.c.sequence)):
        row = (await connection.execute(statement.limit(1))).first()
        if row is not None:
            return _segment(row)
    return None


async def has_any(connection: AsyncConnection, recording_id: RecordingId) -> bool:
    """Whether there are any: an upload has none, and those of an old broadcast may have been let go."""
    mine = _kept(_t.c.recording_id == recording_id).with_only_columns(_t.c.id)
    return (await connection.execute(mine.limit(1))).first() is not None


async def extent(connection: AsyncConnection, recording_id: RecordingId) -> Extent:
    """How much there is of it now; asked for with every playlist, so it must not cost more hour by hour."""
    recording = tables.recording
    newest = select(func.max(_t.c.sequence)).where(_t.c.recording_id == recording_id).scalar_subquery()
    statement = select(newest, recording.c.segment_changes).where(recording.c.id == recording_id)
    found = (await connection.execute(statement)).one_or_none()
    last, changes = found or (None, 0)
    return Extent(-1 if last is None else last, changes)


async def note_change(tx: AsyncConnection, recording_id: RecordingId) -> None:
    """Segments were deleted or replaced in `tx`: what has been read of them is not true any more."""
    table = tables.recording
    changed = update(table).where(table.c.id == recording_id)
    await tx.execute(changed.values(segment_changes=table.c.segment_changes + 1))


async def load(connection: AsyncConnection, statement: Select[Any]) -> list[MediaSegment]:
    """The segments of these rows of the table, in order."""
    return [_segment(row) for row in await connection.execute(statement.order_by(_t.c.sequence))]


def _kept(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(_t).where(_t.c.deleted_at.is_(None), *conditions)


def _segment(row: Any) -> MediaSegment:  # noqa: ANN401 - a result row
    return MediaSegment(
        recording_id=row.recording_id,
        take_id=row.take_id,
        sequence=row.sequence,
        key=row.key,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        start_ticks=row.start_ticks,
        duration_ticks=row.duration_ticks,
        pts_ticks=row.pts_ticks,
        arrived_at=row.arrived_at,
        partial=row.partial,
    )
