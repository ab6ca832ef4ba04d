"""What is asked of Elasticsearch and what its answers mean; pure.

What a person typed reaches it as phrases of terms, never as `query_string`. A score is a `relevance.rank`: the
sum of constant steps, no statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamarchive.models import InterviewId
from streamarchive.protocols import Facets, Hit, Query, Sort, Total
from streamarchive.search import relevance
from streamarchive.search.elastic_requests import DOCUMENTS, Json, is_window_of
from streamarchive.search.matching import NO_SPEAKER, SEARCH_SECONDS, Sought, Wanted, marks
from streamarchive.text import Phrase

MAX_INTERVIEWS = 50_000
"""How many interviews a clause may occur in; below the server's limit of 65,536 buckets and terms."""
MAX_WINDOW = 10_000
"""How deep one can page in interviews, and how far moments are counted."""
MAX_MATCHES = 3_000
"""A clause that is in more documents is common: they are not all looked at where a page can be filled without."""
MAX_NEAR = 2_000
"""Moments of the rarest clause; where there are more, nearness is not looked at. Each is in two windows."""
_MAX_EXPANSIONS = 4_096
"""Pairs of characters that begin with the last one of a phrase."""
_MAX_FACET = 1_000

_IS_CUE: Json = {"term": {"kind": "cue"}}
_IS_INTERVIEW: Json = {"term": {"kind": "interview"}}
_SEARCH: Json = {"timeout": f"{SEARCH_SECONDS:g}s", "track_total_hits": MAX_WINDOW}
_INTERVIEWS: Json = {"terms": {"field": "interview_id", "size": MAX_INTERVIEWS}}

