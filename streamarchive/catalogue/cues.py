"""The rows of lines: how they are read and written, and who learns of it.

For the modules of the catalogue that decide what the lines are: `transcripts` (machines) and `corrections`
(people).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, outbox, suggestions, tables
from streamarchive.catalogue.database import now
from streamarchive.models import Cue, CueDraft, CueId, RecordingId, RunId, TranscriptId, Word

_t = tables.cue
_AT_ONCE = 10_000
"""Databases take some 30,000 parameters a statement."""


async def select_current(connection: AsyncConnection, *conditions: Any) -> list[Cue]:  # noqa: ANN401 - SQL
    """The lines that readers get, by time."""
    statement = select_all().where(_t.c.deleted_at.is_(None), *conditions)
    return [cue(row) for row in await connection.execute(statement.order_by(_t.c.start_ms, _t.c.id))]


def select_all() -> Select[Any]:
    """All lines, vanished ones included, with their recordings."""
    return select(_t, tables.transcript.c.recording_id).join(tables.transcript)


async def add(
    tx: AsyncConnection,
    transcript_id: TranscriptId,
    lines: Iterable[CueDraft],
    *,
    run_id: RunId | None = None,
    human: bool = False,
    read: bool = False,
) -> list[Cue]:
    """New lines of a transcript that `tx` holds; those of a person begin with revision 1."""
    common = {
        "transcript_id": transcript_id,
        "run_id": run_id,
        "revision": 1 if human else 0,
        "version": 1,
        "human": human,
        "read": read,
        "created_at": await now(tx),
    }
    rows = [{**common, **line_values(line)} for line in lines]
    if not rows:
        return []
    # All at once and read again: one by one, thousands of lines keep every writer of SQLite waiting for a minute.
    last = (await tx.execute(select(func.max(_t.c.id)))).scalar() or 0
    await tx.execute(insert(_t), rows)
    new = select_all().where(_t.c.transcript_id == transcript_id, _t.c.id > last)
    made = [cue(row) for row in await tx.execute(new.order_by(_t.c.id))]
    await outbox.put_cues(tx, [one.id for one in made])
    return made


async def change(tx: AsyncConnection, old: Cue, line: CueDraft, *, human: bool, read: bool) -> Cue:
    """Rewrite a line, also one that has vanished; its revision rises."""
    statement = (
        update(_t)
        .where(_t.c.id == old.id)
        .values(
            **line_values(line),
            human=human,
            read=read,
            revision=_t.c.revision + 1,
            version=_t.c.version + 1,
            deleted_at=None,
        )
        .returning(_t)
    )
    row = (await tx.execute(statement)).one()
    await outbox.put_cues(tx, [old.id])
    return cue(row, old.recording_id)


async def remove(tx: AsyncConnection, gone: Sequence[Cue], *, by_person: bool = False) -> None:
    """Take lines away. The revision rises when a person does it: that is how one can tell."""
    ids = [old.id for old in gone]
    if not ids:
        return
    values: dict[str, Any] = {"deleted_at": await now(tx), "version": _t.c.version + 1}
    if by_person:
        values["revision"] = _t.c.revision + 1
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        await tx.execute(update(_t).where(_t.c.id.in_(some)).values(**values))
        await suggestions.forget(tx, some)
    await outbox.put_cues(tx, ids)


async def announce(
    tx: AsyncConnection,
    recording_id: RecordingId,
    *,
    added: Collection[CueId] = (),
    removed: Collection[CueId] = (),
    whole: bool = False,
) -> None:
    """One change an interview: lines new, changed or gone; `whole` where pages do better to read anew."""
    if not (added or removed or whole):
        return
    payload = {"whole": True} if whole else {"added": list(added), "removed": list(removed)}
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await changes.publish(tx, "cues", interview_id, payload)


def line_values(line: CueDraft) -> dict[str, Any]:
    """A line as its row keeps it."""
    return {
        "start_ms": line.start_ms,
        "end_ms": line.end_ms,
        "text": line.text,
        "lang": line.lang,
        "words": [_word_values(word) for word in line.words],
        "speaker": line.speaker,
        "doubt": line.doubt,
    }


def line(row: Any) -> CueDraft:  # noqa: ANN401 - a result row
    """The line that a row keeps."""
    return CueDraft(row.start_ms, row.end_ms, row.text, row.lang, words(row.words), row.speaker, row.doubt)


def words(values: Iterable[Sequence[Any]]) -> tuple[Word, ...]:
    """The words that a row keeps."""
    return tuple(Word(*value) for value in values)


def draft(current: Cue) -> CueDraft:
    """The line of a cue, without what the table knows about it."""
    return CueDraft(
        start_ms=current.start_ms,
        end_ms=current.end_ms,
        text=current.text,
        lang=current.lang,
        words=current.words,
        speaker=current.speaker,
        doubt=current.doubt,
    )


def cue(row: Any, recording_id: RecordingId | None = None) -> Cue:  # noqa: ANN401 - a result row
    """The cue that a row is."""
    return Cue(
        id=row.id,
        transcript_id=row.transcript_id,
        recording_id=recording_id if recording_id is not None else row.recording_id,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        text=row.text,
        lang=row.lang,
        words=words(row.words),
        speaker=row.speaker,
        doubt=row.doubt,
        revision=row.revision,
        version=row.version,
        human=row.human,
        read=row.read,
    )


def _word_values(word: Word) -> list[Any]:
    """The marks only where there are any."""
    plain = [word.text, word.start_ms, word.end_ms, word.probability]
    return [*plain, word.locked, word.estimated] if word.locked or word.estimated else plain
