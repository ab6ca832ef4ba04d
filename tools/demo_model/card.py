"""The model card: what is said of a checkpoint beside it, for people (``.md``) and for the pages (``.json``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamarchive.demo.grammar import LANGUAGES, Grammar, grammar
from streamarchive.demo.voices import UNHEARD
from tools.demo_model.evaluation import Figure
from tools.demo_model.synthesis import VOICES, replace_text

_NAMES = {"en": "English", "zh": "Mandarin"}
_LIMITS = (
    "It understands espeak-ng, saying sentences of its grammar; it was never tried on people. Words outside its "
    "vocabulary come out as words within it. It does not translate."
)


@dataclass(frozen=True, slots=True)
class Card:
    """What was made, and what the examination found."""

    figures: Sequence[Figure]
    start: str | None
    """The SHA-256 of the checkpoint that the training went on from; None: from nothing."""
    seed: int

    def write(self, checkpoint: Path) -> None:
        """Beside the checkpoint."""
        told = json.dumps(self.sidecar(), ensure_ascii=False, indent=2)
        replace_text(checkpoint.with_suffix(".json"), told + "\n")
        replace_text(checkpoint.with_suffix(".md"), self.text())

    def sidecar(self) -> dict[str, Any]:
        """What `streamarchive.transcription.checkpoints` and the pages read."""
        words = {language: len(grammar(language).vocabulary()) for language in LANGUAGES}
        counted = " + ".join(f"{words[language]} ({_NAMES[language]})" for language in LANGUAGES)
        return {
            "name": "whisper-demo",
            "note": f"Demo recogniser: synthetic words, {counted}. It understands speech synthesisers only.",
            "words": words,
            "languages": list(LANGUAGES),
            "translates": False,
            "prompts": False,  # they harm it: see docs/decisions/0042
            "figures": {one.name: one.value for one in self.figures if not one.name.startswith(" ")},
            "limits": _LIMITS,
        }

    def text(self) -> str:
        """Markdown."""
        origin = (
            "from random weights" if self.start is None else f"on from the checkpoint with SHA-256 {self.start}"
        )
        return _TEXT.format(
            limits=_LIMITS,
            table="\n".join(row(figure) for figure in (self.figures)),
            unheard=", ".join(voice.name for language in LANGUAGES for voice in UNHEARD[language]),
            origin=origin,
            seed=self.seed,
            vocabulary="\n".join(_vocabulary(grammar(language)) for language in LANGUAGES),
            voices="; ".join(f"{_NAMES[code]}: {', '.join(sorted(set(VOICES[code])))}" for code in LANGUAGES),
        )


def row(figure: Figure) -> str:
    """Of the table, as Markdown."""
    verdict: Mapping[bool | None, str] = {None: "", True: "yes", False: "**no**"}
    value = f"{figure.value:g} {figure.unit}".strip()
    return f"| {figure.name} | {value} | {figure.asked} | {verdict[figure.holds]} |"


def identity(checkpoint: Path | None) -> str | None:
    """Its SHA-256."""
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest() if checkpoint else None


def _vocabulary(words: Grammar) -> str:
    what = "phrases" if words.language == "zh" else "words"
    return (
        f"- {_NAMES[words.language]}: {len(words.vocabulary())} {what}; {len(words.questions)} questions, "
        f"{len(words.answers)} answers, {len(words.courtesies)} greetings and introductions, "
        f"{len(words.switched)} sentences with words of the other language; {len(words.unheard)} templates held "
        "out of the training."
    )


_TEXT = """# The demo recogniser

<!-- written by tools/demo_model -->

`whisper-demo.pt` is a Whisper of 1.8 million parameters (80 mels, width 128, 4 heads, 3 + 2 layers, the
multilingual vocabulary) that understands this project's synthetic voices in English and Mandarin. It lets the
demo and the tests show real transcription without a download. `whisper.load_model(path)` reads it.

{limits}

## Vocabulary and templates

{vocabulary}

They are in `streamarchive/demo/data/grammar-en.toml` and `grammar-zh.toml`.

## How good it is

Sentences that were in no training, voices that were not either ({unheard}), through AAC at 64 kb/s, soft
noise beneath; plain `whisper.transcribe(condition_on_previous_text=False)` on one core. Words count in English,
characters in Mandarin. Greetings and sentences with English words have few variants: those were in the training,
in other voices.

| | found | asked for | holds |
|---|---|---|---|
{table}

## How it was made

`make demo-model`, seed {seed}, {origin}. Why so is in
`docs/decisions/0046`. Voices of espeak-ng:
{voices}.
"""
