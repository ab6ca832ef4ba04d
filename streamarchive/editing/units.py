"""A line as its words, each with the characters that go with it.

A line's text and its words are two accounts of the same thing: the words have times, the text has the
punctuation and the spaces. A `Unit` is both: a word and its `surface`, the characters of the text from where the
word begins up to the next one. The surfaces of a line add up to its text, so nothing is lost when lines are cut
and put together.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rapidfuzz.distance import Indel

from streamarchive.models import Word
from streamarchive.text import Token, tokens

_OPENING = frozenset("([{<“‘«「『（【《〈［｛〔")
_TAIL = re.compile(r"[\W_]+$")
_HAN_WEIGHT = 3
"""A Chinese character takes about as long to say as this many Latin letters."""


class TimedText(Protocol):
    """What a line has to have; times are milliseconds."""

    @property
    def start_ms(self) -> int: ...  # noqa: D102 - the names are the documentation
    @property
    def end_ms(self) -> int: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def words(self) -> tuple[Word, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Unit:
    """A word, the characters that go with it and its tokens as `streamarchive.text` compares them.

    Only in a text without any word (`…`) there is a unit without tokens.
    """

    surface: str
    tokens: tuple[str, ...]
    word: Word

    @property
    def shown(self) -> str:
        """The surface without the space around it."""
        return self.surface.strip()


@dataclass(frozen=True, slots=True)
class Atom:
    """One token of a unit: what is aligned. Its times are the unit's share."""

    text: str
    surface: str
    start_ms: int
    end_ms: int

    @property
    def middle_ms(self) -> int:
        """Between its times."""
        return (self.start_ms + self.end_ms) // 2


def units(line: TimedText) -> tuple[Unit, ...]:
    """The words of a line with their surfaces; words that have no times get them from their neighbours."""
    found = tokens(line.text)
    if not found:
        return (_wordless(line),) if line.text.strip() else ()
    owners = _owners(line.text, found, line.words)
    groups = [list(group) for _, group in itertools.groupby(range(len(found)), key=lambda at: _key(at, owners))]
    cuts = [*boundaries(line.text, [found[group[0]] for group in groups]), len(line.text)]
    pieces = []
    for number, group in enumerate(groups):
        owner = owners[group[0]]
        surface = line.text[cuts[number] : cuts[number + 1]]
        word = line.words[owner] if owner is not None else None
        pieces.append((surface, tuple(found[at].text for at in group), word))
    return _timed(pieces, line.start_ms, line.end_ms)


def atoms(unit: Unit) -> tuple[Atom, ...]:
    """The tokens of a unit, which share its time by their length."""
    word = unit.word
    if not unit.tokens:
        return ()
    if len(unit.tokens) == 1:
        return (Atom(unit.tokens[0], unit.surface, word.start_ms, word.end_ms),)
    found = tokens(unit.surface)
    cuts = [*boundaries(unit.surface, found), len(unit.surface)]
    surfaces = [unit.surface[first:last] for first, last in itertools.pairwise(cuts)]
    times = spread(word.start_ms, word.end_ms, [weight(token.text) for token in found])
    return tuple(
        Atom(token.text, surface, start, end)
        for token, surface, (start, end) in zip(found, surfaces, times, strict=True)
    )


def joined(parts: Iterable[str]) -> str:
    """Surfaces as one text; two Latin words never run together."""
    text = ""
    for part in parts:
        if text and part and _latin(text[-1]) and _latin(part[0]):
            text += " "
        text += part
    return text.strip()


def sealed(found: Sequence[Unit]) -> tuple[Unit, ...]:
    """The same units, ready to be followed by those of another line: a space ends the last, where one belongs."""
    if not found or wide(found[-1].surface[-1:]) or found[-1].surface[-1:].isspace():
        return tuple(found)
    return (*found[:-1], replace(found[-1], surface=found[-1].surface + " "))


def join_texts(first: str, second: str) -> str:
    """Two texts as one: with a space, except where Chinese follows Chinese."""
    first, second = first.rstrip(), second.lstrip()
    if not first or not second or (wide(first[-1]) and wide(second[0])):
        return first + second
    return f"{first} {second}"


def ending_like(surface: str, model: str) -> str:
    """The surface with the punctuation and space that end the other."""
    return _TAIL.sub("", surface) + "".join(_TAIL.findall(model)[:1])


def boundaries(text: str, found: Sequence[Token]) -> list[int]:
    """Where the surface of each token begins: opening brackets and signs before a word go with it."""
    cuts = [0]
    for before, token in itertools.pairwise(found):
        at = token.start
        gap = text[before.end : at]
        after_space = max((place for place, sign in enumerate(gap) if sign.isspace()), default=None)
        if after_space is not None:
            at = before.end + after_space + 1
        else:
            while at > before.end and text[at - 1] in _OPENING:
                at -= 1
        cuts.append(at)
    return cuts


