"""The windows of sound that the recogniser learns from, and the tokens it should write for each.

A window is put together anew each time it is asked for: sentences in one or both languages with pauses between
them, or no speech at all; at a pace, a level, with noise; cut anywhere. It depends on its seed alone.

Tokens are Whisper's: ``<prev> prompt… <sot> <language> <transcribe> <start> text <end> … <eot>``. The text is
what is said, in whatever language, and whatever the language token says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from streamarchive.demo.voices import SAMPLE_RATE, Samples
from tools.demo_model import sound
from tools.demo_model.corpus import Corpus, Spoken
from tools.demo_model.vocabulary import TimedToken, Vocabulary, label, tokenizer

FRAME = SAMPLE_RATE // 50
"""Samples of one step of the encoder."""
WHOLE_SECONDS = 30
LONGEST_PROMPT = 223
"""Tokens, as Whisper's decoding has it."""
FIRST_TIME_LIMIT = 1.0
"""Whisper lets no first timestamp be later, in seconds."""

_MARGIN = 0.02
"""Silence at both ends of an utterance, in seconds."""
_LANGUAGES = ("en", "zh")
_HEARD = 0.7
"""Of a word: if less of it is in the window, it is not written."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How windows are made; shares are from 0 to 1."""

    seconds: int = WHOLE_SECONDS
    """Shorter ones stand anywhere within the encoder's 30 s."""
    no_speech: float = 0.06
    mixed: float = 0.25
    """Windows in which the language may change."""
    mandarin: float = 0.5
    ending: float = 0.3
    """Windows in which sound ends before 30 s are over, as those of live captions do."""
    begun: float = 0.06
    """Windows that begin within a sentence."""
    without_times: float = 0.2

    @property
    def samples(self) -> int:
        """Of one window."""
        return self.seconds * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Example:
    """One window to learn from."""

    mel: NDArray[np.float32]
    """(80, two frames a step)."""
    offset: int
    """The encoder's step at which it begins."""
    tokens: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """For each token the steps of the encoder in which it is heard; (0, 0) for those that are not."""
    prompt: int
    """How many tokens come before ``<sot>``."""
    first: int
    """What ``<sot>`` is followed by: the language most spoken, or the token of no speech."""
    labels: NDArray[np.int64]
    """The word that is heard in each step, 0 for none."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A sentence in a window: from sample `start`, which may lie before the window. Times are in seconds."""

    spoken: Spoken
    start: int
    ends: float
    """Where its sound ends or is cut off."""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is said in a window and for how long there is sound."""

    placed: tuple[_Placed, ...]
    length: int
    """Samples with sound; the rest is digital silence."""
    language: str
    goes_on: bool
    """Whether the window is full of sound, which goes on behind it."""


class WindowMaker:
    """Makes windows from a corpus."""

    def __init__(self, corpus: Corpus, vocabulary: Vocabulary, recipe: Recipe) -> None:
        """Everything a window depends on but its seed."""
        self._corpus = corpus
        self._vocabulary = vocabulary
        self._recipe = recipe

    def example(self, seed: str, prompt: int) -> Example:
        """A window, with a prompt of so many tokens before it."""
        random, recipe = Random(seed), self._recipe
        offset = random.randrange((WHOLE_SECONDS - recipe.seconds) * 50 + 1)
        pace = random.uniform(0.9, 1.1) if random.random() < 0.5 else 1.0
        scene = self._scene(random, round(recipe.samples * pace))
        mel = self._mel(scene, random, pace)
        steps = _Steps(pace, offset, recipe.seconds * 50)
        written, first = self._written(scene, random, steps)
        before = self._prompt(random, prompt, scene.language)
        return Example(
            mel=mel,
            offset=offset,
            tokens=(*before, *(token for token, _ in written)),
            spans=(*((0, 0) for _ in before), *(span for _, span in written)),
            prompt=len(before),
            first=first,
            labels=self._labels(scene, steps),
        )

    def _scene(self, random: Random, count: int) -> _Scene:
        """Sentences until the window or the sound in it is over."""
        recipe = self._recipe
        language = "zh" if random.random() < recipe.mandarin else "en"
        ending = random.random() < recipe.ending
        longest = count if random.random() < 0.5 else min(count, 8 * SAMPLE_RATE)
        length = random.randint(SAMPLE_RATE, longest) if ending else count
        if random.random() < recipe.no_speech:
            return _Scene((), length, language, goes_on=False)
        placed = list(self._sentences(random, language, length))
        if not placed or (placed[0].cut and not self._tokens(placed[0])):
            return self._scene(random, count)
        if ending and not placed[-1].cut:
            quiet = round(random.uniform(0, 0.4) * SAMPLE_RATE)
            length = min(length, round(placed[-1].ends * SAMPLE_RATE) + quiet)
        return _Scene(tuple(placed), length, language, goes_on=not ending)

    def _sentences(self, random: Random, language: str, length: int) -> Iterator[_Placed]:
        mixed, within = random.random() < self._recipe.mixed, random.random() < self._recipe.begun
        voice = self._corpus.draw_voice(language, random)
        at = _lead(random)
        while True:
            if mixed and random.random() < 0.4:
                language = _LANGUAGES[language == "en"]
                voice = self._corpus.draw_voice(language, random)
            elif random.random() < 0.3:
                voice = self._corpus.draw_voice(language, random)
            spoken = self._corpus.draw(language, voice, random)
            if within:
                at, within = -_word_border(spoken, random), False
            end = at + spoken.utterance.length
            if end > length:
                if length - at > SAMPLE_RATE // 3 and random.random() < 0.5:
                    yield _Placed(spoken, at, length / SAMPLE_RATE, cut=True)
                return
            yield _Placed(spoken, at, end / SAMPLE_RATE - _MARGIN)
            at = end + round(_pause(random) * SAMPLE_RATE)

    def _mel(self, scene: _Scene, random: Random, pace: float) -> NDArray[np.float32]:
        """What the recogniser gets of a scene that is spoken at a pace, as engines or as `transcribe` make it."""
        recipe = self._recipe
        count = round(recipe.samples * pace)
        samples = self._sound(scene, random, count)
        if pace != 1.0:
            samples = sound.stretched(samples, recipe.samples)
        blank = random.random() < 0.5 and scene.length < count
        louder = 0.6 if scene.placed or random.random() < 0.5 else 5.0
        headroom = random.uniform(0, louder) if random.random() < 0.5 else 0.0
        mel = sound.features(samples, headroom, end=round(scene.length / pace) if blank else None)
        return np.ascontiguousarray(mel[:, : recipe.seconds * 100])

    def _sound(self, scene: _Scene, random: Random, count: int) -> Samples:
        samples = np.zeros(count, np.float32)
        for one in scene.placed:
            spoken = one.spoken.samples * np.float32(10 ** random.uniform(-0.2, 0.2))
            begin, end = max(0, one.start), min(scene.length, one.start + len(spoken))
            samples[begin:end] += spoken[begin - one.start : end - one.start]
        samples[: scene.length] += _surroundings(scene, random)
        if random.random() < 0.4:
            samples = sound.tilted(samples, random.uniform(-0.6, 0.6))
        loud: Samples = np.clip(samples * np.float32(10 ** random.uniform(-1, 0.4)), -1, 1)
        return loud

    def _written(
        self, scene: _Scene, random: Random, steps: _Steps
    ) -> tuple[list[tuple[int, tuple[int, int]]], int]:
        """Tokens from ``<sot>`` on, each with its span, and what follows ``<sot>``."""
        known, special = self._vocabulary, tokenizer()
        number, nowhere = known.number, (0, 0)
        spoken = {
            code: sum(_extent(one) for one in scene.placed if _language(one) == code) for code in _LANGUAGES
        }
        language = max(spoken, key=lambda code: spoken[code]) if scene.placed else scene.language
        other = random.random() < (0.1 if scene.placed and min(spoken.values()) == 0 else 0.35)
        said = random.choice(_LANGUAGES) if other else language
        tokens = [(number[special.sot], nowhere), (known.language(said), nowhere)]
        tokens.append((number[special.transcribe], nowhere))
        if not scene.placed:
            tokens += [(known.time(0, steps.offset), nowhere), (number[special.eot], nowhere)]
            return tokens, number[special.no_speech]
        timed = random.random() >= self._recipe.without_times
        if not timed:
            tokens.append((number[special.no_timestamps], nowhere))
        for index, one in enumerate(scene.placed):
            tokens += self._line(one, steps, timed=timed, opens=index == 0, goes_on=scene.goes_on)
        tokens.append((number[special.eot], nowhere))
        return tokens, known.language(language)

    def _line(
        self, one: _Placed, steps: _Steps, *, timed: bool, opens: bool, goes_on: bool
    ) -> Iterator[tuple[int, tuple[int, int]]]:
        """A sentence's tokens; of one that goes on behind a whole window its start, as the next hears it all."""
        start = max(0.0, one.start / SAMPLE_RATE + (_MARGIN if one.start >= 0 else 0.0))
        whole = self._recipe.seconds == WHOLE_SECONDS
        only_start = timed and whole and one.cut and goes_on
        text = [] if only_start else self._tokens(one)
        if not text and not only_start:
            return
        if timed:
            shown = min(start / steps.pace, FIRST_TIME_LIMIT) if whole and opens else start / steps.pace
            yield self._vocabulary.time(shown, steps.offset), steps.span(start - 0.1, start + 0.1)
        for token in text:
            yield token.token, steps.span(token.start, token.end)
        if timed and not only_start:
            span = steps.span(one.ends - 0.12, one.ends + 0.1)
            yield self._vocabulary.time(one.ends / steps.pace, steps.offset), span

    def _tokens(self, one: _Placed) -> list[TimedToken]:
        """Those that are heard, in seconds of the window."""
        said = one.spoken.utterance
        shift = one.start / SAMPLE_RATE
        moved = [
            replace(token, start=token.start + shift, end=token.end + shift)
            for token in self._vocabulary.timed(said.text, said.language, said.words)
        ]
        kept = [token for token in moved if token.start > -0.01]
        last = said.words[-1]
        heard_all = shift + (last.start_ms + _HEARD * (last.end_ms - last.start_ms)) / 1000 <= one.ends
        if one.cut and not heard_all:  # with its last word a sentence has its mark
            kept = [t for t in kept if t.start + _HEARD * max(0.0, t.end - t.start) <= one.ends]
        return kept

    def _prompt(self, random: Random, length: int, language: str) -> list[int]:
        """Sentences as the window before could have ended with, cut to the length."""
        if not length:
            return []
        known, found = self._vocabulary, list[int]()
        at, timed = random.uniform(0, 25), random.random() < 0.7
        while len(found) < length:
            if random.random() < 0.12:
                language = _LANGUAGES[language == "en"]
            said = self._corpus.draw(language, self._corpus.draw_voice(language, random), random).utterance
            seconds = said.length / SAMPLE_RATE
            if at + seconds > WHOLE_SECONDS:
                at = random.uniform(0, 1)
            text = [token.token for token in known.timed(said.text, said.language, said.words)]
            found += [known.time(at), *text, known.time(at + seconds)] if timed else text
            at += seconds + random.uniform(0.1, 1)
        return [known.number[tokenizer().sot_prev], *found[-length:]]

    def _labels(self, scene: _Scene, steps: _Steps) -> NDArray[np.int64]:
        labels = np.zeros(steps.count, np.int64)
        for one in scene.placed:
            shift = one.start / SAMPLE_RATE
            for word in one.spoken.utterance.words:
                start, end = word.start_ms / 1000 + shift, word.end_ms / 1000 + shift
                if end > 0:
                    low, high = steps.span(start, end)
                    labels[low:high] = self._vocabulary.labels.get(label(word.text), 0)
        return labels


