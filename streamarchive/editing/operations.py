"""What an editor can do to a line, as functions from lines to lines.

Words that a person leaves as they are keep their times to the millisecond. New ones get theirs from the words
they replace, else from their neighbours, and are marked as estimated; what a person has written is locked. What
a person takes out is handed back as struck, so that no machine brings it in again; a struck word that a person
writes again gets its old times back and is lifted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from streamarchive.editing.units import (
    Unit,
    atoms,
    boundaries,
    join_texts,
    matches,
    spread,
    units,
    weight,
)
from streamarchive.errors import EditError
from streamarchive.models import CueDraft, Word
from streamarchive.text import Token, tokens

LONGEST_TEXT = 5_000
"""Characters a line may have."""
_LETTER_MS = 70
"""How long a Latin letter takes to say, where nothing else tells how long a new word lasts."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A line after an edit, the words that went, and the struck ones that are back."""

    line: CueDraft
    struck: tuple[Word, ...] = ()
    lifted: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Halves:
    """Both sides of a cut, and the word that it went through: its parts stand in its place."""

    first: CueDraft
    second: CueDraft
    struck: tuple[Word, ...] = ()


def clean(text: str) -> str:
    """What is kept of typed text: one row, no control characters. Raises `EditError` when it is too long."""
    text = " ".join(text.split())
    text = "".join(character for character in text if character.isprintable() or character in "\u200c\u200d")
    if len(text) > LONGEST_TEXT:
        raise EditError(f"a line may have {LONGEST_TEXT:,} characters; split this one first")
    return text


def edit(line: CueDraft, text: str, struck: Sequence[Word] = ()) -> Edited:
    """Give the line this text. `struck` are words taken out around here earlier, by time.

    Raises `EditError` for an empty text: taking a line out is `delete`.
    """
    text = clean(text)
    if not text:
        raise EditError("a line needs some text; delete it to take it out")
    return _Edit(line, text, struck).done()


def exchange(line: CueDraft, at_ms: int, text: str, other: str) -> str:
    """The line's text with `other` in the place of `text`, of several that which is spoken nearest to `at_ms`.

    Raises `EditError` if it is not in the line any more.
    """
    places: list[tuple[int, int]] = []
    at = 0
    for unit in units(line):
        found = line.text.find(text, at, at + len(unit.surface) - 1 + len(text))
        if found >= 0:
            places.append((abs(unit.word.start_ms - at_ms), found))
        at += len(unit.surface)
    if not places:
        raise EditError("the line has changed since; correct it by hand")
    place = min(places)[1]
    return f"{line.text[:place]}{other}{line.text[place + len(text) :]}"


def restore(line: CueDraft, earlier: CueDraft, struck: Sequence[Word] = ()) -> Edited:
    """Make the line what it was earlier, to the word and the millisecond; words that come back are locked."""
    now = {unit.word for unit in units(line)}
    before = [unit.word for unit in units(earlier)]
    words = tuple(word if word in now else replace(word, locked=True) for word in before)
    spans = {(word.text, word.start_ms, word.end_ms) for word in before}
    return Edited(
        replace(earlier, words=words, doubt=None),
        tuple(u.word for u in units(line) if (u.word.text, u.word.start_ms, u.word.end_ms) not in spans),
        tuple(word for word in struck if (word.text, word.start_ms, word.end_ms) in spans),
    )


def insert(start_ms: int, end_ms: int, text: str, lang: str, speaker: str | None = None) -> CueDraft:
    """A new line, all of it a person's. Raises `EditError` for an empty text or time."""
    _check_times(start_ms, end_ms)
    return edit(CueDraft(start_ms, end_ms, "", lang, (), speaker), text).line


def split(line: CueDraft, offset: int) -> Halves:
    """Cut the line in two before the character at `offset`. Raises `EditError` where a side would be empty."""
    if not line.text[: max(offset, 0)].strip() or not line.text[max(offset, 0) :].strip():
        raise EditError("a line cannot be split at its beginning or end; put the caret between two words")
    first: list[Word] = []
    second: list[Word] = []
    struck: list[Word] = []
    at = 0
    for unit in units(line):
        left, right = _cut(unit, min(max(offset - at, 0), len(unit.surface)))
        at += len(unit.surface)
        first += [part.word for part in left]
        second += [part.word for part in right]
        struck += [unit.word] if left and right else []
    end = max(first[-1].end_ms if first else line.start_ms, line.start_ms)
    start = max(second[0].start_ms if second else line.end_ms, end)
    before, after = line.text[:offset].strip(), line.text[offset:].strip()
    return Halves(
        replace(line, end_ms=end, text=before, words=tuple(first)),
        replace(line, start_ms=start, end_ms=max(line.end_ms, start), text=after, words=tuple(second)),
        tuple(struck),
    )


