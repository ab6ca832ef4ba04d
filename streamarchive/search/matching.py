"""What a query asks of a document, in the terms of the index; both engines answer it, each in its own words.

A document is one line of terms: those of its text; those of how the next cue begins, each behind the mark
`AHEAD`, so that a phrase across the border is a phrase of terms and what the next cue says is not taken for
what this one does (of two Han characters with the border between them, both are the one term that the first ends
in); the stems of its inflected words; the words of its speaker. Nobody can type the marks: what
`streamarchive.text` takes for a word has none of them.

An interview meets a query when every clause occurs somewhere in it: in its cues or in its own document
(titles, guests, event). What a filter or an excluded phrase rules out counts for nothing; filters on language
and speaker concern cues alone, and an interview then needs a moment, not only a title, to be found and placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.protocols import Clause, CueDocument, Facets, InterviewDocument, Moments, Query, Results, Total
from streamarchive.text import BORDER_UNITS, Phrase, Token

SEARCH_SECONDS = 2.0
"""After this long an engine answers with what it has."""
NO_RESULTS = Results(Total(0), Total(0), ())
NO_MOMENTS = Moments(Total(0), ())
NO_FACETS = Facets({}, {}, {})
WINDOW_MS = 30_000
"""Moments are near each other when they are in this window of the recording or in neighbouring ones."""

AHEAD = "›"
STEM = "≈"
SPEAKER = "¶"
NO_SPEAKER = SPEAKER * 2
"""The term of documents that filters on speakers leave alone."""
_LONGEST_ACROSS = 40
"""Words or characters of a phrase that is looked for across borders."""
_NUMBER, _UNIT = str.isdecimal, str.isalpha
_LONGEST_UNIT = 4


@dataclass(frozen=True, slots=True)
class Sought:
    """A clause in terms: any of these phrases meets it.

    `exact` is as it was typed, `loose` another form of the word or another wording; `ahead` tells that the next
    cue begins with it.
    """

    exact: tuple[Phrase, ...]
    loose: tuple[Phrase, ...] = ()
    ahead: tuple[Phrase, ...] = ()

    @property
    def any(self) -> tuple[Phrase, ...]:
        """All that meets the clause."""
        return self.exact + self.loose


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query in terms. `clauses` is never empty."""

    clauses: tuple[Sought, ...]
    without: tuple[Phrase, ...]
    speakers: tuple[Phrase, ...]
    langs: tuple[str, ...]
    interviews: tuple[InterviewId, ...]

    @property
    def moments_only(self) -> bool:
        """Whether a title alone does not make an interview a hit."""
        return bool(self.speakers or self.langs)


@dataclass(frozen=True, slots=True)
class Marks:
    """What to mark: (start, end) offsets into a cue's text and, where a phrase goes on, into the next one's."""

    spans: tuple[tuple[int, int], ...]
    continued: tuple[tuple[int, int], ...] = ()


def indexed(document: CueDocument | InterviewDocument) -> str:
    """A document as the index stores it: terms with spaces between them."""
    found = text.tokens(document.text)
    following = document.following if isinstance(document, CueDocument) else ""
    ahead = text.tokens(following)[:BORDER_UNITS]
    terms = [*_up_to_border(found, ahead), *(AHEAD + term for term in text.terms(ahead))]
    if isinstance(document, CueDocument):
        terms += [SPEAKER + term for term in text.terms(text.tokens(document.speaker or ""))]
    else:
        terms.append(NO_SPEAKER)
    terms += _stems(found)
    return " ".join(terms)


def _up_to_border(here: Sequence[Token], ahead: Sequence[Token]) -> tuple[str, ...]:
    """The terms before the border. The Han characters before and behind it are one term, as any two are."""
    terms = text.terms(here)
    if _are_han(here[-1:], ahead[:1]):
        return (*terms[:-1], terms[-1] + AHEAD + ahead[0].text)
    return terms


def _are_han(*tokens: Sequence[Token]) -> bool:
    return all(each and each[0].han for each in tokens)


def _stems(found: Iterable[Token]) -> Iterator[str]:
    """A word that is its own stem is found by its own term."""
    for word in dict.fromkeys(token.text for token in found if not token.han):
        stem = text.stem(word)
        if stem != word:
            yield STEM + stem


def wanted(query: Query) -> Wanted | None:
    """The query in terms; None where it asks for nothing, as one of exclusions and filters only does."""
    clauses = _sought(query.clauses)
    if not clauses:
        return None
    return Wanted(
        clauses=clauses,
        without=tuple(
            phrase for clause in query.clauses if clause.negated for phrase in _exact(text.tokens(clause.text))
        ),
        speakers=tuple(_behind(SPEAKER, phrase) for name in query.speakers if (phrase := text.phrase(name))),
        langs=query.langs,
        interviews=query.interviews,
    )


