"""The tokens that the training's sentences are made of, numbered without gaps, and when each is said.

Whisper's vocabulary has 51,865 tokens; a few thousand occur here. Training works with those alone. At decoding
the others have rows of zeros and thus a logit of 0, which `others` tells the loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from whisper.tokenizer import Tokenizer, get_tokenizer

from streamarchive.models import Word

SIZE = 51_865
"""Of Whisper's multilingual vocabulary before large-v3."""
TIMES = 1_501
"""Timestamp tokens: 0.00 to 30.00 s."""
SECONDS_A_TIME = 0.02

_PAUSE_S = (-0.12, 0.06)
"""Where a punctuation mark is heard: around the end of the word before it."""
_SPOKEN = re.compile(r"[A-Za-z'\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class TimedToken:
    """A token of the vocabulary (its number there) and when it is said, in seconds of its sentence."""

    token: int
    start: float
    end: float


@dataclass(frozen=True)
class Vocabulary:
    """`text` are Whisper's numbers of the text tokens, rising; `words` what frames of sound are labelled with."""

    text: tuple[int, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, sentences: Iterable[tuple[str, str]], more: Iterable[int] = ()) -> Vocabulary:
        """Of these sentences (text, language), and of further text tokens."""
        known, words = set(more), set[str]()
        for text, language in sentences:
            known.update(encode(text, language))
            words.update(label(word) for word in re.findall(r"[\u4e00-\u9fff]|[A-Za-z']+", text))
        return cls(tuple(sorted(known)), tuple(sorted(words)))

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Whisper's number of each token here: text, then specials, then times."""
        known = tokenizer()
        first = known.timestamp_begin
        return (*self.text, *_specials(), *range(first, first + TIMES))

    @cached_property
    def number(self) -> dict[int, int]:
        """The number here of each of Whisper's."""
        return {token: index for index, token in enumerate(self.ids)}

    @cached_property
    def labels(self) -> dict[str, int]:
        """The number of each word; 0 is silence."""
        return {word: index for index, word in enumerate(self.words, 1)}

    @property
    def others(self) -> int:
        """How many of Whisper's tokens are not here."""
        return SIZE - len(self.ids)

    @property
    def first_time(self) -> int:
        """The number of 0.00 s."""
        return len(self.ids) - TIMES

    def time(self, seconds: float, later: int = 0) -> int:
        """The number of the timestamp nearest to a time; `later` steps of 20 ms after it."""
        return self.first_time + min(TIMES - 1, max(0, round(seconds / SECONDS_A_TIME) + later))

    def language(self, code: str) -> int:
        """The number of a language's token."""
        return self.number[tokenizer().to_language_token(code)]

    def timed(self, text: str, language: str, words: Sequence[Word]) -> list[TimedToken]:
        """The tokens of a spoken sentence."""
        times = _character_times(text, words)
        owners = [-1] if language == "en" else []  # the space in front belongs to nothing
        for index, character in enumerate(text):
            owners += [index] * len(character.encode())
        found, position = [], 0
        for token in encode(text, language):
            end = position + len(tokenizer().encoding.decode_single_token_bytes(token))
            own = [index for index in owners[position:end] if index >= 0 and text[index] != " "]
            own = own or [owners[min(end, len(owners) - 1)]]
            found.append(TimedToken(self.number[token], times[own[0]][0], times[own[-1]][1]))
            position = end
        return found


@cache
def tokenizer() -> Tokenizer:
    """Whisper's own, multilingual."""
    return get_tokenizer(multilingual=True, language="en", task="transcribe")


def encode(text: str, language: str) -> list[int]:
    """Whisper's numbers: English sentences begin with a space, Mandarin ones do not."""
    return list(tokenizer().encode((" " if language == "en" else "") + text))


def label(word: str) -> str:
    """How a word or character is listed."""
    return "".join(_SPOKEN.findall(word)).lower()


def _specials() -> tuple[int, ...]:
    known: Any = tokenizer()
    languages = tuple(known.to_language_token(code) for code in ("en", "zh"))
    marks = (known.eot, known.sot, known.sot_prev, known.no_speech, known.no_timestamps, known.transcribe)
    return (*marks, *languages)


def _character_times(text: str, words: Sequence[Word]) -> list[tuple[float, float]]:
    """Start and end of each character in seconds: those of a word share its time."""
    times: list[tuple[float, float] | None] = [None] * len(text)
    position = 0
    for word in words:
        begin = text.index(word.text, position)
        position = begin + len(word.text)
        start, length = word.start_ms / 1000, (word.end_ms - word.start_ms) / 1000
        spoken = [at for at in range(begin, position) if _SPOKEN.match(text[at])] or [begin]
        for nth, at in enumerate(spoken):
            times[at] = (start + length * nth / len(spoken), start + length * (nth + 1) / len(spoken))
    found: list[tuple[float, float]] = []
    for time in times:
        before = found[-1][1] if found else 0.0
        found.append(time or (before + _PAUSE_S[0], before + _PAUSE_S[1]))
    return found