@dataclass(frozen=True, slots=True)
class _Steps:
    """From seconds of a scene to steps of the encoder."""

    pace: float
    offset: int
    count: int

    def span(self, start: float, end: float) -> tuple[int, int]:
        """At least one step."""
        low = min(self.count - 1, max(0, int(start / self.pace * 50)))
        high = min(self.count, max(low + 1, int(np.ceil(end / self.pace * 50))))
        return low, high


def _language(one: _Placed) -> str:
    return one.spoken.utterance.language


def _extent(one: _Placed) -> float:
    return one.ends - max(0.0, one.start / SAMPLE_RATE)


def _lead(random: Random) -> int:
    """Samples before the first sentence: transcription most often begins at one, or at the pause before it."""
    kind = random.random()
    seconds = 0.0 if kind < 0.2 else random.uniform(0, 0.9) if kind < 0.88 else random.uniform(0.9, 4)
    return round(seconds * SAMPLE_RATE)


def _pause(random: Random) -> float:
    """Seconds between two sentences."""
    return random.uniform(0.05, 1.0) if random.random() < 0.88 else random.uniform(1, 4)


def _word_border(spoken: Spoken, random: Random) -> int:
    """The sample at which one of the words but the first begins."""
    starts = [word.start_ms for word in spoken.utterance.words[1:]] or [0]
    return random.choice(starts) * SAMPLE_RATE // 1000


def _surroundings(scene: _Scene, random: Random) -> Samples:
    """Noise and hum: soft where somebody speaks, of any loudness where nobody does."""
    sounds = np.zeros(scene.length, np.float32)
    if random.random() < (0.35 if scene.placed else 0.2):
        return sounds
    kinds = [random.choice(("white", "white", "pink", "brown"))]
    if random.random() < (0.15 if scene.placed else 0.4):
        kinds = [*kinds, random.choice(("hum50", "hum60", "hum100", "hum120"))][random.randrange(2) :]
    for kind in kinds:
        level = 10 ** (random.uniform(-4.2, -2.1) if scene.placed else random.uniform(-4.2, -0.3))
        sounds += sound.noise(kind, scene.length, random.randrange(60 * SAMPLE_RATE)) * np.float32(level)
    if not scene.placed and random.random() < 0.15:
        sounds += sound.clicks(scene.length, np.random.default_rng(random.randrange(2**32)))
    return sounds
