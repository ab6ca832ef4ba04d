"""Corrections made to a line that has since been replaced, carried over to the lines that stand there now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamarchive.editing.operations import Edited, edit
from streamarchive.editing.overlay import Held
from streamarchive.editing.units import Unit, ending_like, joined, sealed, units
from streamarchive.editing.weaving import Item, Part, Stretch, Will, weave
from streamarchive.models import CueDraft, Word


def transplant(
    base: CueDraft, text: str, now: Sequence[Held], struck: Sequence[Word] = ()
) -> tuple[str, ...] | None:
    """What the texts of the lines `now` become when somebody who saw `base` has made `text` of it.

    A text may come out empty: all of that line was taken out. None if it cannot be told, or if it would change
    what a person has decided there meanwhile.
    """
    if not now:
        return None
    done = edit(base, text, struck)
    items = weave([_changes(base, done)], done.struck, [_stretch(held, at) for at, held in enumerate(now)])
    following = _next_lines(items)
    texts = _Texts(now, next((at for at in following if at is not None), 0))
    for item, after in zip(items, following, strict=True):
        if item.heard is not None and (item.kept or _outside(item, base)):
            texts.keep(item.heard, item.ours)
            continue
        if item.heard is not None:
            if _contradicts(item):
                return None
            texts.drop(item.heard)
        if item.ours is not None and item.ours.will is Will.LOCKED:
            texts.write(item.ours, None if item.heard is not None else after)
    if any(now[at].read for at in texts.touched):
        return None
    return tuple(
        joined(texts.surfaces[at]) if at in texts.touched else held.line.text for at, held in enumerate(now)
    )


class _Texts:
    """The lines as they are written anew; `line` is the one where the last token stands."""

    def __init__(self, now: Sequence[Held], line: int) -> None:
        self.now = now
        self.line = line
        self.surfaces: list[list[str]] = [[] for _ in now]
        self.touched: set[int] = set()
        self._replaced: Part | None = None

    def keep(self, heard: Part, ours: Part | None) -> None:
        """What stands there stays, whatever the editor saw in its place."""
        self.line = heard.home or 0
        self.surfaces[self.line].append(heard.atom.surface)
        self._replaced = ours

    def drop(self, heard: Part) -> None:
        """The editor has taken this out or replaced it."""
        self.line = heard.home or 0
        self.touched.add(self.line)
        self._replaced = None

    def write(self, ours: Part, after: int | None) -> None:
        """The editor's own token, at its time between this line and the one `after` it."""
        before, replaced = self.line, self._replaced
        if after is not None:
            times = range(before, after + 1)
            at_ms = ours.atom.middle_ms
            self.line = next((at for at in times if at_ms < self.now[at].line.end_ms), after)
        written = self.surfaces[self.line]
        follows = replaced is not None and replaced.number == (ours.number[0], ours.number[1] - 1)
        if replaced is not None and follows and before == self.line:
            written[-1] = ending_like(written[-1], replaced.atom.surface)
        written.append(ours.atom.surface)
        self.touched.add(self.line)
        self._replaced = None


def _changes(base: CueDraft, done: Edited) -> Stretch:
    """The edited line with only that locked which the edit has changed."""
    before = {unit.word for unit in units(base)}

    def only_new(unit: Unit) -> Unit:
        return replace(unit, word=replace(unit.word, locked=unit.word not in before))

    found = tuple(only_new(unit) for unit in sealed(units(done.line)))
    return Stretch(found, base.start_ms, base.end_ms, home=0)


def _stretch(held: Held, at: int) -> Stretch:
    return Stretch(sealed(units(held.line)), held.line.start_ms, held.line.end_ms, at, held.read)


def _outside(item: Item, base: CueDraft) -> bool:
    """Whether a word was never part of the line that the person saw."""
    if item.ours is not None or item.heard is None:
        return False
    return not base.start_ms <= item.heard.atom.middle_ms < base.end_ms


def _contradicts(item: Item) -> bool:
    """Whether a person has written something else here meanwhile."""
    if item.heard is None or not item.heard.unit.word.locked:
        return False
    same = item.ours is not None and item.ours.atom.text == item.heard.atom.text
    return not same or (item.ours is not None and item.ours.will is Will.STRUCK)


def _next_lines(items: Sequence[Item]) -> list[int | None]:
    found: list[int | None] = []
    after: int | None = None
    for item in reversed(items):
        after = item.heard.home if item.heard is not None else after
        found.append(after)
    return found[::-1]
