"""Reading document numbers from one generation of the embedded index; plain sqlite3, called on a thread.

Nothing here reads a row of a document: what a filter asks (language, interview) is in the number, speakers are
terms.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from streamarchive.models import InterviewId
from streamarchive.search import numbering
from streamarchive.search.matching import NO_SPEAKER, Sought, Wanted
from streamarchive.text import Phrase

EVERYTHING = (0, (1 << 63) - 1)
_FEW = 64
"""So many interviews are looked at one by one; among more, every match is looked at."""

Range = tuple[int, int]
"""The lowest and the highest document number."""


class Scan:
    """What one query may see, in one read transaction."""

    def __init__(
        self, connection: sqlite3.Connection, generation: int, wanted: Wanted, hidden: Collection[InterviewId]
    ) -> None:
        self._connection = connection
        self._terms = f"terms_{generation}"
        self._interviews = f"interviews_{generation}"
        self._languages = f"languages_{generation}"
        self._wanted = wanted
        chosen = self._numbers(wanted.interviews)
        if wanted.interviews and len(chosen) <= _FEW:
            self._ranges: list[Range] = [(numbering.base(each), numbering.last(each)) for each in sorted(chosen)]
            chosen = set()
        else:
            self._ranges = [EVERYTHING]
        self._filters = ""
        self._parameters: dict[str, str] = {}
        self._filter(_in("chosen", chosen))
        self._filter(_in("hidden", self._numbers(hidden), negated=True))
        if wanted.langs:
            # The document of an interview has no language and counts in any.
            self._filter(_in("langs", self._codes() | {numbering.NO_LANGUAGE}, numbering.LANG_SQL))
        self.meets = [self._within_scope(any_of(clause.any)) for clause in wanted.clauses]
        self.exactly = [self._within_scope(any_of(clause.exact)) for clause in wanted.clauses]
        self.together = self._within_scope(" AND ".join(map(_here_or_ahead, wanted.clauses)))

    def _filter(self, condition: tuple[str, dict[str, str]]) -> None:
        self._filters += condition[0]
        self._parameters |= condition[1]

    def rows(
        self,
        expression: str,
        within: Range,
        limit: int = -1,
        *,
        ascending: bool = False,
        among: Iterable[int] = (),
    ) -> list[int]:
        """The numbers of documents that meet it, the highest first; if interviews are named, only of those."""
        found: list[int] = []
        condition, parameters = _in("among", among)
        for low, high in self._ranges if ascending else reversed(self._ranges):
            first, last = max(low, within[0]), min(high, within[1])
            if first <= last and limit != 0:
                named = {"expression": expression, "first": first, "last": last, "limit": limit, **parameters}
                part = self._rows(condition, "ASC" if ascending else "DESC", named)
                found += part
                limit -= len(part) if limit > 0 else 0
        return found

    def _rows(self, condition: str, order: str, named: Mapping[str, object]) -> list[int]:
        statement = (
            f"SELECT rowid FROM {self._terms} WHERE {self._terms} MATCH :expression"  # noqa: S608 - our names
            f" AND rowid BETWEEN :first AND :last{self._filters}{condition} ORDER BY rowid {order} LIMIT :limit"
        )
        return [row[0] for row in self._connection.execute(statement, {**named, **self._parameters})]

    def many(self, expression: str, within: Range, most: int) -> int:
        """How many documents meet it, counted up to `most`."""
        statement = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self._terms} WHERE {self._terms} MATCH :expression"  # noqa: S608
            f" AND rowid BETWEEN :first AND :last{self._filters} LIMIT :limit)"
        )
        found = 0
        for low, high in self._ranges:
            named = {
                "expression": expression,
                "first": max(low, within[0]),
                "last": min(high, within[1]),
                "limit": most - found,
                **self._parameters,
            }
            found += self._connection.execute(statement, named).fetchone()[0]
        return found

    def interviews(self, within: Range) -> int:
        """How many interviews there are in this range."""
        first, last = map(numbering.interview_of, within)
        statement = f"SELECT count(*) FROM {self._interviews} WHERE number BETWEEN ? AND ?"  # noqa: S608
        return int(self._connection.execute(statement, (first, last)).fetchone()[0])

    def ids(self, interviews: Iterable[int]) -> dict[int, InterviewId]:
        """Which interviews these numbers mean."""
        rows = self._connection.execute(
            f"SELECT number, id FROM {self._interviews} WHERE number IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(interviews)),),
        )
        return {row[0]: InterviewId(row[1]) for row in rows}

    def languages(self) -> dict[int, str]:
        """Which languages the numbers mean."""
        return dict(self._connection.execute(f"SELECT number, code FROM {self._languages}"))  # noqa: S608

    def _numbers(self, interview_ids: Collection[InterviewId]) -> set[int]:
        if not interview_ids:
            return set()
        rows = self._connection.execute(
            f"SELECT number FROM {self._interviews} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(interview_ids)),),
        )
        return {row[0] for row in rows}

    def _codes(self) -> set[int]:
        return {number for number, code in self.languages().items() if code in self._wanted.langs}

    def _within_scope(self, expression: str) -> str:
        """Narrow to the speakers asked for (and documents of interviews) and without the excluded."""
        if self._wanted.speakers:
            who = any_of((*self._wanted.speakers, Phrase((NO_SPEAKER,))))
            expression = f"({expression}) AND {who}"
        if self._wanted.without:
            expression = f"({expression}) NOT {any_of(self._wanted.without)}"
        return expression


def any_of(phrases: Sequence[Phrase]) -> str:
    """As FTS5 says it. Terms hold neither quotes nor spaces, so quoting them is all the escaping there is."""
    quoted = (f'"{" ".join(phrase.terms)}"{" *" if phrase.prefix else ""}' for phrase in phrases)
    return f"({' OR '.join(quoted)})"


def _in(
    name: str, values: Iterable[int], what: str = numbering.INTERVIEW_SQL, *, negated: bool = False
) -> tuple[str, dict[str, str]]:
    """A condition on the number of a document, with its parameter; none where there are no values."""
    listed = list(values)
    if not listed:
        return "", {}
    condition = f" AND {what} {'NOT ' if negated else ''}IN (SELECT value FROM json_each(:{name}))"  # noqa: S608
    return condition, {name: json.dumps(listed)}


def _here_or_ahead(clause: Sought) -> str:
    return any_of((*clause.any, *clause.ahead))


def by_interview(numbers: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
    """Numbers that stand in order, interview by interview."""
    current, group = -1, list[int]()
    for number in numbers:
        interview = number >> numbering.PLACE_BITS
        if interview != current:
            if group:
                yield current, group
            current, group = interview, []
        group.append(number)
    if group:
        yield current, group