def merge(first: CueDraft, second: CueDraft) -> CueDraft:
    """Two lines as one; language of the longer, speaker of the first that has one."""
    if (second.start_ms, second.end_ms) < (first.start_ms, first.end_ms):
        first, second = second, first
    end = max(first.end_ms, second.end_ms)
    return CueDraft(
        start_ms=first.start_ms,
        end_ms=end,
        text=join_texts(first.text, second.text),
        lang=first.lang if len(first.text) >= len(second.text) else second.lang,
        words=in_order([unit.word for line in (first, second) for unit in units(line)], first.start_ms, end),
        speaker=first.speaker or second.speaker,
        doubt=first.doubt or second.doubt,
    )


def delete(line: CueDraft) -> tuple[Word, ...]:
    """The words that go with the line."""
    return tuple(unit.word for unit in units(line))


def retime(line: CueDraft, start_ms: int, end_ms: int) -> CueDraft:
    """Move the line, or one of its ends. Words move with the whole line, else those inside stay where they are.

    Raises `EditError` unless it ends after it starts.
    """
    _check_times(start_ms, end_ms)
    words = [unit.word for unit in units(line)]
    shift = start_ms - line.start_ms
    if shift == end_ms - line.end_ms:
        words = [replace(w, start_ms=w.start_ms + shift, end_ms=w.end_ms + shift) for w in words]
    elif start_ms >= line.end_ms or end_ms <= line.start_ms:
        times = spread(start_ms, end_ms, [weight(word.text) for word in words])
        words = [
            replace(word, start_ms=first, end_ms=last, estimated=True)
            for word, (first, last) in zip(words, times, strict=True)
        ]
    return replace(line, start_ms=start_ms, end_ms=end_ms, words=in_order(words, start_ms, end_ms))


def in_order(words: Sequence[Word], start_ms: int, end_ms: int) -> tuple[Word, ...]:
    """The same words, none before the one ahead of it or outside the line; moved ones are marked."""
    at, ordered = start_ms, []
    for word in words:
        first = min(max(word.start_ms, at), end_ms)
        last = min(max(word.end_ms, first), end_ms)
        if (first, last) != (word.start_ms, word.end_ms):
            word = replace(word, start_ms=first, end_ms=last, estimated=True)
        ordered.append(word)
        at = last
    return tuple(ordered)


def _check_times(start_ms: int, end_ms: int) -> None:
    if start_ms < 0 or end_ms <= start_ms:
        raise EditError("a line has to end after it starts, and cannot start before the recording")


def _cut(unit: Unit, offset: int) -> tuple[list[Unit], list[Unit]]:
    """Both sides of a place inside a unit; a word that is changed by it is a person's now."""
    left, right = unit.surface[:offset], unit.surface[offset:]
    if not left or not right:
        return ([unit], []) if left else ([], [unit])
    folded = tuple(t.text for t in tokens(left)), tuple(t.text for t in tokens(right))
    if not folded[0] and not left.strip():
        return [], [unit]
    if not folded[1]:
        return [_changed(unit, left, unit.tokens)], []
    if not folded[0]:
        return [], [_changed(unit, right, unit.tokens)]
    weights = [weight("".join(part)) for part in folded]
    made = []
    for surface, part, (start, end) in zip(
        (left, right), folded, spread(unit.word.start_ms, unit.word.end_ms, weights), strict=True
    ):
        made.append(Unit(surface, part, Word(surface.strip(), start, end, locked=True, estimated=True)))
    return [made[0]], [made[1]]


