"""A machine's new run under what people have done: human words win.

A line that a person has changed keeps its place, its times and its speaker. Its locked words stay; the others
become what the machine hears now. Words that a person took out stay out, also where the machine now hears
something else in their place. A line that was marked as read stays whole. Everything else is the machine's, cut
where a person's line stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from streamarchive.editing.alignment import REACH_MS
from streamarchive.editing.units import Unit, ending_like, joined, sealed, units
from streamarchive.editing.weaving import Item, Part, Stretch, Will, parts, weave
from streamarchive.models import CueDraft, Word

SURE = 0.8
"""A machine this sure of its words may suggest them against a person's."""


@dataclass(frozen=True, slots=True)
class Held:
    """A line that a person has changed, as it stands."""

    line: CueDraft
    read: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """In the line with this number a person wrote `text`, and the machine is sure to hear something else."""

    number: int
    start_ms: int
    end_ms: int
    text: str
    heard: str
    probability: float


@dataclass(frozen=True, slots=True)
class Overlay:
    """`held` are the lines that were given, in their order; `machine` are those beside them."""

    held: tuple[CueDraft, ...]
    machine: tuple[CueDraft, ...]
    suggestions: tuple[Suggestion, ...] = ()


def overlay(
    held: Sequence[Held],
    struck: Sequence[Word],
    heard: Sequence[CueDraft],
    around: Sequence[CueDraft] = (),
) -> Overlay:
    """Lay what people have done over what a run has `heard`.

    `around` are the lines next to the held ones that no person has touched: they help to tell where a word at
    a border belongs. All times are on the media clock.
    """
    near = _nearness([*(h.line for h in held), *struck])
    at_hand = [_Heard(line, sealed(units(line))) for line in heard if near(line)]
    if not at_hand:
        return Overlay(tuple(h.line for h in held), tuple(heard))
    ours = [_stretch(h.line, None if _is_sign(h.line) else number, whole=h.read) for number, h in enumerate(held)]
    ours += [_stretch(line, None) for line in around if near(line)]
    theirs = [Stretch(h.units, h.line.start_ms, h.line.end_ms, number) for number, h in enumerate(at_hand)]
    items = weave(ours, struck, theirs)
    homes: dict[int | None, list[Item]] = {}
    for item in items:
        homes.setdefault(item.home, []).append(item)
    lines = tuple(_rewritten(h, homes.get(number, [])) for number, h in enumerate(held))
    apart = [line for line in heard if not near(line)]
    pieces = sorted([*apart, *_pieces(items, at_hand, held)], key=lambda line: (line.start_ms, line.end_ms))
    return Overlay(lines, tuple(pieces), tuple(_suggestions(items)))


@dataclass(frozen=True, slots=True)
class _Heard:
    """A line of the machine and its units."""

    line: CueDraft
    units: tuple[Unit, ...]


def beside(held: Sequence[CueDraft], struck: Sequence[Word], heard: Sequence[CueDraft]) -> list[CueDraft]:
    """What of lines just heard stands beside the held ones: for a run that has got only so far."""
    spans = [(line.start_ms, line.end_ms) for line in held] + [(word.start_ms, word.end_ms) for word in struck]

    def free(part: Part) -> bool:
        return not any(start <= part.atom.middle_ms < end for start, end in spans)

    found: list[CueDraft] = []
    for line in heard:
        if not any(line.start_ms < end and start < line.end_ms for start, end in spans):
            found.append(line)
            continue
        whole = _Heard(line, sealed(units(line)))
        stretch = Stretch(whole.units, line.start_ms, line.end_ms, 0)
        for kept, run in itertools.groupby(parts([stretch]), key=free):
            if kept:
                found.append(_Piece(whole, list(run)).done())
    return found


def _is_sign(line: CueDraft) -> bool:
    """Whether a person has left nothing but a sign (`…`): what is heard there stands beside it."""
    return all(not unit.tokens and unit.word.locked for unit in units(line))


def _stretch(line: CueDraft, home: int | None, *, whole: bool = False) -> Stretch:
    return Stretch(sealed(units(line)), line.start_ms, line.end_ms, home, whole)


