"""All spoken sentences of the training, by language and voice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from streamarchive.demo.voices import Samples
from tools.demo_model import synthesis
from tools.demo_model.synthesis import Utterance


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance and its samples."""

    utterance: Utterance
    shard: np.ndarray

    @property
    def samples(self) -> Samples:
        """Read from the disk."""
        start = self.utterance.start
        stored = self.shard[start : start + self.utterance.length]
        return stored.astype(np.float32) / np.float32(32767)


class Corpus:
    """What `synthesis` has written to a folder."""

    def __init__(self, folder: Path, shards: Iterable[str]) -> None:
        """Open the shards of these names."""
        self._spoken: dict[str, dict[str, list[Spoken]]] = defaultdict(lambda: defaultdict(list))
        for name in shards:
            samples, utterances = synthesis.read(name, folder)
            for one in utterances:
                self._spoken[one.language][one.voice].append(Spoken(one, samples))

    @property
    def sentences(self) -> set[tuple[str, str]]:
        """(text, language) of each."""
        return {(one.utterance.text, one.utterance.language) for one in self._all()}

    @property
    def hours(self) -> float:
        """Of speech."""
        return sum(one.utterance.length for one in self._all()) / 16_000 / 3600

    def draw_voice(self, language: str, random: Random) -> str:
        """A voice, as often as it speaks."""
        voices = self._spoken[language]
        return random.choices(tuple(voices), [len(said) for said in voices.values()])[0]

    def draw(self, language: str, voice: str, random: Random) -> Spoken:
        """A sentence of a voice."""
        return random.choice(self._spoken[language][voice])

    def _all(self) -> Iterable[Spoken]:
        return (one for voices in self._spoken.values() for said in voices.values() for one in said)
