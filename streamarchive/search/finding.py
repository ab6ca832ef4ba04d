"""Answering a query: the index proposes, the catalogue decides what is shown.

Visibility is not indexed: interviews that the asker may not see in lists are excluded by id, and every hit is
read again from the catalogue, so that hiding, renaming and correcting are effective at once, whatever the index
still holds. Events and dates are asked of the catalogue, too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import glossary, interviews, people, transcripts, withheld
from streamarchive.catalogue.database import Database
from streamarchive.errors import SearchError, SearchUnavailableError
from streamarchive.models import Cue, CueId, Interview, InterviewId, Role
from streamarchive.protocols import Hit, InterviewHits, Moments, Query, Results, SearchIndex, Sort, Total
from streamarchive.search import fallbacks, narrowing
from streamarchive.search.answers import (
    Answer,
    FacetsAnswer,
    Fallback,
    Found,
    FoundMoment,
    Moment,
    MomentsAnswer,
)
from streamarchive.search.expansion import expanded
from streamarchive.search.matching import marks

logger = logging.getLogger(__name__)

_TITLES_LOOKED_AT = 1_000
"""How many interviews are compared by their titles while the index is away."""
_LONGEST_NUMBER = 6


def _tell(error: SearchError) -> None:
    """That the index is away, the indexer says once; anything else is worth a line each time."""
    level = logging.INFO if isinstance(error, SearchUnavailableError) else logging.WARNING
    logger.log(level, "search does not answer, titles do: %s", error)


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
    asked = await _asked(database, query, role)
    if asked is None:
        return Answer(query, Total(0), Total(0), ())
    ask = partial(index.search, hidden=asked.hidden, sort=sort, cursor=cursor, limit=limit, moments=moments)
    try:
        results, fallback = await _propose(database, index, asked, role, ask, continued=bool(cursor))
    except SearchError as error:
        _tell(error)
        async with database.read() as connection:
            return await _by_names(connection, query, asked.query, role, cursor, limit)
    async with database.read() as connection:
        meant = fallback.query if fallback else asked.query
        found = await _read_again(connection, results.interviews, meant, role)
    return Answer(
        query,
        results.total,
        results.total_interviews,
        found,
        next_cursor=results.next_cursor,
        timed_out=results.timed_out,
        fallback=fallback,
    )


async def find_moments(
    database: Database,
    index: SearchIndex,
    query: Query,
    *,
    role: Role,
    sort: Sort = Sort.RELEVANCE,
    cursor: str = "",
    limit: int = 20,
) -> MomentsAnswer:
    """The moments of the interviews that `find` finds, one by one. None while the index is away."""
    asked = await _asked(database, query, role)
    if asked is None:
        return MomentsAnswer(query, Total(0), ())
    ask = partial(index.moments, hidden=asked.hidden, sort=sort, cursor=cursor, limit=limit)
    try:
        proposed, fallback = await _propose(database, index, asked, role, ask, continued=bool(cursor))
    except SearchError as error:
        _tell(error)
        return MomentsAnswer(query, Total(0), (), index_away=True)
    groups = [InterviewHits(hit.interview_id, 1, (hit,)) for hit in proposed.hits]
    async with database.read() as connection:
        found = await _read_again(connection, groups, fallback.query if fallback else asked.query, role)
    return MomentsAnswer(
        query,
        proposed.total,
        tuple(FoundMoment(each.interview, moment) for each in found for moment in each.moments),
        next_cursor=proposed.next_cursor,
        timed_out=proposed.timed_out,
        fallback=fallback,
    )


async def find_facets(database: Database, index: SearchIndex, query: Query, *, role: Role) -> FacetsAnswer:
    """The moments that `find_moments` finds, counted."""
    asked = await _asked(database, query, role)
    if asked is None:
        return FacetsAnswer({}, {}, (), {})
    try:
        facets = await index.facets(asked.query, hidden=asked.hidden)
    except SearchError as error:
        _tell(error)
        return FacetsAnswer({}, {}, (), {}, index_away=True)
    years: Counter[int] = Counter()
    events: Counter[int] = Counter()
    async with database.read() as connection:
        known = {event.id: event for event in await people.events(connection)}
        held = await interviews.event_and_date(connection, facets.interviews)
    for interview_id, (event_id, held_at) in held.items():
        years[held_at.year] += facets.interviews[interview_id]
        if event_id in known:
            events[event_id] += facets.interviews[interview_id]
    return FacetsAnswer(
        speakers=facets.speakers,
        langs=facets.langs,
        events=tuple((known[event_id], count) for event_id, count in events.most_common()),
        years=dict(sorted(years.items(), reverse=True)),
        exact=facets.exact,
        timed_out=facets.timed_out,
    )


# --- what is asked of the index ---------------------------------------------------------------------------


_Proposed = TypeVar("_Proposed", Results, Moments)


class _Asked(NamedTuple):
    """A query as the index gets it."""

    query: Query
    hidden: set[InterviewId]


async def _asked(database: Database, query: Query, role: Role) -> _Asked | None:
    """With the interviews that its filters mean and with other wordings; None where nothing can meet it."""
    if all(clause.negated for clause in query.clauses):
        return None
    async with database.read() as connection:
        hidden = await interviews.hidden_from(connection, role)
        # Until the index has forgotten what is withheld, even a count of it would tell.
        hidden |= await withheld.unsettled(connection)
        pairs = await glossary.pairs(connection)
        if query.events or query.years or query.after or query.before:
            events = narrowing.named(await people.events(connection), query.events) if query.events else None
            meant = await interviews.held(
                connection, event_ids=events, years=query.years, after=query.after, before=query.before
            )
            meant -= hidden
            if query.interviews:
                meant &= set(query.interviews)
            if not meant:
                return None
            query = replace(query, interviews=tuple(sorted(meant)))
    return _Asked(expanded(query, pairs), hidden)


async def _propose(
    database: Database,
    index: SearchIndex,
    asked: _Asked,
    role: Role,
    ask: Callable[[Query], Awaitable[_Proposed]],
    *,
    continued: bool,
) -> tuple[_Proposed, Fallback | None]:
    """What the index answers; where the first page of that is empty, its answer to what is looked for instead."""
    proposed = await ask(asked.query)
    fallback = None if continued else await _instead(database, index, asked, role, proposed)
    return (proposed, None) if fallback is None else (await ask(fallback.query), fallback)


async def _instead(
    database: Database, index: SearchIndex, asked: _Asked, role: Role, answer: Results | Moments
) -> Fallback | None:
    """What to look for where this answer is empty."""
    found = answer.total_interviews if isinstance(answer, Results) else answer.total
    if found.value or answer.timed_out:
        return None
    async with database.read() as connection:
        names = await interviews.guest_names(connection, role)
        pairs = await glossary.pairs(connection)
    names.update(term for pair in pairs for term in pair)
    return await fallbacks.instead(index, asked.query, asked.hidden, names)


# --- what the catalogue says ------------------------------------------------------------------------------


async def _read_again(
    connection: AsyncConnection, proposed: Sequence[InterviewHits], query: Query, role: Role
) -> tuple[Found, ...]:
    hidden = await interviews.hidden_from(connection, role)
    known = await interviews.by_ids(connection, [hits.interview_id for hits in proposed])
    cues = await transcripts.by_ids(connection, [_cue_id(hit) for hits in proposed for hit in hits.moments])
    crossing = {_cue_id(hit) for hits in proposed for hit in hits.moments if hit.crosses_border}
    following = await transcripts.following(connection, [cues[each] for each in crossing if each in cues])
    found = []
    for hits in proposed:
        interview = known.get(hits.interview_id)
        if interview is None or interview.id in hidden:
            continue
        current = [cues[_cue_id(hit)] for hit in hits.moments if _cue_id(hit) in cues]
        shown = [_moment(cue, following, interview, query) for cue in current if _belongs(cue, interview)]
        found.append(Found(interview, hits.total, tuple(shown)))
    return tuple(found)


def _moment(cue: Cue, following: Mapping[CueId, Cue], interview: Interview, query: Query) -> Moment:
    after = following.get(cue.id)
    if after is None or not _belongs(after, interview):
        return Moment(cue, marks(cue.text, query).spans)
    marked = marks(cue.text, query, after.text)
    return Moment(cue, marked.spans, after.text if marked.continued else "", marked.continued)


def _cue_id(hit: Hit) -> CueId:
    return CueId(int(hit.document_id.rsplit("-", 1)[-1]))


def _belongs(cue: Cue, interview: Interview) -> bool:
    """Whether the interview shows this cue of its recording."""
    return cue.recording_id == interview.recording_id and interview.shows(cue.start_ms, cue.end_ms)


# --- while the index is away ------------------------------------------------------------------------------


async def _by_names(
    connection: AsyncConnection, query: Query, asked: Query, role: Role, cursor: str, limit: int
) -> Answer:
    """What titles, guests and events know; a cursor says how many were shown."""
    offset = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < _LONGEST_NUMBER else 0
    meeting = [
        interview
        for interview in await interviews.latest(connection, role, limit=_TITLES_LOOKED_AT)
        if _meets(interview, asked)
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
    if query.interviews and interview.id not in query.interviews:
        return False
    names = [*interview.titles.values(), *interview.descriptions.values()]
    for guest in interview.guests:
        names += [*guest.names.values(), *guest.affiliations.values()]
    if interview.event is not None:
        names += interview.event.names.values()
    known = "\n".join(names)
    return all(
        bool(marks(known, Query("", (replace(clause, negated=False),))).spans) is not clause.negated
        for clause in query.clauses
    )
