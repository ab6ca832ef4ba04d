"""A recogniser that hears what is on a tape, on a clock of its own: nothing sleeps, nothing is timed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from streamarchive.models import Word
from streamarchive.protocols import Line, ModelInfo, WindowResult
from streamarchive.transcription.windows import FRAME_MS, FRAME_SAMPLES


@dataclass
class Clock:
    """Seconds that pass only when something takes them."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds


def sentence(words: int, seed: int = 0) -> str:
    """One of so many words that hardly ever come twice: what repeats itself is taken for a loop."""
    random = Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = ["".join(random.choice(letters) for _ in range(random.randint(4, 8))) for _ in range(words)]
    return " ".join(found).capitalize() + "."


@dataclass(frozen=True)
class Tape:
    """Words at their times, a voice wherever there is one."""

    words: tuple[Word, ...]
    length_ms: int
    """Where the silence behind the last word ends."""

    @classmethod
    def of(cls, *sentences: str, word_ms: int = 320, pause_ms: int = 640, lead_ms: int = 0) -> Tape:
        """Sentences of words between spaces, with pauses between them."""
        found, at = [], lead_ms
        for sentence in sentences:
            for word in sentence.split():
                found.append(Word(word, at, at + word_ms, 0.9))
                at += word_ms
            at += pause_ms
        return cls(tuple(found), at)

    def sound(self) -> np.ndarray:
        """Loud where somebody speaks, in whole frames."""
        samples = np.zeros(-(-self.length_ms // FRAME_MS) * FRAME_SAMPLES, np.float32)
        for word in self.words:
            samples[word.start_ms * 16 : word.end_ms * 16] = 1.0
        return samples


class TapeEngine:
    """Hears the words of a tape; of the last one only what `ear` makes of it where the window cuts it off.

    A hearing takes `fixed_s` and `slowness` seconds for each second of its window.
    """

    def __init__(self, tape: Tape, clock: Clock | None = None, *, slowness: float = 0.0, fixed_s: float = 0.0):
        self.tape = tape
        self.clock = clock or Clock()
        self.slowness = slowness
        self.fixed_s = fixed_s
        self.windows = []
        self.options = []
        self.ear = lambda word: word.text[: len(word.text) // 2] + "."

    async def load(self):
        return ModelInfo("tape", "0", "cpu", ("en", "zh"))

    async def voice(self, samples, state=b""):
        return tuple(float(np.abs(frame).max()) for frame in samples.reshape(-1, FRAME_SAMPLES)), state

    async def transcribe(self, windows, options):
        for window in windows:
            self.windows.append(window)
            self.options.append(options)
            length_ms = len(window.samples) // 16
            self.clock.seconds += self.fixed_s + self.slowness * length_ms / 1000
            yield self._heard(window.start_ms, window.start_ms + length_ms)

    def _heard(self, start_ms, end_ms):
        heard = []
        for word in self.tape.words:
            middle = (word.start_ms + word.end_ms) / 2
            if start_ms <= middle and word.start_ms < end_ms - 60:
                cut = word.end_ms > end_ms + 60
                text = self.ear(word) if cut else word.text
                heard.append(Word(text, max(word.start_ms, start_ms), min(word.end_ms, end_ms), 0.9))
        lines = (Line(start_ms, end_ms, " ".join(word.text for word in heard), tuple(heard)),) if heard else ()
        return WindowResult(lines, "en", 1.0, 0.0, -0.1, 1.0, 0.0)

    async def close(self):
        """Nothing to end."""


async def fed(policy, samples, piece_ms=200):
    """(steps, milliseconds of sound fed by then), for sound that comes in small pieces."""
    found = []
    piece = piece_ms * 16
    for start in range(0, len(samples), piece):
        steps = await policy.feed(samples[start : start + piece])
        found += [(step, min(start + piece, len(samples)) // 16) for step in steps]
    return found
