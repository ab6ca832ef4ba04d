"""Answering a query from one generation of the embedded index; plain sqlite3, called on a thread.

`Portions` says which documents count and how good they are; here they are put in order, cut into pages, and only
what is shown is read.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from streamarchive.models import InterviewId
from streamarchive.protocols import Facets, Hit, InterviewHits, Moments, Query, Results, Sort, Total
from streamarchive.search import cursors, numbering
from streamarchive.search.matching import SEARCH_SECONDS, Wanted, marks
from streamarchive.search.numbering import FEATURES_MASK, PLACE_BITS, PLACE_MASK
from streamarchive.search.portions import Portion, Portions
from streamarchive.search.scanning import Scan

MAX_COUNTED = 20_000
"""Moments that facets count, the newest first."""
COUNTING_SECONDS = 0.1
"""After this long facets count no further portion."""
_STEPS_BETWEEN_CLOCKS = 10_000

Key = tuple[int, ...]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the answer is wanted."""

    hidden: Collection[InterviewId]
    sort: Sort
    cursor: str
    limit: int


@dataclass(slots=True)
class _Cut:
    """The items of a page by their keys, and how many there are at least."""

    keys: list[Key]
    moments: int = 0
    interviews: int = 0
    exact: bool = True
    next_cursor: str = ""
    timed_out: bool = False


