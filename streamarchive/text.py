"""The one analysis of text, for the index, for queries and for alignment; pure.

A text becomes `Token`s, one for each Latin word and one for each Han (or kana) character, compared in a
folded form: NFKC (full width and compatibility forms), case folding, simplified characters. Every token
remembers which characters of the shown text it came from, so that what is found can be marked exactly even
where folding changes lengths.

For an index, `terms` turns tokens into terms without losing positions: a Han character followed by another
is stored as the pair of both, any other token as itself. Term *i* begins at token *i*, so a phrase of the
text is a phrase of terms, and Chinese is found as exact substrings without a dictionary. Punctuation and
spaces separate Latin words and are otherwise ignored, as in English phrases: 埃隆·马斯克 is found by 埃隆马斯克.

Two looser comparisons are for words that were not quoted: `stem` (English inflections) and `wordings` (what is
called 軟體 in Taiwan is 软件 elsewhere; 800V may be written 800 V).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import snowballstemmer

from streamarchive.models import Script

if TYPE_CHECKING:
    from opencc import OpenCC

ANALYZER_VERSION = 3
"""Rises with every change that makes old terms unequal to new ones; an index of another one is rebuilt."""

MAX_WORD = 64
"""Longer words are cut, in texts and queries alike: Elasticsearch would split them at 255 characters."""

BORDER_UNITS = 12
"""How many words or characters of the next cue a phrase that begins in this one may take in."""

_HAN = "々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffdぁ-ゖァ-ヺー"
_WORD = rf"(?:(?![{_HAN}])[^\W_]|[\u0300-\u036f])+"
_TOKEN = re.compile(rf"(?P<han>[{_HAN}])|{_WORD}(?:['’]{_WORD})*")
_ENGLISH = re.compile(r"[a-z]{3,}")
_NUMBER_AND_UNIT = re.compile(r"(\d+)([^\W\d_]{1,4})|([^\W\d_]{1,4})(\d+)")
_APOSTROPHE = re.compile("['’]")

_FURTHER_SIMPLIFIED = {"著": "着", "藉": "借", "瞭": "了"}
"""Characters whose simplification depends on the word. Searching folds them always, so that any part of a
text is analysed as in the whole."""


class Token(NamedTuple):
    """A Latin word or one Han character: its folded form and its place (start, end) in the shown text."""

    text: str
    start: int
    end: int
    han: bool


@dataclass(frozen=True, slots=True)
class Phrase:
    """What to ask an index for: `terms` at successive positions, of the last one only its beginning if `prefix`.

    A phrase that ends in a Han character on its own needs the beginning: 京 is stored in 京东 as that pair.
    """

    terms: tuple[str, ...]
    prefix: bool = False


def tokens(text: str) -> tuple[Token, ...]:
    """Every Latin word and Han character, in order."""
    folded, places = _fold(text)
    found = []
    for match in _TOKEN.finditer(folded):
        start, end = match.start(), match.end()
        if places is not None:
            start, end = places[start][0], places[end - 1][1]
        if match.group("han"):
            found.append(Token(_simplify(match.group()), start, end, han=True))
        else:
            found.append(Token(_word(match.group()), start, end, han=False))
    return tuple(found)


def terms(found: Sequence[Token]) -> tuple[str, ...]:
    """What the index stores for these tokens: as many terms as tokens."""
    last = len(found) - 1
    return tuple(
        token.text + found[at + 1].text if token.han and at < last and found[at + 1].han else token.text
        for at, token in enumerate(found)
    )


def phrase(text: str) -> Phrase | None:
    """How to ask an index for this word or phrase; None if there is nothing in it to search for."""
    found = tokens(text)
    return phrase_of(found) if found else None


def phrase_of(found: Sequence[Token]) -> Phrase:
    """How to ask an index for these tokens in a row, of which there is at least one."""
    stored = terms(found)
    if not found[-1].han:
        return Phrase(stored)
    if len(found) > 1 and found[-2].han:
        return Phrase(stored[:-1])
    return Phrase(stored, prefix=True)


def places(found: Sequence[Token], wanted: Sequence[Token]) -> list[tuple[int, int]]:
    """Where the `wanted` tokens stand in a row: the numbers of the first and of the one after the last."""
    length = len(wanted)
    if not length:
        return []
    words = [token.text for token in found]
    pattern = [token.text for token in wanted]
    return [
        (at, at + length)
        for at in range(len(words) - length + 1)
        if words[at] == pattern[0] and words[at : at + length] == pattern
    ]


def occurrences(found: Sequence[Token], wanted: Sequence[Token]) -> list[tuple[int, int]]:
    """Where the `wanted` tokens stand in a row, as (start, end) offsets into the shown text."""
    return [(found[first].start, found[end - 1].end) for first, end in places(found, wanted)]


def spans(text: str, phrases: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """What to mark in a shown text: (start, end) offsets of every phrase, in order, without overlaps."""
    found = tokens(text)
    return merge(place for wanted in phrases for place in occurrences(found, tokens(wanted)))


def merge(places: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """These (start, end) offsets in order, those that overlap joined."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """What the inflections of a folded English word have in common; any other word is its own stem."""
    return str(_stemmer().stemWord(word)) if inflects(word) else word


def inflects(word: str) -> bool:
    """Whether a folded word may be an English one; shorter ones are compared as they are."""
    return _ENGLISH.fullmatch(word) is not None


@lru_cache(maxsize=1024)
def wordings(text: str) -> tuple[str, ...]:
    """Other ways to write this word or phrase: Taiwan's and the mainland's vocabulary, a unit set apart."""
    text = text.encode(errors="ignore").decode()  # OpenCC refuses halves of characters
    found = tokens(text)
    others = []
    if sum(token.han for token in found) > 1:
        simplified = "".join(token.text if token.han else text[token.start : token.end] for token in found)
        others = [_converter("tw2sp").convert(text), _converter("s2twp").convert(simplified)]
    if len(found) == 1 and (split := _NUMBER_AND_UNIT.fullmatch(found[0].text)):
        others.append(" ".join(part for part in split.groups() if part))
    distinct = {_words(tokens(other)): other for other in reversed(others)}
    distinct.pop(_words(found), None)
    return tuple(distinct.values())


def in_script(text: str, script: Script) -> str:
    """Chinese in this script, everything else as it is."""
    kind = {Script.SIMPLIFIED: "t2s", Script.TRADITIONAL: "s2t"}.get(script)
    if kind is None or text.isascii():
        return text
    converted: str = _converter(kind).convert(text.encode(errors="ignore").decode())
    return converted


def _words(found: Iterable[Token]) -> tuple[str, ...]:
    return tuple(token.text for token in found)


def beginning(text: str, units: int) -> str:
    """The shown text as far as its first so many words or characters reach."""
    found = tokens(text)
    return text if len(found) <= units else text[: found[units - 1].end]


def _word(folded: str) -> str:
    """Tesla's is found by tesla, don't by dont."""
    parts = _APOSTROPHE.split(folded)
    if len(parts) > 1 and parts[-1] == "s":
        parts.pop()
    return "".join(parts)[:MAX_WORD]


def _fold(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """The text folded, and for each character of the result its place in `text` (None: the same place)."""
    if text.isascii():
        return text.lower(), None
    pieces: list[str] = []
    places: list[tuple[int, int]] = []
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and _continues(text[end]):
            end += 1
        folded = _fold_character(text[start:end])
        pieces.append(folded)
        places.extend([(start, end)] * len(folded))
        start = end
    return "".join(pieces), places


@lru_cache(maxsize=65536)
def _fold_character(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character).casefold()
    return unicodedata.normalize("NFKC", folded)


@lru_cache(maxsize=65536)
def _continues(character: str) -> bool:
    """Whether a character is part of the one before it: accents, voicing marks, Hangul vowels."""
    if character < "\u0300":
        return False
    if "\u1160" <= character <= "\u11ff":
        return True
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) != 0


@lru_cache(maxsize=65536)
def _simplify(character: str) -> str:
    # One character at a time: OpenCC decides some by their neighbours (乾隆 but 乾净), and a query sees fewer
    # neighbours than the text it has to find.
    simplified: str = _converter("t2s").convert(character)
    if len(simplified) != 1:
        return character
    return _FURTHER_SIMPLIFIED.get(simplified, simplified)


@cache
def _converter(kind: str) -> OpenCC:
    # Each is made when it is first needed: an archive without Chinese pays no memory and no time.
    from opencc import OpenCC

    return OpenCC(kind)


@cache
def _stemmer() -> Any:  # noqa: ANN401 - the package has no types
    return snowballstemmer.stemmer("english")
