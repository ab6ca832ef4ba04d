"""The rows of lines: how they are read and written, and who learns of it.

For the modules of the catalogue that decide what the lines are: `transcripts` (machines) and `corrections`
(people).

What search keeps of a line contains the beginning of the next one, so that a phrase across the border is found.
A line that is followed by another one than before, or whose follower changes, therefore gets a new version as
well, in the same transaction: a version names one state of a line and of the one after it, for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, func, insert, literal, null, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, outbox, saved_searches, suggestions, tables
from streamarchive.catalogue.database import now
from streamarchive.models import Cue, CueDraft, CueId, RecordingId, RunId, TranscriptId, Word

_t = tables.cue
_AT_ONCE = 10_000
"""Databases take some 30,000 parameters a statement."""


async def select_current(
    connection: AsyncConnection,
    *conditions: Any,  # noqa: ANN401 - SQL
    words: bool = True,
) -> list[Cue]:
    """The lines that readers get, by time; several times as fast without their words."""
    wanted = select_all() if words else _select_without_words()
    statement = wanted.where(_t.c.deleted_at.is_(None), *conditions)
    return [cue(row) for row in await connection.execute(statement.order_by(_t.c.start_ms, _t.c.id))]


def select_all() -> Select[Any]:
    """All lines, vanished ones included, with their recordings."""
    return select(_t, tables.transcript.c.recording_id, tables.transcript.c.lang.label("track")).join(
        tables.transcript
    )


def _select_without_words() -> Select[Any]:
    columns = [column for column in select_all().selected_columns if column.name != _t.c.words.name]
    return select_all().with_only_columns(*columns, null().label(_t.c.words.name), maintain_column_froms=True)


async def hold(tx: AsyncConnection, transcript_id: TranscriptId) -> None:
    """Be the only one to change the lines of this transcript until `tx` ends."""
    if tx.dialect.name != "sqlite":
        table = tables.transcript
        await tx.execute(select(table.c.id).where(table.c.id == transcript_id).with_for_update(key_share=True))


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
    await _tell_search(tx, [one.id for one in made])
    await saved_searches.note(tx, [one.id for one in made])
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
    await _tell_search(tx, [old.id], moved=None if line.start_ms == old.start_ms else old)
    await saved_searches.note(tx, [old.id])
    return cue(row, old)


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
    await _tell_search(tx, ids)


async def _tell_search(tx: AsyncConnection, ids: Sequence[CueId], *, moved: Cue | None = None) -> None:
    """Search has to look at these lines, new, changed or gone, and at those that they now follow.

    `moved` is one of them as it stood before, at another time: what it followed there is followed by another.
    """
    changed = set(ids)
    leading: set[CueId | None] = set()
    for first in range(0, len(ids), _AT_ONCE):
        place = _t.alias("place")
        found = select(_leading(place.c.transcript_id, place.c.start_ms, place.c.id))
        leading.update((await tx.execute(found.where(place.c.id.in_(ids[first : first + _AT_ONCE])))).scalars())
    if moved is not None:
        there = literal(moved.transcript_id), literal(moved.start_ms), literal(moved.id)
        leading.update((await tx.execute(select(_leading(*there)))).scalars())
    others = sorted(each for each in leading if each is not None and each not in changed)
    for first in range(0, len(others), _AT_ONCE):
        some = _t.c.id.in_(others[first : first + _AT_ONCE])
        await tx.execute(update(_t).where(some).values(version=_t.c.version + 1))
    await outbox.put_cues(tx, [*ids, *others])


def _leading(
    transcript_id: ColumnElement[Any], start_ms: ColumnElement[Any], cue_id: ColumnElement[Any]
) -> ScalarSelect[Any]:
    """The current line before this place of a transcript."""
    other = _t.alias("other")
    earlier = tuple_(other.c.start_ms, other.c.id) < tuple_(start_ms, cue_id)
    statement = select(other.c.id).where(
        other.c.transcript_id == transcript_id, other.c.deleted_at.is_(None), earlier
    )
    return statement.order_by(other.c.start_ms.desc(), other.c.id.desc()).limit(1).scalar_subquery()


async def followers(connection: AsyncConnection, ids: Sequence[CueId]) -> dict[CueId, CueId]:
    """Which current line comes after each of these in its transcript; none after the last."""
    place, other = _t.alias("place"), _t.alias("other")
    later = tuple_(other.c.start_ms, other.c.id) > tuple_(place.c.start_ms, place.c.id)
    found = (
        select(other.c.id)
        .where(other.c.transcript_id == place.c.transcript_id, other.c.deleted_at.is_(None), later)
        .order_by(other.c.start_ms, other.c.id)
        .limit(1)
        .scalar_subquery()
    )
    rows = await connection.execute(select(place.c.id, found.label("follower")).where(place.c.id.in_(ids)))
    return {row.id: row.follower for row in rows if row.follower is not None}


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


def words(values: Iterable[Sequence[Any]] | None) -> tuple[Word, ...]:
    """The words that a row keeps; none if they were not asked for."""
    return tuple(Word(*value) for value in values or ())


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


def cue(row: Any, old: Cue | None = None) -> Cue:  # noqa: ANN401 - a result row
    """The cue that a row is; of one of the table alone `old` says whose it is."""
    return Cue(
        id=row.id,
        transcript_id=row.transcript_id,
        recording_id=old.recording_id if old else row.recording_id,
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
        track=old.track if old else row.track,
    )


def _word_values(word: Word) -> list[Any]:
    """The marks only where there are any."""
    plain = [word.text, word.start_ms, word.end_ms, word.probability]
    return [*plain, word.locked, word.estimated] if word.locked or word.estimated else plain
