"""What a query asks of a document, in the terms of the index; both engines answer it, each in its own words.

An interview meets a query when every clause occurs somewhere in it: in its cues or in its own document
(titles, guests, event). What a filter or an excluded phrase rules out counts for nothing; filters on language
and speaker concern cues alone, and an interview then needs a moment, not only a title, to be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.protocols import Query
from streamarchive.text import Phrase

SEARCH_SECONDS = 2.0
"""After this long an engine answers with what it has."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query in terms. `clauses` is never empty."""

    clauses: tuple[Phrase, ...]
    without: tuple[Phrase, ...]
    speakers: tuple[Phrase, ...]
    langs: tuple[str, ...]
    interviews: tuple[InterviewId, ...]

    @property
    def moments_only(self) -> bool:
        """Whether a title alone does not make an interview a hit."""
        return bool(self.speakers or self.langs)


def wanted(query: Query) -> Wanted | None:
    """The query in terms; None where it asks for nothing, as one of exclusions and filters only does."""
    positive = _phrases(tuple(clause.text for clause in query.clauses if not clause.negated))
    if not positive:
        return None
    return Wanted(
        clauses=positive,
        without=_phrases(tuple(clause.text for clause in query.clauses if clause.negated)),
        speakers=_phrases(query.speakers),
        langs=query.langs,
        interviews=query.interviews,
    )


def marks(shown: str, query: Query) -> tuple[tuple[int, int], ...]:
    """What to mark in a text that `query` has found, as (start, end) character offsets."""
    return text.spans(shown, [clause.text for clause in query.clauses if not clause.negated])


def indexed(shown: str | None) -> str:
    """A text as the index stores it: terms with spaces between them."""
    return " ".join(text.terms(text.tokens(shown))) if shown else ""


@lru_cache(maxsize=256)
def _phrases(texts: tuple[str, ...]) -> tuple[Phrase, ...]:
    found = (text.phrase(each) for each in texts)
    return tuple(dict.fromkeys(each for each in found if each is not None))
