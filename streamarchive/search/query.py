"""The query language: words, "phrases", -without, and filters.

The filters are lang:zh, speaker:name, event:name, year:2026, after:2026-04, before:2026-05-01 and in:interview;
of several of a kind any may fit. Whatever somebody types is a query; what cannot be understood is reported in
`Query.ignored`, never refused. Chinese needs no spaces and may use its own punctuation and names: “…” and 「…」
quote, ：separates a filter from its value, － excludes, 年份：2026 is year:2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.protocols import Clause, Query

MAX_LENGTH = 200
"""Characters of a query that count."""
MAX_CLAUSES = 16

FILTERS = {
    "lang": "lang", "语言": "lang", "語言": "lang",
    "speaker": "speaker", "发言人": "speaker", "發言人": "speaker", "说话人": "speaker", "說話人": "speaker",
    "event": "event", "活动": "event", "活動": "event",
    "year": "year", "年份": "year",
    "after": "after", "之后": "after", "之後": "after",
    "before": "before", "之前": "before",
    "in": "in", "访谈": "in", "訪談": "in",
}  # fmt: skip
"""What a filter may be called, and what it is."""

_PART = re.compile(
    r"""
    (?P<minus>[-－−](?=\S))?
    (?:(?P<name>NAMES)[:：])?
    (?:
        ["＂“”](?P<quoted>[^"＂“”]*)["＂“”]?
      | [「『](?P<corner>[^」』]*)[」』]?
      | (?P<word>(?:(?<=\d),(?=\d)|[^\s"＂“”「『，,、；;。！？])+)
      | (?P<nothing>)(?=[\s，,、；;。！？]|$)
    )
    """.replace("NAMES", "|".join(FILTERS)),
    re.VERBOSE | re.IGNORECASE,
)
_QUOTES = '"＂“”'
_SEPARATORS = re.compile(r"[\s，,、；;。！？」』]+")
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]+)*", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?年?")
_INTERVIEW = re.compile(r"(?:.*/)?([0-9a-z]+)(?:-.*)?", re.IGNORECASE)


@dataclass
class _Draft:
    clauses: dict[Clause, None] = field(default_factory=dict)
    langs: dict[str, None] = field(default_factory=dict)
    speakers: dict[str, None] = field(default_factory=dict)
    interviews: dict[InterviewId, None] = field(default_factory=dict)
    events: dict[str, None] = field(default_factory=dict)
    years: dict[int, None] = field(default_factory=dict)
    after: date | None = None
    before: date | None = None
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
        events=tuple(draft.events),
        years=tuple(draft.years),
        after=draft.after,
        before=draft.before,
        ignored=tuple(draft.ignored),
    )


def _take(draft: _Draft, part: re.Match[str]) -> None:
    """Sort one part of the query into clauses, filters or the ignored."""
    value = next((v for v in (part["quoted"], part["corner"], part["word"]) if v is not None), "")
    if part["name"]:
        understood = not part["minus"] and _take_filter(
            draft, FILTERS.get(part["name"].casefold(), ""), value.strip()
        )
    else:
        clause = Clause(value.strip(), negated=bool(part["minus"]), quoted=part["word"] is None)
        understood = _take_clause(draft, clause)
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
    match name:
        case "speaker" | "event":
            taken = value if text.phrase(value) else None
            into: dict[Any, None] = draft.speakers if name == "speaker" else draft.events
        case "lang":
            language = _LANGUAGE.fullmatch(value)
            taken, into = language and language[1].lower(), draft.langs
        case "in":
            interview = _INTERVIEW.fullmatch(value)
            taken, into = interview and InterviewId(interview[1].lower()), draft.interviews
        case "year" | "after" | "before":
            return _take_date(draft, name, value)
        case _:  # ſpeaker: and the like, which only the pattern takes for a name
            return False
    if taken is not None:
        into[taken] = None
    return taken is not None


def _take_date(draft: _Draft, name: str, value: str) -> bool:
    """A day, or the first one of a month or year. Of several bounds the last counts."""
    match = _DATE.fullmatch(value)
    if match is None or (name == "year" and match[2]):
        return False
    try:
        day = date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        return False
    if name == "year":
        draft.years[day.year] = None
    elif name == "after":
        draft.after = day
    else:
        draft.before = day
    return True


def write(query: Query) -> str:
    """A query as somebody could have typed it; `parse` reads it back."""
    parts = [
        f"{'-' if clause.negated else ''}{_quoted(clause.text) if clause.quoted else clause.text}"
        for clause in query.clauses
    ]
    named: list[tuple[str, Iterable[object]]] = [
        ("lang", query.langs),
        ("speaker", query.speakers),
        ("event", query.events),
        ("year", query.years),
        ("after", [query.after] if query.after else []),
        ("before", [query.before] if query.before else []),
        ("in", query.interviews),
    ]
    parts += [f"{name}:{_word(str(value))}" for name, values in named for value in values]
    return " ".join(parts)


def _word(value: str) -> str:
    part = _PART.fullmatch(value)
    return value if part and part["word"] and not part["name"] and not part["minus"] else _quoted(value)


def _quoted(value: str) -> str:
    return '"' + "".join(" " if character in _QUOTES else character for character in value) + '"'
