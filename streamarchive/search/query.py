"""The query language: words, "phrases", -without, lang:zh, speaker:name, in:interview.

Whatever somebody types is a query; what cannot be understood is reported in `Query.ignored`, never refused.
Chinese needs no spaces and may use its own punctuation: “…” and 「…」 quote, ：separates a filter from its
value, － excludes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.protocols import Clause, Query

MAX_LENGTH = 200
"""Characters of a query that count."""
MAX_CLAUSES = 16

_PART = re.compile(
    r"""
    (?P<minus>[-－−](?=\S))?
    (?:(?P<name>lang|speaker|in)[:：])?
    (?:
        ["＂“”](?P<quoted>[^"＂“”]*)["＂“”]?
      | [「『](?P<corner>[^」』]*)[」』]?
      | (?P<word>(?:(?<=\d),(?=\d)|[^\s"＂“”「『，,、；;。！？])+)
      | (?P<nothing>)(?=[\s，,、；;。！？]|$)
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[\s，,、；;。！？」』]+")
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]+)*", re.IGNORECASE)
_INTERVIEW = re.compile(r"(?:.*/)?([0-9a-z]+)(?:-.*)?", re.IGNORECASE)


@dataclass
class _Draft:
    clauses: dict[Clause, None] = field(default_factory=dict)
    langs: dict[str, None] = field(default_factory=dict)
    speakers: dict[str, None] = field(default_factory=dict)
    interviews: dict[InterviewId, None] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def parse(typed: str) -> Query:
    """Read what somebody typed. Never raises."""
    typed = typed.strip()
    draft = _Draft()
    used = typed[:MAX_LENGTH]
    position = 0
    while position < len(used):
        separator = _SEPARATORS.match(used, position)
        if separator:
            position = separator.end()
            continue
        part = _PART.match(used, position)
        # Every character begins a word, a quotation or a separator; the guard keeps a slip from looping.
        end = max(part.end() if part else 0, position + 1)
        if part:
            _take(draft, part)
        position = end
    if len(typed) > MAX_LENGTH:
        draft.ignored.append(typed[MAX_LENGTH:])
    return Query(
        text=used,
        clauses=tuple(draft.clauses),
        langs=tuple(draft.langs),
        speakers=tuple(draft.speakers),
        interviews=tuple(draft.interviews),
        ignored=tuple(draft.ignored),
    )


def _take(draft: _Draft, part: re.Match[str]) -> None:
    """Sort one part of the query into clauses, filters or the ignored."""
    value = next((v for v in (part["quoted"], part["corner"], part["word"]) if v is not None), "")
    understood = (
        not part["minus"] and _take_filter(draft, part["name"].lower(), value)
        if part["name"]
        else _take_clause(draft, Clause(value.strip(), negated=bool(part["minus"])))
    )
    if not understood and part.group():
        draft.ignored.append(part.group())


def _take_clause(draft: _Draft, clause: Clause) -> bool:
    if text.phrase(clause.text) is None:
        return False
    if clause not in draft.clauses and len(draft.clauses) >= MAX_CLAUSES:
        return False
    draft.clauses[clause] = None
    return True


def _take_filter(draft: _Draft, name: str, value: str) -> bool:
    if name == "speaker":
        if text.phrase(value) is None:
            return False
        draft.speakers[value.strip()] = None
        return True
    if name == "lang":
        language = _LANGUAGE.fullmatch(value.strip())
        if language is None:
            return False
        draft.langs[language[1].lower()] = None
        return True
    interview = _INTERVIEW.fullmatch(value.strip())
    if interview is None:
        return False
    draft.interviews[InterviewId(interview[1].lower())] = None
    return True
