"""When a result is not to be trusted. Pure.

Recognisers loop, and they make up text where nobody speaks. The compression ratio misses short Chinese loops
(谢谢观看 three times compresses to 1.64 only), hence the n-gram and rate limits beside it. What is doubtful is
marked, never deleted, except for an echo: words of the glossary that the model was told to expect and that it
repeats where it heard next to nothing.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from statistics import median

from streamarchive.models import Word
from streamarchive.transcription.languages import is_han

COMPRESSION_LIMIT = 2.4
LOGPROB_LIMIT = -1.0
NO_SPEECH_LIMIT = 0.6
_UNITS_A_SECOND = 12.0
"""Nobody says more words or Chinese characters than this in a second."""

REPEATS = "repeats itself"
UNSURE = "hardly understood"
STOCK_PHRASE = "stock phrase"
ECHO = "may repeat the glossary unheard"

_STOCK_PHRASES = frozenset(
    {
        "字幕由amaraorg社群提供",
        "请不吝点赞订阅转发打赏支持明镜与点点栏目",
        "谢谢观看",
        "谢谢大家观看",
        "thankyouforwatching",
        "thanksforwatching",
        "subtitlesbytheamaraorgcommunity",
        "pleasesubscribetomychannel",
    }
)
"""What Whisper is known to write over silence and music."""


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes it; high for loops."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def is_silence(no_speech: float, logprob: float) -> bool:
    """Whether the model says that nobody speaks and is not sure of its text either."""
    return no_speech > NO_SPEECH_LIMIT and logprob < LOGPROB_LIMIT


def must_retry(text: str, logprob: float, no_speech: float, seconds: float) -> bool:
    """Whether to decode once more at a higher temperature."""
    if is_silence(no_speech, logprob):
        return False
    return logprob < LOGPROB_LIMIT or runs_away(text, seconds)


def runs_away(text: str, seconds: float) -> bool:
    """Whether it repeats itself, which a sure model does too."""
    return compression_ratio(text) > COMPRESSION_LIMIT or loops(text, seconds)


def loops(text: str, seconds: float) -> bool:
    """Whether it says the same thing over and over, or more than can be said in this time."""
    units = _units(text)
    if len(units) > 20 and len(units) > _UNITS_A_SECOND * max(seconds, 1.0):
        return True
    longest = len(units) // 3
    return any(_repeated(units, size) for size in range(1, longest + 1))


def doubt(
    text: str, words: tuple[Word, ...], logprob: float, seconds: float, told: Sequence[str] = ()
) -> str | None:
    """Why an editor should look at this line; None where there is no reason. `told` was in the prompt."""
    if runs_away(text, seconds):
        return REPEATS
    unsure = logprob < LOGPROB_LIMIT or _is_unsure(words)
    if unsure and "".join(_units(text)) in _STOCK_PHRASES:
        return STOCK_PHRASE
    if unsure:
        return UNSURE
    return ECHO if lists_the_told(text, told) else None


def is_echo(text: str, words: tuple[Word, ...], told: Sequence[str], no_speech: float, logprob: float) -> bool:
    """Whether it is nothing but words that the model was told to expect, and was not heard: not even the model
    is sure of it."""
    unsure = no_speech > NO_SPEECH_LIMIT or logprob < LOGPROB_LIMIT or _is_unsure(words)
    return unsure and _told_in(text, told) > 0


def lists_the_told(text: str, told: Sequence[str]) -> bool:
    """Whether it is several of these words and nothing else, as they stand in a prompt."""
    return _told_in(text, told) > 1


def _told_in(text: str, told: Sequence[str]) -> int:
    """How many of these words a text consists of; 0 if it says anything else."""
    left, count = _units(text), 0
    known = sorted((units for word in told if (units := _units(word))), key=len, reverse=True)
    while left:
        length = next((len(units) for units in known if left[: len(units)] == units), 0)
        if not length:
            return 0
        left, count = left[length:], count + 1
    return count


def _is_unsure(words: tuple[Word, ...]) -> bool:
    """Whether the model is not sure of most of these words."""
    probabilities = [word.probability for word in words if word.probability is not None]
    return bool(probabilities) and median(probabilities) < 0.4


def _units(text: str) -> list[str]:
    """Words, or single Chinese characters, without case and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    spaced = "".join(f" {c} " if is_han(c) else c for c in folded)
    return [unit for unit in (re.sub(r"\W+", "", word) for word in spaced.split()) if unit]


def _repeated(units: list[str], size: int) -> bool:
    """Whether `size` units stand at least three times in a row (six for a single one) at the end."""
    times = 6 if size == 1 else 4 if size == 2 else 3
    if len(units) < size * times:
        return False
    last = units[-size:]
    return all(units[len(units) - size * (n + 1) : len(units) - size * n] == last for n in range(times))
