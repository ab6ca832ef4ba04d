"""From windows to lines, the same for every engine: language, tries, what is left over, words.

An engine (`Engine`) encodes sound, names languages, decodes and aligns tokens. A window is encoded once for all
of these. Windows of one call are decoded together where their prompts allow it; the text of a window does not
depend on the others of its call. Everything here is synchronous and belongs to the engine's process.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streamarchive.errors import TranscriptionError
from streamarchive.models import Word
from streamarchive.protocols import Expectation, Line, ModelInfo, TranscribeOptions, Window, WindowResult
from streamarchive.transcription import guards, prompts
from streamarchive.transcription.languages import choose, line_language
from streamarchive.transcription.prompts import Prompt
from streamarchive.transcription.tokens import timed_lines
from streamarchive.transcription.words import FRAME_MS, TimedTokens, TokenTimes, line_words

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 30 * SAMPLE_RATE
WINDOW_FRAMES = 30_000 // FRAME_MS
_FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
_CRUMB_SAMPLES = SAMPLE_RATE // 2
"""Less than half a second left of a window is not decoded again."""

Cancelled = Callable[[], bool]
Features = Any
"""What an engine makes of one window's sound: only the engine looks inside."""


REHEARSED_TOKENS = 100
"""About what people say in 30 s."""


class DecodingCancelledError(Exception):
    """Nobody waits for these windows any more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How to decode one window; those of one call to `Engine.decode` are alike in `key`."""

    features: Features
    language: str
    prompt: tuple[int, ...]
    """Tokens said before, already cut to what the model takes."""
    seed: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one try gave: text and timestamp tokens, and how sure the model is."""

    tokens: list[int]
    average_logprob: float
    no_speech_probability: float


class Engine(Protocol):
    """A loaded model."""

    info: ModelInfo

    def rehearse(self, features: Sequence[Features], beam_size: int) -> None:
        """Decode `REHEARSED_TOKENS` tokens for each window, whatever is heard: as much work as speech makes."""

    def tokenizer(self, language: str, task: str = "transcribe") -> Any:  # noqa: ANN401 - whisper's or alike
        """As whisper's: ``sot_sequence``, ``timestamp_begin``, ``encode``, ``decode``, ``split_tokens_on_…``"""

    def encode(self, samples: Samples) -> Features:
        """At most 30 s of sound, padded here."""

    def languages(self, features: Features) -> Mapping[str, float]:
        """How likely each language is."""

    def decode(
        self, asks: Sequence[Ask], options: TranscribeOptions, temperature: float, cancelled: Cancelled
    ) -> list[Decoded]:
        """One try at each. Raises `DecodingCancelledError`."""

    def together(self, ask: Ask) -> object:
        """Windows for which this is equal can be decoded in one call."""

    def align(
        self, features: Features, lines: Sequence[TimedTokens], language: str, task: str
    ) -> list[TokenTimes]:
        """When each token of each line was said, within the line."""


@dataclass(slots=True)
class _Open:
    """A window on its way."""

    window: Window
    samples: Samples
    allowed: list[str]
    prompt: Prompt = field(default_factory=Prompt)
    start: int | None = 0
    """From which frame it has to be decoded yet; None when nothing is missing."""
    features: Features = None
    language: str = ""
    sure: float = 0.0
    lines: list[Line] = field(default_factory=list)
    tries: list[_Try] = field(default_factory=list)

    @property
    def rest(self) -> Samples:
        return self.samples[(self.start or 0) * _FRAME_SAMPLES :]

    def result(self) -> WindowResult:
        return WindowResult(
            lines=tuple(self.lines),
            language=self.language,
            language_probability=round(self.sure, 3),
            no_speech_probability=max(one.decoded.no_speech_probability for one in self.tries),
            average_logprob=min(one.decoded.average_logprob for one in self.tries),
            compression_ratio=max(guards.compression_ratio(one.text) for one in self.tries),
            temperature=max(one.temperature for one in self.tries),
            prompted=self.prompt.words,
        )


@dataclass(frozen=True, slots=True)
class _Try:
    """One decoding of (the rest of) a window."""

    decoded: Decoded
    text: str
    temperature: float
    fails: bool
    """Whether the guards want another."""
    loops: bool


def transcribe(
    engine: Engine, windows: Sequence[Window], options: TranscribeOptions, cancelled: Cancelled
) -> list[WindowResult]:
    """The lines of each window.

    Raises `DecodingCancelledError` soon after `cancelled()` holds, `TranscriptionError` for a task that the model
    cannot do.
    """
    if options.task not in {"transcribe", *engine.info.capabilities}:
        raise TranscriptionError(
            f"the model {engine.info.name} cannot {options.task}: take another, such as medium or large-v3"
        )
    opened = [_open(engine, window) for window in windows]
    while waiting := [one for one in opened if one.start is not None]:
        for one in waiting:
            _raise_if(cancelled)
            one.features = engine.encode(one.rest)
            if not one.tries:
                one.language, one.sure = _language(engine, one)
        for one, kept in zip(waiting, _decode(engine, waiting, options, cancelled), strict=True):
            _take(engine, one, kept, options)
            one.features = None
    return [one.result() for one in opened]


def _raise_if(cancelled: Cancelled) -> None:
    if cancelled():
        raise DecodingCancelledError


