"""Which interviews meet a query and with which moments, in portions of the embedded index.

The cost of a query must not grow with how common its words are. So the matches of the rarest clause are read
in the order of time, at most `MAX_MATCHES` at once, and the other clauses are looked for in their interviews
alone. What lies beyond is the next portion, read when somebody asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from streamarchive.search import numbering, relevance
from streamarchive.search.matching import Wanted
from streamarchive.search.scanning import EVERYTHING, Range, Scan, by_interview

MAX_MATCHES = 5_000
MAX_INTERVIEWS = 1_000
"""Of one portion, in which other clauses are looked for."""


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

    def __init__(self, scan: Scan, wanted: Wanted, *, ascending: bool, most: int = MAX_MATCHES) -> None:
        self._scan = scan
        self._wanted = wanted
        self._ascending = ascending
        self._most = most

    def read(self, begin: int | None) -> Portion:
        """The portion that begins at this number; None: the first."""
        within = self._from(begin)
        if len(self._wanted.clauses) == 1:
            met, rest = self._of_one_clause(within)
            together: set[int] = set()
        else:
            met, rest = self._of_several(within)
            together = self._together(met.clauses)
        if self._wanted.moments_only:
            self._drop_titles(met)
        return Portion(self._ranked(met, together), rest)

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
        """The next matches of a clause. An interview that does not fit is left to the next portion."""
        expression, most = self._scan.meets[clause], self._most
        numbers = self._scan.rows(expression, within, most + 1, ascending=self._ascending)
        if len(numbers) <= most:
            return numbers, None
        cut = numbering.interview_of(numbers[-1])
        if cut == numbering.interview_of(numbers[0]):
            return numbers[:most], self._behind(cut)
        return [each for each in numbers if numbering.interview_of(each) != cut], self._at(cut)

    def _at(self, interview: int) -> int:
        return numbering.base(interview) if self._ascending else numbering.last(interview)

    def _behind(self, interview: int) -> int:
        return self._at(interview + 1 if self._ascending else interview - 1)

    # --- several ----------------------------------------------------------------------------------------

    def _of_several(self, within: Range) -> tuple[_Met, int | None]:
        expressions = self._scan.meets
        sizes = [self._scan.many(expression, within, self._most + 1) for expression in expressions]
        if not all(sizes):
            return _Met(), None
        rarest = sizes.index(min(sizes))
        numbers, rest = self._whole_interviews(rarest, within)
        interviews = dict(by_interview(numbers))
        known = {rarest: interviews}
        if numbers:
            within = (min(numbers), max(numbers))
            within = (
                numbering.base(numbering.interview_of(within[0])),
                numbering.last(numbering.interview_of(within[1])),
            )
        for clause, size in enumerate(sizes):
            if clause != rarest and size <= self._most:
                known[clause] = dict(by_interview(self._scan.rows(expressions[clause], within)))
                interviews = {each: interviews[each] for each in interviews if each in known[clause]}
        return self._collect(list(interviews), known, rest)

    def _collect(
        self, interviews: Sequence[int], known: dict[int, dict[int, list[int]]], rest: int | None
    ) -> tuple[_Met, int | None]:
        """What these interviews have of every clause; those that lack one are left out."""
        met = _Met()
        for at, interview in enumerate(interviews):
            if at >= MAX_INTERVIEWS or len(met.clauses) >= self._most:
                return met, self._at(interview)
            self._add(met, interview, known)
        return met, rest

    def _add(self, met: _Met, interview: int, known: dict[int, dict[int, list[int]]]) -> None:
        within = (numbering.base(interview), numbering.last(interview))
        found = []
        for clause, expression in enumerate(self._scan.meets):
            numbers = known[clause][interview] if clause in known else self._scan.rows(expression, within)
            if not numbers:
                return
            found.append(numbers)
        for clause, numbers in enumerate(found):
            _mark(met.clauses, numbers, clause)
            if self._wanted.clauses[clause].loose:
                numbers = self._scan.rows(self._scan.exactly[clause], within)
            _mark(met.exactly, numbers, clause)

    def _together(self, documents: Iterable[int]) -> set[int]:
        found = set(documents)
        if not found:
            return set()
        return found.intersection(self._scan.rows(self._scan.together, (min(found), max(found))))

    # --- ranks ------------------------------------------------------------------------------------------

    def _drop_titles(self, met: _Met) -> None:
        """Filters on moments leave out interviews that have none."""
        with_moments = {numbering.interview_of(each) for each in met.clauses if numbering.is_cue(each)}
        for number in list(met.clauses):
            if numbering.interview_of(number) not in with_moments:
                del met.clauses[number]

    def _ranked(self, met: _Met, together: set[int]) -> dict[int, int]:
        near = self._near(met.clauses)
        return {
            number: relevance.rank(
                bits.bit_count(),
                met.exactly.get(number, 0).bit_count(),
                sure=not numbering.is_doubtful(number),
                near=number in near,
                together=number in together,
            )
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
