"""What is asked of Elasticsearch and what its answers mean; pure.

What a person typed reaches it as phrases of terms, never as `query_string`. A score is a `relevance.rank`: the
sum of constant steps, no statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamarchive.models import InterviewId
from streamarchive.protocols import Facets, Hit, InterviewHits, Query, Sort, Total
from streamarchive.search import relevance
from streamarchive.search.elastic_requests import DOCUMENTS, MAX_MOMENTS, Json
from streamarchive.search.matching import NO_SPEAKER, SEARCH_SECONDS, Sought, Wanted, marks
from streamarchive.text import Phrase

MAX_INTERVIEWS = 50_000
"""How many interviews a clause may occur in; below the server's limit of 65,536 buckets and terms."""
MAX_WINDOW = 10_000
"""How deep one can page in interviews, and how far moments are counted."""
MAX_NEAR = 2_000
"""Places of a recording at which the rarest clause occurs; where there are more, nearness is not looked at."""
_MAX_EXPANSIONS = 4_096
"""Pairs of characters that begin with the last one of a phrase."""
_MAX_FACET = 1_000

_IS_CUE: Json = {"term": {"kind": "cue"}}
_IS_INTERVIEW: Json = {"term": {"kind": "interview"}}
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

    # --- what several clauses have in common ------------------------------------------------------------

    def meeting(self) -> list[Json]:
        """A search for each clause: the interviews it occurs in. Empty where one clause is all there is."""
        if len(self._wanted.clauses) == 1:
            return []
        return [self._counting(clause, [], _INTERVIEWS) for clause in self._wanted.clauses]

    def windows(self, clause: int, interviews: Collection[InterviewId]) -> Json:
        """Where in these interviews a clause occurs."""
        within = {"terms": {"interview_id": sorted(interviews)}}
        return self._counting(self._wanted.clauses[clause], [within], _windows(MAX_NEAR))

    def shared(self, clause: int, windows: Sequence[str]) -> Json:
        """In which of these windows a clause occurs."""
        within = {"terms": {"windows": list(windows)}}
        aggregation = _windows(len(windows))
        aggregation["terms"]["include"] = list(windows)
        return self._counting(self._wanted.clauses[clause], [within], aggregation)

    def _counting(self, clause: Sought, within: list[Json], aggregation: Json) -> Json:
        return {
            "size": 0,
            "timeout": f"{SEARCH_SECONDS:g}s",
            "track_total_hits": False,
            "query": {"bool": {**self._scope, "filter": [*self._scope["filter"], *within, contains(clause.any)]}},
            "aggs": {"found": aggregation},
        }

    # --- pages ------------------------------------------------------------------------------------------

    def interviews(self, narrowed: Narrowed, sort: Sort, offset: int, size: int, moments: int) -> Json:
        """Interviews in order, each with its best documents, one more than `moments`: it may be its own."""
        return {
            **self._body(narrowed, moments_only=self._wanted.moments_only),
            "from": offset,
            "size": size,
            "track_scores": True,
            "sort": INTERVIEW_ORDER[sort],
            "_source": False,
            "collapse": {
                "field": "interview_id",
                "inner_hits": {
                    "name": "moments",
                    "size": min(moments, MAX_MOMENTS) + 1,
                    "sort": ["_score", {"start_ms": {"order": "asc", "missing": "_last"}}],
                    "version": True,
                },
            },
            "aggs": {
                "count": {"cardinality": {"field": "interview_id", "precision_threshold": 40_000}},
                "named": {"filter": _IS_INTERVIEW, "aggs": {"found": _INTERVIEWS}},
            },
        }

    def moments(self, narrowed: Narrowed, sort: Sort, after: Sequence[Any] | None, size: int) -> Json:
        """Moments in order, after the one whose sort values these are."""
        paging = {"search_after": list(after)} if after else {}
        return {
            **self._body(narrowed, moments_only=True),
            **paging,
            "size": size,
            "version": True,
            "sort": MOMENT_ORDER[sort],
        }

    def facets(self, narrowed: Narrowed) -> Json:
        """All moments, counted."""
        body = self._body(narrowed, moments_only=True)
        body["query"]["bool"].pop("should")
        fields = {"langs": "lang", "speakers": "speaker"}
        counted = {name: {"terms": {"field": field, "size": _MAX_FACET}} for name, field in fields.items()}
        return {**body, "size": 0, "track_total_hits": False, "aggs": {**counted, "interviews": _INTERVIEWS}}

    def _body(self, narrowed: Narrowed, *, moments_only: bool) -> Json:
        filters = [*self._scope["filter"], _any([contains(clause.any) for clause in self._wanted.clauses])]
        if narrowed.interviews is not None:
            filters.append({"terms": {"interview_id": sorted(narrowed.interviews)}})
        if moments_only:
            filters.append(_IS_CUE)
        return {
            "timeout": f"{SEARCH_SECONDS:g}s",
            "track_total_hits": MAX_WINDOW,
            "query": {
                "bool": {
                    "filter": filters,
                    "must_not": self._scope["must_not"],
                    "should": self._steps(narrowed.near),
                }
            },
        }

    def _steps(self, near: Collection[str]) -> list[Json]:
        """What a `relevance.rank` is the sum of."""
        steps = [_step({"term": {"doubtful": False}}, relevance.SURE)]
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

    def read_interviews(
        self, groups: Sequence[Json], named: Collection[str], moments: int
    ) -> tuple[InterviewHits, ...]:
        """Groups of an answer to `interviews`; `named` are those whose own document is among the hits."""
        return tuple(self._interview(group, named, moments) for group in groups)

    def _interview(self, group: Json, named: Collection[str], moments: int) -> InterviewHits:
        interview_id = InterviewId(group["fields"]["interview_id"][0])
        found = group["inner_hits"]["moments"]["hits"]
        hits = [self.read_moment(each) for each in found["hits"] if each["_source"]["kind"] == "cue"]
        return InterviewHits(
            interview_id=interview_id,
            total=found["total"]["value"] - (interview_id in named),
            moments=tuple(hits[:moments]),
        )

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


def _step(query: Json, boost: int) -> Json:
    return {"constant_score": {"filter": query, "boost": boost}}


def _windows(size: int) -> Json:
    return {"terms": {"field": "windows", "size": max(size, 1), "execution_hint": "map"}}