@lru_cache(maxsize=256)
def _sought(clauses: tuple[Clause, ...]) -> tuple[Sought, ...]:
    """Clauses that come to the same are one."""
    found: dict[Sought, None] = {}
    for clause, alternatives in _positive(clauses):
        tokens = text.tokens(clause.text)
        if tokens:
            exact = _exact(tokens)
            others = (phrase for other in alternatives for phrase in _exact(text.tokens(other)))
            loose = dict.fromkeys(phrase for phrase in (*_inflected(clause), *others) if phrase not in exact)
            ahead = (_behind(AHEAD, text.phrase_of(tokens)),)
            found[Sought(exact, tuple(loose), ahead)] = None
    return tuple(found)


def _positive(clauses: Sequence[Clause]) -> Iterator[tuple[Clause, tuple[str, ...]]]:
    """Clauses with the other wordings that meet them; a number and its unit may be written together."""
    positive = [clause for clause in clauses if not clause.negated]
    for at, clause in enumerate(positive):
        others = list(clause.alternatives)
        if not clause.quoted:
            others += text.wordings(clause.text)
            for first, second in ((at - 1, at), (at, at + 1)):
                if first >= 0 and second < len(positive):
                    others += _joined(positive[first], positive[second])
        yield clause, tuple(others)


def _joined(first: Clause, second: Clause) -> tuple[str, ...]:
    """800V for 800 V, L4 for L 4."""
    both = (first.text, second.text)
    if first.quoted or second.quoted or not all(part.isascii() for part in both):
        return ()
    if any(len(part) > _LONGEST_UNIT for part in both if part.isalpha()):
        return ()
    fits = (_NUMBER(both[0]) and _UNIT(both[1])) or (_UNIT(both[0]) and _NUMBER(both[1]))
    return ("".join(both),) if fits else ()


def _exact(tokens: Sequence[Token]) -> tuple[Phrase, ...]:
    """The phrase itself, and for every place where a cue may end in it, what it is in terms there."""
    if not tokens:
        return ()
    borders = range(1, len(tokens)) if len(tokens) <= _LONGEST_ACROSS else ()
    across = (_across(tokens[:border], tokens[border : border + BORDER_UNITS]) for border in borders)
    return (text.phrase_of(tokens), *across)


def _across(here: Sequence[Token], ahead: Sequence[Token]) -> Phrase:
    """These tokens in a row with the border between them; what the term at the border says is not said again."""
    before = _up_to_border(here, ahead)
    if len(ahead) == 1 and _are_han(here[-1:], ahead):
        return Phrase(before)
    behind = _behind(AHEAD, text.phrase_of(ahead))
    return Phrase(before + behind.terms, behind.prefix)


def _inflected(clause: Clause) -> tuple[Phrase, ...]:
    tokens = text.tokens(clause.text)
    if clause.quoted or len(tokens) != 1 or not text.inflects(tokens[0].text):
        return ()
    stem = text.stem(tokens[0].text)
    return (Phrase((STEM + stem,)), Phrase((stem,)))


def _behind(mark: str, phrase: Phrase) -> Phrase:
    return Phrase(tuple(mark + term for term in phrase.terms), phrase.prefix)


def marks(shown: str, query: Query, following: str = "") -> Marks:
    """What to mark in a cue that `query` has found; `following` is the text of the next one."""
    here, ahead = text.tokens(shown), text.tokens(following)
    joined = [*here, *ahead]
    spans, continued = [], []
    for first, end in _places(joined, query):
        if first >= len(here):
            continue
        spans.append((joined[first].start, here[min(end, len(here)) - 1].end))
        if end > len(here):
            continued.append((ahead[0].start, joined[end - 1].end))
    return Marks(text.merge(spans), text.merge(continued))


def _places(found: Sequence[Token], query: Query) -> Iterator[tuple[int, int]]:
    """Where clauses are met, as numbers of the first token and of the one after the last."""
    for clause, alternatives in _positive(query.clauses):
        for wording in dict.fromkeys((clause.text, *alternatives)):
            yield from text.places(found, text.tokens(wording))
        for phrase in _inflected(clause)[:1]:
            stem = phrase.terms[0].removeprefix(STEM)
            for at, token in enumerate(found):
                # Forms of a word begin alike, and finding a stem takes long.
                if token.text[0] == stem[0] and stem in (token.text, text.stem(token.text)):
                    yield at, at + 1
