"""Transcripts: machine runs, whose lines never change, and the cues that readers get.

A run's lines are written as it proceeds (`append`). Those of a live run become cues at once; a final run is
`adopt`ed as a whole when it is complete, so that readers never see half of one and half of another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, outbox, tables
from streamarchive.catalogue.database import now
from streamarchive.errors import NotFoundError
from streamarchive.models import (
    Cue,
    CueDraft,
    CueId,
    RecordingId,
    RunId,
    RunStage,
    TranscriptId,
    Word,
)

_t = tables.cue


@dataclass(frozen=True, slots=True)
class Run:
    """One machine pass. `covered_ms` is how far on the media clock it has got."""

    id: RunId
    transcript_id: TranscriptId
    recording_id: RecordingId
    stage: RunStage
    engine: str
    model: str
    model_identity: str
    note: str
    settings: Mapping[str, Any]
    covered_ms: int
    started_at: datetime
    finished_at: datetime | None


async def ensure(tx: AsyncConnection, recording_id: RecordingId) -> TranscriptId:
    """The recording's transcript as spoken; made when there is none."""
    table = tables.transcript
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    values = {"recording_id": recording_id, "kind": "spoken", "lang": ""}
    await tx.execute(make(table).values(**values).on_conflict_do_nothing())
    statement = select(table.c.id).where(*(table.c[name] == value for name, value in values.items()))
    return TranscriptId((await tx.execute(statement)).scalar_one())


async def hold(tx: AsyncConnection, transcript_id: TranscriptId) -> None:
    """Be the only one to change the lines of this transcript until `tx` ends.

    Who decides by the lines as they are (a pass that replaces them, an edit) calls it before reading them.
    """
    if tx.dialect.name != "sqlite":
        table = tables.transcript
        await tx.execute(select(table.c.id).where(table.c.id == transcript_id).with_for_update(key_share=True))


