"""Whether the index holds what the catalogue says, document by document and version by version, and mending it.

Both change while they are compared, so what differs at first sight is looked at again: the catalogue, then the
index, then the catalogue. What still waits in the outbox is on its way and no difference. Memory holds one page
at a time, however large the archive is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from streamarchive.catalogue import interviews, outbox, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.outbox import Batch
from streamarchive.models import CueId, InterviewId
from streamarchive.protocols import SearchIndex, Stored, Tombstone
from streamarchive.search import feed


class Difference(StrEnum):
    """What is wrong with a document of the index."""

    MISSING = "missing"
    """The catalogue has it, the index does not."""
    OUTDATED = "outdated"
    """The index has an older version."""
    AHEAD = "ahead"
    """The index has a newer version than there is: an older copy of the catalogue was put back."""
    SURPLUS = "surplus"
    """The index has it, the catalogue does not."""


@dataclass
class Agreement:
    """What a comparison has found so far."""

    expected: int = 0
    """Documents that there should be."""
    stored: int = 0
    """Documents that there are."""
    differences: dict[Difference, int] = field(default_factory=lambda: dict.fromkeys(Difference, 0))

    @property
    def complete(self) -> bool:
        """Whether they agree."""
        return not any(self.differences.values())


@dataclass(frozen=True, slots=True)
class _Look:
    """Some documents in the catalogue at one moment: what should be in the index, and what is on its way."""

    versions: Mapping[str, int]
    waiting: Collection[str]


async def compare(
    database: Database,
    index: SearchIndex,
    *,
    mend: bool,
    told: Callable[[Agreement], None] = lambda _found: None,
) -> Agreement:
    """Compare all there is, and where `mend` have what differs written again by the outbox.

    `told` is called with what has been found so far, page by page.
    """
    found = Agreement()
    async for page in index.documents():
        found.stored += len(page)
        await _settle(database, index, [each.id for each in page], found, mend=mend)
        told(found)
    async for portion in feed.everything(database):
        ids = [each.id for each in portion.operations]
        found.expected += len(ids)
        stored = await index.stored(ids)
        unknown = [each for each in ids if each not in stored or stored[each].gone]
        await _settle(database, index, unknown, found, mend=mend)
        told(found)
    return found


async def _settle(
    database: Database, index: SearchIndex, ids: Sequence[str], found: Agreement, *, mend: bool
) -> None:
    """Count, and mend, what differs among these documents."""
    first = await _look(database, ids)
    stored = await index.stored(ids)
    suspects = [each for each in ids if _difference(each, stored.get(each), first, first) is not None]
    if not suspects:
        return
    before, stored = await _look(database, suspects), await index.stored(suspects)
    after = await _look(database, suspects)
    differing = {each: _difference(each, stored.get(each), before, after) for each in suspects}
    wrong = {each: difference for each, difference in differing.items() if difference is not None}
    for difference in wrong.values():
        found.differences[difference] += 1
    if mend and wrong:
        await _mend(database, index, wrong, stored)


async def _look(database: Database, ids: Collection[str]) -> _Look:
    cue_ids, interview_ids = _subjects(ids)
    async with database.read() as connection:
        operations = await feed.operations(connection, Batch((), tuple(cue_ids), tuple(interview_ids)))
        waiting = await outbox.among(connection, cue_ids, interview_ids)
    versions = {each.id: each.version for each in operations if not isinstance(each, Tombstone)}
    # Other interviews that show the same recording are looked at with their own documents.
    wanted = set(ids)
    here = {name: version for name, version in versions.items() if name in wanted}
    cues, named = set(waiting.cue_ids), set(waiting.interview_ids)
    left = {interview_id for interview_id, _ in waiting.left}
    waits = {name for name in ids if _cue_of(name) in cues or name in named or _interview_of(name) in left}
    return _Look(here, waits)


def _difference(name: str, stored: Stored | None, before: _Look, after: _Look) -> Difference | None:
    """Of a document that the index was asked for between two looks at the catalogue."""
    if name in before.waiting or name in after.waiting:
        return None
    expected = before.versions.get(name)
    if expected is not None and (stored is None or (stored.gone and stored.version < expected)):
        return Difference.MISSING
    if expected is not None and stored is not None and stored.version < expected:
        return Difference.OUTDATED
    newest = after.versions.get(name)
    if stored is None:
        return None
    if newest is None:
        return Difference.SURPLUS if expected is None and not stored.gone else None
    # A tombstone of the very version of what should be there outlives every write of it.
    return Difference.AHEAD if stored.version >= newest + (not stored.gone) else None


async def _mend(
    database: Database, index: SearchIndex, wrong: Mapping[str, Difference], stored: Mapping[str, Stored]
) -> None:
    """Give each a version above what the index has, where that is needed, and put it into the outbox.

    What the catalogue has never heard of is buried directly: there is nothing to write a version on.
    """
    cue_ids, interview_ids = _subjects(wrong)
    floors: dict[CueId | InterviewId, int] = {}
    for name in wrong:
        subject = _cue_of(name) or InterviewId(name)
        floors[subject] = max(stored[name].version if name in stored else 0, floors.get(subject, 0))
    async with database.write() as tx:
        cues = await transcripts.versions(tx, cue_ids)
        named = await interviews.versions(tx, interview_ids)
        await outbox.raise_cues(tx, {each: floors[each] for each in cues})
        await outbox.raise_interviews(tx, {each: floors[each] for each in named})
        surplus = [name for name, difference in wrong.items() if difference is Difference.SURPLUS]
        # Where the interview still shows the recording, nothing comes of this.
        pairs = {(_interview_of(each), cues[cue][1]) for each in surplus if (cue := _cue_of(each)) in cues}
        for interview_id, recording_id in sorted(pairs):
            await outbox.put_left(tx, interview_id, recording_id)
    unheard = [name for name in surplus if _cue_of(name) not in cues and name not in named]
    await index.write([Tombstone(name, stored[name].version + 1) for name in unheard])


def _subjects(ids: Collection[str]) -> tuple[list[CueId], list[InterviewId]]:
    cue_ids = dict.fromkeys(cue_id for cue_id in map(_cue_of, ids) if cue_id is not None)
    return list(cue_ids), [InterviewId(name) for name in ids if _cue_of(name) is None]


def _cue_of(name: str) -> CueId | None:
    """The cue that a document is of; None for that of an interview."""
    _, dash, last = name.rpartition("-")
    return CueId(int(last)) if dash and last.isdecimal() else None


def _interview_of(name: str) -> InterviewId:
    """The interview that a document belongs to."""
    return InterviewId(name if _cue_of(name) is None else name.rpartition("-")[0])