INTERVIEW_ORDER: Mapping[Sort, list[Any]] = {
    Sort.RELEVANCE: ["_score", {"held_at": "desc"}, {"interview_id": "asc"}],
    Sort.NEWEST: [{"held_at": "desc"}, {"interview_id": "asc"}],
    Sort.OLDEST: [{"held_at": "asc"}, {"interview_id": "asc"}],
    Sort.POSITION: [{"held_at": "desc"}, {"interview_id": "asc"}],
}
MOMENT_ORDER: Mapping[Sort, list[Any]] = {
    Sort.RELEVANCE: [*INTERVIEW_ORDER[Sort.RELEVANCE], {"start_ms": "asc"}, {"id": "asc"}],
    Sort.NEWEST: [*INTERVIEW_ORDER[Sort.NEWEST], {"start_ms": "desc"}, {"id": "desc"}],
    Sort.OLDEST: [*INTERVIEW_ORDER[Sort.OLDEST], {"start_ms": "asc"}, {"id": "asc"}],
    Sort.POSITION: [*INTERVIEW_ORDER[Sort.POSITION], {"start_ms": "asc"}, {"id": "asc"}],
}


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What several clauses have in common: the interviews that meet all, and where in them they are near."""

    interviews: Collection[InterviewId] | None = None
    """None: there is one clause, and the search itself tells."""
    near: Collection[str] = ()
    timed_out: bool = False
    """Some were not looked at in time: what is found within these may not be all."""


class Request:
    """One search: where there are several clauses first what they have in common, then a page."""

    def __init__(self, query: Query, wanted: Wanted, hidden: Collection[InterviewId]) -> None:
        self._query = query
        self._wanted = wanted
        self._scope = _scope(wanted, hidden)

    @property
    def clauses(self) -> int:
        """How many there are."""
        return len(self._wanted.clauses)

    # --- what several clauses have in common ------------------------------------------------------------

    def sizes(self) -> list[Json]:
        """A search for each clause: how many documents it occurs in, counted up to `MAX_MATCHES`."""
        return [self._counting(clause, []) | {"track_total_hits": MAX_MATCHES} for clause in self._wanted.clauses]

    def meeting(self, clause: int, interviews: Collection[InterviewId] | None) -> Json:
        """The interviews a clause occurs in, or which of these."""
        return self._counting(self._wanted.clauses[clause], _within(interviews), _INTERVIEWS)

    def windows(self, clause: int, interviews: Collection[InterviewId] | None) -> Json:
        """Where a clause occurs, or where in these interviews."""
        found = self._counting(self._wanted.clauses[clause], _within(interviews), _windows(2 * MAX_NEAR))
        return found | {"track_total_hits": MAX_NEAR + 1}

    def shared(self, clause: int, windows: Collection[str], *, common: bool) -> Json:
        """In which of these windows a clause occurs; of a rare one it is faster to look at all of it."""
        within: list[Json] = [{"terms": {"windows": list(windows)}}] if common else []
        aggregation = _windows(len(windows))
        aggregation["terms"]["include"] = list(windows)
        return self._counting(self._wanted.clauses[clause], within, aggregation)

    def _counting(self, clause: Sought, within: list[Json], aggregation: Json | None = None) -> Json:
        aggregated = {"aggs": {"found": aggregation}, "track_total_hits": False} if aggregation else {}
        return {**_SEARCH, "size": 0, **aggregated, "query": self._query_of([*within, contains(clause.any)])}

    # --- pages ------------------------------------------------------------------------------------------

    def interviews(self, narrowed: Narrowed | None, sort: Sort, offset: int, size: int) -> Json:
        """Interviews in order; where nothing is narrowed, those alone that have all clauses in one moment."""
        return {
            **self._body(narrowed, moments_only=self._wanted.moments_only),
            "from": offset,
            "size": size,
            "track_scores": True,
            "sort": INTERVIEW_ORDER[sort],
            "_source": False,
            "collapse": {"field": "interview_id"},
            "aggs": {
                "count": {"cardinality": {"field": "interview_id", "precision_threshold": 40_000}},
                "named": {"filter": _IS_INTERVIEW},
            },
        }

    def best(self, interview: InterviewId, near: Collection[str], size: int) -> Json:
        """The best moments of an interview that meets every clause."""
        within = Narrowed((interview,), [window for window in near if is_window_of(interview, window)])
        page: Json = {"size": min(size, MAX_WINDOW), "version": True, "sort": ["_score", {"start_ms": "asc"}]}
        return {**self._body(within, moments_only=True), **page}

    def ranked(self, after: Sequence[Any] | None, size: int) -> list[tuple[int, Json]]:
        """Moments of the only clause, in a search for each rank that they can have, the best first.

        In each they stand as they do on disk, so that a search ends with its page, however common the word.
        Those before `after` are only counted.
        """
        (clause,) = self._wanted.clauses
        forms: list[tuple[int, list[Json], list[Json]]] = [(1, [contains(clause.exact)], [])]
        if clause.loose:
            forms.append((0, [contains(clause.loose)], [contains(clause.exact)]))
        found = []
        for sure in (True, False):
            for exact, filters, excluded in forms:
                rank = relevance.rank(1, exact, sure=sure, near=False, together=False)
                filters = [*filters, _IS_CUE, {"term": {"doubtful": not sure}}]
                page: Json = {"sort": MOMENT_ORDER[Sort.POSITION], "version": True, "size": size}
                if after and rank >= after[0]:
                    page |= {"size": 0} if rank > after[0] else {"search_after": list(after[1:])}
                found.append((rank, {**_SEARCH, **page, "query": self._query_of(filters, excluded)}))
        return found

    def moments(self, narrowed: Narrowed | None, sort: Sort, after: Sequence[Any] | None, size: int) -> Json:
        """Moments in order, after the one whose sort values these are; of what, see `interviews`."""
        paging = {"search_after": list(after)} if after else {}
        page: Json = {"size": size, "version": True, "sort": MOMENT_ORDER[sort]}
        return {**self._body(narrowed, moments_only=True), **paging, **page}

    def facets(self, narrowed: Narrowed) -> Json:
        """All moments, counted."""
        body = self._body(narrowed, moments_only=True)
        body["query"]["bool"].pop("should")
        fields = {"langs": "lang", "speakers": "speaker"}
        counted = {name: {"terms": {"field": field, "size": _MAX_FACET}} for name, field in fields.items()}
        return {**body, "size": 0, "track_total_hits": False, "aggs": {**counted, "interviews": _INTERVIEWS}}

    def _body(self, narrowed: Narrowed | None, *, moments_only: bool) -> Json:
        filters = [_IS_CUE] if moments_only else []
        if narrowed is None:
            return {**_SEARCH, "query": self._together(filters)}
        filters.append(_any([contains(clause.any) for clause in self._wanted.clauses]))
        filters += _within(narrowed.interviews)
        query = self._query_of(filters)
        query["bool"]["should"] = self._steps(narrowed.near)
        return {**_SEARCH, "query": query}

    def _together(self, filters: list[Json]) -> Json:
        """What has every clause; the steps that all of it has are one."""
        clauses = self._wanted.clauses
        query = self._query_of([*filters, *(contains(clause.any) for clause in clauses)])
        loose = [clause for clause in clauses if clause.loose]
        exact = len(clauses) - len(loose)
        rank = relevance.rank(len(clauses), exact, sure=False, near=False, together=True)
        query["bool"]["must"] = [_step({"match_all": {}}, rank)]
        query["bool"]["should"] = [
            _IS_SURE,
            *(_step(contains(clause.exact), relevance.EXACT) for clause in loose),
        ]
        return query

    def _query_of(self, filters: Sequence[Json], excluded: Sequence[Json] = ()) -> Json:
        """What meets these, of the documents that count."""
        return {
            "bool": {
                "filter": [*self._scope["filter"], *filters],
                "must_not": [*self._scope["must_not"], *excluded],
            }
        }

    def _steps(self, near: Collection[str]) -> list[Json]:
        """What a `relevance.rank` is the sum of."""
        steps = [_IS_SURE]
        for clause in self._wanted.clauses:
            steps.append(_step(contains(clause.any), relevance.CLAUSE))
            steps.append(_step(contains(clause.exact), relevance.EXACT))
        if len(self._wanted.clauses) > 1:
            both = [contains((*clause.any, *clause.ahead)) for clause in self._wanted.clauses]
            together: Json = {"bool": {"filter": both}}
            steps.append(_step(together, relevance.TOGETHER))
            if near:
                apart = {"bool": {"filter": [{"terms": {"windows": sorted(near)}}], "must_not": [together]}}
                steps.append(_step(apart, relevance.NEAR))
        return steps

    # --- answers ----------------------------------------------------------------------------------------

    def read_moment(self, found: Json) -> Hit:
        """A hit of an answer to `moments`."""
        source = found["_source"]
        marked = marks(source["text"], self._query, source["following"])
        return Hit(
            document_id=found["_id"],
            interview_id=InterviewId(source["interview_id"]),
            version=found["_version"],
            start_ms=source["start_ms"],
            end_ms=source["end_ms"],
            text=source["text"],
            lang=source["lang"],
            speaker=source["speaker"],
            doubtful=source["doubtful"],
            spans=marked.spans,
            crosses_border=bool(marked.continued),
        )


def read_total(answer: Mapping[str, Any], without: int = 0) -> Total:
    """How many documents, some not counted."""
    total = answer["hits"]["total"]
    return Total(max(total["value"] - without, 0), exact=total["relation"] == "eq" and not answer["timed_out"])


def read_facets(answer: Mapping[str, Any]) -> Facets:
    """The answer to `Request.facets`."""
    counts = {name: counted(answer["aggregations"][name]) for name in ("langs", "speakers", "interviews")}
    ordered = {
        name: dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for name, found in counts.items()
    }
    return Facets(
        langs=ordered["langs"],
        speakers=ordered["speakers"],
        interviews={InterviewId(each): count for each, count in ordered["interviews"].items()},
        exact=not answer["timed_out"],
        timed_out=answer["timed_out"],
    )


def counted(aggregation: Mapping[str, Any]) -> dict[str, int]:
    """The buckets of an aggregation."""
    return {bucket["key"]: bucket["doc_count"] for bucket in aggregation["buckets"]}


def similar(word: str, edits: int, limit: int) -> Json:
    """Words of the index that resemble this one."""
    looked_for = {
        "field": "terms",
        "suggest_mode": "always",
        "max_edits": edits,
        "prefix_length": 1,
        "size": limit,
        "shard_size": limit,
        "max_inspections": 50,
    }
    return {"size": 0, "suggest": {"near": {"text": word, "term": looked_for}}}


# --- parts of queries -----------------------------------------------------------------------------------


def _scope(wanted: Wanted, hidden: Collection[InterviewId]) -> dict[str, list[Json]]:
    """The documents that count, in the clauses of a `bool` query."""
    filters = [DOCUMENTS]
    if wanted.interviews:
        filters.append({"terms": {"interview_id": list(wanted.interviews)}})
    if wanted.langs:
        filters.append(_any([{"terms": {"lang": list(wanted.langs)}}, _IS_INTERVIEW]))
    if wanted.speakers:
        filters.append(contains((*wanted.speakers, Phrase((NO_SPEAKER,)))))
    excluded = [contains(wanted.without)] if wanted.without else []
    if hidden:
        excluded.append({"terms": {"interview_id": sorted(hidden)}})
    return {"filter": filters, "must_not": excluded}


def contains(phrases: Sequence[Phrase]) -> Json:
    """Any of these phrases is in the document."""
    return _any([_contains(phrase) for phrase in phrases])


def _contains(phrase: Phrase) -> Json:
    if len(phrase.terms) == 1:
        return {"prefix" if phrase.prefix else "term": {"terms": {"value": phrase.terms[0]}}}
    if phrase.prefix:
        wanted = {"query": " ".join(phrase.terms), "max_expansions": _MAX_EXPANSIONS}
        return {"match_phrase_prefix": {"terms": wanted}}
    return {"match_phrase": {"terms": {"query": " ".join(phrase.terms)}}}


def _any(queries: Collection[Json]) -> Json:
    listed = list(queries)
    return listed[0] if len(listed) == 1 else {"bool": {"should": listed, "minimum_should_match": 1}}


def _within(interviews: Collection[InterviewId] | None) -> list[Json]:
    return [] if interviews is None else [{"terms": {"interview_id": sorted(interviews)}}]


def _step(query: Json, boost: int) -> Json:
    return {"constant_score": {"filter": query, "boost": boost}}


_IS_SURE = _step({"term": {"doubtful": False}}, relevance.SURE)


def _windows(size: int) -> Json:
    return {"terms": {"field": "windows", "size": max(size, 1), "execution_hint": "map"}}
