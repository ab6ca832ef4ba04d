"""What editors do to the lines of a transcript.

Everything a correction changes is one transaction: the line, its history, what search and open pages must learn.
Who corrects a line names the revision they have seen. If a person has changed it since, nothing is written and
`StaleCueError` carries the line as it is now, so that both texts can be shown. If only a machine has (the final
pass replaced it, or improved the words around a person's), the correction is carried over to the lines that stand
there now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import cues, revisions, speakers, suggestions, tables, tracks, transcripts
from streamarchive.catalogue.revisions import Revision, RevisionId, RevisionKind
from streamarchive.catalogue.suggestions import SuggestionId
from streamarchive.editing import operations
from streamarchive.editing.overlay import Held
from streamarchive.editing.transplant import transplant
from streamarchive.errors import ConflictError, EditError, NotFoundError
from streamarchive.models import Cue, CueDraft, CueId, RecordingId, TranscriptId, Word

_t = tables.cue


class StaleCueError(ConflictError):
    """A person has changed the line since. `current` is what stands there now; None if it was taken out."""

    def __init__(self, current: Cue | None) -> None:
        super().__init__(
            "somebody else has changed this line meanwhile; compare both texts and save again"
            if current is not None
            else "somebody else has taken this line out meanwhile; insert a new one to keep your text"
        )
        self.current = current


@dataclass(frozen=True, slots=True)
class Correction:
    """What has come of it: the lines that are there now, by time, and the ids of those that are gone.

    `revision_id` is None if there was nothing to change.
    """

    revision_id: RevisionId | None
    cues: tuple[Cue, ...]
    removed: tuple[CueId, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """A line, and whether it is still there."""

    cue: Cue
    current: bool


# --- corrections ------------------------------------------------------------------------------------------


async def edit(tx: AsyncConnection, cue_id: CueId, revision: int, text: str, user_id: int | None) -> Correction:
    """Give the line this text. An empty one raises `EditError`: `delete` takes a line out.

    Raises `NotFoundError`, `StaleCueError`.
    """
    found = await _locked(tx, cue_id)
    typed = operations.clean(text)
    if not typed:
        raise EditError("a line needs some text; delete it to take it out")
    if found.current and found.cue.revision == revision:
        return await _edit_all(tx, [(found.cue, typed)], user_id)
    seen = await _seen(tx, found, revision)
    if seen is None:
        raise StaleCueError(await standing_for(tx, cue_id))
    return await _carried_over(tx, found.cue, seen, typed, user_id)


async def split(
    tx: AsyncConnection, cue_id: CueId, revision: int, offset: int, user_id: int | None
) -> Correction:
    """Cut the line before its character number `offset` (in code points); the first half keeps the id."""
    cue = await _expected(tx, cue_id, revision)
    halves = operations.split(cues.draft(cue), offset)
    one = await cues.change(tx, cue, halves.first, human=True, read=cue.read)
    [two] = await cues.add(tx, cue.transcript_id, [halves.second], human=True, read=cue.read)
    return await _done(tx, RevisionKind.SPLIT, user_id, [cue], [one, two], halves.struck)


async def merge(
    tx: AsyncConnection,
    cue_id: CueId,
    revision: int,
    neighbour: Literal["previous", "next"],
    user_id: int | None,
) -> Correction:
    """Make one line of this one and its neighbour; the earlier of both keeps its id."""
    cue = await _expected(tx, cue_id, revision)
    other = await _neighbour(tx, cue, neighbour)
    first, second = (other, cue) if neighbour == "previous" else (cue, other)
    line = operations.merge(cues.draft(first), cues.draft(second))
    merged = await cues.change(tx, first, line, human=True, read=first.read and second.read)
    await cues.remove(tx, [second], by_person=True)
    return await _done(tx, RevisionKind.MERGE, user_id, [first, second], [merged])


async def insert(
    tx: AsyncConnection,
    recording_id: RecordingId,
    start_ms: int,
    end_ms: int,
    text: str,
    lang: str,
    user_id: int | None,
    speaker: str | None = None,
    track: str = tracks.SPOKEN,
) -> Correction:
    """A new line, all of it a person's. Raises `NotFoundError` if there is no such track."""
    if track != tracks.SPOKEN and track not in await tracks.of_recording(tx, recording_id):
        raise NotFoundError(f"there is no translation into {track!r}")
    transcript_id = await transcripts.ensure(tx, recording_id, track)
    await transcripts.hold(tx, transcript_id)
    name = await speakers.ensure(tx, recording_id, speaker)
    line = operations.insert(start_ms, end_ms, text, lang, name)
    made = await cues.add(tx, transcript_id, [line], human=True)
    return await _done(tx, RevisionKind.INSERT, user_id, [], made)