def _open(engine: Engine, window: Window) -> _Open:
    known = engine.info.languages
    allowed = [code for code in window.languages if code in known] or list(known)
    return _Open(window, window.samples[:WINDOW_SAMPLES], allowed)


def _language(engine: Engine, one: _Open) -> tuple[str, float]:
    if len(one.allowed) == 1:
        return one.allowed[0], 1.0
    return choose(engine.languages(one.features), one.allowed)


def _decode(
    engine: Engine, waiting: Sequence[_Open], options: TranscribeOptions, cancelled: Cancelled
) -> list[_Try]:
    """The best try at each: all together first, then what fails the guards by itself, less and less strictly."""
    first, *others = options.temperatures or (0.0,)
    asks = [_ask(engine, one, options) for one in waiting]
    groups: defaultdict[object, list[int]] = defaultdict(list)
    for number, ask in enumerate(asks):
        groups[engine.together(ask)].append(number)
    tried: list[list[_Try]] = [[] for _ in waiting]
    for numbers in groups.values():
        _raise_if(cancelled)
        found = engine.decode([asks[number] for number in numbers], options, first, cancelled)
        for number, decoded in zip(numbers, found, strict=True):
            tried[number].append(_judged(engine, waiting[number], decoded, first))
    for number, one in enumerate(waiting):
        for temperature in others:
            if not tried[number][-1].fails:
                break
            _raise_if(cancelled)
            (decoded,) = engine.decode([asks[number]], options, temperature, cancelled)
            tried[number].append(_judged(engine, one, decoded, temperature))
    return [_best(tries) for tries in tried]


def _ask(engine: Engine, one: _Open, options: TranscribeOptions) -> Ask:
    told = options.expected.get(one.language) if "prompts" in engine.info.capabilities else None
    encode = engine.tokenizer(one.language, options.task).encode
    one.prompt = prompts.prompt(encode, one.language, told or Expectation(), one.window.prompt or "")
    # A window that is decoded once more, after an interruption, gives the same text.
    return Ask(one.features, one.language, one.prompt.tokens, seed=one.window.start_ms + (one.start or 0))


def _judged(engine: Engine, one: _Open, decoded: Decoded, temperature: float) -> _Try:
    text = engine.tokenizer(one.language).decode(
        [token for token in decoded.tokens if token < engine.tokenizer(one.language).eot]
    )
    seconds = len(one.rest) / SAMPLE_RATE
    fails = guards.must_retry(text, decoded.average_logprob, decoded.no_speech_probability, seconds)
    return _Try(decoded, text.strip(), temperature, fails, fails and guards.runs_away(text, seconds))


def _best(tries: Sequence[_Try]) -> _Try:
    """The one that satisfied the guards, else the surest of those that do not loop, else the surest."""
    return max(tries, key=lambda one: (not one.fails, not one.loops, one.decoded.average_logprob))


def _take(engine: Engine, one: _Open, kept: _Try, options: TranscribeOptions) -> None:
    """The lines of the best try, and what remains to be decoded behind them."""
    one.tries.append(kept)
    start, one.start = one.start or 0, None
    if guards.is_silence(kept.decoded.no_speech_probability, kept.decoded.average_logprob):
        return
    samples = len(one.samples) - start * _FRAME_SAMPLES
    frames = min(-(-samples // _FRAME_SAMPLES), WINDOW_FRAMES)
    begin = engine.tokenizer(one.language).timestamp_begin
    found, resume = timed_lines(kept.decoded.tokens, begin, frames)
    one.lines += _lines(engine, one, [TimedTokens(*line, one.language) for line in found], start, options)
    if resume and samples - resume * _FRAME_SAMPLES >= _CRUMB_SAMPLES:
        one.start = start + resume


def _lines(
    engine: Engine, one: _Open, decoded: Sequence[TimedTokens], start: int, options: TranscribeOptions
) -> Iterator[Line]:
    """Lines on the media clock, words inside their line."""
    offset_ms = one.window.start_ms + start * FRAME_MS
    lines: list[TimedTokens] = []
    texts: list[str] = []
    for line in decoded:
        # A character has several tokens: where the model stops between them, the first are none by themselves.
        text = engine.tokenizer(line.lang).decode(line.tokens).replace("\ufffd", "").strip()
        if text and line.end > line.start:
            heard = line.lang if options.task == "transcribe" else "en"
            lang = line_language(text, heard, one.allowed if options.task == "transcribe" else ["en"])
            lines.append(TimedTokens(line.tokens, line.start, line.end, lang))
            texts.append(text)
    words: list[tuple[Word, ...]] = [()] * len(lines)
    if options.words and lines:
        times = engine.align(one.features, lines, one.language, options.task)
        words = [
            line_words(line, when, engine.tokenizer(line.lang)) for line, when in zip(lines, times, strict=True)
        ]
    for line, text, spoken in zip(lines, texts, words, strict=True):
        moved = tuple(Word(w.text, w.start_ms + offset_ms, w.end_ms + offset_ms, w.probability) for w in spoken)
        yield Line(offset_ms + line.start * FRAME_MS, offset_ms + line.end * FRAME_MS, text, moved)


def rehearse(engine: Engine, beam_size: int, windows: int) -> float:
    """Seconds that so many full windows take, decoded together. The first call also warms up."""
    silence = np.zeros(WINDOW_SAMPLES, np.float32)
    began = time.monotonic()
    engine.rehearse([engine.encode(silence) for _ in range(windows)], beam_size)
    return time.monotonic() - began
