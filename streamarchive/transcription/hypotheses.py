"""What two hearings of the same speech agree on. Pure.

A recogniser that hears more of a sentence may change its mind about the beginning. What it has said twice in a
row rarely changes any more (LocalAgreement-2: Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition",
2020; Macháček et al., "Turning Whisper into Real-Time Transcription System", 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamarchive.models import Word
from streamarchive.protocols import Line, WindowResult
from streamarchive.text import tokens
from streamarchive.transcription.cues import ends_sentence
from streamarchive.transcription.languages import is_han

_PROMPT_UNITS = 100
"""Words or Chinese characters; Whisper takes 223 tokens, of which a rare character needs two or three."""


def words_of(result: WindowResult) -> tuple[Word, ...]:
    """All its words, in order; a line without times of words counts as one."""
    return tuple(word for line in result.lines for word in _words(line))


def agreed(before: Sequence[Word], now: Sequence[Word]) -> int:
    """How many words at the beginning of `now` are those that `before` begins with.

    Latin words and single Han characters are compared, without punctuation, spaces, case and script: where the
    words of a Chinese sentence are cut differently each time, what is said is the same.
    """
    earlier = [token.text for word in before for token in tokens(word.text)]
    at = count = 0
    for number, word in enumerate(now, start=1):
        own = [token.text for token in tokens(word.text)]
        if earlier[at : at + len(own)] != own:
            break
        at += len(own)
        count = number if own else count
    return count


def whole_sentences(words: Sequence[Word], certain: int) -> int:
    """How many words are sentences that have ended for certain: of the first `certain` some stand behind them.

    A full stop at the very end of what has been heard means nothing: recognisers end every window with one.
    """
    return max((n + 1 for n in range(certain - 1) if ends_sentence(words[n].text)), default=0)


def split(result: WindowResult, count: int) -> tuple[WindowResult, WindowResult]:
    """What is said with the first `count` words, and with the rest; a line may be cut in two."""
    before: list[Line] = []
    after: list[Line] = []
    for line in result.lines:
        words = _words(line)
        here = min(max(count, 0), len(words))
        count -= len(words)
        if here == len(words):
            before.append(line)
        elif here == 0:
            after.append(line)
        else:
            at = _offset(line.text, words, here)
            before.append(Line(line.start_ms, words[here - 1].end_ms, line.text[:at].strip(), words[:here]))
            after.append(Line(words[here].start_ms, line.end_ms, line.text[at:].strip(), words[here:]))
    return replace(result, lines=tuple(before)), replace(result, lines=tuple(after))


def text_of(result: WindowResult) -> str:
    """All its lines as one text; no spaces between Chinese characters."""
    text = ""
    for line in result.lines:
        glued = not text or (is_han(_letter(text[::-1])) and is_han(_letter(line.text)))
        text += line.text if glued else f" {line.text}"
    return text


def prompt_from(text: str) -> str | None:
    """The end of a text that has scrolled out, as a prompt for what follows it; None if it is empty."""
    found = tokens(text)
    if not found:
        return None
    return text[found[max(len(found) - _PROMPT_UNITS, 0)].start :].strip()


def _words(line: Line) -> tuple[Word, ...]:
    return line.words or (Word(line.text, line.start_ms, line.end_ms),)


def _offset(text: str, words: Sequence[Word], count: int) -> int:
    """Where in the text word number `count` begins."""
    at = 0
    for word in words[:count]:
        found = text.find(word.text, at)
        at = at if found < 0 else found + len(word.text)
    found = text.find(words[count].text, at)
    return at if found < 0 else found


def _letter(text: str) -> str:
    return next((character for character in text if character.isalnum()), "")