async def delete(tx: AsyncConnection, cue_id: CueId, revision: int, user_id: int | None) -> Correction:
    """Take the line out; no machine brings its words back."""
    cue = await _expected(tx, cue_id, revision)
    await cues.remove(tx, [cue], by_person=True)
    struck = operations.delete(cues.draft(cue))
    return await _done(tx, RevisionKind.DELETE, user_id, [cue], [], struck)


async def retime(
    tx: AsyncConnection, cue_id: CueId, revision: int, start_ms: int, end_ms: int, user_id: int | None
) -> Correction:
    """Move the line or one of its ends."""
    cue = await _expected(tx, cue_id, revision)
    line = operations.retime(cues.draft(cue), start_ms, end_ms)
    return await _rewrite(tx, RevisionKind.RETIME, user_id, cue, line)


async def set_speaker(
    tx: AsyncConnection, cue_id: CueId, revision: int, speaker: str | None, user_id: int | None
) -> Correction:
    """Say who speaks here; an empty name or None: nobody knows."""
    cue = await _expected(tx, cue_id, revision)
    name = await speakers.ensure(tx, cue.recording_id, speaker)
    return await _rewrite(tx, RevisionKind.SPEAKER, user_id, cue, replace(cues.draft(cue), speaker=name))


async def mark_read(
    tx: AsyncConnection, cue_id: CueId, revision: int, user_id: int | None, *, read: bool = True
) -> Correction:
    """Lock the line as a whole, or unlock it: somebody has compared it with the sound."""
    cue = await _expected(tx, cue_id, revision)
    if cue.read == read:
        return Correction(None, (cue,))
    changed = await cues.change(tx, cue, cues.draft(cue), human=cue.human, read=read)
    return await _done(tx, RevisionKind.READ, user_id, [cue], [changed])


async def restore(
    tx: AsyncConnection, cue_id: CueId, revision: int, revision_id: RevisionId, user_id: int | None
) -> Correction:
    """Take a step of the line's history back: the line becomes what it was before it.

    Steps that made or removed lines are taken back as a whole, as long as none of their lines has been changed
    since; otherwise `EditError`.
    """
    await transcripts.hold(tx, (await revisions.get(tx, revision_id)).transcript_id)
    step = await revisions.get(tx, revision_id)  # its words may be deleted for good meanwhile
    past = next((past for past in (*step.before, *step.after) if past.cue_id == cue_id), None)
    if past is None:
        raise NotFoundError(f"revision {revision_id} is not about cue {cue_id}")
    if not all(one.line.text for one in step.before):
        raise EditError("the words that it was done to have been deleted for good; it cannot be taken back")
    if {past.cue_id for past in step.before} != {past.cue_id for past in step.after}:
        return await _undone(tx, step, user_id)
    cue = await _expected(tx, cue_id, revision)
    earlier = next(past for past in step.before if past.cue_id == cue_id)
    struck = await revisions.struck(tx, cue.transcript_id)
    done = operations.restore(cues.draft(cue), earlier.line, struck)
    changed = await cues.change(tx, cue, done.line, human=True, read=earlier.read)
    return await _done(tx, RevisionKind.RESTORE, user_id, [cue], [changed], done.struck, done.lifted)


async def follow(
    tx: AsyncConnection, cue_id: CueId, revision: int, suggestion_id: SuggestionId, user_id: int | None
) -> Correction:
    """Write what the machine hears, as if the editor had typed it. Raises `EditError`, `StaleCueError`."""
    cue = await _expected(tx, cue_id, revision)
    found = await suggestions.get(tx, suggestion_id, cue_id)
    text = operations.exchange(cues.draft(cue), found.start_ms, found.text, found.heard)
    return await _edit_all(tx, [(cue, text)], user_id)


