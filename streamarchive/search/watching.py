"""Which of many saved queries a new cue meets; pure.

The other way round from searching: the text is new and the queries are known, so the queries are what is looked
up. Each stands under one of its terms, the one that is rarest in what was said lately. A cue is analysed once
and compared in full with those queries alone whose term it holds.

A query is met when each of its clauses occurs in the cue or across a border of it, and none of the excluded
does. What stands in a neighbour alone is the neighbour's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streamarchive import text
from streamarchive.models import Cue, InterviewId
from streamarchive.protocols import Query
from streamarchive.text import Token


@dataclass(frozen=True, slots=True)
class Spoken:
    """A cue between its neighbours, and the interviews that show it."""

    cue: Cue
    before: Cue | None = None
    after: Cue | None = None
    interviews: tuple[InterviewId, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """The query of this id is met; the phrase starts in the cue, or already `in_before`."""

    query_id: int
    in_before: bool


@dataclass(frozen=True, slots=True)
class _Saved:
    """A query in tokens."""

    clauses: tuple[tuple[str, ...], ...]
    without: tuple[tuple[str, ...], ...]
    speakers: tuple[tuple[str, ...], ...]
    query: Query


class Lookup:
    """Saved queries by their rarest term. `lately` is what was said lately: it tells which terms are rare."""

    def __init__(self, queries: Mapping[int, Query], lately: Iterable[str] = ()) -> None:
        common: Counter[str] = Counter()
        for said in lately:
            common.update(_keys(text.tokens(said)))
        self._saved: dict[int, _Saved] = {}
        self._by_key: defaultdict[str, list[int]] = defaultdict(list)
        self._reach = 0
        for query_id, query in queries.items():
            saved = _saved(query)
            if not saved.clauses:
                continue
            self._saved[query_id] = saved
            keys = set().union(*(_distinctive(clause) for clause in saved.clauses))
            self._by_key[min(keys, key=lambda key: (common[key], -len(key), key))].append(query_id)
            self._reach = max(self._reach, *(len(clause) - 1 for clause in saved.clauses + saved.without))

    def matches(self, spoken: Spoken) -> list[Match]:
        """The queries that the cue meets."""
        found = text.tokens(spoken.cue.text)
        before = text.tokens(spoken.before.text)[-self._reach :] if spoken.before and self._reach else ()
        after = text.tokens(spoken.after.text)[: self._reach] if spoken.after else ()
        row = (*before, *found, *after)
        first, last = len(before), len(before) + len(found)
        words = [token.text for token in row]
        matches = []
        for query_id in self._candidates(row):
            saved = self._saved[query_id]
            if not _admits(saved, spoken):
                continue
            starts = [_start(words, clause, first, last) for clause in saved.clauses]
            if None in starts or any(_start(words, each, first, last) is not None for each in saved.without):
                continue
            matches.append(Match(query_id, in_before=any(at is not None and at < first for at in starts)))
        return matches

    def _candidates(self, row: Sequence[Token]) -> list[int]:
        found = (self._by_key.get(key, ()) for key in _keys(row))
        return [query_id for query_ids in found for query_id in query_ids]


def _keys(row: Sequence[Token]) -> set[str]:
    """What a query may stand under: words, single Han characters, and pairs of them, which are rarer."""
    pairs = {one.text + two.text for one, two in pairwise(row) if one.han and two.han}
    return pairs | {token.text for token in row}


def _distinctive(clause: Sequence[str]) -> set[str]:
    """The same of a clause, without the single characters where there are pairs."""
    row = text.tokens(" ".join(clause))
    pairs = {one.text + two.text for one, two in pairwise(row) if one.han and two.han}
    return pairs | {token.text for token in row if not (pairs and token.han)}


def _saved(query: Query) -> _Saved:
    return _Saved(
        clauses=tuple(_words(clause.text) for clause in query.clauses if not clause.negated),
        without=tuple(_words(clause.text) for clause in query.clauses if clause.negated),
        speakers=tuple(_words(speaker) for speaker in query.speakers),
        query=query,
    )


def _words(said: str) -> tuple[str, ...]:
    return tuple(token.text for token in text.tokens(said))


def _admits(saved: _Saved, spoken: Spoken) -> bool:
    """Whether the filters let the cue through."""
    query, cue = saved.query, spoken.cue
    if query.langs and cue.lang not in query.langs:
        return False
    if query.interviews and not set(query.interviews) & set(spoken.interviews):
        return False
    if not saved.speakers:
        return True
    speaker = _words(cue.speaker or "")
    return any(_start(speaker, wanted, 0, len(speaker)) is not None for wanted in saved.speakers)


def _start(words: Sequence[str], wanted: Sequence[str], first: int, last: int) -> int | None:
    """Where `wanted` stands in a row and at least one word of it between `first` and `last`; None if nowhere."""
    length, wanted = len(wanted), list(wanted)
    for at in range(max(first - length + 1, 0), min(last, len(words) - length + 1)):
        if list(words[at : at + length]) == wanted:
            return at
    return None
