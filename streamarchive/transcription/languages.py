"""Which language a line is in, judged by its script within what the window was heard as. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence

HAN_LANGUAGES = ("zh", "yue", "ja")
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my"})
"""Written without spaces between words."""


def is_han(character: str) -> bool:
    """Whether this is a Chinese character (also as Japanese uses them), not punctuation."""
    return "\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf" or character == "〇"


def choose(probabilities: Mapping[str, float], allowed: Collection[str]) -> tuple[str, float]:
    """The likeliest of the allowed languages (all, if none of them is known) and its share among them."""
    within = {code: p for code, p in probabilities.items() if code in allowed} or dict(probabilities)
    total = sum(within.values()) or 1.0
    best = max(within, key=lambda code: within[code])
    return best, within[best] / total


def line_language(text: str, heard: str, allowed: Sequence[str]) -> str:
    """The language of one line of a window that was heard as `heard`.

    A window can hold both languages of an interview: a line mostly in Chinese characters is in a language
    written with them, a line mostly in Latin letters is not.
    """
    han = sum(is_han(character) for character in text)
    latin_words = sum(1 for word in text.split() if any(_is_latin(character) for character in word))
    if not han and not latin_words:
        return heard
    if han > latin_words:
        return heard if heard in HAN_LANGUAGES else _first(allowed, HAN_LANGUAGES, "zh")
    if heard not in HAN_LANGUAGES:
        return heard
    return next((code for code in allowed if code not in HAN_LANGUAGES), "en")


def _is_latin(character: str) -> bool:
    return character.isalpha() and unicodedata.name(character, "").startswith("LATIN")


def _first(allowed: Sequence[str], wanted: Sequence[str], otherwise: str) -> str:
    return next((code for code in allowed if code in wanted), otherwise)