async def dismiss(
    tx: AsyncConnection, cue_id: CueId, revision: int, suggestion_id: SuggestionId, user_id: int | None
) -> Correction:
    """The line stays as it is, whatever the machine hears. Raises `EditError`, `StaleCueError`."""
    cue = await _expected(tx, cue_id, revision)
    found = await suggestions.get(tx, suggestion_id, cue_id)
    await suggestions.dismiss(tx, found.id, user_id)
    return Correction(None, (cue,))


# --- reading ----------------------------------------------------------------------------------------------


async def history(connection: AsyncConnection, cue_id: CueId) -> list[Revision]:
    """What has happened to the line, newest first."""
    return await revisions.of_cue(connection, cue_id)


async def cue_at(
    connection: AsyncConnection, recording_id: RecordingId, time_ms: int, track: str = tracks.SPOKEN
) -> Cue | None:
    """The line of this moment: the one that holds it, else the last one before it, else the first."""
    found = await tracks.lines(connection, recording_id, track)
    holding = [cue for cue in found if cue.start_ms <= time_ms < cue.end_ms]
    before = [cue for cue in found if cue.start_ms <= time_ms]
    return next(iter([*holding, *reversed(before), *found]), None)


async def standing_for(connection: AsyncConnection, cue_id: CueId) -> Cue | None:
    """The line itself, or the one that now holds its time. Raises `NotFoundError` if there never was one."""
    found = await _any(connection, cue_id)
    cue = found.cue
    if found.current:
        return cue
    return await cue_at(connection, cue.recording_id, (cue.start_ms + cue.end_ms) // 2, cue.track)


# --- inside -----------------------------------------------------------------------------------------------


async def _any(connection: AsyncConnection, cue_id: CueId) -> _Found:
    """A line, also one that has vanished."""
    row = (await connection.execute(cues.select_all().where(_t.c.id == cue_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no cue {cue_id}")
    return _Found(cues.cue(row), row.deleted_at is None)


async def _locked(tx: AsyncConnection, cue_id: CueId) -> _Found:
    """The same, with nobody else changing the transcript until `tx` ends."""
    await transcripts.hold(tx, (await _any(tx, cue_id)).cue.transcript_id)
    return await _any(tx, cue_id)


async def _expected(tx: AsyncConnection, cue_id: CueId, revision: int) -> Cue:
    """The line as its editor has seen it."""
    found = await _locked(tx, cue_id)
    if not found.current or found.cue.revision != revision:
        raise StaleCueError(await standing_for(tx, cue_id))
    return found.cue


async def _neighbour(tx: AsyncConnection, cue: Cue, side: str) -> Cue:
    """The line beside it, as readers of its track see them."""
    here = await tracks.lines(tx, cue.recording_id, cue.track)
    at = next(number for number, other in enumerate(here) if other.id == cue.id)
    other = at - 1 if side == "previous" else at + 1
    if not 0 <= other < len(here):
        raise EditError(f"there is no {side} line to merge this one with")
    if here[other].transcript_id != cue.transcript_id:
        raise EditError(f"the {side} line is shown as it is spoken; a translated one cannot be merged with it")
    return here[other]


async def _rewrite(
    tx: AsyncConnection, kind: RevisionKind, user_id: int | None, cue: Cue, line: CueDraft
) -> Correction:
    if line == cues.draft(cue):
        return Correction(None, (cue,))
    changed = await cues.change(tx, cue, line, human=True, read=cue.read)
    return await _done(tx, kind, user_id, [cue], [changed])


async def _done(
    tx: AsyncConnection,
    kind: RevisionKind,
    user_id: int | None,
    before: Sequence[Cue],
    after: Sequence[Cue],
    struck: Collection[Word] = (),
    lifted: Collection[Word] = (),
) -> Correction:
    """Keep the step and tell everybody."""
    transcript_id, recording_id = _of([*before, *after])
    revision_id = await revisions.write(tx, transcript_id, kind, user_id, before, after)
    await revisions.lift(tx, transcript_id, lifted)
    await revisions.strike(tx, transcript_id, revision_id, struck)
    there = [cue.id for cue in after]
    gone = [cue.id for cue in before if cue.id not in there]
    if kind is not RevisionKind.SPEAKER:
        await suggestions.forget(tx, [*there, *gone])
    translated = any(cue.track != tracks.SPOKEN for cue in (*before, *after))
    await cues.announce(tx, recording_id, added=there, removed=gone, whole=translated)
    ordered = tuple(sorted(after, key=lambda cue: (cue.start_ms, cue.id)))
    return Correction(revision_id, ordered, tuple(gone))


def _of(lines: Sequence[Cue]) -> tuple[TranscriptId, RecordingId]:
    return lines[0].transcript_id, lines[0].recording_id


async def _edit_all(tx: AsyncConnection, texts: Sequence[tuple[Cue, str]], user_id: int | None) -> Correction:
    """Lines and their new texts, as one step; an empty text takes a line out."""
    before = [cue for cue, text in texts if text != cue.text]
    if not before:
        return Correction(None, tuple(cue for cue, _ in texts))
    known = await revisions.struck(tx, before[0].transcript_id)
    after: list[Cue] = []
    struck: list[Word] = []
    lifted: list[Word] = []
    for cue, text in texts:
        if text == cue.text:
            continue
        if not text:
            await cues.remove(tx, [cue], by_person=True)
            struck += operations.delete(cues.draft(cue))
            continue
        done = operations.edit(cues.draft(cue), text, known)
        after.append(await cues.change(tx, cue, done.line, human=True, read=cue.read))
        struck += done.struck
        lifted += done.lifted
    return await _done(tx, RevisionKind.EDIT, user_id, before, after, struck, lifted)


async def _carried_over(
    tx: AsyncConnection, cue: Cue, seen: CueDraft, text: str, user_id: int | None
) -> Correction:
    """Save onto what stands there now: only machines have been there since the editor saw the line."""
    now = await cues.select_current(
        tx,
        _t.c.transcript_id == cue.transcript_id,
        _t.c.start_ms < max(seen.end_ms, seen.start_ms + 1),
        _t.c.end_ms > seen.start_ms,
    )
    known = await revisions.struck(tx, cue.transcript_id, seen.start_ms, seen.end_ms)
    if not now:
        done = operations.edit(seen, text, known)
        back = await cues.change(tx, cue, done.line, human=True, read=False)
        return await _done(tx, RevisionKind.EDIT, user_id, [cue], [back], done.struck, done.lifted)
    texts = transplant(seen, text, [Held(cues.draft(other), other.read) for other in now], known)
    if texts is None:
        raise StaleCueError(await standing_for(tx, cue.id))
    return await _edit_all(tx, list(zip(now, texts, strict=True)), user_id)


async def _seen(tx: AsyncConnection, found: _Found, revision: int) -> CueDraft | None:
    """The line as its editor has seen it, if no person has changed it since."""
    cue = found.cue
    if cue.revision == revision:
        return cues.draft(cue)  # a machine has replaced it as it was
    if not found.current or revision > cue.revision:
        return None
    for step in await revisions.of_cue(tx, cue.id):
        if step.kind is not RevisionKind.RUN:
            break
        seen = next(past for past in step.before if past.cue_id == cue.id)
        if seen.revision == revision:
            return seen.line
    return None


async def _undone(tx: AsyncConnection, step: Revision, user_id: int | None) -> Correction:
    """The lines before a step that made or removed some, in the place of those after it."""
    await transcripts.hold(tx, step.transcript_id)
    left = [await _any(tx, past.cue_id) for past in step.after]
    for found, past in zip(left, step.after, strict=True):
        if not found.current or found.cue.revision != past.revision:
            raise EditError("its lines have been changed since; restore them one by one")
    made = {past.cue_id for past in step.after}
    back = [await _any(tx, past.cue_id) for past in step.before]
    if any(found.current and found.cue.id not in made for found in back):
        raise EditError("this has been taken back already")
    gone = [found.cue for found in left]
    await cues.remove(tx, gone, by_person=True)
    after = [
        await cues.change(tx, found.cue, past.line, human=True, read=past.read)
        for found, past in zip(back, step.before, strict=True)
    ]
    returning = [word for cue in after for word in operations.delete(cues.draft(cue))]
    times = {(word.text, word.start_ms, word.end_ms) for word in returning}
    going = [word for cue in gone for word in operations.delete(cues.draft(cue))]
    struck = [word for word in going if (word.text, word.start_ms, word.end_ms) not in times]
    return await _done(tx, RevisionKind.RESTORE, user_id, gone, after, struck, returning)
