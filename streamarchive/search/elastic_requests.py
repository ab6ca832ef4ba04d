"""What is asked of Elasticsearch and what its answers mean; pure.

Only what the minimal server has: the analyzer `whitespace` over terms made by `streamarchive.text`, no scripts,
no plugins. What a person typed reaches it as phrases of terms, never as `query_string`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from streamarchive.models import InterviewId
from streamarchive.protocols import (
    CueDocument,
    Hit,
    InterviewDocument,
    InterviewHits,
    Operation,
    Query,
    Results,
    Tombstone,
    Total,
)
from streamarchive.search.matching import SEARCH_SECONDS, Wanted, indexed, marks
from streamarchive.text import ANALYZER_VERSION, Phrase

Json = dict[str, Any]

MAX_INTERVIEWS = 50_000
"""How many interviews a clause may occur in; below the server's limit of 65,536 buckets and terms."""
MAX_WINDOW = 10_000
"""How deep one can page."""
MAX_MOMENTS = 1_000
_MAX_EXPANSIONS = 4_096
"""Pairs of characters that begin with the last one of a phrase."""

# A score is made of steps that BM25, divided by the length of each phrase, does not reach: one for every
# clause a document contains, a smaller one for documents that can be relied on.
_CLAUSE_STEP = 2_000.0
_SURE_STEP = 1_000.0

SETTINGS: Json = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",
    # Said explicitly: left to its default, a shard that nobody searches stops refreshing after 30 s.
    "refresh_interval": "1s",
    "max_inner_result_window": MAX_MOMENTS + 1,
}
MAPPINGS: Json = {
    "dynamic": "strict",
    "_meta": {"analyzer_version": ANALYZER_VERSION},
    "_source": {"excludes": ["terms", "speaker_terms"]},
    "properties": {
        "kind": {"type": "keyword"},
        "interview_id": {"type": "keyword"},
        "start_ms": {"type": "long"},
        "end_ms": {"type": "long"},
        "lang": {"type": "keyword"},
        "speaker": {"type": "text", "index": False},
        "speaker_terms": {"type": "text", "analyzer": "whitespace", "norms": False},
        "doubtful": {"type": "boolean"},
        "held_at": {"type": "date"},
        "text": {"type": "text", "index": False},
        "terms": {"type": "text", "analyzer": "whitespace"},
    },
}
DOCUMENTS: Json = {"terms": {"kind": ["cue", "interview"]}}
_IS_INTERVIEW: Json = {"term": {"kind": "interview"}}


# --- writing --------------------------------------------------------------------------------------------


def action(alias: str, operation: Operation) -> Json:
    """One item of a bulk request: of two writes the higher version stays, whatever their order.

    What is deleted becomes a small document: the versions of true deletions are forgotten after a minute, and a
    late write would bring the document back.
    """
    return {
        "_op_type": "index",
        "_index": alias,
        "_id": operation.id,
        "version": operation.version,
        "version_type": "external",
        "_source": _source(operation),
    }


def _source(operation: Operation) -> Json:
    if isinstance(operation, Tombstone):
        return {"kind": "tombstone"}
    common = {
        "kind": "cue" if isinstance(operation, CueDocument) else "interview",
        "interview_id": operation.interview_id,
        "held_at": operation.held_at.isoformat(),
        "text": operation.text,
        "terms": indexed(operation.text),
    }
    if isinstance(operation, InterviewDocument):
        return common | {"doubtful": False}
    return common | {
        "start_ms": operation.start_ms,
        "end_ms": operation.end_ms,
        "lang": operation.lang,
        "speaker": operation.speaker,
        "speaker_terms": indexed(operation.speaker),
        "doubtful": operation.doubtful,
    }


# --- asking ---------------------------------------------------------------------------------------------


