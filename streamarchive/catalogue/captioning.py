"""What live captions tell beside their lines: provisional text, how they fare, what they have left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, tables
from streamarchive.catalogue.database import now
from streamarchive.models import RecordingId, RecordingState

_NOTABLE_MS = 5_000
"""Pages show a lag in steps of so much; less is none."""


@dataclass(frozen=True, slots=True)
class Captioning:
    """How the live captions of a recording fare. `rung` counts what is left out to keep up (0: nothing)."""

    recording_id: RecordingId
    lag_ms: int
    rung: int
    skipped_ms: int
    problem: str | None
    seen_at: datetime

    @property
    def notable_lag_ms(self) -> int:
        """As pages show it."""
        return self.lag_ms // _NOTABLE_MS * _NOTABLE_MS


@dataclass(frozen=True, slots=True)
class Skip:
    """A stretch that has no live captions; the final pass hears it."""

    start_ms: int
    end_ms: int


async def say(tx: AsyncConnection, recording_id: RecordingId, said: Mapping[str, Any]) -> None:
    """Tell open pages what is being said; only the newest is kept."""
    change = tables.change
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await tx.execute(delete(change).where(change.c.interview_id == interview_id, change.c.kind == "said"))
        await changes.publish(tx, "said", interview_id, said)


async def report(
    tx: AsyncConnection, recording_id: RecordingId, *, lag_ms: int = 0, rung: int = 0, problem: str | None = None
) -> None:
    """Write down how the captions fare; pages learn of it when what they show changes."""
    before = await of_recording(tx, recording_id)
    table = tables.captioning
    after = Captioning(recording_id, lag_ms, rung, 0, problem, await now(tx))
    values = {"lag_ms": lag_ms, "rung": rung, "problem": problem, "seen_at": after.seen_at}
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    statement = make(table).values(recording_id=recording_id, skipped_ms=0, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=[table.c.recording_id], set_=values))
    if _shown(after) != _shown(before):
        await _announce(tx, recording_id, "captioning")


async def skip(tx: AsyncConnection, recording_id: RecordingId, start_ms: int, end_ms: int) -> None:
    """This stretch is left to the final pass; one that goes on from the one before makes it longer."""
    table, own = tables.skip, tables.captioning
    values = {"end_ms": end_ms}
    joined = await tx.execute(
        update(table).where(table.c.recording_id == recording_id, table.c.end_ms == start_ms).values(**values)
    )
    if not joined.rowcount:
        await tx.execute(insert(table).values(recording_id=recording_id, start_ms=start_ms, **values))
    more = own.c.skipped_ms + (end_ms - start_ms)
    await tx.execute(update(own).where(own.c.recording_id == recording_id).values(skipped_ms=more))
    await _announce(tx, recording_id, "skip")


async def skips(connection: AsyncConnection, recording_id: RecordingId) -> list[Skip]:
    """What has been left out so far and not been heard since, by time."""
    table = tables.skip
    rows = await connection.execute(
        select(table).where(table.c.recording_id == recording_id).order_by(table.c.start_ms)
    )
    return [Skip(row.start_ms, row.end_ms) for row in rows]


async def forget_skips(tx: AsyncConnection, recording_id: RecordingId, beyond_ms: int = 0) -> None:
    """Nothing is left out behind `beyond_ms`: it has been heard, or it was never part of the recording."""
    table = tables.skip
    mine = table.c.recording_id == recording_id
    await tx.execute(delete(table).where(mine, table.c.start_ms >= beyond_ms))
    await tx.execute(update(table).where(mine, table.c.end_ms > beyond_ms).values(end_ms=beyond_ms))


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> Captioning | None:
    """How its captions fare; None if nobody has ever said."""
    table = tables.captioning
    row = (await connection.execute(select(table).where(table.c.recording_id == recording_id))).one_or_none()
    return None if row is None else _captioning(row)


async def on_air(connection: AsyncConnection) -> list[Captioning]:
    """The same for every recording that is on air and has captions or a reason why not."""
    table, recording = tables.captioning, tables.recording
    statement = select(table).join(recording).where(recording.c.state == RecordingState.OPEN)
    return [_captioning(row) for row in await connection.execute(statement.order_by(table.c.recording_id))]


async def _announce(tx: AsyncConnection, recording_id: RecordingId, kind: str) -> None:
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await changes.publish(tx, kind, interview_id)


def _shown(one: Captioning | None) -> tuple[int, int, str | None]:
    return (one.notable_lag_ms, one.rung, one.problem) if one else (0, 0, None)


def _captioning(row: Any) -> Captioning:  # noqa: ANN401 - a result row
    return Captioning(
        recording_id=row.recording_id,
        lag_ms=row.lag_ms,
        rung=row.rung,
        skipped_ms=row.skipped_ms,
        problem=row.problem,
        seen_at=row.seen_at,
    )
