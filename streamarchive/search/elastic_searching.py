"""Searching an index on Elasticsearch: which requests answer a question, and paging through the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import AsyncElasticsearch

from streamarchive.models import InterviewId
from streamarchive.protocols import Facets, Moments, Results, Sort, Total
from streamarchive.search import cursors, elastic_queries, spelling
from streamarchive.search.elastic_queries import MAX_NEAR, MAX_WINDOW, Narrowed, Request, counted, read_total
from streamarchive.search.elastic_requests import Json
from streamarchive.search.matching import NO_FACETS, NO_MOMENTS, NO_RESULTS

_BEHIND = 5
"""Interviews that may leave the answer between two pages without the next one missing any."""
_MOST_SUGGESTIONS = 50


class Searching:
    """Asks one index. `refuse` raises what an error inside a multiple search means to us."""

    def __init__(self, client: AsyncElasticsearch, name: str, refuse: Callable[[int, str], None]) -> None:
        self._client = client
        self._name = name
        self._refuse = refuse

    async def interviews(self, request: Request, sort: Sort, cursor: str, limit: int, moments: int) -> Results:
        """See `SearchIndex.search`. One can page down to the 10,000th interview.

        The server can group and continue behind a place, but not both at once; so what was shown is counted,
        and told by its place where the answer has shifted meanwhile.
        """
        narrowed = await self._narrowed(request)
        if narrowed.interviews == ():
            return replace(NO_RESULTS, timed_out=narrowed.timed_out)
        shown, after = self._position(cursor, sort)
        offset = max(shown - _BEHIND, 0)
        groups: list[Json] = []
        while True:
            size = min(limit + 1 + min(shown, _BEHIND), MAX_WINDOW - offset)
            if size <= 0:
                break
            answer = await self._search(request.interviews(narrowed, sort, offset, size, moments))
            page = answer["hits"]["hits"]
            groups += [each for each in page if after is None or _key(each["sort"], sort) > after]
            offset += len(page)
            if len(groups) > limit or len(page) < size:
                break
        if offset >= MAX_WINDOW and not groups:
            answer = await self._search(request.interviews(narrowed, sort, 0, 0, 0))
        named = counted(answer["aggregations"]["named"]["found"])
        total = read_total(answer, without=answer["aggregations"]["named"]["doc_count"])
        return Results(
            total=total,
            total_interviews=Total(answer["aggregations"]["count"]["value"], total.exact),
            interviews=request.read_interviews(groups[:limit], named, moments),
            next_cursor=_interview_cursor(groups, limit, shown),
            timed_out=answer["timed_out"] or narrowed.timed_out,
        )

    async def moments(self, request: Request, sort: Sort, cursor: str, limit: int) -> Moments:
        """See `SearchIndex.moments`."""
        after = cursors.decode(cursor, _SHAPES[sort])
        size, sizes = min(limit + 1, MAX_WINDOW), list[Total]()
        if sort is Sort.RELEVANCE:
            if request.clauses == 1:
                return self._page(await self._ranked(request, after, size), request, limit)
            best, sizes = await self._together(request, after, size)
            if len(best.hits) > limit and not all(each.exact for each in sizes):
                return self._page(best, request, limit)
        narrowed = await self._narrowed(request, sizes)
        if narrowed.interviews == ():
            return replace(NO_MOMENTS, timed_out=narrowed.timed_out)
        answer = _found(await self._search(request.moments(narrowed, sort, after, size)))
        return self._page(replace(answer, timed_out=answer.timed_out or narrowed.timed_out), request, limit)

    async def _ranked(self, request: Request, after: Sequence[Any] | None, size: int) -> _Found:
        """Rank by rank; see `Request.ranked`."""
        ranks, searches = zip(*request.ranked(after, size), strict=True)
        found = [_found(answer) for answer in await self._multiple(searches)]
        return _Found(
            [
                {**hit, "sort": [rank, *hit["sort"]]}
                for rank, each in zip(ranks, found, strict=True)
                for hit in each.hits
            ],
            Total(sum(each.total.value for each in found), all(each.total.exact for each in found)),
            any(each.timed_out for each in found),
        )

    async def _together(
        self, request: Request, after: Sequence[Any] | None, size: int
    ) -> tuple[_Found, list[Total]]:
        """The moments that have every clause, and how many have each.

        All others rank below them. So where these fill the page, and there are too many others to count, the
        others need not be looked at.
        """
        answers = await self._multiple([request.together(after, size), *request.sizes()])
        best, *sizes = map(_found, answers)
        return replace(best, total=Total(best.total.value, exact=False)), [each.total for each in sizes]

    def _page(self, found: _Found, request: Request, limit: int) -> Moments:
        more = len(found.hits) > limit > 0
        return Moments(
            total=found.total,
            hits=tuple(request.read_moment(each) for each in found.hits[:limit]),
            next_cursor=cursors.encode(found.hits[limit - 1]["sort"]) if more else "",
            timed_out=found.timed_out,
        )

    async def facets(self, request: Request) -> Facets:
        """See `SearchIndex.facets`."""
        narrowed = await self._narrowed(request)
        if narrowed.interviews == ():
            found = NO_FACETS
        else:
            found = elastic_queries.read_facets(await self._search(request.facets(narrowed)))
        return replace(found, exact=False, timed_out=True) if narrowed.timed_out else found

    async def similar(self, word: str, limit: int) -> tuple[str, ...]:
        """See `SearchIndex.similar`."""
        word = spelling.comparable(word)
        if not word:
            return ()
        answer = await self._search(elastic_queries.similar(word, spelling.edits(word), _MOST_SUGGESTIONS))
        options = answer["suggest"]["near"][0]["options"]
        return spelling.nearest(word, ((each["text"], each["freq"]) for each in options), limit)

    # --- what several clauses have in common ------------------------------------------------------------

    async def _narrowed(self, request: Request, sizes: Sequence[Total] = ()) -> Narrowed:
        """`interviews` is empty where none meets every clause."""
        clauses = range(request.clauses)
        if len(clauses) == 1:
            return Narrowed()
        sizes = sizes or await self._sizes(request)
        # A common clause has many interviews, of which only those matter that have the rare clauses.
        rare = [clause for clause in clauses if sizes[clause].exact] or list(clauses)
        common = [clause for clause in clauses if clause not in rare]
        interviews: set[InterviewId] | None = None
        found: dict[int, dict[str, int]] = {}
        timed_out = False
        for group in (rare, common):
            answers = await self._multiple([request.meeting(clause, interviews) for clause in group])
            timed_out |= any(each["timed_out"] for each in answers)
            found |= {
                clause: counted(answer["aggregations"]["found"])
                for clause, answer in zip(group, answers, strict=True)
            }
            interviews = {InterviewId(each) for each in set.intersection(*map(set, found.values()))}
            if not interviews:
                return Narrowed((), timed_out=timed_out)
        assert interviews  # noqa: S101 - there are several clauses
        within = [sum(found[clause][each] for each in interviews) for clause in clauses]
        rarest = within.index(min(within))
        near = await self._near(request, rarest, interviews, len(within)) if within[rarest] <= MAX_NEAR else ()
        return Narrowed(interviews, near, timed_out)

    async def _sizes(self, request: Request) -> list[Total]:
        return [read_total(answer) for answer in await self._multiple(request.sizes())]

    async def _near(
        self, request: Request, rarest: int, interviews: set[InterviewId], clauses: int
    ) -> Sequence[str]:
        """The windows in which every clause occurs; none where the rarest is too common for it to matter.

        They are a matter of order alone: without those that are not found in time, nothing is missing.
        """
        (answer,) = await self._multiple([request.windows(rarest, interviews)])
        found = answer["aggregations"]["found"]
        windows = list(counted(found))
        if not windows:
            return ()
        others = [request.shared(clause, windows) for clause in range(clauses) if clause != rarest]
        shared = [set(counted(each["aggregations"]["found"])) for each in await self._multiple(others)]
        return sorted(set(windows).intersection(*shared))

    # --- asking -----------------------------------------------------------------------------------------

    async def _search(self, body: Json) -> Mapping[str, Any]:
        answer = await self._client.search(index=self._name, body=body)
        found: Mapping[str, Any] = answer.body
        return found

    async def _multiple(self, searches: Sequence[Json]) -> list[Mapping[str, Any]]:
        if not searches:
            return []
        lines: list[Json] = []
        for search in searches:
            lines += [{"index": self._name}, search]
        answers = await self._client.msearch(searches=lines)
        for answer in answers["responses"]:
            if "error" in answer:
                self._refuse(answer["status"], answer["error"].get("reason", ""))
        found: list[Mapping[str, Any]] = answers["responses"]
        return found

    # --- cursors ----------------------------------------------------------------------------------------

    def _position(self, cursor: str, sort: Sort) -> tuple[int, tuple[Any, ...] | None]:
        """How many interviews were shown, and the place of the last."""
        values = cursors.decode(cursor, (int, *_INTERVIEW_SHAPES[sort]))
        if values is None or not 0 <= values[0] <= MAX_WINDOW:
            return 0, None
        return values[0], _key(values[1:], sort)


@dataclass(frozen=True, slots=True)
class _Found:
    """Moments as the server gives them."""

    hits: Sequence[Json]
    total: Total
    timed_out: bool


def _found(answer: Mapping[str, Any]) -> _Found:
    return _Found(answer["hits"]["hits"], read_total(answer), answer["timed_out"])


_NUMBER = (int, float)
_INTERVIEW_SHAPES = {
    Sort.RELEVANCE: (_NUMBER, int, str),
    Sort.NEWEST: (int, str),
    Sort.OLDEST: (int, str),
    Sort.POSITION: (int, str),
}
_SHAPES = {sort: (*shape, int, str) for sort, shape in _INTERVIEW_SHAPES.items()}


def _key(values: Sequence[Any], sort: Sort) -> tuple[Any, ...]:
    """Sort values as something that rises."""
    *numbers, interview = values
    sign = 1 if sort is Sort.OLDEST else -1
    return (*(sign * number for number in numbers), interview)


def _interview_cursor(groups: Sequence[Json], limit: int, shown: int) -> str:
    if not len(groups) > limit > 0:
        return ""
    return cursors.encode([shown + limit, *groups[limit - 1]["sort"]])