class Request:
    """One search: first, where there are several clauses, which interviews meet all; then the page of them."""

    def __init__(self, query: Query, wanted: Wanted, hidden: Collection[InterviewId]) -> None:
        self._query = query
        self._wanted = wanted
        self._scope = _scope(wanted, hidden)

    def meeting(self) -> list[Json]:
        """A search for each clause: the interviews it occurs in. Empty where one clause is all there is."""
        if len(self._wanted.clauses) == 1:
            return []
        return [
            {
                "size": 0,
                "timeout": f"{SEARCH_SECONDS:g}s",
                "track_total_hits": False,
                "query": {"bool": {**self._scope, "must": [_contains("terms", clause)]}},
                "aggs": {"interviews": _INTERVIEWS},
            }
            for clause in self._wanted.clauses
        ]

    def page(self, meeting: Collection[InterviewId] | None, offset: int, limit: int, moments: int) -> Json:
        """Interviews in order, each with its best documents, one more than `moments`: it may be its own."""
        filters = list(self._scope["filter"])
        if meeting is not None:
            filters.append({"terms": {"interview_id": sorted(meeting)}})
        if self._wanted.moments_only:
            filters.append({"term": {"kind": "cue"}})
        reachable = max(0, min(limit, MAX_WINDOW - offset))
        return {
            "timeout": f"{SEARCH_SECONDS:g}s",
            "track_total_hits": True,
            "from": offset if reachable else 0,
            "size": reachable,
            "query": {
                "bool": {
                    "filter": filters,
                    "must_not": self._scope["must_not"],
                    "must": [{"bool": {"should": self._scored(), "minimum_should_match": 1}}],
                    "should": [_step({"term": {"doubtful": False}}, _SURE_STEP)],
                }
            },
            "sort": ["_score", {"held_at": "desc"}, {"interview_id": "asc"}],
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
                "named": {"filter": _IS_INTERVIEW, "aggs": {"interviews": _INTERVIEWS}},
            },
        }

    def _scored(self) -> list[Json]:
        clauses = [(clause, _contains("terms", clause)) for clause in self._wanted.clauses]
        steps = [_step(contains, _CLAUSE_STEP) for _, contains in clauses]
        return steps + [_contains("terms", clause, boost=1 / len(clause.terms)) for clause, _ in clauses]

    def results(self, answer: Mapping[str, Any], offset: int, moments: int) -> Results:
        """Read the answer to `page`."""
        named = buckets(answer["aggregations"]["named"])
        interviews = answer["aggregations"]["count"]["value"]
        after = offset + len(answer["hits"]["hits"])
        return Results(
            total=Total(answer["hits"]["total"]["value"] - answer["aggregations"]["named"]["doc_count"]),
            total_interviews=Total(interviews),
            interviews=tuple(self._interview(group, named, moments) for group in answer["hits"]["hits"]),
            next_cursor=str(after) if offset < after < min(interviews, MAX_WINDOW) else "",
            timed_out=answer["timed_out"],
        )

    def _interview(self, group: Json, named: Collection[InterviewId], moments: int) -> InterviewHits:
        interview_id = InterviewId(group["fields"]["interview_id"][0])
        found = group["inner_hits"]["moments"]["hits"]
        hits = [self._hit(each) for each in found["hits"] if each["_source"]["kind"] == "cue"]
        return InterviewHits(
            interview_id=interview_id,
            total=found["total"]["value"] - (interview_id in named),
            moments=tuple(hits[:moments]),
        )

    def _hit(self, found: Json) -> Hit:
        source = found["_source"]
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
            spans=marks(source["text"], self._query),
        )


def buckets(aggregation: Mapping[str, Any]) -> set[InterviewId]:
    """The interviews that an answer to `Request.meeting` counted."""
    return {InterviewId(bucket["key"]) for bucket in aggregation["interviews"]["buckets"]}


_INTERVIEWS: Json = {"terms": {"field": "interview_id", "size": MAX_INTERVIEWS}}


def _scope(wanted: Wanted, hidden: Collection[InterviewId]) -> dict[str, list[Json]]:
    """The documents that count, in the clauses of a `bool` query."""
    filters = [DOCUMENTS]
    if wanted.interviews:
        filters.append({"terms": {"interview_id": list(wanted.interviews)}})
    if wanted.langs:
        filters.append(_any_of([{"terms": {"lang": list(wanted.langs)}}, _IS_INTERVIEW]))
    if wanted.speakers:
        speakers = [_contains("speaker_terms", speaker) for speaker in wanted.speakers]
        filters.append(_any_of([*speakers, _IS_INTERVIEW]))
    excluded = [_contains("terms", phrase) for phrase in wanted.without]
    if hidden:
        excluded.append({"terms": {"interview_id": sorted(hidden)}})
    return {"filter": filters, "must_not": excluded}


def _contains(field: str, phrase: Phrase, boost: float = 1.0) -> Json:
    if not phrase.prefix:
        return {"match_phrase": {field: {"query": " ".join(phrase.terms), "boost": boost}}}
    if len(phrase.terms) == 1:
        return {"prefix": {field: {"value": phrase.terms[0], "boost": boost}}}
    wanted = {"query": " ".join(phrase.terms), "max_expansions": _MAX_EXPANSIONS, "boost": boost}
    return {"match_phrase_prefix": {field: wanted}}


def _any_of(queries: Sequence[Json]) -> Json:
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def _step(query: Json, boost: float) -> Json:
    return {"constant_score": {"filter": query, "boost": boost}}
