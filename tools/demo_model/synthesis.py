"""Spoken sentences: voices, rates and pitches, put through codecs, kept in shards on the disk.

How espeak-ng says a sentence depends on what it has said before in the same process, so each shard is spoken, in
order, by a process of its own: whoever makes it, whenever, gets the same sound.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np

from streamarchive.demo.voices import SAMPLE_RATE, Speech, Synthesiser, Voice
from streamarchive.models import Word
from tools.demo_model.sentences import Line
from tools.demo_model.sound import CODECS, coded

SHARD_LINES = 200

_VARIANTS = ("", "", "+m1", "+m2", "+m3", "+m4", "+m7", "+f1", "+f2", "+f3", "+f4", "+Andy", "+klatt2")
VOICES = {
    "en": (*(f"en-us{v}" for v in _VARIANTS), "en", "en+m2", "en+f1", "en+f3", "en-gb-scotland", "en-gb-x-rp"),
    "zh": (*(f"cmn{v}" for v in _VARIANTS), "cmn+m7", "cmn+m3", "cmn+linda", "cmn+steph"),
}
"""A voice named twice speaks twice as often. None of `streamarchive.demo.voices.UNHEARD` is among them."""
_RATES = {"en": (130, 190), "zh": (140, 200)}
"""Words a minute."""
_PITCHES = (30, 70)
_GAP = SAMPLE_RATE // 4
"""Silence between the sentences of a shard, so that a codec's memory of one does not reach the next."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A spoken sentence: where its samples lie in its shard; its words count in ms from its first sample."""

    text: str
    language: str
    kind: str
    voice: str
    start: int
    length: int
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """Sentences of one language that are spoken together and put through one codec."""

    name: str
    lines: Sequence[Line]
    seed: int

    @property
    def codec(self) -> str:
        """Drawn by its seed."""
        return Random(f"codec {self.seed}").choices(tuple(CODECS), (4, 2, 2, 2))[0]

    def is_made(self, folder: Path) -> bool:
        """Its list is written last."""
        return (folder / f"{self.name}.json").is_file()

    def make(self, folder: Path) -> None:
        """Speak and write it: ``NAME.npy``, 16-bit samples, and ``NAME.json``, the utterances."""
        random, synthesiser = Random(self.seed), Synthesiser()
        utterances: list[Utterance] = []
        pieces, position = [np.zeros(_GAP, np.float32)], _GAP
        for line in self.lines:
            voice = draw_voice(line.language, random)
            speech = synthesiser.speak(voice, line.text)
            utterances.append(_utterance(line, voice, speech, position))
            pieces += [speech.samples, np.zeros(_GAP, np.float32)]
            position += len(speech.samples) + _GAP
        sound = coded(np.concatenate(pieces), self.codec)
        samples = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        _write(folder / f"{self.name}.npy", samples)
        listed = json.dumps([asdict(one) for one in utterances], ensure_ascii=False)
        replace_text(folder / f"{self.name}.json", listed)


def draw_voice(language: str, random: Random) -> Voice:
    """Any of the training's voices, anyhow."""
    name = random.choice(VOICES[language])
    return Voice(name, random.randint(*_RATES[language]), random.randint(*_PITCHES))


def shards(lines: Sequence[Line], seed: int) -> list[Shard]:
    """Lines of one language, in order, `SHARD_LINES` at a time."""
    return [
        Shard(f"{lines[at].language}-{at // SHARD_LINES:03}", lines[at : at + SHARD_LINES], seed * 10_000 + at)
        for at in range(0, len(lines), SHARD_LINES)
    ]


def synthesise(wanted: Sequence[Shard], folder: Path, processes: int) -> Iterator[Shard]:
    """Make those that are missing, each in a fresh process; yields each as it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(shard, folder) for shard in wanted if not shard.is_made(folder)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_make, missing, chunksize=1)


def read(shard: str, folder: Path) -> tuple[np.ndarray, list[Utterance]]:
    """Samples (16-bit, mapped from the file) and utterances."""
    listed = json.loads((folder / f"{shard}.json").read_text(encoding="utf-8"))
    utterances = [Utterance(**{**one, "words": tuple(Word(**word) for word in one["words"])}) for one in listed]
    return np.load(folder / f"{shard}.npy", mmap_mode="r"), utterances


def replace_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _write(path: Path, samples: np.ndarray) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.save(file, samples)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _make(given: tuple[Shard, Path]) -> Shard:
    shard, folder = given
    shard.make(folder)
    return shard


def _utterance(line: Line, voice: Voice, speech: Speech, start: int) -> Utterance:
    return Utterance(line.text, line.language, line.kind, voice.name, start, len(speech.samples), speech.words)