def _nearness(spans: Iterable[CueDraft | Word]) -> Callable[[CueDraft], bool]:
    """Whether a line is so near to one of these that it can have to do with it."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((span.start_ms - REACH_MS, span.end_ms + REACH_MS) for span in spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return lambda line: any(line.start_ms <= end and line.end_ms >= start for start, end in merged)


# --- the lines of people ----------------------------------------------------------------------------------


def _rewritten(held: Held, inside: Sequence[Item]) -> CueDraft:
    """The line with the machine's words where a person has left room for them."""
    if held.read or not any(item.heard is not None for item in inside):
        return held.line
    found = list(_chosen(inside))
    line = replace(held.line, text=joined(unit.surface for unit in found))
    if not line.text:
        return held.line
    return replace(line, words=_settled([unit.word for unit in found], line.start_ms, line.end_ms))


def _chosen(inside: Sequence[Item]) -> Iterator[Unit]:
    """The units of a line in their order: locked ones as they are, kept ones of the machine."""
    locked: tuple[int, int] | None = None
    run: list[Item] = []
    for item in inside:
        if item.ours is not None and item.ours.will is Will.LOCKED:
            if item.ours.number != locked:
                yield from _leading_to(item.ours, run)
                run = []
                locked = item.ours.number
                yield _measured(item.ours, inside)
        elif item.heard is not None and item.kept and not _within(item, locked, inside):
            run.append(item)
    yield from _units([item.heard for item in run if item.heard is not None])


def _leading_to(locked: Part, run: Sequence[Item]) -> Iterator[Unit]:
    """The machine's units before a locked word: the sign between them stays as the person has left it."""
    found = list(_units([item.heard for item in run if item.heard is not None]))
    replaced = run[-1].ours if run else None
    if replaced is not None and replaced.number == (locked.number[0], locked.number[1] - 1):
        last = found[-1]
        surface = ending_like(last.surface, replaced.unit.surface)
        found[-1] = replace(last, surface=surface, word=replace(last.word, text=surface.strip()))
    yield from found


def _units(found: Sequence[Part]) -> Iterator[Unit]:
    for _, run in itertools.groupby(found, key=lambda part: part.number):
        yield _whole(list(run))


def _within(item: Item, locked: tuple[int, int] | None, inside: Sequence[Item]) -> bool:
    """Whether it was heard in the middle of a locked word."""
    if locked is None:
        return False
    following = itertools.islice(inside, inside.index(item) + 1, None)
    return any(other.ours is not None and other.ours.number == locked for other in following)


def _whole(run: Sequence[Part]) -> Unit:
    """The unit these tokens are of, or the part of it that they are."""
    unit = run[0].unit
    if len(run) == len(unit.tokens):
        return unit
    surface = "".join(part.atom.surface for part in run)
    word = replace(unit.word, text=surface.strip(), start_ms=run[0].atom.start_ms, end_ms=run[-1].atom.end_ms)
    return Unit(surface, tuple(part.atom.text for part in run), word)


def _measured(part: Part, inside: Sequence[Item]) -> Unit:
    """A locked word; where its times were estimated and the machine hears it too, the machine's are better."""
    unit = part.unit
    if not unit.word.estimated:
        return unit
    answers = [
        item.heard
        for item in inside
        if item.ours is not None
        and item.ours.number == part.number
        and item.heard is not None
        and item.heard.atom.text == item.ours.atom.text
        and not item.heard.unit.word.estimated
    ]
    if not answers or len(answers) != len(unit.tokens):
        return unit
    start, end = answers[0].atom.start_ms, answers[-1].atom.end_ms
    return replace(unit, word=replace(unit.word, start_ms=start, end_ms=end, estimated=False))


