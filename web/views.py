"""What templates show: values of the catalogue and the index, made ready for a page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from streamarchive.catalogue.captioning import Skip
from streamarchive.clock import to_ms
from streamarchive.models import Cue, Gap, Interview, MediaSegment, Stage, Stretch
from streamarchive.search import answers

from .wording import Gettext, gap_words, hole_words, seconds_of


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a known language, so that the page can say which."""

    text: str
    lang: str


@dataclass(frozen=True, slots=True)
class Card:
    """An interview in a list."""

    url: str
    title: Text
    guests: tuple[Text, ...]
    event: Text | None
    held_at: datetime
    stage: Stage
    duration_ms: int | None
    poster_url: str | None
    draft: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a line; `marked` ones met the query."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """A hit: a link to its second. `age_ms` is how long ago it was said, for interviews on air.

    `continued` is how the next line begins, where the phrase goes on there.
    """

    url: str
    start_ms: int
    pieces: tuple[Piece, ...]
    lang: str
    speaker: str | None
    age_ms: int | None = None
    continued: tuple[Piece, ...] = ()
    doubtful: bool = False
    translated: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An interview that meets a query."""

    id: str
    card: Card
    moments: tuple[Moment, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Line:
    """A cue or a gap of the transcript, in the order of the media clock."""

    key: str
    start_ms: int
    end_ms: int
    text: str
    lang: str
    url: str
    speaker: str | None = None
    names_speaker: bool = False
    doubt: str | None = None
    here: bool = False
    gap: bool = False
    skipped: bool = False
    """Nothing is missing here but captions."""
    cue_id: int | None = None
    revision: int = 0
    read: bool = False
    withheld: bool = False
    """Only those who are signed in see it."""
    pieces: tuple[Piece, ...] = ()
    """The text cut where the recogniser was not sure; `marked` pieces are those."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file of an interview."""

    label: str
    url: str
    file_name: str


_SURE = 0.5
"""A word with less is underlined for editors."""


def in_language(texts: Mapping[str, str], code: str) -> Text | None:
    """The text in this language, else in any; None if there is none."""
    if texts.get(code):
        return Text(texts[code], code)
    return next((Text(text, lang) for lang, text in texts.items() if text), None)


def title_of(interview: Interview, code: str) -> Text:
    """The title, or the id where nobody has written one."""
    return in_language(interview.titles, code) or Text(interview.id, "")


def guests_of(interview: Interview, code: str) -> tuple[Text, ...]:
    """The guests' names."""
    names = (in_language(person.names, code) for person in interview.guests)
    return tuple(name for name in names if name)


def moment_url(address: str, at_ms: int, track: str = "") -> str:
    """The link to this moment of the text as spoken, or of a translation."""
    return f"{address}?{f'track={track}&' if track else ''}t={seconds_of(at_ms)}"


def card(interview: Interview, code: str, *, duration_ms: int | None = None, has_picture: bool = False) -> Card:
    """An interview as lists show it."""
    return Card(
        url=interview.address,
        title=title_of(interview, code),
        guests=guests_of(interview, code),
        event=in_language(interview.event.names, code) if interview.event else None,
        held_at=interview.held_at,
        stage=interview.stage,
        duration_ms=duration_ms or None,
        poster_url=f"/interviews/{interview.id}/poster.jpg" if has_picture else None,
        draft=interview.visibility != "public",
    )


def pieces(text: str, spans: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """The text cut at the spans; spans that overlap or leave the text are put right."""
    found: list[Piece] = []
    at = 0
    for start, end in sorted(spans):
        start, end = max(start, at), min(end, len(text))
        if start >= end:
            continue
        if start > at:
            found.append(Piece(text[at:start], marked=False))
        found.append(Piece(text[start:end], marked=True))
        at = end
    if at < len(text):
        found.append(Piece(text[at:], marked=False))
    return tuple(found)


def moment(hit: answers.Moment, address: str, *, age: timedelta | None = None) -> Moment:
    """A hit as the results show it; `age` is how long ago it was said on air."""
    return Moment(
        url=moment_url(address, hit.cue.start_ms, hit.cue.track),
        start_ms=hit.cue.start_ms,
        pieces=pieces(hit.cue.text, hit.spans),
        lang=hit.cue.lang,
        speaker=hit.cue.speaker,
        age_ms=None if age is None else round(age.total_seconds() * 1000),
        continued=pieces(hit.continued, hit.continued_spans),
        doubtful=hit.cue.doubt is not None,
        translated=bool(hit.cue.track),
    )


def said_ago(segment: MediaSegment, at_ms: int, now: datetime) -> timedelta:
    """How long ago this moment of a broadcast was, told by the media segment that holds it or the one before.

    A segment arrives when its last picture has been taken. Captions may be ahead of the newest segment.
    """
    said_at = segment.arrived_at + timedelta(milliseconds=at_ms - to_ms(segment.end_ticks))
    return max(now - said_at, timedelta(0))


def lines(
    cues: Iterable[Cue],
    gaps: Iterable[Gap],
    address: str,
    at_ms: int | None = None,
    skips: Iterable[Skip] = (),
    *,
    holes: Sequence[Stretch] = (),
    gettext: Gettext = str,
) -> list[Line]:
    """Cues, gaps, skips and holes in order; the cue that holds `at_ms`, or the last before it, is `here`.

    A cue that meets a hole is withheld: it is there for those who are signed in.
    """
    ordered = sorted(cues, key=lambda cue: (cue.start_ms, cue.end_ms, cue.id))
    here = None if at_ms is None else _line_at(ordered, at_ms)
    found: list[Line] = []
    speaker: str | None = None
    for cue in ordered:
        line = _cue_line(cue, address, names_speaker=cue.speaker != speaker, here=cue.id == here)
        found.append(replace(line, withheld=any(hole.meets(cue.start_ms, cue.end_ms) for hole in holes)))
        speaker = cue.speaker
    found.extend(gap_line(gap, address, gettext) for gap in gaps)
    found.extend(skip_line(skip, address) for skip in skips)
    found.extend(hole_line(hole, address, gettext) for hole in holes)
    # A gap is a point: what was said before it ends there, what comes after it begins there.
    return sorted(found, key=lambda line: (line.start_ms, not line.gap))


def _line_at(ordered: Sequence[Cue], at_ms: int) -> int | None:
    before = [cue.id for cue in ordered if cue.start_ms <= at_ms]
    return before[-1] if before else (ordered[0].id if ordered else None)


def _cue_line(cue: Cue, address: str, *, names_speaker: bool, here: bool) -> Line:
    return Line(
        key=f"c{cue.id}",
        start_ms=cue.start_ms,
        end_ms=cue.end_ms,
        text=cue.text,
        lang=cue.lang,
        url=moment_url(address, cue.start_ms, cue.track),
        speaker=cue.speaker,
        names_speaker=names_speaker and cue.speaker is not None,
        doubt=cue.doubt,
        here=here,
        cue_id=cue.id,
        revision=cue.revision,
        read=cue.read,
        pieces=pieces(cue.text, unsure(cue)),
    )


def unsure(cue: Cue) -> list[tuple[int, int]]:
    """Where the words stand that the recogniser was not sure of and nobody has looked at, as character spans."""
    found: list[tuple[int, int]] = []
    at = 0
    for word in cue.words:
        text = word.text.strip()
        start = cue.text.find(text, at) if text else -1
        if start < 0:
            continue
        at = start + len(text)
        doubtful = word.probability is not None and word.probability < _SURE and not word.locked
        if doubtful and not cue.read:
            found.append((start, at))
    return found


def gap_line(gap: Gap, address: str, gettext: Gettext) -> Line:
    """Where something is missing; its length is wall-clock time."""
    missing = round((gap.ended_at - gap.began_at).total_seconds() * 1000) if gap.ended_at else 0
    return Line(
        key=f"gap{gap.at_ms}",
        start_ms=gap.at_ms,
        end_ms=gap.at_ms + missing,
        text=gap_words(gap, gettext),
        lang="",
        url=moment_url(address, gap.at_ms),
        gap=True,
    )


def hole_line(hole: Stretch, address: str, gettext: Gettext) -> Line:
    """What nobody gets."""
    return Line(
        key=f"hole{hole.start_ms}",
        start_ms=hole.start_ms,
        end_ms=hole.end_ms,
        text=hole_words(hole, gettext),
        lang="",
        url=moment_url(address, hole.end_ms),
        gap=True,
    )


def skip_line(skip: Skip, address: str) -> Line:
    """Where live captions have left something out; it can be heard."""
    return Line(
        key=f"skip{skip.start_ms}",
        start_ms=skip.start_ms,
        end_ms=skip.end_ms,
        text="",
        lang="en",
        url=moment_url(address, skip.start_ms),
        gap=True,
        skipped=True,
    )
