"""Transcripts: machine runs, whose lines never change, and the cues that readers get.

A run's lines are written as it proceeds (`append`). Those of a live run become cues at once; a final run is
`adopt`ed as a whole when it is complete, so that readers never see half of one and half of another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import captioning, cues, revisions, suggestions, tables, withheld
from streamarchive.catalogue.database import Database, now
from streamarchive.catalogue.revisions import RevisionKind
from streamarchive.editing.overlay import Held, Overlay, beside, overlay
from streamarchive.editing.rendition import AS_HEARD, Rendition
from streamarchive.errors import NotFoundError
from streamarchive.models import (
    Cue,
    CueDraft,
    CueId,
    Interview,
    InterviewId,
    RecordingId,
    RunId,
    RunStage,
    TranscriptId,
    Word,
)

_t = tables.cue
_BESIDE_MS = 60_000


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


async def ensure(tx: AsyncConnection, recording_id: RecordingId, track: str = "") -> TranscriptId:
    """The recording's transcript as spoken, or its translation into a language; made when there is none."""
    table = tables.transcript
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    values = {"recording_id": recording_id, "kind": "translation" if track else "spoken", "lang": track}
    await tx.execute(make(table).values(**values).on_conflict_do_nothing())
    statement = select(table.c.id).where(*(table.c[name] == value for name, value in values.items()))
    return TranscriptId((await tx.execute(statement)).scalar_one())


async def hold(tx: AsyncConnection, transcript_id: TranscriptId) -> None:
    """Be the only one to change the lines of this transcript until `tx` ends.

    Who decides by the lines as they are (a pass that replaces them, an edit) calls it before reading them.
    """
    await cues.hold(tx, transcript_id)


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
    track: str = "",
) -> Run:
    """Begin a pass, or continue the unfinished one that was begun alike. `track` is what it translates into."""
    transcript_id = await ensure(tx, recording_id, track)
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
    [made] = await _runs(tx, table.c.id == run_id)
    return made


async def runs(connection: AsyncConnection, recording_id: RecordingId) -> list[Run]:
    """All passes over a recording, newest first."""
    return await _runs(connection, tables.transcript.c.recording_id == recording_id)


async def standing(connection: AsyncConnection, run: Run) -> tuple[Run, list[Run]]:
    """A pass as it is now, and those of the whole recording: a broadcast may have a live one for each of a
    thousand takes.
    """
    table = tables.transcript_run
    mine = tables.transcript.c.recording_id == run.recording_id
    found = await _runs(connection, mine, or_(table.c.id == run.id, table.c.stage != RunStage.LIVE))
    return next(one for one in found if one.id == run.id), found


