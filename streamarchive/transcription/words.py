"""The words of a decoded line, with their times. Pure.

A line's own times come from the model's timestamp tokens, which are exact to some hundredths of a second where
word alignment over a whole window is off by tenths and drags them along. So the times of the lines stand, and
the words of each are aligned within them: no word can lie outside its line or before the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamarchive.models import Word
from streamarchive.transcription.languages import UNSPACED

FRAME_MS = 20
"""A frame of the encoder's output."""
_OPENING = frozenset("\"'“‘¿([{-（「《")
_CLOSING = frozenset("\"'.。,，!！?？:：”’)]}、）」》；;…")


@dataclass(frozen=True, slots=True)
class TimedTokens:
    """A line as decoded: its text tokens and its bounds in frames of the window."""

    tokens: list[int]
    start: int
    end: int
    lang: str


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """For each token of a line the frame of the window at which it begins, and how likely it was."""

    starts: Sequence[int]
    probabilities: Sequence[float]


@dataclass(slots=True)
class _Timed:
    """One word while punctuation is merged."""

    text: str
    start: int
    end: int
    probability: float


def line_words(line: TimedTokens, times: TokenTimes, tokenizer: Any) -> tuple[Word, ...]:  # noqa: ANN401
    """Words without blanks, in milliseconds from the window's start; punctuation keeps to its word.

    `tokenizer` is whisper's or one that splits in the same way.
    """
    starts = [*times.starts, line.end]
    timed: list[_Timed] = []
    at = 0
    for text, group in _split(tokenizer, line):
        until = at + len(group)
        sure = sum(times.probabilities[at:until]) / max(len(group), 1)
        timed.append(_Timed(text, starts[at], starts[until], sure))
        at = until
    return tuple(_finished(_with_punctuation(timed), line))


def _split(tokenizer: Any, line: TimedTokens) -> list[tuple[str, list[int]]]:  # noqa: ANN401
    """Text and tokens of each word; in Chinese each token that is text by itself, Latin words whole."""
    if line.lang not in UNSPACED:
        return list(zip(*tokenizer.split_tokens_on_spaces(line.tokens), strict=True))
    words: list[tuple[str, list[int]]] = []
    for text, group in zip(*tokenizer.split_tokens_on_unicode(line.tokens), strict=True):
        if words and _is_latin(words[-1][0][-1:]) and _is_latin(text[:1]):
            words[-1] = (words[-1][0] + text, words[-1][1] + group)
        else:
            words.append((text, group))
    return words


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _with_punctuation(timed: list[_Timed]) -> list[_Timed]:
    """Closing marks join the word before them, opening ones the word behind; the word's own times stand."""
    joined: list[_Timed] = []
    waiting = ""
    for word in timed:
        bare = word.text.strip()
        if joined and not waiting and bare and word.text == word.text.lstrip() and set(bare) <= _CLOSING:
            joined[-1].text += bare
        elif bare and word is not timed[-1] and word.text != bare and set(bare) <= _OPENING:
            waiting += bare
        else:
            joined.append(_Timed(waiting + word.text.strip(), word.start, word.end, word.probability))
            waiting = ""
    if waiting and joined:
        joined[-1].text += waiting
    return joined


def _finished(timed: list[_Timed], line: TimedTokens) -> list[Word]:
    words: list[Word] = []
    for word in timed:
        text = word.text.replace("\ufffd", "").strip()
        if not text:
            continue
        start = max(word.start, line.start, words[-1].end_ms // FRAME_MS if words else 0)
        end = min(max(word.end, start), line.end)
        words.append(Word(text, start * FRAME_MS, end * FRAME_MS, round(word.probability, 3)))
    return words