def matches(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of equal tokens in both, rising in both: a longest common subsequence."""
    pairs: list[tuple[int, int]] = []
    for code in Indel.opcodes(list(first), list(second)):
        if code.tag == "equal":
            pairs += zip(range(code.src_start, code.src_end), range(code.dest_start, code.dest_end), strict=True)
    return pairs


def spread(start_ms: int, end_ms: int, weights: Sequence[float]) -> list[tuple[int, int]]:
    """Share a stretch of time, without gaps, in these proportions."""
    total = sum(weights) or 1.0
    sums = [0.0, *itertools.accumulate(weights)]
    marks = [start_ms + round((end_ms - start_ms) * part / total) for part in sums]
    return list(itertools.pairwise(marks))


def weight(token: str) -> float:
    """How long it takes to say, in Latin letters."""
    return sum(_HAN_WEIGHT if wide(character) else 1 for character in token)


def wide(character: str) -> bool:
    """Chinese characters, kana and full-width punctuation: scripts that put no spaces between words."""
    return "\u2e80" <= character <= "\u9fff" or "\uf900" <= character <= "\uffef" or character >= "\U00020000"


def _latin(character: str) -> bool:
    return character.isalnum() and not wide(character)


def _key(at: int, owners: Sequence[int | None]) -> tuple[bool, int]:
    owner = owners[at]
    return (False, at) if owner is None else (True, owner)


def _wordless(line: TimedText) -> Unit:
    """Punctuation alone: one unit, as long as its line's words or as the line."""
    if line.words:
        word = Word(
            line.text.strip(),
            line.words[0].start_ms,
            line.words[-1].end_ms,
            locked=any(word.locked for word in line.words),
            estimated=any(word.estimated for word in line.words),
        )
    else:
        word = Word(line.text.strip(), line.start_ms, line.end_ms, estimated=True)
    return Unit(line.text, (), word)


def _owners(text: str, found: Sequence[Token], words: Sequence[Word]) -> list[int | None]:
    """Which word each token belongs to."""
    starts = _places(text, words)
    if starts is None:
        return _owners_by_tokens(found, words)
    firsts = [start for start, _ in starts]
    numbers = [number for _, number in starts]
    places = [bisect_right(firsts, token.start) - 1 for token in found]
    return [numbers[place] if place >= 0 else None for place in places]


def _places(text: str, words: Sequence[Word]) -> list[tuple[int, int]] | None:
    """Where in the text each word begins, with its number; None unless they are all there and no other is."""
    places: list[tuple[int, int]] = []
    position = 0
    for number, word in enumerate(words):
        wanted = word.text.strip()
        at = text.find(wanted, position)
        if at < 0 or any(character.isalnum() for character in text[position:at]):
            return None
        if any(character.isalnum() for character in wanted):
            places.append((at, number))
        position = at + len(wanted)
    if not places or any(character.isalnum() for character in text[position:]):
        return None
    return places


def _owners_by_tokens(found: Sequence[Token], words: Sequence[Word]) -> list[int | None]:
    """The same where text and words are not spelled alike: by the longest common row of tokens."""
    spoken = [(token.text, number) for number, word in enumerate(words) for token in tokens(word.text)]
    pairs = matches([text for text, _ in spoken], [token.text for token in found])
    lengths = [0] * len(words)
    for _, number in spoken:
        lengths[number] += 1
    owned: dict[int, list[int]] = {}
    for source, target in pairs:
        owned.setdefault(spoken[source][1], []).append(target)
    owners: list[int | None] = [None] * len(found)
    for number, targets in owned.items():
        if len(targets) == lengths[number] and targets[-1] - targets[0] == len(targets) - 1:
            for target in targets:
                owners[target] = number
    return owners


def _timed(
    pieces: Sequence[tuple[str, tuple[str, ...], Word | None]], start_ms: int, end_ms: int
) -> tuple[Unit, ...]:
    """Units of these pieces; those without a word share the time between their neighbours."""
    made: list[Unit] = []
    for known, run in itertools.groupby(enumerate(pieces), key=lambda piece: piece[1][2] is not None):
        group = list(run)
        if known:
            made += [Unit(surface, folded, word) for _, (surface, folded, word) in group if word is not None]
            continue
        after = group[-1][0] + 1
        following = pieces[after][2] if after < len(pieces) else None
        low = made[-1].word.end_ms if made else start_ms
        high = max(following.start_ms if following is not None else end_ms, low)
        times = spread(low, high, [weight("".join(folded)) for _, (_, folded, _) in group])
        made += [
            Unit(surface, folded, Word(surface.strip(), first, last, estimated=True))
            for (_, (surface, folded, _)), (first, last) in zip(group, times, strict=True)
        ]
    return tuple(made)
