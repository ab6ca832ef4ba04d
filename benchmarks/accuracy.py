"""Word and character errors of a whole pass against the plain `whisper` command, same checkpoint and beam.

    python benchmarks/accuracy.py [--minutes 30] [--model CHECKPOINT] [--only "ours, openai"] [--device cpu|cuda]

An interview of sentences that were not in the demo checkpoint's training, in voices that were not either, English
and Mandarin in turns of some sentences, pauses of 0.3 to 12 s, soft noise beneath. Words count in English,
characters in Mandarin. Wanted: ours no worse than the command, and batches, arithmetic and prompts of terms each
within half a point of the same without. A GPU computes in 16 bits, and the encoder's arithmetic is not a choice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import tempfile
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

import streamarchive.demo
from streamarchive.demo.voices import SAMPLE_RATE, UNHEARD, Synthesiser, pcm
from streamarchive.protocols import TranscribeOptions, Window, WindowResult
from streamarchive.transcription import arithmetic, checkpoints
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file

DEMO = Path(streamarchive.demo.__file__).parent / "data" / "whisper-demo.pt"
SENTENCES = Path(__file__).parents[1] / "tests" / "data" / "unheard.json"
LANGUAGES = ("en", "zh")
BEAMS, GREEDY = TranscribeOptions(), TranscribeOptions(beam_size=1)


def interview(path: Path, minutes: float) -> str:
    """Write the sound; what is said in it."""
    chance, noise = random.Random(5), np.random.default_rng(5)
    unheard = json.loads(SENTENCES.read_text(encoding="utf-8"))
    synthesiser = Synthesiser()
    pieces: list[np.ndarray] = [np.zeros(SAMPLE_RATE, np.float32)]
    said: list[str] = []
    while sum(map(len, pieces)) < minutes * 60 * SAMPLE_RATE:
        language = chance.choice(LANGUAGES)
        voice = chance.choice(UNHEARD[language])
        for _ in range(chance.randint(2, 6)):
            sentence = chance.choice(unheard[language]["known_templates"])
            pause = chance.choice((0.3, 0.5, 0.8, 1.5, 12.0))
            pieces += [
                synthesiser.speak(voice, sentence).samples,
                np.zeros(round(pause * SAMPLE_RATE), np.float32),
            ]
            said.append(sentence)
    sound = np.concatenate(pieces)
    sound += noise.normal(0, 0.001, len(sound)).astype(np.float32)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm(sound))
    return " ".join(said)


def units(text: str) -> list[str]:
    """Words, or single Chinese characters."""
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower())


def plain(file: Path, model: str, device: str) -> str:
    """What the command writes, with all its defaults; each window's language is its own to find."""
    import whisper

    loaded = whisper.load_model(model, device=device)
    return str(loaded.transcribe(str(file), beam_size=5, fp16=device == "cuda")["text"])


@dataclass(frozen=True)
class Ours:
    """A pass of ours."""

    engine: str
    options: TranscribeOptions = BEAMS
    one_by_one: bool = False
    prompt: str | None = None
    """Put before every window."""
    choice: tuple[str, str] | None = None
    """Of a part and the arithmetic it computes in, instead of what is fastest here."""

    def __call__(self, file: Path, model: str, device: str) -> str:
        """What it hears."""
        if self.choice is None:
            return asyncio.run(self._heard(file, model, device))
        asyncio.run(self._choose(model))
        with _remembered(self.engine, *self.choice):
            return asyncio.run(self._heard(file, model, device))

    async def _heard(self, file: Path, model: str, device: str) -> str:
        process = Prompted(model, engine=self.engine, device=device)  # type: ignore[arg-type]
        process.prompt = self.prompt
        try:
            # An urgent request makes those that follow come one at a time.
            how = PassSettings(LANGUAGES, replace(self.options, urgent=self.one_by_one))
            found = await transcribe_file(file, process, how)
        finally:
            await process.close()
        return " ".join(cue.text for cue in found.cues)

    async def _choose(self, model: str) -> None:
        process = EngineProcess(model, engine=self.engine, device="cpu")  # type: ignore[arg-type]
        await process.load()
        await process.close()


class Prompted(EngineProcess):
    """Has the same prompt for every window."""

    prompt: str | None = None

    def transcribe(self, windows: Sequence[Window], options: TranscribeOptions) -> AsyncIterator[WindowResult]:
        """As it does, with the prompt."""
        return super().transcribe([replace(window, prompt=self.prompt) for window in windows], options)


@contextmanager
def _remembered(engine: str, part: str, choice: str) -> Iterator[None]:
    """Let the engine remember that this arithmetic is the fastest."""
    for note in (checkpoints.cache_folder() / "measured").glob("*.json"):
        before = note.read_text(encoding="utf-8")
        known = json.loads(before)
        if (known["engine"], known["part"]) == (engine, part):
            break
    else:
        raise SystemExit(f"the engine {engine} has not written down in what its {part} computes")
    note.write_text(json.dumps({**known, "choice": choice}), encoding="utf-8")
    try:
        yield
    finally:
        note.write_text(before, encoding="utf-8")


TERMS = "Fiat, minivan, warranty, navigation, 自动驾驶, 用户体验, 李教授."
"""As a glossary would name them."""
CONTESTANTS: Mapping[str, Callable[[Path, str, str], str]] = {
    "whisper (the command), beam 5": plain,
    "ours, openai": Ours("openai"),
    "ours, openai, window by window": Ours("openai", one_by_one=True),
    "ours, openai, encoder float32": Ours("openai", choice=("encoder", arithmetic.FLOAT32)),
    "ours, openai, encoder bfloat16": Ours("openai", choice=("encoder", arithmetic.BFLOAT16)),
    "ours, openai, encoder dynamic int8": Ours("openai", choice=("encoder", arithmetic.DYNAMIC_INT8)),
    "ours, openai, decoder float32": Ours("openai", choice=("decoder", arithmetic.FLOAT32)),
    "ours, openai, decoder int8 by rows": Ours("openai", choice=("decoder", arithmetic.ROW_INT8)),
    "ours, openai, a prompt of terms": Ours("openai", prompt=TERMS),
    "ours, openai, greedy": Ours("openai", GREEDY),
    "ours, faster": Ours("faster"),
    "ours, faster, window by window": Ours("faster", one_by_one=True),
    "ours, faster, encoder float32": Ours("faster", choice=("encoder", arithmetic.FLOAT32)),
    "ours, faster, encoder bfloat16": Ours("faster", choice=("encoder", arithmetic.BFLOAT16)),
    "ours, faster, encoder dynamic int8": Ours("faster", choice=("encoder", arithmetic.DYNAMIC_INT8)),
    "ours, faster, encoder int8": Ours("faster", choice=("encoder", arithmetic.INT8)),
    "ours, faster, a prompt of terms": Ours("faster", prompt=TERMS),
    "ours, faster, greedy": Ours("faster", GREEDY),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--only", default="", help="only contestants whose names have this in them")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        file = Path(folder) / "interview.wav"
        said = units(interview(file, chosen.minutes))
        print(f"{arithmetic.processor()}, {os.cpu_count()} processors")
        print(f"{chosen.minutes:g} min, {len(said)} words and characters, {chosen.model.stem}")
        for name, heard in CONTESTANTS.items():
            choosing = isinstance(heard, Ours) and heard.choice is not None
            if chosen.only not in name or (choosing and chosen.device != "cpu"):
                continue
            errors = Levenshtein.distance(said, units(heard(file, str(chosen.model), chosen.device)))
            print(f"{name:34}{errors / len(said):7.1%} errors", flush=True)


if __name__ == "__main__":
    main()
