"""From what the engine heard to lines a person can read: split at punctuation, never empty. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamarchive.models import CueDraft, Word
from streamarchive.protocols import Line, WindowResult
from streamarchive.transcription import guards
from streamarchive.transcription.languages import is_han, line_language

LONGEST_MS = 7_000
WIDEST = 84.0
"""In Latin characters; a Chinese one counts for as much as it takes of a line: 32 of them fill one."""
_HAN_WIDTH = WIDEST / 32
_OVERLONG = 1.6
"""Beyond this times the limits a line is cut between two words, where it has no punctuation."""
_SHORTEST_MS = 1_200
"""A sentence shorter than this stays with its neighbour."""

_SENTENCE_ENDS = re.compile(r"[.!?。！？…]+[\"'”’)）]*\s*")
_CLAUSE_ENDS = re.compile(r"[,;:，；：、—]+[\"'”’)）]*\s*")
_DIGIT_BEFORE = re.compile(r"\d[.,]$")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a line."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...]

    @property
    def seconds(self) -> float:
        return (self.end_ms - self.start_ms) / 1000

    @property
    def too_long(self) -> bool:
        return self.end_ms - self.start_ms > LONGEST_MS or width(self.text) > WIDEST

    @property
    def far_too_long(self) -> bool:
        return self.end_ms - self.start_ms > LONGEST_MS * _OVERLONG or width(self.text) > WIDEST * _OVERLONG


def width(text: str) -> float:
    """How much room a text takes, in Latin characters."""
    return sum(_HAN_WIDTH if is_han(character) else 1.0 for character in text)


def drafts(result: WindowResult, allowed: Sequence[str]) -> list[CueDraft]:
    """The cues of one window, in order, each with its own language."""
    return [
        CueDraft(
            start_ms=piece.start_ms,
            end_ms=piece.end_ms,
            text=piece.text,
            lang=line_language(piece.text, result.language, allowed),
            words=piece.words,
            doubt=guards.doubt(piece.text, piece.words, result.average_logprob, piece.seconds, result.prompted),
        )
        for line in result.lines
        for piece in _pieces(line)
        if not _is_echo(piece, result)
    ]


def _is_echo(piece: _Piece, result: WindowResult) -> bool:
    return guards.is_echo(
        piece.text, piece.words, result.prompted, result.no_speech_probability, result.average_logprob
    )


def ends_sentence(text: str) -> bool:
    """Whether a sentence ends with this word."""
    return any(match.end() == len(text) for match in _SENTENCE_ENDS.finditer(text))


def _pieces(line: Line) -> Iterator[_Piece]:
    if not any(character.isalnum() for character in line.text) or line.end_ms <= line.start_ms:
        return
    for sentence in _sentences(_Piece(line.start_ms, line.end_ms, line.text.strip(), line.words)):
        yield from _shortened(sentence)


def _sentences(piece: _Piece) -> Iterator[_Piece]:
    """Cut behind each sentence, where both sides are long enough to be read by themselves."""
    for cut in _cuts(piece.text, _SENTENCE_ENDS):
        before, after = _split(piece, cut)
        if min(before.end_ms - before.start_ms, after.end_ms - after.start_ms) >= _SHORTEST_MS:
            yield before
            yield from _sentences(after)
            return
    yield piece


def _shortened(piece: _Piece) -> Iterator[_Piece]:
    """Cut near the middle while it is too long: behind a clause, or between words if it has to be."""
    cut = _middle(piece.text, _cuts(piece.text, _CLAUSE_ENDS)) if piece.too_long else None
    if cut is None and piece.far_too_long:
        cut = _middle(piece.text, [offset for offset in _offsets(piece) if offset is not None and offset > 0])
    if cut is None:
        yield piece
        return
    for half in _split(piece, cut):
        yield from _shortened(half)


def _cuts(text: str, pattern: re.Pattern[str]) -> list[int]:
    """Where `text` can be cut: behind the matches, not in a number, never at its ends."""
    ends = [match.end() for match in pattern.finditer(text)]
    return [
        end for end in ends if _worth_it(text[:end]) and _worth_it(text[end:]) and not _inside_number(text, end)
    ]


def _worth_it(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _inside_number(text: str, end: int) -> bool:
    return bool(_DIGIT_BEFORE.search(text[:end])) and text[end : end + 1].isdigit()


def _middle(text: str, cuts: Sequence[int]) -> int | None:
    """The cut nearest to the middle, unless it would leave a crumb."""
    half, crumb = len(text) / 2, len(text) / 6
    good = [cut for cut in cuts if crumb <= cut <= len(text) - crumb]
    return min(good, key=lambda cut: abs(cut - half), default=None)


def _split(piece: _Piece, cut: int) -> tuple[_Piece, _Piece]:
    """Both sides of the character offset `cut`, which is not inside a word that has a time."""
    offsets = _offsets(piece)
    first = tuple(word for word, at in zip(piece.words, offsets, strict=True) if at is not None and at < cut)
    second = tuple(word for word, at in zip(piece.words, offsets, strict=True) if at is not None and at >= cut)
    end, start = _border(piece, cut, first, second)
    return (
        _Piece(piece.start_ms, end, piece.text[:cut].strip(), first),
        _Piece(start, piece.end_ms, piece.text[cut:].strip(), second),
    )


def _border(piece: _Piece, cut: int, first: tuple[Word, ...], second: tuple[Word, ...]) -> tuple[int, int]:
    """When the first side ends and the second begins."""
    if first and second:
        end = max(first[-1].end_ms, piece.start_ms + 1)
        return end, min(max(second[0].start_ms, end), piece.end_ms - 1)
    share = width(piece.text[:cut]) / (width(piece.text) or 1.0)
    at = round(piece.start_ms + (piece.end_ms - piece.start_ms) * share)
    at = min(max(at, piece.start_ms + 1), piece.end_ms - 1)
    return at, at


def _offsets(piece: _Piece) -> list[int | None]:
    """Where each word stands in the text."""
    offsets: list[int | None] = []
    position = 0
    for word in piece.words:
        at = piece.text.find(word.text, position)
        offsets.append(at if at >= 0 else None)
        if at >= 0:
            position = at + len(word.text)
    return offsets