async def _runs(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> list[Run]:
    table, transcript = tables.transcript_run, tables.transcript
    rows = await connection.execute(
        select(table, transcript.c.recording_id).join(transcript).where(*conditions).order_by(table.c.id.desc())
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


async def append(
    tx: AsyncConnection,
    run: Run,
    drafts: Sequence[CueDraft],
    covered_ms: int,
    rendition: Rendition = AS_HEARD,
) -> None:
    """Write what the run has heard up to `covered_ms`; the lines of a live run become cues at once.

    What it has heard of a part that is being deleted for good is not written: it still has the old sound.
    """
    if drafts:
        await hold(tx, run.transcript_id)
        gone = await withheld.deleted(tx, run.recording_id, run.started_at)
        drafts = [draft for draft in drafts if not any(one.meets(draft.start_ms, draft.end_ms) for one in gone)]
    if drafts:
        rows = [{"run_id": run.id, **cues.line_values(draft)} for draft in drafts]
        await tx.execute(insert(tables.run_line), rows)
    await tx.execute(
        update(tables.transcript_run).where(tables.transcript_run.c.id == run.id).values(covered_ms=covered_ms)
    )
    if run.stage is RunStage.LIVE and drafts:
        free = await _beside(tx, run.transcript_id, rendition.of(drafts))
        made = await cues.add(tx, run.transcript_id, free, run_id=run.id)
        await cues.announce(tx, run.recording_id, added=[cue.id for cue in made])


@dataclass(frozen=True, slots=True)
class Laid:
    """A run under what people had done when it was computed: good as long as `lines` are still so."""

    lines: _Lines
    overlay: Overlay


async def lay(database: Database, run: Run, rendition: Rendition = AS_HEARD) -> Laid:
    """Compute what `adopt` will write, with nobody waiting: hours of edited text take seconds."""
    async with database.read() as connection:
        lines = await _lines(connection, run, rendition)
    return Laid(lines, await asyncio.to_thread(lines.overlaid))


async def adopt(tx: AsyncConnection, run: Run, laid: Laid | None = None, rendition: Rendition = AS_HEARD) -> None:
    """Finish the run and make its lines the cues, under everything that people have done.

    A cue that is the same in both keeps its id, and so does every one that a person has changed. With `laid`
    the writing is short, unless somebody has changed the lines since. The rendition is that of `laid`.
    """
    await hold(tx, run.transcript_id)
    lines = await _lines(tx, run, rendition)
    if laid is None or laid.lines != lines:
        laid = Laid(lines, await asyncio.to_thread(lines.overlaid))
    await _improve(tx, run, lines.held, laid.overlay)
    await _replace(tx, run, lines.machine, laid.overlay.machine)
    await finish_run(tx, run)
    if run.stage is not RunStage.TRANSLATION:
        await captioning.forget_skips(tx, run.recording_id)
    await cues.announce(tx, run.recording_id, whole=True)


async def run_lines(connection: AsyncConnection, run_id: RunId) -> list[CueDraft]:
    """What a pass has heard so far, by time."""
    table = tables.run_line
    statement = select(table).where(table.c.run_id == run_id).order_by(table.c.start_ms, table.c.id)
    return [cues.line(row) for row in await connection.execute(statement)]


async def finish_run(tx: AsyncConnection, run: Run) -> None:
    """Nothing more comes from this pass (a live one, whose lines are cues already)."""
    await tx.execute(
        update(tables.transcript_run)
        .where(tables.transcript_run.c.id == run.id)
        .values(finished_at=await now(tx))
    )


async def withdraw(tx: AsyncConnection, recording_id: RecordingId, beyond_ms: int) -> None:
    """Take back machine cues that begin at or after `beyond_ms`: their take ended before them."""
    transcript_id = await ensure(tx, recording_id)
    await hold(tx, transcript_id)
    gone = await cues.select_current(
        tx, _t.c.transcript_id == transcript_id, _t.c.start_ms >= beyond_ms, ~_t.c.human, ~_t.c.read
    )
    await cues.remove(tx, gone)
    await cues.announce(tx, recording_id, removed=[cue.id for cue in gone])


async def of_recording(
    connection: AsyncConnection, recording_id: RecordingId, *, words: bool = True
) -> list[Cue]:
    """The current lines as spoken, by time; without their words they are for reading only."""
    mine = tables.transcript.c.recording_id == recording_id
    return await cues.select_current(connection, mine, tables.transcript.c.kind == "spoken", words=words)


async def around(connection: AsyncConnection, recording_id: RecordingId, start_ms: int, end_ms: int) -> list[Cue]:
    """The current lines of a stretch as spoken, by time, with those up to a minute before and after it."""
    return await cues.select_current(
        connection,
        tables.transcript.c.recording_id == recording_id,
        tables.transcript.c.kind == "spoken",
        _t.c.start_ms < end_ms + _BESIDE_MS,
        _t.c.end_ms > start_ms - _BESIDE_MS,
    )


async def last_shown(connection: AsyncConnection, interview: Interview) -> Cue | None:
    """The last line as spoken that people get of an interview."""
    if interview.recording_id is None:
        return None
    conditions = [
        tables.transcript.c.recording_id == interview.recording_id,
        tables.transcript.c.kind == "spoken",
        _t.c.deleted_at.is_(None),
        *(or_(_t.c.start_ms >= part.end_ms, _t.c.end_ms <= part.start_ms) for part in interview.withheld),
    ]
    if interview.in_ms is not None:
        conditions.append(_t.c.end_ms > interview.in_ms)
    if interview.out_ms is not None:
        conditions.append(_t.c.start_ms < interview.out_ms)
    newest_first = cues.select_all().where(*conditions).order_by(_t.c.start_ms.desc(), _t.c.id.desc())
    row = (await connection.execute(newest_first.limit(1))).first()
    return cues.cue(row) if row else None


async def newest(connection: AsyncConnection, limit: int) -> list[Cue]:
    """The lines made last, the newest first."""
    statement = cues.select_all().where(_t.c.deleted_at.is_(None)).order_by(_t.c.id.desc())
    return [cues.cue(row) for row in await connection.execute(statement.limit(limit))]


async def shown_lately(connection: AsyncConnection, limit: int) -> list[tuple[InterviewId, str]]:
    """The texts of the lines made last, each with the interviews that show it."""
    transcript, interview, held = tables.transcript, tables.interview, tables.withheld_range
    last = select(_t).where(_t.c.deleted_at.is_(None)).order_by(_t.c.id.desc()).limit(limit).subquery()
    statement = (
        select(interview.c.id, last.c.text)
        .join(transcript, transcript.c.id == last.c.transcript_id)
        .join(interview, interview.c.recording_id == transcript.c.recording_id)
        .where(
            or_(interview.c.in_ms.is_(None), last.c.end_ms > interview.c.in_ms),
            or_(interview.c.out_ms.is_(None), last.c.start_ms < interview.c.out_ms),
            ~exists(
                select(held.c.id).where(
                    held.c.recording_id == interview.c.recording_id,
                    tables.withholds,
                    held.c.start_ms < last.c.end_ms,
                    held.c.end_ms > last.c.start_ms,
                )
            ),
        )
        .order_by(last.c.id)
    )
    return [(InterviewId(row.id), row.text) for row in await connection.execute(statement)]


async def by_ids(connection: AsyncConnection, ids: Collection[CueId]) -> dict[CueId, Cue]:
    """Those of them that are current."""
    return {cue.id: cue for cue in await cues.select_current(connection, _t.c.id.in_(ids))}


async def following(connection: AsyncConnection, found: Collection[Cue]) -> dict[CueId, Cue]:
    """The current line after each of these in its transcript."""
    ids = await cues.followers(connection, [cue.id for cue in found])
    known = {cue.id: cue for cue in found}
    known |= await by_ids(connection, set(ids.values()) - set(known))
    return {cue_id: known[follower] for cue_id, follower in ids.items()}


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
    statement = cues.select_all().where(_t.c.id > after_id, _t.c.deleted_at.is_(None))
    return [cues.cue(row) for row in await connection.execute(statement.order_by(_t.c.id).limit(limit))]


async def newest_id(connection: AsyncConnection) -> CueId:
    """Of all cues that there ever were; 0 before the first."""
    return CueId((await connection.execute(select(func.max(_t.c.id)))).scalar() or 0)


# --- inside -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lines:
    """What a run meets: current cues, changed by people or not, words struck out; and what it has heard."""

    held: tuple[Cue, ...]
    machine: tuple[Cue, ...]
    struck: tuple[Word, ...]
    heard: tuple[CueDraft, ...]

    def overlaid(self) -> Overlay:
        """Human words win."""
        if not (self.held or self.struck):
            return Overlay((), self.heard)
        held = [Held(cues.draft(cue), cue.read) for cue in self.held]
        return overlay(held, self.struck, self.heard, [cues.draft(cue) for cue in self.machine])


async def _lines(connection: AsyncConnection, run: Run, rendition: Rendition) -> _Lines:
    current = await cues.select_current(connection, _t.c.transcript_id == run.transcript_id)
    return _Lines(
        held=tuple(cue for cue in current if cue.human or cue.read),
        machine=tuple(cue for cue in current if not (cue.human or cue.read)),
        struck=tuple(await revisions.struck(connection, run.transcript_id)),
        heard=tuple(rendition.of(await run_lines(connection, run.id))),
    )


async def _beside(
    tx: AsyncConnection, transcript_id: TranscriptId, drafts: Sequence[CueDraft]
) -> Sequence[CueDraft]:
    """Without what is heard where people have already decided what is said."""
    start, end = min(draft.start_ms for draft in drafts), max(draft.end_ms for draft in drafts)
    held = await cues.select_current(
        tx,
        _t.c.transcript_id == transcript_id,
        _t.c.human | _t.c.read,
        _t.c.start_ms < end,
        _t.c.end_ms > start,
    )
    struck = await revisions.struck(tx, transcript_id, start, end)
    return beside([cues.draft(cue) for cue in held], struck, drafts) if held or struck else drafts


async def _improve(tx: AsyncConnection, run: Run, held: Sequence[Cue], laid: Overlay) -> None:
    """Better words around those that people have written; each change is part of the line's history."""
    now_there: list[Cue] = []
    for cue, line in zip(held, laid.held, strict=False):
        if (line.text, line.words) == (cue.text, cue.words):
            now_there.append(cue)
            continue
        changed = await cues.change(tx, cue, line, human=cue.human, read=cue.read)
        await revisions.write(tx, run.transcript_id, RevisionKind.RUN, None, [cue], [changed])
        now_there.append(changed)
    found = [(now_there[one.number].id, one) for one in laid.suggestions]
    await suggestions.replace(tx, run.transcript_id, run.id, found)


async def _replace(tx: AsyncConnection, run: Run, old: Sequence[Cue], lines: Sequence[CueDraft]) -> None:
    """Make these the lines of the machine; one that is there already stays."""
    waiting = Counter(_face(line) for line in lines)
    staying: set[CueId] = set()
    for cue in old:
        if waiting[_face(cue)] > 0:
            waiting[_face(cue)] -= 1
            staying.add(cue.id)
    added = []
    for line in reversed(lines):
        if waiting[_face(line)] > 0:
            waiting[_face(line)] -= 1
            added.append(line)
    await cues.remove(tx, [cue for cue in old if cue.id not in staying])
    await cues.add(tx, run.transcript_id, reversed(added), run_id=run.id)


def _face(line: Cue | CueDraft) -> tuple[int, int, str, str | None]:
    return line.start_ms, line.end_ms, line.text, line.speaker
