"""What a model is given to read before it listens: names and terms, then what was said before. Pure.

Whisper imitates its prompt: words that stand in it are heard more easily, and script and punctuation become its
own. It reads half of what it can hold at most, and what it reads it may repeat where nobody speaks
(`streamarchive.transcription.guards`), so the names and terms get a part of that room only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from streamarchive.protocols import Expectation
from streamarchive.transcription.languages import UNSPACED

LONGEST = 223
"""Tokens; half of what the model can hold, less one."""
EXPECTED_TOKENS = 100
"""Of them for what is expected: as much text before it as behind it."""

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens, and those of the expected words that are among them."""

    tokens: tuple[int, ...] = ()
    words: tuple[str, ...] = ()


def prompt(encode: Encode, language: str, expected: Expectation, before: str = "") -> Prompt:
    """As many expected words as fit, most important first, and the end of the text said before."""
    told = _told(encode, language, expected)
    said = tuple(encode(" " + before.strip())) if before.strip() else ()
    return Prompt(told.tokens + said[-(LONGEST - len(told.tokens)) :], told.words)


@lru_cache(maxsize=64)
def _told(encode: Encode, language: str, expected: Expectation) -> Prompt:
    """The most important word stands last, next to what is said."""
    chosen: list[str] = []
    tokens = _tokens(encode, language, expected.opening, chosen)
    for word in expected.words:
        longer = _tokens(encode, language, expected.opening, [*chosen, word])
        if len(longer) <= EXPECTED_TOKENS:
            chosen.append(word)
            tokens = longer
    return Prompt(tokens, tuple(chosen))


def _tokens(encode: Encode, language: str, opening: str, words: Sequence[str]) -> tuple[int, ...]:
    comma, stop = ("、", "。") if language in UNSPACED else (", ", ".")
    listed = comma.join(reversed(words)) + stop if words else ""
    space = "" if language in UNSPACED else " "
    text = space.join(filter(None, (opening, listed)))
    return tuple(encode(" " + text)) if text else ()
