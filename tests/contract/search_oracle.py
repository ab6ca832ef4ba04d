"""Answers to queries by scanning every text, to hold both engines against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from streamarchive import text
from streamarchive.protocols import Clause, CueDocument, InterviewDocument, Query, Sort

Document = CueDocument | InterviewDocument
Rank = tuple[int, int, bool, int]


@dataclass(frozen=True)
class Ranked:
    """A document that counts and how good it is: nearness, clauses, whether it is sure, clauses as typed."""

    document: Document
    rank: Rank


class Oracle:
    """Knows all documents."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents

    def ranked(self, query: Query) -> list[Ranked]:
        """The documents of the interviews that meet the query and themselves contain a clause of it."""
        positive = _with_joined([clause for clause in query.clauses if not clause.negated])
        clauses = list({_key(clause): clause for clause in positive}.values())
        allowed = [document for document in self._documents if _allowed(document, query)]
        met = {d.id: {n for n, clause in enumerate(clauses) if _meets(d, clause)} for d in allowed}
        found = []
        for interview in {document.interview_id for document in allowed}:
            own = [document for document in allowed if document.interview_id == interview]
            if set().union(*(met[each.id] for each in own)) != set(range(len(clauses))) or not clauses:
                continue
            containing = [each for each in own if met[each.id]]
            if query.langs or query.speakers:
                containing = [each for each in containing if isinstance(each, CueDocument)]
            found += [Ranked(each, _rank(each, clauses, met, containing)) for each in containing]
        return found

    def moments(self, query: Query, sort: Sort) -> list[str]:
        """Their ids, in order."""
        cues = [each for each in self.ranked(query) if isinstance(each.document, CueDocument)]
        return [each.document.id for each in sorted(cues, key=lambda each: _order(each, sort))]

    def interviews(self, query: Query, sort: Sort) -> dict[str, list[str]]:
        """The interviews in order, each with its moments, best first."""
        ranked = self.ranked(query)
        best: dict[str, Ranked] = {}
        for each in ranked:
            known = best.get(each.document.interview_id)
            if known is None or each.rank > known.rank:
                best[each.document.interview_id] = each
        order = sorted(best, key=lambda interview: _interview_order(best[interview], sort))
        return {
            interview: [
                each.document.id
                for each in sorted(ranked, key=lambda each: _order(each, Sort.RELEVANCE))
                if each.document.interview_id == interview and isinstance(each.document, CueDocument)
            ]
            for interview in order
        }


def _with_joined(clauses: list[Clause]) -> list[Clause]:
    """A number and the unit beside it are also met where they are written together."""
    found = []
    for at, clause in enumerate(clauses):
        beside = [clauses[n : n + 2] for n in (at - 1, at) if 0 <= n < len(clauses) - 1]
        joined = (
            "".join(each.text for each in pair)
            for pair in beside
            if not any(each.quoted for each in pair)
            and sorted(map(_kind, (each.text for each in pair))) == ["number", "unit"]
        )
        found.append(replace(clause, alternatives=(*clause.alternatives, *joined)))
    return found


def _key(clause: Clause) -> tuple[object, ...]:
    """What tells clauses apart; a quoted one is the same as one that has no other forms."""
    words = text.tokens(clause.text)
    other_forms = not clause.quoted and (
        (len(words) == 1 and re.fullmatch("[a-z]{3,}", words[0].text)) or text.wordings(clause.text)
    )
    return tuple(word.text for word in words), clause.alternatives, bool(other_forms)


def _kind(shown: str) -> str:
    if shown.isdecimal():
        return "number"
    return "unit" if shown.isascii() and shown.isalpha() and len(shown) <= 4 else ""


def _allowed(document: Document, query: Query) -> bool:
    if query.interviews and document.interview_id not in query.interviews:
        return False
    if any(_contains(document, clause.text) for clause in query.clauses if clause.negated):
        return False
    if isinstance(document, InterviewDocument):
        return True
    spoken_by = text.tokens(document.speaker or "")
    return (not query.langs or document.lang in query.langs) and (
        not query.speakers or any(text.places(spoken_by, text.tokens(name)) for name in query.speakers)
    )


def _contains(document: Document, phrase: str) -> bool:
    """In its text or from there into the next cue's."""
    own = text.tokens(document.text)
    ahead = text.tokens(document.following) if isinstance(document, CueDocument) else ()
    return any(first < len(own) for first, _ in text.places([*own, *ahead], text.tokens(phrase)))


def _meets(document: Document, clause: Clause) -> bool:
    if any(_contains(document, wording) for wording in (clause.text, *clause.alternatives)):
        return True
    if clause.quoted:
        return False
    words = text.tokens(clause.text)
    inflected = len(words) == 1 and any(
        text.stem(words[0].text) in (token.text, text.stem(token.text)) for token in text.tokens(document.text)
    )
    return inflected or any(_contains(document, wording) for wording in text.wordings(clause.text))


def _begins_next(document: Document, clause: Clause) -> bool:
    ahead = text.tokens(document.following) if isinstance(document, CueDocument) else ()
    return bool(text.places(ahead, text.tokens(clause.text)))


def _rank(document: Document, clauses: list[Clause], met: dict[str, set[int]], own: Iterable[Document]) -> Rank:
    every = set(range(len(clauses)))
    here = met[document.id]
    ahead = {n for n, clause in enumerate(clauses) if _begins_next(document, clause)}
    nearness = 0
    if len(clauses) > 1:
        if here | ahead == every:
            nearness = 2
        elif isinstance(document, CueDocument) and any(
            set().union(*(met[each.id] for each in own if _window(each) in (first, first + 1))) == every
            for first in (_window(document) - 1, _window(document))
        ):
            nearness = 1
    sure = not (isinstance(document, CueDocument) and document.doubtful)
    exact = sum(_contains(document, clauses[n].text) for n in here)
    return nearness, len(here), sure, exact


def _window(document: Document) -> int:
    return document.start_ms // 30_000 if isinstance(document, CueDocument) else -10


def _order(ranked: Ranked, sort: Sort) -> tuple[object, ...]:
    cue = ranked.document
    assert isinstance(cue, CueDocument | InterviewDocument)
    start = cue.start_ms if isinstance(cue, CueDocument) else -1
    held = cue.held_at.timestamp()
    match sort:
        case Sort.RELEVANCE:
            return (*(-part for part in ranked.rank), -held, start)
        case Sort.NEWEST:
            return (-held, -start)
        case Sort.OLDEST:
            return (held, start)
        case Sort.POSITION:
            return (-held, start)


def _interview_order(best: Ranked, sort: Sort) -> tuple[object, ...]:
    held = best.document.held_at.timestamp()
    match sort:
        case Sort.RELEVANCE:
            return (*(-part for part in best.rank), -held)
        case Sort.OLDEST:
            return (held,)
        case _:
            return (-held,)