class Ranking:
    """One search in one read transaction, given up after `SEARCH_SECONDS`."""

    def __init__(
        self, connection: sqlite3.Connection, generation: int, query: Query, wanted: Wanted, page: Page
    ) -> None:
        self._connection = connection
        self._documents = f"documents_{generation}"
        self._query = query
        self._wanted = wanted
        self._page = page
        self._scan = Scan(connection, generation, wanted, page.hidden)
        self._ranks: dict[int, int] = {}
        self._began = time.monotonic()

    # --- the three answers ------------------------------------------------------------------------------

    def interviews(self, moments: int) -> Results:
        """The interviews of the page with their best moments."""
        cut = self._cut(self._interview_keys, ascending=self._page.sort is Sort.OLDEST)
        shown = [abs(key[-1]) for key in cut.keys]
        best = {each: list[int]() for each in shown}
        for number in self._ranks:
            if numbering.is_cue(number) and (interview := numbering.interview_of(number)) in best:
                best[interview].append(number)
        for numbers in best.values():
            numbers.sort(key=lambda n: (-self._ranks[n], n))
        hits = self._hits([n for numbers in best.values() for n in numbers[:moments]])
        ids = self._scan.ids(shown)
        found = tuple(
            InterviewHits(ids[each], len(best[each]), tuple(hits[n] for n in best[each][:moments]))
            for each in shown
        )
        return Results(
            Total(cut.moments, cut.exact),
            Total(cut.interviews, cut.exact),
            found,
            next_cursor=cut.next_cursor,
            timed_out=cut.timed_out,
        )

    def moments(self) -> Moments:
        """The moments of the page."""
        cut = self._cut(self._moment_keys, ascending=self._page.sort is Sort.OLDEST)
        shown = [abs(key[-1]) for key in cut.keys]
        hits = self._hits(shown)
        return Moments(
            Total(cut.moments, cut.exact),
            tuple(hits[n] for n in shown),
            next_cursor=cut.next_cursor,
            timed_out=cut.timed_out,
        )

    def facets(self) -> Facets:
        """All moments, or the newest of very many, counted."""
        numbers: list[int] = []
        rest: int | None = None
        portions = Portions(self._scan, self._wanted, ascending=False, most=MAX_COUNTED)

        def count() -> None:
            nonlocal rest
            while len(numbers) < MAX_COUNTED and (rest is None or self._elapsed() < COUNTING_SECONDS):
                members, rest = portions.members(rest)
                numbers.extend([n for n in members if n & PLACE_MASK])
                if rest is None:
                    return

        timed_out = not self._in_time(count)
        languages = self._scan.languages()
        interviews = Counter([n >> PLACE_BITS for n in numbers])
        ids = self._scan.ids(interviews)
        langs: Counter[int] = Counter()
        for features, many in Counter([n & FEATURES_MASK for n in numbers]).items():
            langs[numbering.lang_of(features)] += many
        return Facets(
            langs=_ordered({languages[n]: count for n, count in langs.items() if n in languages}),
            speakers=_ordered(self._speakers(numbers)),
            interviews=_ordered({ids[n]: count for n, count in interviews.items()}),
            exact=rest is None and not timed_out,
            timed_out=timed_out,
        )

    def _speakers(self, numbers: Sequence[int]) -> dict[str, int]:
        rows = self._connection.execute(
            f"SELECT speaker, count(*) FROM {self._documents}"  # noqa: S608
            " WHERE number IN (SELECT value FROM json_each(?)) AND speaker IS NOT NULL GROUP BY speaker",
            (json.dumps(numbers),),
        )
        return dict(rows.fetchall())

    # --- pages ------------------------------------------------------------------------------------------

    def _cut(self, keys_of: Callable[[Portion], list[Key]], *, ascending: bool) -> _Cut:
        """Portion after portion until the page is full. A cursor names its portion and what was shown last."""
        begin, after, moments, interviews = self._position()
        cut = _Cut([], moments, interviews)
        portions = Portions(self._scan, self._wanted, ascending=ascending)

        def fill() -> None:
            nonlocal begin, after
            while True:
                portion = portions.read(begin)
                self._ranks |= portion.ranks
                keys = [key for key in sorted(keys_of(portion)) if after is None or key > after]
                room = self._page.limit - len(cut.keys)
                cut.keys += keys[:room]
                before: list[object] = [begin, None, cut.moments, cut.interviews]
                cut.moments += sum(n & PLACE_MASK > 0 for n in portion.ranks)
                cut.interviews += len({n >> PLACE_BITS for n in portion.ranks})
                cut.exact = portion.rest is None
                if len(keys) > room:
                    before[1] = list(cut.keys[-1]) if cut.keys else None
                    cut.next_cursor = cursors.encode(before) if self._page.limit else ""
                    return
                if portion.rest is None:
                    return
                begin, after = portion.rest, None
                if len(cut.keys) >= self._page.limit:
                    cut.next_cursor = cursors.encode([begin, None, cut.moments, cut.interviews])
                    return

        if not self._in_time(fill):
            cut.timed_out, cut.exact = True, False
        return cut

    def _position(self) -> tuple[int | None, Key | None, int, int]:
        values = cursors.decode(self._page.cursor, ((int, type(None)), (list, type(None)), int, int))
        if values is None or not all(isinstance(part, int) for part in values[1] or ()):
            return None, None, 0, 0
        return values[0], values[1] and tuple(values[1]), values[2], values[3]

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _in_time(self, work: Callable[[], None]) -> bool:
        """Whether it was done before the deadline."""
        self._connection.set_progress_handler(lambda: self._elapsed() > SEARCH_SECONDS, _STEPS_BETWEEN_CLOCKS)
        try:
            work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return False
        finally:
            self._connection.set_progress_handler(None, 0)
        return True

    # --- in which order ---------------------------------------------------------------------------------

    def _interview_keys(self, portion: Portion) -> list[Key]:
        """A key for each interview; the last part is its number, perhaps negative."""
        best: dict[int, int] = {}
        for number, rank in portion.ranks.items():
            interview = number >> PLACE_BITS
            if rank > best.get(interview, -1):
                best[interview] = rank
        if self._page.sort is Sort.RELEVANCE:
            return [(-rank, -interview) for interview, rank in best.items()]
        return [(interview if self._page.sort is Sort.OLDEST else -interview,) for interview in best]

    def _moment_keys(self, portion: Portion) -> list[Key]:
        numbers = [n for n in portion.ranks if n & PLACE_MASK]
        match self._page.sort:
            case Sort.RELEVANCE:
                return [(-portion.ranks[n], -(n >> PLACE_BITS), n) for n in numbers]
            case Sort.NEWEST:
                return [(-n,) for n in numbers]
            case Sort.OLDEST:
                return [(n,) for n in numbers]
            case Sort.POSITION:
                return [(-(n >> PLACE_BITS), n) for n in numbers]

    # --- what is shown ----------------------------------------------------------------------------------

    def _hits(self, documents: Collection[int]) -> dict[int, Hit]:
        if not documents:
            return {}
        ids = self._scan.ids({numbering.interview_of(n) for n in documents})
        rows = self._connection.execute(
            "SELECT number, id, version, start_ms, end_ms, text, following, lang, speaker, doubtful"  # noqa: S608
            f" FROM {self._documents} WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(documents)),),
        )
        found = {}
        for number, document_id, version, start_ms, end_ms, text, following, lang, speaker, doubtful in rows:
            marked = marks(text, self._query, following)
            found[number] = Hit(
                document_id=document_id,
                interview_id=ids[numbering.interview_of(number)],
                version=version,
                start_ms=start_ms,
                end_ms=end_ms,
                text=text,
                lang=lang,
                speaker=speaker,
                doubtful=bool(doubtful),
                spans=marked.spans,
                crosses_border=bool(marked.continued),
            )
        return found


def _ordered(counts: dict[_T, int]) -> dict[_T, int]:
    """Most first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))))
