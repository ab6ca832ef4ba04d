"""From the catalogue to the index: the operations behind a batch of the outbox, or behind everything there is."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import interviews, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.outbox import Batch
from streamarchive.models import Cue, CueId, Interview, RecordingId
from streamarchive.protocols import CueDocument, Operation, Portion, Tombstone
from streamarchive.search.documents import cue_document, cue_document_id, interview_document

_PORTION = 1_000


async def operations(connection: AsyncConnection, batch: Batch) -> list[Operation]:
    """What the index has to do so that it knows these subjects as they are now."""
    found: list[Operation] = []
    known = await interviews.by_ids(connection, batch.interview_ids)
    documents = await interviews.versions(connection, batch.interview_ids)
    found += [interview_document(interview, documents[interview.id]) for interview in known.values()]
    current = await transcripts.by_ids(connection, batch.cue_ids)
    following = await transcripts.following(connection, current.values())
    versions = await transcripts.versions(connection, batch.cue_ids)
    shown = _Showings(connection)
    for cue_id, (version, recording_id) in versions.items():
        for interview in await shown.of(recording_id):
            cue = current.get(cue_id)
            if cue is not None and interview.shows(cue.start_ms, cue.end_ms):
                found.append(_document(interview, cue, following.get(cue_id)))
            else:
                found.append(Tombstone(cue_document_id(interview.id, cue_id), version))
    for interview_id, recording_id in batch.left:
        if interview_id not in [interview.id for interview in await shown.of(recording_id)]:
            gone = await transcripts.versions_of_recording(connection, recording_id)
            found += [
                Tombstone(cue_document_id(interview_id, cue_id), version) for cue_id, version in gone.items()
            ]
    return found


async def everything(database: Database, after: int = 0) -> AsyncIterator[Portion]:
    """Every document there should be; each portion is read in a transaction of its own.

    Its checkpoint is the id of the last cue in it. The few documents of interviews come first, whatever `after`
    is: they have no order in which new ones would come last.
    """
    async with database.read() as connection:
        ids = await interviews.all_ids(connection)
    for first in range(0, len(ids), _PORTION):
        async with database.read() as connection:
            batch = Batch((), (), tuple(ids[first : first + _PORTION]))
            yield Portion(await operations(connection, batch), after)
    while True:
        async with database.read() as connection:
            cues = await transcripts.page(connection, CueId(after), _PORTION)
            following = await transcripts.following(connection, cues)
            shown = _Showings(connection)
            documents: list[Operation] = [
                _document(interview, cue, following.get(cue.id))
                for cue in cues
                for interview in await shown.of(cue.recording_id)
                if interview.shows(cue.start_ms, cue.end_ms)
            ]
        if not cues:
            return
        after = cues[-1].id
        yield Portion(documents, after)


def _document(interview: Interview, cue: Cue, following: Cue | None) -> CueDocument:
    """What is said after the interview's cut is none of its business."""
    if following is not None and not interview.shows(following.start_ms, following.end_ms):
        following = None
    return cue_document(cue, interview.id, interview.held_at, following)


class _Showings:
    """The interviews that show a recording, looked up once a batch."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._known: dict[RecordingId, list[Interview]] = {}

    async def of(self, recording_id: RecordingId) -> list[Interview]:
        if recording_id not in self._known:
            self._known[recording_id] = await interviews.of_recording(self._connection, recording_id)
        return self._known[recording_id]