async def begin_run(
    tx: AsyncConnection,
    recording_id: RecordingId,
    stage: RunStage,
    *,
    engine: str,
    model: str,
    model_identity: str,
    note: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Begin a pass, or continue the unfinished one that was begun alike."""
    transcript_id = await ensure(tx, recording_id)
    for run in await runs(tx, recording_id):
        same = (run.stage, run.engine, run.model_identity, dict(run.settings)) == (
            stage,
            engine,
            model_identity,
            dict(settings or {}),
        )
        if same and run.finished_at is None:
            return run
    table = tables.transcript_run
    statement = insert(table).values(
        transcript_id=transcript_id,
        stage=stage,
        engine=engine,
        model=model,
        model_identity=model_identity,
        note=note,
        settings=dict(settings or {}),
        covered_ms=0,
        started_at=await now(tx),
    )
    run_id = (await tx.execute(statement.returning(table.c.id))).scalar_one()
    return next(run for run in await runs(tx, recording_id) if run.id == run_id)


async def runs(connection: AsyncConnection, recording_id: RecordingId) -> list[Run]:
    """All passes over a recording, newest first."""
    table, transcript = tables.transcript_run, tables.transcript
    rows = await connection.execute(
        select(table, transcript.c.recording_id)
        .join(transcript)
        .where(transcript.c.recording_id == recording_id)
        .order_by(table.c.id.desc())
    )
    return [
        Run(
            id=row.id,
            transcript_id=row.transcript_id,
            recording_id=row.recording_id,
            stage=RunStage(row.stage),
            engine=row.engine,
            model=row.model,
            model_identity=row.model_identity,
            note=row.note,
            settings=row.settings,
            covered_ms=row.covered_ms,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )
        for row in rows
    ]


async def append(tx: AsyncConnection, run: Run, drafts: Sequence[CueDraft], covered_ms: int) -> None:
    """Write what the run has heard up to `covered_ms`; the lines of a live run become cues at once."""
    if drafts:
        rows = [{"run_id": run.id, **_line_values(draft)} for draft in drafts]
        await tx.execute(insert(tables.run_line), rows)
    await tx.execute(
        update(tables.transcript_run).where(tables.transcript_run.c.id == run.id).values(covered_ms=covered_ms)
    )
    if run.stage is RunStage.LIVE:
        await hold(tx, run.transcript_id)
        cues = await _insert_cues(tx, run, drafts)
        await _announce(tx, run.recording_id, added=cues)


async def adopt(tx: AsyncConnection, run: Run) -> None:
    """Finish the run and make its lines the cues, except where a person has written or read one.

    A cue that is the same in both keeps its id.
    """
    await hold(tx, run.transcript_id)
    table = tables.run_line
    rows = await tx.execute(select(table).where(table.c.run_id == run.id).order_by(table.c.start_ms, table.c.id))
    drafts = [_draft(row) for row in rows]
    current = await _cues(tx, _t.c.transcript_id == run.transcript_id)
    kept = [cue for cue in current if cue.human or cue.read]
    drafts = [d for d in drafts if not any(d.start_ms < k.end_ms and k.start_ms < d.end_ms for k in kept)]
    machine = {_face(cue): cue for cue in current if not (cue.human or cue.read)}
    added = [draft for draft in drafts if _face(draft) not in machine]
    staying = {_face(draft) for draft in drafts}
    gone = [cue for face, cue in machine.items() if face not in staying]
    doubled = [c for c in current if not (c.human or c.read) and machine[_face(c)].id != c.id]
    await _remove(tx, gone + doubled)
    cues = await _insert_cues(tx, run, added)
    await tx.execute(
        update(tables.transcript_run)
        .where(tables.transcript_run.c.id == run.id)
        .values(finished_at=await now(tx))
    )
    await _announce(tx, run.recording_id, added=cues, removed=gone + doubled, whole=True)


async def finish_run(tx: AsyncConnection, run: Run) -> None:
    """Nothing more comes from this pass (a live one, whose lines are cues already)."""
    await tx.execute(
        update(tables.transcript_run)
        .where(tables.transcript_run.c.id == run.id)
        .values(finished_at=await now(tx))
    )


async def withdraw(tx: AsyncConnection, recording_id: RecordingId, beyond_ms: int) -> None:
    """Take back machine cues that begin at or after `beyond_ms`: their take ended before them."""
    cues = [cue for cue in await of_recording(tx, recording_id) if cue.start_ms >= beyond_ms and not cue.human]
    await _remove(tx, cues)
    await _announce(tx, recording_id, removed=cues)


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[Cue]:
    """The current lines as spoken, by time."""
    return await _cues(
        connection, tables.transcript.c.recording_id == recording_id, tables.transcript.c.kind == "spoken"
    )


async def by_ids(connection: AsyncConnection, ids: Collection[CueId]) -> dict[CueId, Cue]:
    """Those of them that are current."""
    return {cue.id: cue for cue in await _cues(connection, _t.c.id.in_(ids))}


async def versions(connection: AsyncConnection, ids: Collection[CueId]) -> dict[CueId, tuple[int, RecordingId]]:
    """Version and recording of cues, deleted ones included: what a tombstone needs."""
    transcript = tables.transcript
    statement = select(_t.c.id, _t.c.version, transcript.c.recording_id).join(transcript)
    rows = await connection.execute(statement.where(_t.c.id.in_(ids)))
    return {row.id: (row.version, row.recording_id) for row in rows}


async def versions_of_recording(connection: AsyncConnection, recording_id: RecordingId) -> dict[CueId, int]:
    """The same for everything that was ever said in a recording."""
    transcript = tables.transcript
    statement = select(_t.c.id, _t.c.version).join(transcript).where(transcript.c.recording_id == recording_id)
    return {row.id: row.version for row in await connection.execute(statement)}


async def get(connection: AsyncConnection, cue_id: CueId) -> Cue:
    """Raises `NotFoundError`."""
    found = await by_ids(connection, [cue_id])
    if cue_id not in found:
        raise NotFoundError(f"there is no cue {cue_id} any more")
    return found[cue_id]


async def page(connection: AsyncConnection, after_id: CueId, limit: int) -> list[Cue]:
    """Current cues by id, for rebuilding the index."""
    statement = _select_cues().where(_t.c.id > after_id, _t.c.deleted_at.is_(None))
    return [_cue(row) for row in await connection.execute(statement.order_by(_t.c.id).limit(limit))]


# --- inside -------------------------------------------------------------------------------------------------


async def _insert_cues(tx: AsyncConnection, run: Run, drafts: Iterable[CueDraft]) -> list[Cue]:
    moment = await now(tx)
    cues = []
    for draft in drafts:
        row = (
            await tx.execute(
                insert(_t)
                .values(
                    transcript_id=run.transcript_id,
                    run_id=run.id,
                    **_line_values(draft),
                    revision=0,
                    version=1,
                    human=False,
                    read=False,
                    created_at=moment,
                )
                .returning(_t)
            )
        ).one()
        cues.append(_cue(row, run.recording_id))
    await outbox.put_cues(tx, [cue.id for cue in cues])
    return cues


async def _remove(tx: AsyncConnection, cues: Sequence[Cue]) -> None:
    ids = [cue.id for cue in cues]
    if not ids:
        return
    await tx.execute(
        update(_t).where(_t.c.id.in_(ids)).values(deleted_at=await now(tx), version=_t.c.version + 1)
    )
    await outbox.put_cues(tx, ids)


async def _announce(
    tx: AsyncConnection,
    recording_id: RecordingId,
    *,
    added: Sequence[Cue] = (),
    removed: Sequence[Cue] = (),
    whole: bool = False,
) -> None:
    """One change an interview: ids of new and vanished cues, or `whole` where pages do better to read anew."""
    if not (added or removed or whole):
        return
    payload = {"whole": True} if whole else {"added": [c.id for c in added], "removed": [c.id for c in removed]}
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await changes.publish(tx, "cues", interview_id, payload)


def _select_cues() -> Select[Any]:
    return select(_t, tables.transcript.c.recording_id).join(tables.transcript)


async def _cues(connection: AsyncConnection, *conditions: Any) -> list[Cue]:  # noqa: ANN401 - SQL expressions
    statement = _select_cues().where(_t.c.deleted_at.is_(None), *conditions)
    rows = await connection.execute(statement.order_by(_t.c.start_ms, _t.c.id))
    return [_cue(row) for row in rows]


def _face(line: Cue | CueDraft) -> tuple[int, int, str]:
    return line.start_ms, line.end_ms, line.text


def _line_values(draft: CueDraft) -> dict[str, Any]:
    return {
        "start_ms": draft.start_ms,
        "end_ms": draft.end_ms,
        "text": draft.text,
        "lang": draft.lang,
        "words": [word_values(word) for word in draft.words],
        "speaker": draft.speaker,
        "doubt": draft.doubt,
    }


def word_values(word: Word) -> list[Any]:
    """A word as its row keeps it: the marks only where there are any."""
    plain = [word.text, word.start_ms, word.end_ms, word.probability]
    return [*plain, word.locked, word.estimated] if word.locked or word.estimated else plain


def _words(row: Any) -> tuple[Word, ...]:  # noqa: ANN401 - a result row
    return tuple(Word(*word) for word in row.words)


def _draft(row: Any) -> CueDraft:  # noqa: ANN401 - a result row
    return CueDraft(row.start_ms, row.end_ms, row.text, row.lang, _words(row), row.speaker, row.doubt)


def _cue(row: Any, recording_id: RecordingId | None = None) -> Cue:  # noqa: ANN401 - a result row
    return Cue(
        id=row.id,
        transcript_id=row.transcript_id,
        recording_id=recording_id if recording_id is not None else row.recording_id,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        text=row.text,
        lang=row.lang,
        words=_words(row),
        speaker=row.speaker,
        doubt=row.doubt,
        revision=row.revision,
        version=row.version,
        human=row.human,
        read=row.read,
    )
