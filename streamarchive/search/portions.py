"""Which interviews meet a query and with which moments, in portions of the embedded index.

The cost of a query must not grow with how common its words are. So the matches of the rarest clause are read
in the order of time, at most `MAX_MATCHES` at once, and the other clauses are looked for in their interviews
alone. What lies beyond is the next portion, read when somebody asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from streamarchive.search import numbering, relevance
from streamarchive.search.matching import Wanted
from streamarchive.search.scanning import EVERYTHING, Range, Scan, by_interview

MAX_MATCHES = 3_000
MAX_INTERVIEWS = 40
"""Of one portion, where some clause has more than `MAX_MATCHES`: its matches are read in these alone."""
_DENSE = 60
"""Reading on is cheaper than looking up each interview unless they are fewer than one in so many."""


@dataclass(slots=True)
class Portion:
    """Complete interviews that meet the query. `ranks` has their documents by number."""

    ranks: dict[int, int] = field(default_factory=dict)
    rest: int | None = None
    """The number at which the next portion begins; None: there is nothing more."""


@dataclass(slots=True)
class _Met:
    """Which clauses documents meet, as bits."""

    clauses: dict[int, int] = field(default_factory=dict)
    exactly: dict[int, int] = field(default_factory=dict)


class Portions:
    """Reads portions for one query, the newest interviews first or the oldest."""

    def __init__(self, scan: Scan, wanted: Wanted, *, ascending: bool, most: int | None = None) -> None:
        self._scan = scan
        self._wanted = wanted
        self._ascending = ascending
        self._most = most or MAX_MATCHES

    def read(self, begin: int | None) -> Portion:
        """The portion that begins at this number; None: the first."""
        met, rest = self._met(begin)
        return Portion(self._ranked(met, self._together(met.clauses)), rest)

    def members(self, begin: int | None) -> tuple[list[int], int | None]:
        """The documents of that portion in no order, for who only counts them, and where the next one begins."""
        met, rest = self._met(begin)
        return list(met.clauses), rest

    def _met(self, begin: int | None) -> tuple[_Met, int | None]:
        within = self._from(begin)
        if len(self._wanted.clauses) == 1:
            met, rest = self._of_one_clause(within)
        else:
            met, rest = self._of_several(within)
        if self._wanted.moments_only:
            self._drop_titles(met)
        return met, rest

    def _from(self, begin: int | None) -> Range:
        if begin is None:
            return EVERYTHING
        return (begin, EVERYTHING[1]) if self._ascending else (0, begin)

    # --- one clause -------------------------------------------------------------------------------------

    def _of_one_clause(self, within: Range) -> tuple[_Met, int | None]:
        numbers, rest = self._whole_interviews(0, within)
        met = _Met(dict.fromkeys(numbers, 1))
        if numbers and self._wanted.clauses[0].loose:
            exact = self._scan.rows(self._scan.exactly[0], (min(numbers), max(numbers)))
            met.exactly = dict.fromkeys(exact, 1)
        else:
            met.exactly = met.clauses
        return met, rest

    def _whole_interviews(self, clause: int, within: Range) -> tuple[list[int], int | None]:
        """The next matches of a clause, in whole interviews; what does not fit is left to the next portion."""
        expression, most = self._scan.meets[clause], self._most
        numbers = self._scan.rows(expression, within, most + 1, ascending=self._ascending)
        if len(numbers) <= most:
            return numbers, None
        cut = numbering.interview_of(numbers[-1])
        if cut == numbering.interview_of(numbers[0]):
            whole = self._scan.rows(expression, self._around([cut]), ascending=self._ascending)
            return whole, self._behind(cut)
        return [each for each in numbers if numbering.interview_of(each) != cut], self._at(cut)

    def _at(self, interview: int) -> int:
        return numbering.base(interview) if self._ascending else numbering.last(interview)

    def _behind(self, interview: int) -> int:
        return self._at(interview + 1 if self._ascending else interview - 1)

    # --- several ----------------------------------------------------------------------------------------

    def _of_several(self, within: Range) -> tuple[_Met, int | None]:
        meets = self._scan.meets
        sizes = [self._scan.many(expression, within, self._most + 1) for expression in meets]
        if not all(sizes):
            return _Met(), None
        rarest = sizes.index(min(sizes))
        numbers, rest = self._whole_interviews(rarest, within)
        groups = {rarest: dict(by_interview(numbers))}
        interviews = list(groups[rarest])
        common = [clause for clause, size in enumerate(sizes) if clause != rarest and size > self._most]
        for clause in range(len(sizes)):
            if clause not in common and clause != rarest and interviews:
                found = self._scan.rows(meets[clause], self._around(interviews), ascending=self._ascending)
                groups[clause] = dict(by_interview(found))
                interviews = [each for each in interviews if each in groups[clause]]
        if common and len(interviews) > MAX_INTERVIEWS:
            interviews, rest = interviews[:MAX_INTERVIEWS], self._at(interviews[MAX_INTERVIEWS])
        for clause in common:
            groups[clause] = self._in_each(meets[clause], interviews)
            interviews = [each for each in interviews if each in groups[clause]]
        return self._collected(interviews, groups, set(common), rest)

    def _around(self, interviews: Sequence[int]) -> Range:
        """From the first of these to the last."""
        return numbering.base(min(interviews)), numbering.last(max(interviews))

    def _in_each(self, expression: str, interviews: Sequence[int]) -> dict[int, list[int]]:
        """The matches of a common clause in these interviews."""
        if not interviews:
            return {}
        around = self._around(interviews)
        if self._scan.interviews(around) <= _DENSE * len(interviews):
            return dict(by_interview(self._scan.rows(expression, around, among=interviews)))
        found = {each: self._scan.rows(expression, self._around([each])) for each in interviews}
        return {each: numbers for each, numbers in found.items() if numbers}

    def _collected(
        self,
        interviews: Sequence[int],
        groups: Mapping[int, Mapping[int, Sequence[int]]],
        common: Collection[int],
        rest: int | None,
    ) -> tuple[_Met, int | None]:
        """The matches of all clauses in these interviews, as many as a portion holds."""
        met = _Met()
        for at, interview in enumerate(interviews):
            if len(met.clauses) >= self._most:
                interviews, rest = interviews[:at], self._at(interview)
                break
            for clause, found in groups.items():
                _mark(met.clauses, found[interview], clause)
        for clause in groups if interviews else ():
            self._mark_exact(met, clause, interviews, looked_up=clause not in common)
        return met, rest

    def _mark_exact(self, met: _Met, clause: int, interviews: Sequence[int], *, looked_up: bool) -> None:
        """Of a common clause every form counts as exact: telling them apart would cost as much as the rest."""
        bit = 1 << clause
        if looked_up and self._wanted.clauses[clause].loose:
            exact = set(self._scan.rows(self._scan.exactly[clause], self._around(interviews)))
            numbers: Iterable[int] = (n for n, bits in met.clauses.items() if bits & bit and n in exact)
        else:
            numbers = (n for n, bits in met.clauses.items() if bits & bit)
        _mark(met.exactly, numbers, clause)

    def _together(self, documents: Iterable[int]) -> set[int]:
        found = set(documents)
        if not found or len(self._wanted.clauses) == 1:
            return set()
        return found.intersection(self._scan.rows(self._scan.together, (min(found), max(found))))

    # --- ranks ------------------------------------------------------------------------------------------

    def _drop_titles(self, met: _Met) -> None:
        """Filters on moments leave nothing else; a title has helped its interview to meet every clause."""
        met.clauses = {number: clauses for number, clauses in met.clauses.items() if numbering.is_cue(number)}

    def _ranked(self, met: _Met, together: set[int]) -> dict[int, int]:
        near = self._near(met.clauses)
        exactly = met.exactly
        return {
            number: _rank(bits, exactly.get(number, 0), number & 1, number in near, number in together)
            for number, bits in met.clauses.items()
        }

    def _near(self, clauses: dict[int, int]) -> set[int]:
        """The cues that have every clause in their window of the recording and a neighbouring one."""
        every = (1 << len(self._wanted.clauses)) - 1
        if every == 1:
            return set()
        windows: defaultdict[tuple[int, int], int] = defaultdict(int)
        places = {n: (numbering.interview_of(n), numbering.window_of(n)) for n in clauses if numbering.is_cue(n)}
        for number, (interview, window) in places.items():
            windows[interview, window] |= clauses[number]
            windows[interview, window - 1] |= clauses[number]
        return {
            number
            for number, (interview, window) in places.items()
            if every in (windows[interview, window], windows[interview, window - 1])
        }


def _mark(met: dict[int, int], numbers: Iterable[int], clause: int) -> None:
    bit = 1 << clause
    for number in numbers:
        met[number] = met.get(number, 0) | bit


@lru_cache(maxsize=4096)
def _rank(clauses: int, exact: int, doubtful: int, near: bool, together: bool) -> int:  # noqa: FBT001 - hot
    return relevance.rank(clauses.bit_count(), exact.bit_count(), sure=not doubtful, near=near, together=together)