def _settled(words: Sequence[Word], low: int, high: int) -> tuple[Word, ...]:
    """Words in order and inside their line. Measured words of people stand; the others make room for them."""
    limits, limit = [], high
    for word in reversed(words):
        limits.append(limit)
        if word.locked and not word.estimated:
            limit = min(limit, max(word.start_ms, low))
    at, settled = low, []
    for word, limit in zip(words, reversed(limits), strict=True):
        room = max(limit, at)
        start = min(max(word.start_ms, at), room)
        end = min(max(word.end_ms, start), room)
        moved = (start, end) != (word.start_ms, word.end_ms)
        settled.append(replace(word, start_ms=start, end_ms=end, estimated=True) if moved else word)
        at = end
    return tuple(settled)


# --- the lines of the machine -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Piece:
    """What is left of a machine's line between lines of people: `low` and `high` are where those stand."""

    heard: _Heard
    parts: list[Part] = field(default_factory=list)
    low: int | None = None
    high: int | None = None

    def done(self) -> CueDraft:
        found, line, original = list(_units(self.parts)), self.heard.line, self.heard.units
        if [unit.word for unit in found] == [unit.word for unit in original]:
            return line
        first, last = found[0].word, found[-1].word
        start = line.start_ms if first == original[0].word else first.start_ms
        end = line.end_ms if last == original[-1].word else last.end_ms
        start = max(start, self.low if self.low is not None else start)
        end = max(min(end, self.high if self.high is not None else end), start)
        words = _settled([unit.word for unit in found], start, end)
        text = joined(unit.surface for unit in found)
        return replace(line, start_ms=start, end_ms=end, text=text, words=words)


def _pieces(items: Sequence[Item], at_hand: Sequence[_Heard], held: Sequence[Held]) -> Iterator[CueDraft]:
    """The machine's lines without what went to people's lines, cut where one of those stands."""
    piece: _Piece | None = None
    wordless = [heard.line for heard in at_hand if not any(unit.tokens for unit in heard.units)]
    yield from (line for line in wordless if not _covered(line, held))
    low: int | None = None
    for item in items:
        if item.home is not None:
            if piece is not None:
                piece.high = held[item.home].line.start_ms
                yield piece.done()
                piece = None
            low = held[item.home].line.end_ms
        elif item.heard is not None and item.kept:
            heard = at_hand[item.heard.home or 0]
            if piece is None or piece.heard is not heard:
                if piece is not None:
                    yield piece.done()
                piece = _Piece(heard, low=low)
            piece.parts.append(item.heard)
    if piece is not None:
        yield piece.done()


def _covered(line: CueDraft, held: Sequence[Held]) -> bool:
    return any(line.start_ms < h.line.end_ms and h.line.start_ms < line.end_ms for h in held)


# --- suggestions ------------------------------------------------------------------------------------------


def _suggestions(items: Sequence[Item]) -> Iterator[Suggestion]:
    """Where a sure machine hears neither what the person wrote nor what the person took out."""
    inside = (item for item in items if item.home is not None)
    for (home, firm), run in itertools.groupby(inside, key=lambda item: (item.home, _firm(item))):
        if firm and home is not None:
            found = _suggestion(home, list(run))
            if found is not None:
                yield found


def _firm(item: Item) -> bool:
    return (item.ours is not None and item.ours.will is not Will.FREE) or not (item.kept or item.ours is not None)


def _suggestion(home: int, run: Sequence[Item]) -> Suggestion | None:
    ours = [item.ours for item in run if item.ours is not None]
    locked = [part for part in ours if part.will is Will.LOCKED]
    struck = [part for part in ours if part.will is Will.STRUCK]
    heard = [item.heard for item in run if item.heard is not None]
    said = [part.atom.text for part in heard]
    if not heard or not locked or said in ([p.atom.text for p in locked], [p.atom.text for p in struck]):
        return None
    sure = [part.unit.word.probability or 0.0 for part in heard]
    probability = sum(sure) / len(sure)
    if probability < SURE:
        return None
    return Suggestion(
        number=home,
        start_ms=heard[0].atom.start_ms,
        end_ms=heard[-1].atom.end_ms,
        text=joined(part.atom.surface for part in locked),
        heard=joined(part.atom.surface for part in heard),
        probability=round(probability, 3),
    )
