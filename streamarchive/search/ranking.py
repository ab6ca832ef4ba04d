"""Answering a query from one generation of the embedded index; plain sqlite3, called on a thread.

FTS5 scores every match it is asked to rank, so its cost grows with how common a word is. Which interviews
meet the query, and how many moments, is counted over all matches (cheap: the document's number tells its
interview); only the newest `MAX_RANKED` matches are ranked.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamarchive.models import InterviewId
from streamarchive.protocols import Hit, InterviewHits, Query, Results, Total
from streamarchive.search.generations import INTERVIEW_BITS, PLACE_MASK
from streamarchive.search.matching import Wanted, marks
from streamarchive.text import Phrase

MAX_RANKED = 5_000


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the answer is wanted."""

    hidden: Collection[InterviewId]
    offset: int
    limit: int
    moments: int


class _Rank(NamedTuple):
    """How good a document is, best highest: clauses it contains, whether it can be relied on, BM25."""

    clauses: int
    sure: bool
    score: float


class Ranking:
    """One search in one read transaction."""

    def __init__(self, connection: sqlite3.Connection, generation: int, query: Query, wanted: Wanted) -> None:
        self._connection = connection
        self._documents = f"documents_{generation}"
        self._interviews = f"interviews_{generation}"
        self._terms = f"terms_{generation}"
        self._query = query
        self._wanted = wanted
        self._clauses = [self._within_scope(_any_of("text", [clause])) for clause in wanted.clauses]
        self._any = self._within_scope(_any_of("text", wanted.clauses))

    def results(self, page: Page) -> Results:
        """The interviews of the page with their best moments."""
        counts = self._count(page.hidden)
        ranks = self._rank(counts)
        best: dict[int, _Rank] = {}
        for number, rank in ranks.items():
            interview = number >> INTERVIEW_BITS
            best[interview] = max(rank, best.get(interview, rank))
        unranked = _Rank(0, sure=False, score=0.0)
        order = sorted(counts, key=lambda each: (best.get(each, unranked), each), reverse=True)
        shown = order[page.offset : page.offset + page.limit]
        after = page.offset + len(shown)
        return Results(
            total=Total(sum(counts.values())),
            total_interviews=Total(len(counts)),
            next_cursor=str(after) if page.offset < after < len(counts) else "",
            interviews=self._interview_hits(shown, counts, ranks, page.moments),
        )

    # --- which interviews -------------------------------------------------------------------------------

    def _count(self, hidden: Collection[InterviewId]) -> dict[int, int]:
        """The interviews that meet the query, each with its number of moments."""
        met: set[int] | None = None
        if len(self._clauses) > 1:
            for clause in self._clauses:
                found = {row[0] for row in self._match("DISTINCT rowid >> :bits", clause)}
                met = found if met is None else met & found
                if not met:
                    return {}
        counted = self._match("rowid >> :bits, sum(rowid & :mask > 0)", self._any, "GROUP BY 1")
        hidden_numbers = self._numbers(hidden)
        chosen = self._numbers(self._wanted.interviews) if self._wanted.interviews else None
        return {
            interview: moments
            for interview, moments in counted
            if (met is None or interview in met)
            and interview not in hidden_numbers
            and (chosen is None or interview in chosen)
            and (moments or not self._wanted.moments_only)
        }

    def _numbers(self, interview_ids: Iterable[InterviewId]) -> set[int]:
        rows = self._connection.execute(
            f"SELECT number FROM {self._interviews} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(interview_ids)),),
        )
        return {row[0] for row in rows}

    # --- in which order ---------------------------------------------------------------------------------

    def _rank(self, interviews: Collection[int]) -> dict[int, _Rank]:
        """The newest documents of these interviews that contain a clause, by number."""
        if not interviews:
            return {}
        scores: dict[int, float] = {}
        contained: Counter[int] = Counter()
        if len(self._clauses) > 1:
            every = " AND ".join(f"({clause})" for clause in self._clauses)
            scores = self._scores(every, interviews)
            contained = Counter(dict.fromkeys(scores, len(self._clauses)))
        if len(scores) < MAX_RANKED:
            rest = {n: s for n, s in self._scores(self._any, interviews).items() if n not in scores}
            scores |= rest
            contained.update(self._contained(rest))
        doubtful = self._doubtful(scores)
        return {n: _Rank(contained[n], n not in doubtful, score) for n, score in scores.items()}

    def _scores(self, expression: str, interviews: Collection[int]) -> dict[int, float]:
        rows = self._match(
            f"rowid, -bm25({self._terms})",
            expression,
            "AND rowid >> :bits IN (SELECT value FROM json_each(:interviews)) ORDER BY rowid DESC LIMIT :limit",
            interviews=json.dumps(list(interviews)),
            limit=MAX_RANKED,
        )
        return {int(number): score for number, score in rows}

    def _contained(self, documents: Collection[int]) -> Counter[int]:
        """How many clauses each of these documents contains."""
        if len(self._clauses) == 1 or not documents:
            return Counter(dict.fromkeys(documents, 1))
        contained: Counter[int] = Counter()
        for clause in self._clauses:
            rows = self._match(
                "rowid", clause, "AND rowid BETWEEN :first AND :last", first=min(documents), last=max(documents)
            )
            contained.update(row[0] for row in rows if row[0] in documents)
        return contained

    def _doubtful(self, documents: Iterable[int]) -> set[int]:
        rows = self._connection.execute(
            f"SELECT number FROM {self._documents}"  # noqa: S608
            " WHERE doubtful AND number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(documents)),),
        )
        return {row[0] for row in rows}

    # --- what is shown ----------------------------------------------------------------------------------

    def _interview_hits(
        self, interviews: list[int], counts: dict[int, int], ranks: dict[int, _Rank], moments: int
    ) -> tuple[InterviewHits, ...]:
        with_moments = {n >> INTERVIEW_BITS for n in ranks if n & PLACE_MASK}
        # Interviews whose moments are all older than the newest `MAX_RANKED` matches.
        unranked = [each for each in interviews if counts[each] and each not in with_moments]
        ranks = ranks | self._rank(unranked)
        by_interview: defaultdict[int, list[int]] = defaultdict(list)
        wanted = set(interviews)
        for number in ranks:
            if number >> INTERVIEW_BITS in wanted and number & PLACE_MASK:
                by_interview[number >> INTERVIEW_BITS].append(number)
        best = {
            each: sorted(by_interview[each], key=lambda n: (ranks[n], -n), reverse=True)[:moments]
            for each in interviews
        }
        ids = self._ids(interviews)
        hits = self._hits([n for numbers in best.values() for n in numbers], ids)
        return tuple(
            InterviewHits(ids[each], counts[each], tuple(hits[n] for n in best[each])) for each in interviews
        )

    def _ids(self, interviews: list[int]) -> dict[int, InterviewId]:
        rows = self._connection.execute(
            f"SELECT number, id FROM {self._interviews} WHERE number IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(interviews),),
        )
        return {row[0]: InterviewId(row[1]) for row in rows}

    def _hits(self, documents: list[int], ids: dict[int, InterviewId]) -> dict[int, Hit]:
        rows = self._connection.execute(
            f"SELECT number, id, version, start_ms, end_ms, text, lang, speaker, doubtful FROM {self._documents}"  # noqa: S608
            " WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(documents),),
        )
        return {
            number: Hit(
                document_id=document_id,
                interview_id=ids[number >> INTERVIEW_BITS],
                version=version,
                start_ms=start_ms,
                end_ms=end_ms,
                text=text,
                lang=lang,
                speaker=speaker,
                doubtful=bool(doubtful),
                spans=marks(text, self._query),
            )
            for number, document_id, version, start_ms, end_ms, text, lang, speaker, doubtful in rows
        }

    # --- the language of FTS5 ---------------------------------------------------------------------------

    def _within_scope(self, expression: str) -> str:
        """Narrow to the speakers asked for (and documents of interviews) and without the excluded."""
        if self._wanted.speakers:
            who = _any_of("speaker", self._wanted.speakers)
            expression = f'(({expression}) AND ({who} OR (kind : "interview")))'
        if self._wanted.without:
            expression = f"(({expression}) NOT {_any_of('text', self._wanted.without)})"
        return expression

    def _match(self, columns: str, expression: str, rest: str = "", **parameters: object) -> list[Any]:
        languages = ""
        if self._wanted.langs:
            # The document of an interview has no language and counts in any.
            languages = (
                f"AND EXISTS (SELECT 1 FROM {self._documents} AS d WHERE d.number = {self._terms}.rowid"  # noqa: S608
                " AND (d.lang IN (SELECT value FROM json_each(:langs)) OR d.kind = 'interview'))"
            )
            parameters["langs"] = json.dumps(self._wanted.langs)
        named = {"expression": expression, "bits": INTERVIEW_BITS, "mask": PLACE_MASK, **parameters}
        statement = (
            f"SELECT {columns} FROM {self._terms} WHERE {self._terms} MATCH :expression {languages} {rest}"  # noqa: S608
        )
        return self._connection.execute(statement, named).fetchall()


def _any_of(column: str, phrases: Iterable[Phrase]) -> str:
    """Terms hold neither quotes nor spaces, so quoting them is all the escaping there is."""
    quoted = (f'"{" ".join(phrase.terms)}"{" *" if phrase.prefix else ""}' for phrase in phrases)
    return f"({column} : ({' OR '.join(quoted)}))"
