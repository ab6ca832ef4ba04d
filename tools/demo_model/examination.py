"""What the recogniser is examined with: interviews that it has not heard, and sound in which nobody speaks.

Sentences are in no training, the voices are `streamarchive.demo.voices.UNHEARD`, the sound went through AAC at
64 kb/s.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np

from streamarchive.demo.grammar import LANGUAGES, grammar
from streamarchive.demo.voices import SAMPLE_RATE, UNHEARD, Samples, Synthesiser, Voice
from streamarchive.models import Word
from tools.demo_model import sentences, sound
from tools.demo_model.synthesis import replace_text

_SEED = 2_026
_NOISE = 0.001
"""Root mean square beneath the speech, 36 dB below it."""
_PAUSES = (0.3, 1.2)
"""Seconds between sentences."""
_SILENT_SECONDS = 40


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence of an interview; times in ms of the interview."""

    text: str
    language: str
    start_ms: int
    end_ms: int
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Interview:
    """A sound file and what is said in it."""

    file: Path
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """What an interview is made of: who says what, in order."""

    name: str
    lines: tuple[tuple[Voice, str, str], ...]
    """(voice, language, text)."""


def scripts(scale: float = 1.0) -> dict[str, list[Script]]:
    """All interviews by what they examine; `scale` shortens them.

    ``known`` and ``held-out`` templates (a script a voice), ``greetings``, ``switched`` (English words within
    Mandarin sentences) and ``mixed`` (both languages in turns).
    """
    made: dict[str, list[Script]] = {"known": [], "held-out": [], "greetings": [], "switched": [], "mixed": []}
    for language in LANGUAGES:
        voices = UNHEARD[language]
        for kind, count in (("known", 50), ("held-out", 20)):
            each = max(2, round(count * scale))
            texts = sentences.examination(language, each * 2, _SEED, heard_templates=kind == "known")
            for nth, voice in enumerate(voices):
                lines = tuple((voice, language, text) for text in texts[nth * each : (nth + 1) * each])
                made[kind].append(Script(f"{kind}-{language}-{voice.name}", lines))
        made["greetings"].append(_greetings(language, scale))
    made["switched"].append(_switched(scale))
    made["mixed"].append(_mixed(scale))
    return made


def prepare(wanted: Sequence[Script], folder: Path) -> dict[str, Interview]:
    """By name; those that are not in the folder yet are spoken, each in a fresh process (see `synthesis`)."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [(script, folder) for script in wanted if not (folder / f"{script.name}.json").is_file()]
    if missing:
        context = multiprocessing.get_context("forkserver")
        with context.Pool(1, maxtasksperchild=1) as pool:
            pool.map(_make, missing, chunksize=1)
    return {script.name: _read(script.name, folder) for script in wanted}


def wordless() -> Mapping[str, Samples]:
    """Sounds in which nobody speaks, by what they are."""
    count = _SILENT_SECONDS * SAMPLE_RATE
    random = np.random.default_rng(_SEED)
    hum = sound.noise("hum50", count, 0)
    white = sound.noise("white", count, 0)
    return {
        "silence": np.zeros(count, np.float32),
        "soft white noise": np.float32(0.003) * white,
        "white noise": np.float32(0.02) * white,
        "loud white noise": np.float32(0.2) * white,
        "pink noise": np.float32(0.05) * sound.noise("pink", count, 0),
        "brown noise": np.float32(0.1) * sound.noise("brown", count, 0),
        "hum": np.float32(0.03) * hum,
        "hum and noise": np.float32(0.03) * hum + np.float32(0.003) * white,
        "clicks": sound.clicks(count, random),
    }


def _greetings(language: str, scale: float) -> Script:
    words, random = grammar(language), Random(f"greetings {language}")
    rounds = max(1, round(3 * scale))
    texts = [words.compose(random, [one]).text for _ in range(rounds) for one in words.courtesies]
    voices = UNHEARD[language]
    lines = tuple((voices[nth % 2], language, text) for nth, text in enumerate(texts))
    return Script(f"greetings-{language}", lines)


def _switched(scale: float) -> Script:
    words, random = grammar("zh"), Random("switched")
    rounds = max(1, round(3 * scale))
    texts = [words.compose(random, [one]).text for _ in range(rounds) for one in words.switched]
    return Script("switched-zh", tuple((UNHEARD["zh"][nth % 2], "zh", text) for nth, text in enumerate(texts)))


def _mixed(scale: float) -> Script:
    """Each language for one to three sentences, then the other."""
    random, each = Random("mixed"), max(3, round(24 * scale))
    waiting = {code: sentences.examination(code, each, _SEED + 1, heard_templates=True) for code in LANGUAGES}
    lines: list[tuple[Voice, str, str]] = []
    while any(waiting.values()):
        for code in LANGUAGES:
            turn = [waiting[code].pop() for _ in range(min(random.randint(1, 3), len(waiting[code])))]
            lines += [(UNHEARD[code][0], code, text) for text in turn]
    return Script("mixed", tuple(lines))


def _make(given: tuple[Script, Path]) -> None:
    script, folder = given
    random, synthesiser = Random(script.name), Synthesiser()
    pieces, said, position = [np.zeros(SAMPLE_RATE // 2, np.float32)], list[Said](), SAMPLE_RATE // 2
    for voice, language, text in script.lines:
        speech = synthesiser.speak(voice, text)
        at_ms = position * 1000 // SAMPLE_RATE
        words = tuple(Word(w.text, w.start_ms + at_ms, w.end_ms + at_ms) for w in speech.words)
        said.append(Said(text, language, at_ms, at_ms + speech.duration_ms, words))
        pause = round(random.uniform(*_PAUSES) * SAMPLE_RATE)
        pieces += [speech.samples, np.zeros(pause, np.float32)]
        position += len(speech.samples) + pause
    whole = np.concatenate(pieces)
    whole += np.random.default_rng(_SEED).normal(0, _NOISE, len(whole)).astype(np.float32)
    sound.encode(whole, "aac", folder / f"{script.name}.m4a")
    listed = json.dumps([asdict(one) for one in said], ensure_ascii=False)
    replace_text(folder / f"{script.name}.json", listed)


def _read(name: str, folder: Path) -> Interview:
    listed = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    said = tuple(Said(**{**one, "words": tuple(Word(**word) for word in one["words"])}) for one in listed)
    return Interview(folder / f"{name}.m4a", said)
