"""What an index on Elasticsearch is and what is written to it; pure.

Only what the minimal server has: the analyzer `whitespace` over terms made by `streamarchive.search.matching`,
no scripts, no plugins.
"""

from __future__ import annotations

from typing import Any

from streamarchive.protocols import (
    CueDocument,
    InterviewDocument,
    Operation,
    Tombstone,
)
from streamarchive.search.matching import WINDOW_MS, indexed
from streamarchive.text import ANALYZER_VERSION

Json = dict[str, Any]

_LONGEST_SPEAKER = 1_000

SETTINGS: Json = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",
    # Said explicitly: left to its default, a shard that nobody searches stops refreshing after 30 s.
    "refresh_interval": "1s",
    # Newest first on disk as in answers: a search stops in each segment as soon as its page is full.
    "sort.field": ["held_at", "interview_id", "start_ms", "id"],
    "sort.order": ["desc", "asc", "asc", "asc"],
}
MAPPINGS: Json = {
    "dynamic": "strict",
    "_meta": {"analyzer_version": ANALYZER_VERSION},
    "_source": {"excludes": ["terms", "windows"]},
    "properties": {
        "kind": {"type": "keyword"},
        "id": {"type": "keyword", "index": False},
        "interview_id": {"type": "keyword"},
        "held_at": {"type": "date"},
        "start_ms": {"type": "long"},
        "end_ms": {"type": "long", "index": False, "doc_values": False},
        "windows": {"type": "keyword"},
        "lang": {"type": "keyword"},
        "speaker": {"type": "keyword", "index": False, "ignore_above": _LONGEST_SPEAKER},
        "doubtful": {"type": "boolean"},
        "text": {"type": "text", "index": False},
        "following": {"type": "text", "index": False},
        "terms": {"type": "text", "analyzer": "whitespace", "norms": False},
    },
}
DOCUMENTS: Json = {"terms": {"kind": ["cue", "interview"]}}

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
        "id": operation.id,
        "interview_id": operation.interview_id,
        "held_at": operation.held_at.isoformat(),
        "terms": indexed(operation),
    }
    if isinstance(operation, InterviewDocument):
        return common | {"doubtful": False}
    return common | {
        "start_ms": operation.start_ms,
        "end_ms": operation.end_ms,
        "windows": windows(operation.interview_id, operation.start_ms),
        "lang": operation.lang,
        "speaker": operation.speaker,
        "doubtful": operation.doubtful,
        "text": operation.text,
        "following": operation.following,
    }


def windows(interview_id: str, start_ms: int) -> list[str]:
    """The pairs of neighbouring windows of its recording a cue is in: those near each other share one."""
    window = start_ms // WINDOW_MS
    return [f"{interview_id}:{window - 1}", f"{interview_id}:{window}"]


def is_window_of(interview_id: str, window: str) -> bool:
    """Whether it is one that `windows` names for this interview."""
    return window.rpartition(":")[0] == interview_id
