"""Searching an index on Elasticsearch: which requests answer a question, and paging through the answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from elasticsearch import AsyncElasticsearch

from streamarchive.models import InterviewId
from streamarchive.protocols import Facets, InterviewHits, Moments, Results, Sort, Total
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
        """See `SearchIndex.search`. One can page down to the 10,000th interview."""
        shown, after = self._position(cursor, sort)
        sizes = await self._sizes(request)
        groups = None
        if sort is Sort.RELEVANCE and _are_many(sizes):
            groups = await self._groups(request, None, sort, shown, after, limit)
        if groups is None or len(groups.found) <= limit:
            narrowed = await self._narrowed(request, sizes, with_near=sort is Sort.RELEVANCE)
            if narrowed.interviews == ():
                return replace(NO_RESULTS, timed_out=narrowed.timed_out)
            groups = await self._groups(request, narrowed, sort, shown, after, limit)
        page = groups.found[:limit]
        hits, timed_out = await self._best(request, [_interview_of(each) for each in page], sizes, moments)
        return Results(
            total=groups.total,
            total_interviews=Total(groups.interviews, groups.total.exact),
            interviews=hits,
            next_cursor=_interview_cursor(groups.found, limit, shown),
            timed_out=groups.timed_out or timed_out,
        )

    async def _groups(
        self,
        request: Request,
        narrowed: Narrowed | None,
        sort: Sort,
        shown: int,
        after: tuple[Any, ...] | None,
        limit: int,
    ) -> _Groups:
        """One interview more than the page, if there is one.

        The server can group and continue behind a place, but not both at once; so what was shown is counted,
        and told by its place where the answer has shifted meanwhile.
        """
        offset = max(shown - _BEHIND, 0)
        found: list[Json] = []
        while True:
            size = min(limit + 1 + min(shown, _BEHIND), MAX_WINDOW - offset)
            if size <= 0:
                break
            answer = await self._search(request.interviews(narrowed, sort, offset, size))
            page = answer["hits"]["hits"]
            found += [each for each in page if after is None or _key(each["sort"], sort) > after]
            offset += len(page)
            if len(found) > limit or len(page) < size:
                break
        if offset >= MAX_WINDOW and not found:
            answer = await self._search(request.interviews(narrowed, sort, 0, 0))
        total = read_total(answer, without=answer["aggregations"]["named"]["doc_count"])
        return _Groups(
            found=found,
            total=replace(total, exact=total.exact and narrowed is not None),
            interviews=answer["aggregations"]["count"]["value"],
            timed_out=answer["timed_out"] or (narrowed is not None and narrowed.timed_out),
        )

    async def _best(
        self, request: Request, interviews: Sequence[InterviewId], sizes: Sequence[Total], moments: int
    ) -> tuple[tuple[InterviewHits, ...], bool]:
        """These interviews with their best moments, and whether there was no time for all of them."""
        near = await self._near(request, sizes, interviews)
        answers = await self._multiple([request.best(each, near, moments) for each in interviews])
        hits = tuple(
            InterviewHits(
                interview_id=interview,
                total=read_total(answer).value,
                moments=tuple(request.read_moment(each) for each in answer["hits"]["hits"]),
            )
            for interview, answer in zip(interviews, answers, strict=True)
        )
        return hits, any(answer["timed_out"] for answer in answers)

    async def moments(self, request: Request, sort: Sort, cursor: str, limit: int) -> Moments:
        """See `SearchIndex.moments`."""
        after = cursors.decode(cursor, _SHAPES[sort])
        size = min(limit + 1, MAX_WINDOW)
        if request.clauses == 1:
            if sort is Sort.RELEVANCE:
                return self._page(await self._ranked(request, after, size), request, limit)
            answer = _found(await self._search(request.moments(Narrowed(), sort, after, size)))
            return self._page(answer, request, limit)
        if sort is Sort.RELEVANCE:
            best, sizes = await self._together(request, after, size)
            if _are_many(sizes) and len(best.hits) > limit:
                return self._page(best, request, limit)
        else:
            sizes = await self._sizes(request)
        narrowed = await self._narrowed(request, sizes, with_near=sort is Sort.RELEVANCE)
        if narrowed.interviews == ():
            return replace(NO_MOMENTS, timed_out=narrowed.timed_out)
        answer = _found(await self._search(request.moments(narrowed, sort, after, size)))
        return self._page(replace(answer, timed_out=answer.timed_out or narrowed.timed_out), request, limit)

    async def _together(
        self, request: Request, after: Sequence[Any] | None, size: int
    ) -> tuple[_Found, list[Total]]:
        """The moments that have every clause, and how many each clause has."""
        searches = [request.moments(None, Sort.RELEVANCE, after, size), *request.sizes()]
        best, *each_clause = map(_found, await self._multiple(searches))
        return replace(best, total=Total(best.total.value, exact=False)), [each.total for each in each_clause]

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
        narrowed = await self._narrowed(request, await self._sizes(request), with_near=False)
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

    async def _narrowed(self, request: Request, sizes: Sequence[Total], *, with_near: bool) -> Narrowed:
        """`interviews` is empty where none meets every clause. `with_near`: nearness is part of the order."""
        clauses = range(request.clauses)
        if len(clauses) == 1:
            return Narrowed()
        rarest = min(clauses, key=lambda clause: sizes[clause].value)
        with_near = with_near and sizes[rarest].value <= MAX_NEAR
        # A common clause has many interviews, of which only those matter that have the rare clauses.
        rare = [clause for clause in clauses if sizes[clause].exact] or list(clauses)
        common = [clause for clause in clauses if clause not in rare]
        places = [request.windows(rarest, None)] if with_near else []
        answers = await self._multiple([*(request.meeting(clause, None) for clause in rare), *places])
        windows = set(_buckets(answers.pop())) if with_near else set()
        interviews = set.intersection(*(set(_buckets(answer)) for answer in answers))
        timed_out = any(answer["timed_out"] for answer in answers)
        if not interviews:
            return Narrowed((), timed_out=timed_out)
        met = [request.meeting(clause, [InterviewId(each) for each in interviews]) for clause in common]
        answers = await self._multiple([*met, *_sharing(request, sizes, rarest, windows)])
        interviews = interviews.intersection(*(_buckets(answer) for answer in answers[: len(met)]))
        timed_out |= any(answer["timed_out"] for answer in answers[: len(met)])
        near = windows.intersection(*(_buckets(answer) for answer in answers[len(met) :]))
        return Narrowed(tuple(InterviewId(each) for each in interviews), near, timed_out)

    async def _sizes(self, request: Request) -> list[Total]:
        """How many documents each of several clauses is in; of one alone nobody needs to know."""
        if request.clauses == 1:
            return []
        return [read_total(answer) for answer in await self._multiple(request.sizes())]

    async def _near(
        self, request: Request, sizes: Sequence[Total], interviews: Collection[InterviewId]
    ) -> Collection[str]:
        """The windows of these few interviews in which every clause occurs.

        None where the rarest occurs too often for it to matter. They are a matter of order alone: without those
        that are not found in time, nothing is missing.
        """
        if len(sizes) < 2 or not interviews:
            return ()
        rarest = min(range(len(sizes)), key=lambda clause: sizes[clause].value)
        (answer,) = await self._multiple([request.windows(rarest, interviews)])
        if answer["hits"]["total"]["value"] > MAX_NEAR:
            return ()
        windows = set(_buckets(answer))
        answers = await self._multiple(_sharing(request, sizes, rarest, windows))
        return windows.intersection(*(_buckets(each) for each in answers))

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
class _Groups:
    """Interviews as the server gives them, and how many there are with how many moments in all."""

    found: Sequence[Json]
    total: Total
    interviews: int
    timed_out: bool


def _interview_of(group: Json) -> InterviewId:
    return InterviewId(group["fields"]["interview_id"][0])


def _are_many(sizes: Sequence[Total]) -> bool:
    """Whether some clause is too common to look at all its moments.

    Those that have every clause rank above all others. Where they fill a page, the others need not be known.
    """
    return any(not size.exact for size in sizes)


@dataclass(frozen=True, slots=True)
class _Found:
    """Moments as the server gives them."""

    hits: Sequence[Json]
    total: Total
    timed_out: bool


def _sharing(request: Request, sizes: Sequence[Total], rarest: int, windows: Collection[str]) -> list[Json]:
    """A search for each other clause: in which windows of the rarest one it occurs."""
    others = [clause for clause in range(len(sizes)) if clause != rarest and windows]
    return [request.shared(clause, windows, common=not sizes[clause].exact) for clause in others]


def _buckets(answer: Mapping[str, Any]) -> Collection[str]:
    return counted(answer["aggregations"]["found"]).keys()


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
