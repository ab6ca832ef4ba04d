"""What search must learn of, written in the transaction of the change itself.

A row names a subject, not a document: the indexer reads the subject's current state when it gets there, so
the order of rows and their repetition do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import now
from streamarchive.catalogue.watch import wake
from streamarchive.models import CueId, InterviewId, RecordingId

_LONGEST_SILENCE_MS = 10_000
"""What search keeps of a line holds the beginning of the next one, unless that comes later than this."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest rows: delete exactly these once the index has them."""

    row_ids: tuple[int, ...]
    cue_ids: tuple[CueId, ...]
    interview_ids: tuple[InterviewId, ...]
    left: tuple[tuple[InterviewId, RecordingId], ...] = ()
    """Interviews that no longer show this recording, as far as is known."""


async def put_cues(tx: AsyncConnection, cue_ids: Iterable[CueId]) -> None:
    """These cues were made, changed or deleted."""
    await _put(tx, [f"cue:{cue_id}" for cue_id in cue_ids])


async def put_interview(tx: AsyncConnection, interview_id: InterviewId) -> None:
    """This interview was made or changed in its own words."""
    await _put(tx, [f"interview:{interview_id}"])


async def put_recording(tx: AsyncConnection, recording_id: RecordingId) -> None:
    """All cues of this recording have to be looked at again (it changed hands, or its cut moved).

    Not those that are gone: search was told when they went, and every pass leaves as many as there are lines.
    """
    cue, transcript, table = tables.cue, tables.transcript, tables.outbox
    transcripts = select(transcript.c.id).where(transcript.c.recording_id == recording_id)
    await _hold(tx, transcripts)
    touched = cue.c.transcript_id.in_(transcripts) & cue.c.deleted_at.is_(None)
    await tx.execute(cue.update().where(touched).values(version=cue.c.version + 1))
    subjects = select(literal("cue:") + cast(cue.c.id, Text), literal(await now(tx), table.c.at.type))
    await tx.execute(insert(table).from_select(["subject", "at"], subjects.where(touched)))
    await wake(tx)


async def put_stretch(tx: AsyncConnection, recording_id: RecordingId, start_ms: int, end_ms: int) -> int:
    """The lines of this part have to be looked at again, and those that they go on from.

    The index knows of it once the row of the id that comes back, and all before it, are gone.
    """
    cue, transcript = tables.cue, tables.transcript
    transcripts = select(transcript.c.id).where(transcript.c.recording_id == recording_id)
    await _hold(tx, transcripts)
    current = cue.c.transcript_id.in_(transcripts) & cue.c.deleted_at.is_(None)
    inside = current & (cue.c.start_ms < end_ms) & (cue.c.end_ms > start_ms)
    first_ms = (await tx.execute(select(func.min(cue.c.start_ms)).where(inside))).scalar()
    if first_ms is None:
        return 0
    touched = current & (cue.c.start_ms < end_ms) & (cue.c.end_ms >= first_ms - _LONGEST_SILENCE_MS)
    changed = update(cue).where(touched).values(version=cue.c.version + 1).returning(cue.c.id)
    await put_cues(tx, sorted(row.id for row in await tx.execute(changed)))
    return await newest_id(tx)


async def put_left(tx: AsyncConnection, interview_id: InterviewId, recording_id: RecordingId) -> None:
    """This interview no longer shows this recording: its documents of those cues have to go."""
    await _put(tx, [f"left:{interview_id}:{recording_id}"])


async def raise_cues(tx: AsyncConnection, floors: Mapping[CueId, int]) -> None:
    """Write these again, in versions above what the index has of them."""
    if not floors:
        return
    cue = tables.cue
    await _hold(tx, select(cue.c.transcript_id).where(cue.c.id.in_(floors)))
    await _raise(tx, cue, floors)
    await put_cues(tx, floors)


async def raise_interviews(tx: AsyncConnection, floors: Mapping[InterviewId, int]) -> None:
    """The same for what interviews are called."""
    if not floors:
        return
    await _raise(tx, tables.interview, floors)
    await _put(tx, [f"interview:{interview_id}" for interview_id in floors])


async def _raise(tx: AsyncConnection, table: Table, floors: Mapping[Any, int]) -> None:
    floor: BindParameter[int] = bindparam("floor", type_=BigInteger)
    statement = update(table).where(table.c.id == bindparam("key"), table.c.version <= floor)
    rows = [{"key": key, "floor": version} for key, version in sorted(floors.items())]
    await tx.execute(statement.values(version=floor + 1), rows)


async def _hold(tx: AsyncConnection, transcripts: Select[Any]) -> None:
    """As whoever changes lines does: two who take the rows of many in another order would deadlock."""
    if tx.dialect.name != "sqlite":
        table = tables.transcript
        held = select(table.c.id).where(table.c.id.in_(transcripts)).order_by(table.c.id)
        await tx.execute(held.with_for_update(key_share=True))


async def _put(tx: AsyncConnection, subjects: Sequence[str]) -> None:
    if not subjects:
        return
    moment = await now(tx)
    await tx.execute(insert(tables.outbox), [{"subject": subject, "at": moment} for subject in subjects])
    await wake(tx)


async def oldest(connection: AsyncConnection, limit: int = 500) -> Batch:
    """The rows that have waited longest."""
    table = tables.outbox
    return _batch((await connection.execute(select(table).order_by(table.c.id).limit(limit))).all())


async def among(
    connection: AsyncConnection, cue_ids: Iterable[CueId], interview_ids: Iterable[InterviewId]
) -> Batch:
    """Which of these subjects wait, and all that an interview has left."""
    table = tables.outbox
    subjects = [f"cue:{cue_id}" for cue_id in cue_ids] + [f"interview:{each}" for each in interview_ids]
    wanted = table.c.subject.in_(subjects) | table.c.subject.startswith("left:")
    return _batch((await connection.execute(select(table).where(wanted).order_by(table.c.id))).all())


def _batch(rows: Sequence[Any]) -> Batch:
    subjects = dict.fromkeys(row.subject for row in rows)
    split = [subject.split(":", 1) for subject in subjects]
    return Batch(
        row_ids=tuple(row.id for row in rows),
        cue_ids=tuple(CueId(int(key)) for kind, key in split if kind == "cue"),
        interview_ids=tuple(InterviewId(key) for kind, key in split if kind == "interview"),
        left=tuple(_left(key) for kind, key in split if kind == "left"),
    )


def _left(key: str) -> tuple[InterviewId, RecordingId]:
    interview_id, recording_id = key.split(":")
    return InterviewId(interview_id), RecordingId(int(recording_id))


async def remove(tx: AsyncConnection, batch: Batch) -> None:
    """The index has this batch."""
    await tx.execute(delete(tables.outbox).where(tables.outbox.c.id.in_(batch.row_ids)))


async def newest_id(connection: AsyncConnection) -> int:
    """Of the rows that wait; 0 if none does."""
    return (await connection.execute(select(func.max(tables.outbox.c.id)))).scalar() or 0


async def waiting(connection: AsyncConnection) -> tuple[int, datetime | None]:
    """How many rows wait, and since when the oldest does."""
    row = (await connection.execute(select(func.count(), func.min(tables.outbox.c.at)))).one()
    return row[0], row[1]
