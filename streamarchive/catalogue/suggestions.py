"""Where a machine is sure to hear something else than a person wrote: an editor follows it, or dismisses it.

A run's suggestions replace those of the run before it. What a person has dismissed stays, for the history of its
line, and is not suggested again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import now
from streamarchive.editing import overlay
from streamarchive.errors import EditError
from streamarchive.models import CueId, RecordingId, RunId, TranscriptId

SuggestionId = NewType("SuggestionId", int)

_t = tables.suggestion
_open = _t.c.dismissed_at.is_(None)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A person wrote `text` from `start_ms` on, and the run is sure to hear `heard`.

    `at` and `user` tell when it was dismissed, and by whom.
    """

    id: SuggestionId
    cue_id: CueId
    run_id: RunId
    start_ms: int
    end_ms: int
    text: str
    heard: str
    probability: float
    at: datetime | None = None
    user: str | None = None


async def replace(
    tx: AsyncConnection,
    transcript_id: TranscriptId,
    run_id: RunId,
    found: Sequence[tuple[CueId, overlay.Suggestion]],
) -> None:
    """What this run suggests, and in which lines, instead of what was suggested so far."""
    await tx.execute(delete(_t).where(_t.c.transcript_id == transcript_id, _open))
    left = await tx.execute(select(_t.c.cue_id, _t.c.text, _t.c.heard).where(_t.c.transcript_id == transcript_id))
    dismissed = {(row.cue_id, row.text, row.heard) for row in left}
    rows = [
        {
            "transcript_id": transcript_id,
            "run_id": run_id,
            "cue_id": cue_id,
            "start_ms": one.start_ms,
            "end_ms": one.end_ms,
            "text": one.text,
            "heard": one.heard,
            "probability": one.probability,
        }
        for cue_id, one in found
        if (cue_id, one.text, one.heard) not in dismissed
    ]
    if rows:
        await tx.execute(insert(_t), rows)


async def forget(tx: AsyncConnection, ids: Collection[CueId]) -> None:
    """What a machine would have written does not hold for lines that have changed."""
    await tx.execute(delete(_t).where(_t.c.cue_id.in_(ids), _open))


async def dismiss(tx: AsyncConnection, suggestion_id: SuggestionId, user_id: int | None) -> None:
    """The person's words stay, also when another run hears the same."""
    statement = update(_t).where(_t.c.id == suggestion_id, _open)
    await tx.execute(statement.values(dismissed_at=await now(tx), user_id=user_id))


async def get(connection: AsyncConnection, suggestion_id: SuggestionId, cue_id: CueId) -> Suggestion:
    """One that nobody has decided on. Raises `EditError`."""
    found = await _load(connection, _t.c.id == suggestion_id, _t.c.cue_id == cue_id, _open)
    if not found:
        raise EditError("somebody has answered this suggestion already, or the line has changed since")
    return found[0]


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[Suggestion]:
    """Those that nobody has decided on, by time."""
    own = select(tables.transcript.c.id).where(tables.transcript.c.recording_id == recording_id)
    return await _load(connection, _t.c.transcript_id.in_(own), _open)


async def of_cue(connection: AsyncConnection, cue_id: CueId) -> list[Suggestion]:
    """All of a line, dismissed ones too, by time."""
    return await _load(connection, _t.c.cue_id == cue_id)


async def _load(connection: AsyncConnection, *conditions: Any) -> list[Suggestion]:  # noqa: ANN401 - SQL
    user = tables.user
    statement = select(_t, user.c.name.label("user_name")).outerjoin(user, user.c.id == _t.c.user_id)
    rows = await connection.execute(statement.where(*conditions).order_by(_t.c.start_ms, _t.c.id))
    return [
        Suggestion(
            id=row.id,
            cue_id=row.cue_id,
            run_id=row.run_id,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            text=row.text,
            heard=row.heard,
            probability=row.probability,
            at=row.dismissed_at,
            user=row.user_name,
        )
        for row in rows
    ]
