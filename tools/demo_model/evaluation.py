"""How good a checkpoint is: the table of what was asked of it and what was found.

Plain `whisper.transcribe` on one core, each window's language its own to find, windows not conditioned on the
text before; and the product's two engines.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import whisper
from rapidfuzz.distance import Levenshtein
from whisper.audio import N_FRAMES, SAMPLE_RATE, log_mel_spectrogram, pad_or_trim

from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file
from tools.demo_model import examination
from tools.demo_model.examination import Interview, Script

_LOOK_EVERY_S = 15
"""How far apart the windows lie whose language is asked for."""
_LEAST_SPEECH_S = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was found, and what was asked for."""

    name: str
    value: float
    unit: str = "%"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether what was asked for holds; None where nothing was."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    @property
    def asked(self) -> str:
        """For people."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}".strip()
        return "" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}".strip()


@dataclass(slots=True)
class Errors:
    """Words of English, characters of Mandarin: how many were said and how many are wrong."""

    wrong: int = 0
    said: int = 0

    def count(self, said: Sequence[str], heard: Sequence[str]) -> None:
        """Take one text."""
        self.wrong += Levenshtein.distance(said, heard)
        self.said += len(said)

    @property
    def percent(self) -> float:
        """Of what was said."""
        return round(100 * self.wrong / max(1, self.said), 2)


@dataclass(slots=True)
class _Found:
    """What plain `transcribe` gave over all interviews."""

    by_script: dict[str, Errors] = field(default_factory=dict)
    spent_s: float = 0.0
    sound_s: float = 0.0
    windows: int = 0
    windows_right: int = 0


def evaluate(checkpoint: Path, folder: Path, scale: float = 1.0) -> Iterator[Figure]:
    """The rows of the table, as they are found. Interviews are kept in the folder."""
    torch.set_num_threads(1)
    wanted = examination.scripts(scale)
    interviews = examination.prepare([one for alike in wanted.values() for one in alike], folder)
    model = whisper.load_model(str(checkpoint), device="cpu")
    model.transcribe(whisper.load_audio(str(interviews["mixed"].file))[: 10 * SAMPLE_RATE], fp16=False)
    found = _Found()
    for name, interview in interviews.items():
        _listen(model, name, interview, found)
    yield from _errors(wanted, found)
    yield Figure("language of a window", round(100 * found.windows_right / found.windows, 1), at_least=99)
    yield Figure("text where nobody speaks (of 9 sounds)", _babble(model), "sounds", at_most=0)
    yield from _word_starts(model, [interviews[script.name] for script in wanted["known"]])
    yield Figure("real-time factor, one core", round(found.spent_s / found.sound_s, 3), "", at_most=0.05)
    yield Figure("file", round(checkpoint.stat().st_size / 1e6, 2), "MB", at_most=6)
    yield from _engines(checkpoint, [interviews[one.name] for one in (*wanted["known"], *wanted["mixed"])])


def units(text: str) -> list[str]:
    """Words, or single Chinese characters; no punctuation."""
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower())


def _listen(model: Any, name: str, interview: Interview, found: _Found) -> None:  # noqa: ANN401 - untyped
    samples = whisper.load_audio(str(interview.file))
    began = time.process_time()
    heard = model.transcribe(samples, fp16=False, condition_on_previous_text=False)
    found.spent_s += time.process_time() - began
    found.sound_s += len(samples) / SAMPLE_RATE
    errors = found.by_script.setdefault(name, Errors())
    errors.count(_said(interview), units(heard["text"]))
    if len({said.language for said in interview.said}) == 1:
        right = _languages(model, samples, interview)
        found.windows += len(right)
        found.windows_right += sum(right)


def _said(interview: Interview) -> list[str]:
    return [unit for said in interview.said for unit in units(said.text)]


def _errors(wanted: Mapping[str, Sequence[Script]], found: _Found) -> Iterator[Figure]:
    """By language and kind, then by voice."""
    limits = {"known": 5.0, "held-out": 15.0}
    titles = {"known": "known templates", "held-out": "templates held out"}
    named = {"en": "English word errors", "zh": "Mandarin character errors"}
    for kind, title in titles.items():
        for language, what in named.items():
            alike = [found.by_script[one.name] for one in wanted[kind] if f"-{language}-" in one.name]
            yield Figure(f"{what}, {title}", _together(alike), at_most=limits[kind])
            for one in wanted[kind]:
                if f"-{language}-" in one.name:
                    yield Figure(f"  voice {one.lines[0][0].name}", found.by_script[one.name].percent)
    for language, what in named.items():
        yield Figure(f"{what}, greetings", found.by_script[f"greetings-{language}"].percent)
    yield Figure("errors, English words in Mandarin", found.by_script["switched-zh"].percent)
    yield Figure("errors, both languages in one file", found.by_script["mixed"].percent)


def _together(errors: Sequence[Errors]) -> float:
    return Errors(sum(one.wrong for one in errors), sum(one.said for one in errors)).percent


def _languages(model: Any, samples: Any, interview: Interview) -> list[bool]:  # noqa: ANN401 - untyped
    """For each window with speech whether its language is named."""
    mel = log_mel_spectrogram(samples, model.dims.n_mels, padding=N_FRAMES * 160)
    right = []
    for second in range(0, len(samples) // SAMPLE_RATE, _LOOK_EVERY_S):
        begin, end = second * 1000, (second + 30) * 1000
        spoken = sum(max(0, min(said.end_ms, end) - max(said.start_ms, begin)) for said in interview.said)
        if spoken >= _LEAST_SPEECH_S * 1000:
            window = pad_or_trim(mel[:, second * 100 : second * 100 + N_FRAMES], N_FRAMES)
            _, likely = model.detect_language(window)
            right.append(max(likely, key=likely.get) == interview.said[0].language)
    return right


def _babble(model: Any) -> int:  # noqa: ANN401 - untyped
    texts = (
        model.transcribe(samples, fp16=False, condition_on_previous_text=False)["text"]
        for samples in examination.wordless().values()
    )
    return sum(bool(text.strip()) for text in texts)


def _word_starts(model: Any, interviews: Sequence[Interview]) -> Iterator[Figure]:  # noqa: ANN401 - untyped
    """How far the starts of words that were heard rightly lie from where they were said."""
    away = [distance for interview in interviews for distance in _starts_away(model, interview)]
    yield Figure("word starts, median", round(median(map(abs, away))), "ms", at_most=60)
    yield Figure("word starts, 90th percentile", sorted(map(abs, away))[len(away) * 9 // 10], "ms")
    yield Figure("word starts, median with sign", round(median(away)), "ms")


def _starts_away(model: Any, interview: Interview) -> list[int]:  # noqa: ANN401 - untyped
    samples = whisper.load_audio(str(interview.file))
    how = {"fp16": False, "condition_on_previous_text": False, "word_timestamps": True}
    found = model.transcribe(samples, **how)
    heard = [
        (unit, round(word["start"] * 1000))
        for segment in found["segments"]
        for word in segment["words"]
        for unit in units(word["word"])[:1]
    ]
    said = [
        (unit, word.start_ms) for one in interview.said for word in one.words for unit in units(word.text)[:1]
    ]
    editing = Levenshtein.opcodes([unit for unit, _ in said], [unit for unit, _ in heard])
    return [
        heard[block.dest_start + nth][1] - said[block.src_start + nth][1]
        for block in editing
        if block.tag == "equal"
        for nth in range(block.src_end - block.src_start)
    ]


def _engines(checkpoint: Path, interviews: Sequence[Interview]) -> Iterator[Figure]:
    found: dict[str, float] = {}
    engines: tuple[Literal["openai", "faster"], ...] = ("openai", "faster")
    for engine in engines:
        found[engine] = asyncio.run(_through(engine, checkpoint, interviews))
        yield Figure(f"errors, whole pass of the engine {engine}", found[engine])
    apart = round(abs(found["openai"] - found["faster"]), 2)
    yield Figure("difference of the engines", apart, "points", at_most=0.5)


async def _through(
    engine: Literal["openai", "faster"], checkpoint: Path, interviews: Sequence[Interview]
) -> float:
    """Errors of the product's own pass over finished files."""
    errors = Errors()
    process = EngineProcess(str(checkpoint), engine=engine, device="cpu", threads=1)
    try:
        for interview in interviews:
            languages = tuple(sorted({said.language for said in interview.said}))
            heard = await transcribe_file(interview.file, process, PassSettings(languages))
            errors.count(_said(interview), [unit for cue in heard.cues for unit in units(cue.text)])
    finally:
        await process.close()
    return errors.percent
