"""What people have decided, woven into what a machine has heard.

`weave` puts both in one order and says of every word of the machine whether it stays, and in which of the lines
that people have changed it stands. Who has to write lines from that reads the items in order.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from streamarchive.editing.alignment import Mark, Standing, align
from streamarchive.editing.units import Atom, Unit, atoms
from streamarchive.models import Word
from streamarchive.text import tokens

_PAUSE_MS = 1_000
"""What a person has decided does not reach across a pause this long."""

_SAME_MS = 300
"""A struck word that is heard again this near is the same one."""


class Will(Enum):
    """What a person wants of a word."""

    FREE = auto()
    """Nobody has touched it: the machine may do better."""
    LOCKED = auto()
    STRUCK = auto()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A line's units. `home` is the line's number, or None if machines may write all of it anew."""

    units: tuple[Unit, ...]
    start_ms: int
    end_ms: int
    home: int | None
    whole: bool = False
    """All of it is locked (it has been read)."""


@dataclass(frozen=True, slots=True)
class Part:
    """A token of a unit: `unit` and `place` say which, `home` is the number of its line."""

    atom: Atom
    unit: Unit
    home: int | None
    number: tuple[int, int]
    place: int
    will: Will = Will.FREE


@dataclass(frozen=True, slots=True)
class Item:
    """One step of the woven order: a person's token, a machine's, or both for the same sound.

    `home` is the line it stands in; a machine's token that is not `kept` is a person's decision.
    """

    ours: Part | None
    heard: Part | None
    home: int | None
    kept: bool


def weave(ours: Sequence[Stretch], struck: Sequence[Word], heard: Sequence[Stretch]) -> list[Item]:
    """All tokens of both sides, each item with the number of its line among `ours`."""
    left = _left(ours, struck)
    right = list(parts(heard))
    pairs = align(list(_marks(left, struck)), list(_heard_marks(right)))
    spans = {stretch.home: (stretch.start_ms, stretch.end_ms) for stretch in ours if stretch.home is not None}
    following = _following(pairs)
    unheard = [left[one] for one, other in pairs if one is not None and other is None]
    waiting = _Waiting([part.atom for part in unheard if part.will is Will.STRUCK])
    items: list[Item] = []
    before: Part | None = None
    for (one, other), after_at in zip(pairs, following, strict=True):
        mine = left[one] if one is not None else None
        theirs = right[other] if other is not None else None
        if mine is not None:
            before = mine
            items.append(Item(mine, theirs, mine.home, theirs is not None and mine.will is Will.FREE))
        elif theirs is not None:
            after = left[after_at] if after_at is not None else None
            home = _home(theirs, before, after, spans)
            out = _decided(theirs, before, after) or waiting.take(theirs.atom)
            items.append(Item(None, theirs, home, not out))
    return items


class _Waiting:
    """Struck words that nothing was aligned with, as where what replaced one is heard in another place."""

    def __init__(self, ghosts: Sequence[Atom]) -> None:
        self._times: dict[str, list[int]] = {}
        for ghost in ghosts:
            self._times.setdefault(ghost.text, []).append(ghost.middle_ms)

    def take(self, heard: Atom) -> bool:
        """Whether this is one of them, heard again; each is taken once."""
        times = self._times.get(heard.text, [])
        near = [time for time in times if abs(time - heard.middle_ms) <= _SAME_MS]
        if near:
            times.remove(near[0])
        return bool(near)


def _left(ours: Sequence[Stretch], struck: Sequence[Word]) -> list[Part]:
    """Words as they stand and those struck, by time; what replaced a struck word comes right behind it."""
    ordered = list(parts(sorted(ours, key=lambda stretch: (stretch.start_ms, stretch.end_ms))))
    ghosts = list(_ghosts(struck, ours))
    times = itertools.accumulate((part.atom.middle_ms for part in ordered), max)
    ghost_times = itertools.accumulate((part.atom.middle_ms for part in ghosts), max)
    merged = heapq.merge(
        zip(ghost_times, itertools.repeat(0), itertools.count(), ghosts, strict=False),
        zip(times, itertools.repeat(1), itertools.count(), ordered, strict=False),
        key=lambda entry: entry[:3],
    )
    return [part for *_, part in merged]


