"""Answering a query: the index proposes, the catalogue decides what is shown.

Visibility is not indexed: interviews that the asker may not see in lists are excluded by id, and every hit is
read again from the catalogue, so that hiding, renaming and correcting are effective at once, whatever the index
still holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import text
from streamarchive.catalogue import interviews, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.errors import SearchUnavailableError
from streamarchive.models import Cue, CueId, Event, Interview, InterviewId, Role
from streamarchive.protocols import Hit, InterviewHits, Query, SearchIndex, Sort, Total

_TITLES_LOOKED_AT = 1_000
"""How many interviews are compared by their titles while the index is away."""
_LONGEST_NUMBER = 6


@dataclass(frozen=True, slots=True)
class Moment:
    """A cue that met the query, as it reads now. `spans` are (start, end) offsets into its text.

    Where a phrase goes on in the next cue, `continued` is how that begins and `continued_spans` its part of it.
    """

    cue: Cue
    spans: tuple[tuple[int, int], ...]
    continued: str = ""
    continued_spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """An interview that meets the query. `total` counts its moments, shown or not."""

    interview: Interview
    total: int
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class FoundMoment:
    """A moment and the interview it is in."""

    interview: Interview
    moment: Moment


class FallbackKind(StrEnum):
    """Why something else was looked for than was typed; only where that found nothing."""

    PINYIN = "pinyin"
    """A name that sounds like it: 张伟 for zhangwei, 张炜 for 张伟."""
    SPELLING = "spelling"
    """Words and names spelled nearly like it."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What was looked for instead, and why: "did you mean"."""

    kind: FallbackKind
    query: Query


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found. `index_away`: only titles, guests and events were looked at.

    `timed_out`: the index answered with what it had found in time. `fallback`: nothing was found as it was
    typed; this is what was found with these words instead, and `query` is still what was typed.
    """

    query: Query
    total: Total
    total_interviews: Total
    found: tuple[Found, ...]
    next_cursor: str = ""
    timed_out: bool = False
    index_away: bool = False
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class MomentsAnswer:
    """As `Answer`, moment by moment."""

    query: Query
    total: Total
    found: tuple[FoundMoment, ...]
    next_cursor: str = ""
    timed_out: bool = False
    index_away: bool = False
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class FacetsAnswer:
    """How many moments of the answer have each of these, most first; visible interviews only.

    Each key is the value of its filter: `speaker:`, `lang:`, `event:`, `year:`, `in:`.
    """

    speakers: Mapping[str, int]
    langs: Mapping[str, int]
    events: tuple[tuple[Event, int], ...]
    years: Mapping[int, int]
    exact: bool = True
    timed_out: bool = False
    index_away: bool = False


async def find(
    database: Database,
    index: SearchIndex,
    query: Query,
    *,
    role: Role,
    sort: Sort = Sort.RELEVANCE,
    cursor: str = "",
    limit: int = 20,
    moments: int = 3,
) -> Answer:
    """The interviews that meet every part of the query, `limit` of them after `cursor`, in order."""
    async with database.read() as connection:
        hidden = await interviews.hidden_from(connection, role)
    if not query.clauses:
        return Answer(query, Total(0), Total(0), ())
    try:
        results = await index.search(query, hidden=hidden, sort=sort, cursor=cursor, limit=limit, moments=moments)
    except SearchUnavailableError:
        async with database.read() as connection:
            return await _by_names(connection, query, role, cursor, limit)
    async with database.read() as connection:
        hidden = await interviews.hidden_from(connection, role)
        found = await _read_again(connection, results.interviews, query, hidden)
    return Answer(
        query,
        results.total,
        results.total_interviews,
        found,
        next_cursor=results.next_cursor,
        timed_out=results.timed_out,
    )


async def _read_again(
    connection: AsyncConnection, proposed: Sequence[InterviewHits], query: Query, hidden: Collection[InterviewId]
) -> tuple[Found, ...]:
    known = await interviews.by_ids(connection, [hits.interview_id for hits in proposed])
    cues = await transcripts.by_ids(connection, [_cue_id(hit) for hits in proposed for hit in hits.moments])
    wanted = [clause.text for clause in query.clauses if not clause.negated]
    found = []
    for hits in proposed:
        interview = known.get(hits.interview_id)
        if interview is None or interview.id in hidden:
            continue
        current = [cues[_cue_id(hit)] for hit in hits.moments if _cue_id(hit) in cues]
        shown = [Moment(cue, text.spans(cue.text, wanted)) for cue in current if _belongs(cue, interview)]
        found.append(Found(interview, hits.total, tuple(shown)))
    return tuple(found)


def _cue_id(hit: Hit) -> CueId:
    return CueId(int(hit.document_id.rsplit("-", 1)[-1]))


def _belongs(cue: Cue, interview: Interview) -> bool:
    """Whether the interview shows this cue: its recording, between its in and out point."""
    return (
        cue.recording_id == interview.recording_id
        and (interview.in_ms is None or cue.end_ms > interview.in_ms)
        and (interview.out_ms is None or cue.start_ms < interview.out_ms)
    )


async def _by_names(connection: AsyncConnection, query: Query, role: Role, cursor: str, limit: int) -> Answer:
    """What titles, guests and events know, while the index cannot be asked; a cursor says how many were shown."""
    offset = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < _LONGEST_NUMBER else 0
    meeting = [
        interview
        for interview in await interviews.latest(connection, role, limit=_TITLES_LOOKED_AT)
        if _meets(interview, query)
    ]
    found = tuple(Found(interview, 0, ()) for interview in meeting[offset : offset + limit])
    after = offset + len(found)
    return Answer(
        query,
        Total(0),
        Total(len(meeting)),
        found,
        next_cursor=str(after) if after < len(meeting) else "",
        index_away=True,
    )


def _meets(interview: Interview, query: Query) -> bool:
    names = [*interview.titles.values(), *interview.descriptions.values()]
    for guest in interview.guests:
        names += [*guest.names.values(), *guest.affiliations.values()]
    if interview.event is not None:
        names += interview.event.names.values()
    known = "\n".join(names)
    return all(bool(text.spans(known, [clause.text])) is not clause.negated for clause in query.clauses)


def as_json(answer: Answer, site: str) -> dict[str, Any]:
    """Plain values, as the command line and the API print them; `site` is the public address."""
    return {
        "total": answer.total.value,
        "hits": [
            {
                "interview": found.interview.address.rsplit("/", 1)[-1],
                "title": found.interview.title(),
                "start_ms": moment.cue.start_ms,
                "end_ms": moment.cue.end_ms,
                "text": moment.cue.text,
                "url": f"{site}{moment_path(found.interview, moment.cue.start_ms)}",
            }
            for found in answer.found
            for moment in found.moments
        ],
    }


def moment_path(interview: Interview, at_ms: int) -> str:
    """The address of this moment, without the site: `/interviews/…?t=93.2`."""
    seconds = f"{at_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{interview.address}?t={seconds}"
