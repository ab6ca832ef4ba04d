"""Other wordings of a query's clauses that the glossary knows; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from streamarchive import text
from streamarchive.protocols import Clause, Query

_LONGEST = 6
"""Words of a query that are together looked up as one term."""

_REMEMBERED = 1 << 14
"""Wordings whose words are kept at hand: every query is compared with the whole glossary."""

Words = tuple[str, ...]


def expanded(query: Query, pairs: Iterable[Sequence[str]]) -> Query:
    """The query with what means the same as a word of it, or as several in a row, as alternatives of each.

    So smart and cockpit are both met by 智能座舱, and each still by itself. What is quoted or excluded is meant
    as it is written.
    """
    meanings: dict[Words, list[str]] = {}
    for pair in pairs:
        for form in pair:
            meanings.setdefault(_words(form), []).extend(other for other in pair if other != form)
    alternatives: list[dict[str, None]] = [{} for _ in query.clauses]
    for first in range(len(query.clauses)):
        words: Words = ()
        for end, clause in enumerate(query.clauses[first : first + _LONGEST], first + 1):
            if clause.quoted or clause.negated:
                break
            words += _words(clause.text)
            for found in alternatives[first:end]:
                found.update(dict.fromkeys(meanings.get(words, ())))
    clauses = tuple(
        _with(clause, tuple(found)) for clause, found in zip(query.clauses, alternatives, strict=True)
    )
    return replace(query, clauses=clauses)


def _with(clause: Clause, alternatives: tuple[str, ...]) -> Clause:
    return replace(clause, alternatives=(*clause.alternatives, *alternatives)) if alternatives else clause


@lru_cache(_REMEMBERED)
def _words(shown: str) -> Words:
    return tuple(token.text for token in text.tokens(shown))