def parts(stretches: Iterable[Stretch]) -> Iterator[Part]:
    """All their tokens."""
    for number, stretch in enumerate(stretches):
        for position, unit in enumerate(stretch.units):
            locked = unit.word.locked or stretch.whole
            for place, atom in enumerate(atoms(unit) or _sign(unit, locked=locked)):
                will = Will.LOCKED if locked else Will.FREE
                yield Part(atom, unit, stretch.home, (number, position), place, will)


def _sign(unit: Unit, *, locked: bool) -> tuple[Atom, ...]:
    """What a person has left of a line without any word (`…`) keeps its place like a word."""
    return (Atom(unit.shown, unit.surface, unit.word.start_ms, unit.word.end_ms),) if locked else ()


def _ghosts(struck: Sequence[Word], ours: Sequence[Stretch]) -> Iterator[Part]:
    homes = _homes(ours)
    for number, word in enumerate(sorted(struck, key=lambda word: (word.start_ms, word.end_ms))):
        unit = Unit(word.text, tuple(token.text for token in tokens(word.text)), word)
        for place, atom in enumerate(atoms(unit)):
            yield Part(atom, unit, homes(atom.middle_ms), (-1, number), place, Will.STRUCK)


def _homes(ours: Sequence[Stretch]) -> Callable[[int], int | None]:
    """Which line a moment is in; where lines overlap, the last that has begun."""
    spans = sorted((s.start_ms, s.end_ms, s.home) for s in ours if s.home is not None)
    starts = [start for start, _, _ in spans]

    def home(time_ms: int) -> int | None:
        at = bisect_right(starts, time_ms) - 1
        return spans[at][2] if at >= 0 and time_ms < spans[at][1] else None

    return home


def _marks(left: Sequence[Part], struck: Sequence[Word]) -> Iterator[Mark]:
    """How a person's tokens stand: a struck one has been replaced, or nothing is to be there."""
    taken = _covering(struck)
    for part in left:
        atom, word = part.atom, part.unit.word
        standing = Standing.OPEN
        if part.will is Will.LOCKED:
            replaces = not word.estimated or taken(atom.start_ms, atom.end_ms)
            standing = Standing.FIRM if replaces else Standing.ALONE
        yield Mark(atom.text, atom.start_ms, atom.end_ms, standing, spare=part.will is Will.STRUCK)


def _covering(struck: Sequence[Word]) -> Callable[[int, int], bool]:
    """Whether a struck word was heard at some time."""
    spans = sorted((word.start_ms, word.end_ms) for word in struck)
    latest = list(itertools.accumulate((end for _, end in spans), max))

    def taken(start_ms: int, end_ms: int) -> bool:
        before = bisect_right(spans, (max(end_ms, start_ms + 1) - 1, 1 << 62))
        return before > 0 and latest[before - 1] > start_ms

    return taken


def _heard_marks(right: Sequence[Part]) -> Iterator[Mark]:
    for part in right:
        standing = Standing.FIRM if part.will is Will.LOCKED else Standing.OPEN
        yield Mark(part.atom.text, part.atom.start_ms, part.atom.end_ms, standing)


def _following(pairs: Sequence[tuple[int | None, int | None]]) -> list[int | None]:
    """For each pair the next left position behind it."""
    found: list[int | None] = []
    after: int | None = None
    for one, _ in reversed(pairs):
        found.append(after)
        after = one if one is not None else after
    return found[::-1]


def _home(heard: Part, before: Part | None, after: Part | None, spans: dict[int, tuple[int, int]]) -> int | None:
    """Where a word stands that answers to none of ours: between two of a line, else by its time."""
    first = before.home if before is not None else None
    second = after.home if after is not None else None
    if first is not None and first == second:
        return first
    time = heard.atom.middle_ms
    if first is not None and first in spans and time < spans[first][1]:
        return first
    if second is not None and second in spans and time >= spans[second][0]:
        return second
    return None


def _decided(heard: Part, before: Part | None, after: Part | None) -> bool:
    """Whether a person has decided what is said where this word is heard."""
    time = heard.atom.middle_ms
    firm_before = before is not None and before.will is not Will.FREE
    firm_after = after is not None and after.will is not Will.FREE
    if before is not None and firm_before and time < before.atom.end_ms:
        return True
    if after is not None and firm_after and time >= after.atom.start_ms:
        return True
    if before is None or after is None or not (firm_before and firm_after):
        return False
    return after.atom.start_ms - before.atom.end_ms < _PAUSE_MS and before.home == after.home
