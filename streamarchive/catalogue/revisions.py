"""The history of lines: every change that a person makes, and every one that a machine makes to a person's line.

A revision keeps the lines before and after it. What it struck out is kept as strikes, which later machine runs
are measured against.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import cues, tables
from streamarchive.catalogue.database import now
from streamarchive.errors import NotFoundError
from streamarchive.models import Cue, CueDraft, CueId, TranscriptId, Word

RevisionId = NewType("RevisionId", int)

_t = tables.revision


class RevisionKind(StrEnum):
    """What was done. All but `RUN` are a person's."""

    EDIT = "edit"
    SPLIT = "split"
    MERGE = "merge"
    INSERT = "insert"
    DELETE = "delete"
    RETIME = "retime"
    SPEAKER = "speaker"
    READ = "read"
    RESTORE = "restore"
    RUN = "run"
    """A later machine run improved the words around a person's."""


@dataclass(frozen=True, slots=True)
class Past:
    """A line as it was; `revision` is the number it had then."""

    cue_id: CueId
    revision: int
    line: CueDraft
    human: bool
    read: bool


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the history. `user` is the name of who did it; None for machines."""

    id: RevisionId
    transcript_id: TranscriptId
    kind: RevisionKind
    user: str | None
    at: datetime
    before: tuple[Past, ...]
    after: tuple[Past, ...]


async def write(
    tx: AsyncConnection,
    transcript_id: TranscriptId,
    kind: RevisionKind,
    user_id: int | None,
    before: Sequence[Cue],
    after: Sequence[Cue],
) -> RevisionId:
    """Keep this step."""
    statement = (
        insert(_t)
        .values(
            transcript_id=transcript_id,
            user_id=user_id,
            kind=kind,
            before=[_past_values(cue) for cue in before],
            after=[_past_values(cue) for cue in after],
            at=await now(tx),
        )
        .returning(_t.c.id)
    )
    revision_id = RevisionId((await tx.execute(statement)).scalar_one())
    ids = {cue.id for cue in (*before, *after)}
    rows = [{"revision_id": revision_id, "cue_id": cue_id} for cue_id in sorted(ids)]
    await tx.execute(insert(tables.revision_cue), rows)
    return revision_id


async def of_cue(connection: AsyncConnection, cue_id: CueId) -> list[Revision]:
    """What has happened to a line, newest first."""
    link = tables.revision_cue
    return await _load(connection, _t.c.id.in_(select(link.c.revision_id).where(link.c.cue_id == cue_id)))


async def get(connection: AsyncConnection, revision_id: RevisionId) -> Revision:
    """Raises `NotFoundError`."""
    found = await _load(connection, _t.c.id == revision_id)
    if not found:
        raise NotFoundError(f"there is no revision {revision_id}")
    return found[0]


async def strike(
    tx: AsyncConnection, transcript_id: TranscriptId, revision_id: RevisionId, words: Collection[Word]
) -> None:
    """From now on no machine may bring these words back."""
    rows = [
        {
            "transcript_id": transcript_id,
            "revision_id": revision_id,
            "text": word.text,
            "start_ms": word.start_ms,
            "end_ms": word.end_ms,
        }
        for word in words
    ]
    if rows:
        await tx.execute(insert(tables.strike), rows)


async def lift(tx: AsyncConnection, transcript_id: TranscriptId, words: Collection[Word]) -> None:
    """A person has put these words back."""
    table = tables.strike
    for word in words:
        await tx.execute(
            delete(table).where(
                table.c.transcript_id == transcript_id,
                table.c.text == word.text,
                table.c.start_ms == word.start_ms,
                table.c.end_ms == word.end_ms,
            )
        )


async def struck(
    connection: AsyncConnection,
    transcript_id: TranscriptId,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> list[Word]:
    """The words that people have taken out, within this time if one is given."""
    table = tables.strike
    statement = select(table).where(table.c.transcript_id == transcript_id)
    if start_ms is not None:
        statement = statement.where(table.c.end_ms >= start_ms)
    if end_ms is not None:
        statement = statement.where(table.c.start_ms <= end_ms)
    rows = await connection.execute(statement.order_by(table.c.start_ms, table.c.id))
    return [Word(row.text, row.start_ms, row.end_ms) for row in rows]


async def _load(connection: AsyncConnection, condition: Any) -> list[Revision]:  # noqa: ANN401 - SQL
    user = tables.user
    statement = select(_t, user.c.name.label("user_name")).outerjoin(user, user.c.id == _t.c.user_id)
    rows = await connection.execute(statement.where(condition).order_by(_t.c.id.desc()))
    return [
        Revision(
            id=row.id,
            transcript_id=row.transcript_id,
            kind=RevisionKind(row.kind),
            user=row.user_name,
            at=row.at,
            before=tuple(_past(values) for values in row.before),
            after=tuple(_past(values) for values in row.after),
        )
        for row in rows
    ]


def _past_values(cue: Cue) -> dict[str, Any]:
    marks = {"id": cue.id, "revision": cue.revision, "human": cue.human, "read": cue.read}
    return marks | cues.line_values(cues.draft(cue))


def _past(values: dict[str, Any]) -> Past:
    line = CueDraft(
        start_ms=values["start_ms"],
        end_ms=values["end_ms"],
        text=values["text"],
        lang=values["lang"],
        words=cues.words(values["words"]),
        speaker=values["speaker"],
        doubt=values["doubt"],
    )
    return Past(CueId(values["id"]), values["revision"], line, values["human"], values["read"])