def _changed(unit: Unit, surface: str, folded: tuple[str, ...]) -> Unit:
    """The unit with another surface; locked if more than space has changed."""
    if surface.strip() == unit.shown:
        return replace(unit, surface=surface)
    return Unit(surface, folded, replace(unit.word, text=surface.strip(), locked=True))


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A token of the new text that no word of the old line answers for."""

    surface: str
    text: str


@dataclass(slots=True)
class _Edit:
    """One edit: the old words aligned with the new text, and what lies between those that stay."""

    line: CueDraft
    text: str
    struck: Sequence[Word]
    words: list[Word] = field(default_factory=list)
    gone: list[Word] = field(default_factory=list)
    lifted: list[Word] = field(default_factory=list)

    def done(self) -> Edited:
        old, new = units(self.line), tokens(self.text)
        if not new:
            self._wordless(old)
        else:
            cuts = [*boundaries(self.text, new), len(self.text)]
            surfaces = [self.text[first:last] for first, last in itertools.pairwise(cuts)]
            self._align(old, new, surfaces)
        line = replace(self.line, text=self.text, words=tuple(self.words), doubt=None)
        return Edited(line, tuple(self.gone), tuple(self.lifted))

    def _wordless(self, old: Sequence[Unit]) -> None:
        """Nothing but punctuation is left."""
        same = len(old) == 1 and not old[0].tokens
        self.gone = [] if same else [unit.word for unit in old if unit.tokens]
        self.words = [Word(self.text, self.line.start_ms, self.line.end_ms, locked=True, estimated=True)]

    def _align(self, old: Sequence[Unit], new: Sequence[Token], surfaces: Sequence[str]) -> None:
        position_old = position_new = 0
        for at, (first, after) in [*_kept(old, new), (len(old), (len(new), len(new)))]:
            fresh = [_Fresh(surfaces[k], new[k].text) for k in range(position_new, first)]
            until = old[at].word.start_ms if at < len(old) else self.line.end_ms
            self._between(old[position_old:at], fresh, until)
            if at < len(old):
                surface = "".join(surfaces[first:after])
                self.words.append(_changed(old[at], surface, old[at].tokens).word)
            position_old, position_new = at + 1, after

    def _between(self, removed: Sequence[Unit], fresh: Sequence[_Fresh], until_ms: int) -> None:
        """What stands between two words that stay: old words go, new ones come."""
        self.gone += [unit.word for unit in removed if unit.tokens]
        if not fresh:
            return
        low = self.words[-1].end_ms if self.words else self.line.start_ms
        high = max(until_ms, low)
        position = 0
        for ghost, (first, after) in _revived(self._ghosts(low, high), fresh):
            start = min(max(ghost.start_ms, low), high)
            self._place(removed, fresh[position:first], low, start)
            low = max(min(ghost.end_ms, high), start)
            shown = "".join(part.surface for part in fresh[first:after]).strip()
            self.words.append(Word(shown, start, low, ghost.probability, locked=True, estimated=ghost.estimated))
            self.lifted.append(ghost)
            position = after
        self._place(removed, fresh[position:], low, high)

    def _ghosts(self, low: int, high: int) -> list[Word]:
        inside = [word for word in self.struck if low <= (word.start_ms + word.end_ms) // 2 <= high]
        return sorted(inside, key=lambda word: (word.start_ms, word.end_ms))

    def _place(self, removed: Sequence[Unit], fresh: Sequence[_Fresh], low: int, high: int) -> None:
        """Give new words the time of those they replace, word for word where there are as many of them."""
        if not fresh:
            return
        parts = [atom for unit in removed for atom in atoms(unit) if low <= atom.middle_ms <= high]
        if len(parts) == len(fresh):
            times = [(part.start_ms, part.end_ms) for part in parts]
        else:
            if parts:
                first, last = max(parts[0].start_ms, low), min(parts[-1].end_ms, high)
            else:
                first, last = self._room(fresh, low, high)
            times = spread(first, max(last, first), [weight(part.text) for part in fresh])
        for part, (start, end) in zip(fresh, times, strict=True):
            start, end = min(max(start, low), high), min(max(end, low), high)
            self.words.append(Word(part.surface.strip(), start, end, locked=True, estimated=True))

    def _room(self, fresh: Sequence[_Fresh], low: int, high: int) -> tuple[int, int]:
        """A stretch for words that replace nothing: next to a word that is there, not spread over a pause."""
        wanted = round(sum(weight(part.text) for part in fresh) * _LETTER_MS)
        if not units(self.line) or high - low <= wanted:
            return low, high
        return (low, low + wanted) if self.words else (high - wanted, high)


def _kept(old: Sequence[Unit], new: Sequence[Token]) -> list[tuple[int, tuple[int, int]]]:
    """The old units that stand whole in the new text: their number and their first and last-but-one token."""
    flat = [(token, number) for number, unit in enumerate(old) for token in unit.tokens]
    places: dict[int, list[int]] = {}
    for source, target in matches([token for token, _ in flat], [token.text for token in new]):
        places.setdefault(flat[source][1], []).append(target)
    return [
        (number, (found[0], found[-1] + 1))
        for number, found in places.items()
        if len(found) == len(old[number].tokens) == found[-1] + 1 - found[0]
    ]


def _revived(ghosts: Sequence[Word], fresh: Sequence[_Fresh]) -> list[tuple[Word, tuple[int, int]]]:
    """The struck words that stand whole in the new text."""
    folded = [tuple(token.text for token in tokens(ghost.text)) for ghost in ghosts]
    flat = [(token, number) for number, its in enumerate(folded) for token in its]
    places: dict[int, list[int]] = {}
    for source, target in matches([token for token, _ in flat], [part.text for part in fresh]):
        places.setdefault(flat[source][1], []).append(target)
    return [
        (ghosts[number], (found[0], found[-1] + 1))
        for number, found in places.items()
        if len(found) == len(folded[number]) == found[-1] + 1 - found[0]
    ]
