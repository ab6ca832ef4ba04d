"""What was found for saved searches, as it may be told now: read again each time, like every hit of search.

A hit keeps where something was said, not the words: they may have been corrected, withdrawn or hidden since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import glossary, interviews, transcripts
from streamarchive.catalogue.saved_searches import Hit, SavedSearch
from streamarchive.models import Cue, Interview, Stage
from streamarchive.protocols import Query
from streamarchive.search.answers import Moment, moment_path
from streamarchive.search.expansion import expanded
from streamarchive.search.matching import marks
from streamarchive.search.query import parse


@dataclass(frozen=True, slots=True)
class Told:
    """A hit with its words of now. `spans` are (start, end) offsets into the text of its cue."""

    hit: Hit
    search: SavedSearch
    interview: Interview
    cue: Cue
    spans: tuple[tuple[int, int], ...]


async def read(connection: AsyncConnection, searches: Sequence[SavedSearch], hits: Sequence[Hit]) -> list[Told]:
    """Those of the hits that their owners may still find, in the same order."""
    by_id = {search.id: search for search in searches}
    known = await interviews.by_ids(connection, {hit.interview_id for hit in hits})
    cues = await transcripts.by_ids(connection, {hit.cue_id for hit in hits})
    pairs, told = await glossary.pairs(connection), []
    for hit in hits:
        search, interview = by_id.get(hit.saved_search_id), known.get(hit.interview_id)
        if search is None or interview is None or not interviews.may_find(interview, search.role):
            continue
        query = expanded(parse(search.query), pairs)
        cue = cues.get(hit.cue_id) or await _successor(connection, hit, query)
        if (
            cue is not None
            and cue.recording_id == interview.recording_id
            and interview.shows(cue.start_ms, cue.end_ms)
        ):
            told.append(Told(hit, search, interview, cue, marks(cue.text, query).spans))
    return told


def as_moment(told: Told) -> Moment:
    """As the results of a search hold it."""
    return Moment(told.cue, told.spans)


async def _successor(connection: AsyncConnection, hit: Hit, query: Query) -> Cue | None:
    """The line of a later pass that says the same; None where it was withdrawn or corrected away."""
    row = await transcripts.around(connection, hit.recording_id, hit.start_ms, hit.end_ms)
    near = [cue for cue in row if cue.start_ms < hit.end_ms and cue.end_ms > hit.start_ms]
    return next((cue for cue in near if marks(cue.text, query).spans), None)


def as_json(told: Told, site: str) -> dict[str, Any]:
    """What a webhook gets; `site` is the public address."""
    interview, cue = told.interview, told.cue
    return {
        "type": "search.spoken",
        "timestamp": told.hit.at.isoformat(),
        "data": {
            "search": told.search.query,
            "interview": interview.address.rsplit("/", 1)[-1],
            "titles": dict(interview.titles),
            "on_air": interview.stage is Stage.LIVE,
            "start_ms": cue.start_ms,
            "end_ms": cue.end_ms,
            "text": cue.text,
            "lang": cue.lang,
            "speaker": cue.speaker,
            "url": f"{site}{moment_path(interview, cue.start_ms)}",
        },
    }
