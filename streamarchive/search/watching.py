"""Which of many saved queries a new cue meets; pure.

The other way round from searching: the text is new and the queries are known, so the queries are what is looked
up. Each stands under one of its terms, the one that is rarest in what was said lately. A cue is analysed once
and compared in full with those queries alone whose term it holds.

A query is met when each of its clauses occurs in the cue or across a border of it, and none of the excluded
does. What stands in a neighbour alone is the neighbour's. Which interviews a query means is for
`streamarchive.search.narrowing`: a cue does not know who shows it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from streamarchive import text
from streamarchive.models import Cue
from streamarchive.protocols import Clause, Query
from streamarchive.text import Token

_STEM = "~"
"""Before stems among the keys: no word begins so."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A cue between its neighbours."""

    cue: Cue
    before: Cue | None = None
    after: Cue | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The query of this id is met; the phrase starts in the cue, or already `in_before`."""

    query_id: int
    in_before: bool


Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause in tokens: the wordings that meet it, and the stem that one word of it may have instead."""

    wordings: tuple[Words, ...]
    stem: str = ""


@dataclass(frozen=True, slots=True)
class _Saved:
    """A query in tokens."""

    clauses: tuple[_Clause, ...]
    without: tuple[_Clause, ...]
    speakers: tuple[_Clause, ...]
    query: Query


@dataclass(frozen=True, slots=True)
class _Row:
    """The tokens of a cue, from `first` to before `last`, between some of its neighbours'."""

    words: Words
    stems: Words
    first: int
    last: int


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
            for key in min((_rarest(clause, common) for clause in saved.clauses), key=_commonness(common)):
                self._by_key[key].append(query_id)
            lengths = (len(words) - 1 for clause in saved.clauses + saved.without for words in clause.wordings)
            self._reach = max(self._reach, *lengths)

    def matches(self, spoken: Spoken) -> list[Match]:
        """The queries that the cue meets."""
        found = _tokens(spoken.cue.text)
        before = _tokens(spoken.before.text)[-self._reach :] if spoken.before and self._reach else ()
        after = _tokens(spoken.after.text)[: self._reach] if spoken.after else ()
        tokens = (*before, *found, *after)
        row = _Row(_words(tokens), _stems(tokens), len(before), len(before) + len(found))
        matches = []
        for query_id in self._candidates(tokens):
            saved = self._saved[query_id]
            if not _admits(saved, spoken):
                continue
            starts = [_start(row, clause) for clause in saved.clauses]
            if None in starts or any(_start(row, each) is not None for each in saved.without):
                continue
            matches.append(Match(query_id, in_before=any(at is not None and at < row.first for at in starts)))
        return matches

    def _candidates(self, row: Sequence[Token]) -> dict[int, None]:
        found = (self._by_key.get(key, ()) for key in _keys(row))
        return dict.fromkeys(query_id for query_ids in found for query_id in query_ids)


@lru_cache(maxsize=2048)
def _tokens(said: str) -> tuple[Token, ...]:
    """Every cue is looked at three times: for itself and as the neighbour of two."""
    return text.tokens(said)


def _keys(row: Sequence[Token]) -> set[str]:
    """What a query may stand under: words, stems, single Han characters, and pairs of them, which are rarer."""
    return _pairs(row) | set(_words(row)) | {_STEM + stem for stem in _stems(row)}


def _pairs(row: Sequence[Token]) -> set[str]:
    return {one.text + two.text for one, two in pairwise(row) if one.han and two.han}


def _rarest(clause: _Clause, common: Counter[str]) -> tuple[str, ...]:
    """A key for each way to meet the clause."""
    keys = [min(_distinctive(words), key=lambda key: (common[key], -len(key), key)) for words in clause.wordings]
    return (*keys, _STEM + clause.stem) if clause.stem else tuple(keys)


def _commonness(common: Counter[str]) -> Callable[[tuple[str, ...]], tuple[int, tuple[str, ...]]]:
    return lambda keys: (sum(common[key] for key in keys), keys)


def _distinctive(words: Words) -> set[str]:
    """The keys of a wording, without the single characters where there are pairs."""
    row = text.tokens(" ".join(words))
    pairs = _pairs(row)
    return pairs | {token.text for token in row if not (pairs and token.han)}


def _saved(query: Query) -> _Saved:
    return _Saved(
        clauses=tuple(_clause(clause) for clause in query.clauses if not clause.negated),
        without=tuple(_exactly(clause.text) for clause in query.clauses if clause.negated),
        speakers=tuple(_exactly(speaker) for speaker in query.speakers),
        query=query,
    )


def _clause(clause: Clause) -> _Clause:
    """The same forms of a clause that searching knows."""
    if clause.quoted:
        return _exactly(clause.text)
    said = (clause.text, *clause.alternatives, *text.wordings(clause.text))
    wordings = tuple(dict.fromkeys(words for each in said if (words := _words(text.tokens(each)))))
    own = wordings[0]
    return _Clause(wordings, text.stem(own[0]) if len(own) == 1 and text.inflects(own[0]) else "")


def _exactly(said: str) -> _Clause:
    return _Clause((_words(text.tokens(said)),))


def _words(row: Iterable[Token]) -> Words:
    return tuple(token.text for token in row)


def _stems(row: Iterable[Token]) -> Words:
    return tuple(token.text if token.han else text.stem(token.text) for token in row)


def _admits(saved: _Saved, spoken: Spoken) -> bool:
    """Whether the filters on cues let this one through."""
    query, cue = saved.query, spoken.cue
    if query.langs and cue.lang not in query.langs:
        return False
    if not saved.speakers:
        return True
    words = _words(text.tokens(cue.speaker or ""))
    speaker = _Row(words, (), 0, len(words))
    return any(_start(speaker, wanted) is not None for wanted in saved.speakers)


def _start(row: _Row, clause: _Clause) -> int | None:
    """Where the clause is met with at least one word of the cue itself; None if nowhere."""
    starts = []
    for words in clause.wordings:
        length = len(words)
        places = range(max(row.first - length + 1, 0), min(row.last, len(row.words) - length + 1))
        starts += [at for at in places if row.words[at : at + length] == words][:1]
    if clause.stem:
        starts += [at for at in range(row.first, row.last) if row.stems[at] == clause.stem][:1]
    return min(starts, default=None)
