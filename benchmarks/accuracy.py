"""Word and character errors of a whole pass against the plain `whisper` command, same checkpoint and beam.

    python benchmarks/accuracy.py [--minutes 30] [--model CHECKPOINT]

An interview of sentences that were not in the demo checkpoint's training, in voices that were not either, English
and Mandarin in turns of some sentences, pauses of 0.3 to 12 s, soft noise beneath. Words count in English,
characters in Mandarin.
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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

import streamarchive.demo
from streamarchive.demo.voices import SAMPLE_RATE, UNHEARD, Synthesiser, pcm
from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file

DEMO = Path(streamarchive.demo.__file__).parent / "data" / "whisper-demo.pt"
SENTENCES = Path(__file__).parents[1] / "tests" / "data" / "unheard.json"
LANGUAGES = ("en", "zh")


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


def plain(file: Path, model: str) -> str:
    """What the command writes, with all its defaults; each window's language is its own to find."""
    import whisper

    return str(whisper.load_model(model, device="cpu").transcribe(str(file), beam_size=5, fp16=False)["text"])


def ours(engine: str, options: TranscribeOptions, *, one_by_one: bool = False) -> Callable[[Path, str], str]:
    """A pass of ours."""

    async def heard(file: Path, model: str) -> str:
        process = EngineProcess(model, engine=engine, device="cpu")  # type: ignore[arg-type]
        try:
            # An urgent request makes those that follow come one at a time.
            how = PassSettings(LANGUAGES, replace(options, urgent=one_by_one))
            found = await transcribe_file(file, process, how)
        finally:
            await process.close()
        return " ".join(cue.text for cue in found.cues)

    return lambda file, model: asyncio.run(heard(file, model))


CONTESTANTS = {
    "whisper (the command), beam 5": plain,
    "ours, openai": ours("openai", TranscribeOptions()),
    "ours, openai, window by window": ours("openai", TranscribeOptions(), one_by_one=True),
    "ours, openai, greedy": ours("openai", TranscribeOptions(beam_size=1)),
    "ours, faster": ours("faster", TranscribeOptions()),
    "ours, faster, window by window": ours("faster", TranscribeOptions(), one_by_one=True),
    "ours, faster, greedy": ours("faster", TranscribeOptions(beam_size=1)),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", type=Path, default=DEMO)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        file = Path(folder) / "interview.wav"
        said = units(interview(file, chosen.minutes))
        print(f"{chosen.minutes:g} min, {len(said)} words and characters, {chosen.model.stem}")
        for name, heard in CONTESTANTS.items():
            errors = Levenshtein.distance(said, units(heard(file, str(chosen.model))))
            print(f"{name:34}{errors / len(said):7.1%} errors", flush=True)


if __name__ == "__main__":
    main()
