"""The two policies of live captions over the same speech: share of wrong words, and how late a sentence stands.

    python benchmarks/policies.py

With pauses between sentences and in one breath, where a hearing takes a quarter of a second. The clock is one of
its own: load does not count. The better policy is the default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from live import DEMO, LANGUAGES, PATIENCE_SECONDS, percentiles
from rapidfuzz.distance import Levenshtein

from streamarchive.demo.dialogue import Programme, dialogue
from streamarchive.demo.voices import SAMPLE_RATE, UNHEARD, Synthesiser
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.live import AgreementPolicy, PausePolicy
from streamarchive.transcription.pace import Pace, PaceRules
from tests.slowed import SlowedEngine
from tests.speaking import ends_with, units

_SENTENCES = 40
_HEARING_SECONDS = 0.25


async def compare_policies() -> None:
    """Print wrong words and lateness of both."""
    engine = Counted(EngineProcess(str(DEMO), device="cpu"))
    await engine.load()
    print(f"{_SENTENCES} sentences in voices that were not in the training")
    for name, pause_ms in (("pauses of 0.7 s", 700), ("in one breath", 120)):
        sound, said, ends = await asyncio.to_thread(_speech, pause_ms)
        for kind in (PausePolicy, AgreementPolicy):
            engine.windows = 0
            policy = kind(engine, LANGUAGES, 0, Pace(PaceRules(costs=0)))
            wrong, late = await _try(policy, engine, sound, said, ends)
            figures = f"{wrong:6.1%} wrong, {engine.windows} hearings, stands after {percentiles(late)}"
            print(f"  {name:>15}, {kind.__name__:>15}: {figures}")
    await engine.close()


class Counted(SlowedEngine):
    """Counts its hearings and takes no longer than it takes."""

    def __init__(self, engine: EngineProcess) -> None:
        super().__init__(engine, 0.0)


def _speech(pause_ms: int) -> tuple[np.ndarray, list[str], list[float]]:
    """Sound with a little room tone, its sentences, and where each ends in seconds. Blocks."""
    synthesiser, talk = Synthesiser(), dialogue(11, Programme.draw(11))
    room = np.random.default_rng(1)
    pieces, said, ends, at = [np.zeros(SAMPLE_RATE, np.float32)], [], [], SAMPLE_RATE
    for _ in range(_SENTENCES):
        sentence = next(talk).sentence
        speech = synthesiser.speak(UNHEARD[sentence.lang][0], sentence.text)
        pieces += [speech.samples, np.zeros(pause_ms * SAMPLE_RATE // 1000, np.float32)]
        said.append(sentence.text)
        ends.append((at + len(speech.samples)) / SAMPLE_RATE)
        at += len(pieces[-1]) + len(pieces[-2])
    sound = np.concatenate([*pieces, np.zeros(SAMPLE_RATE, np.float32)])
    return sound + (0.001 * room.standard_normal(len(sound))).astype(np.float32), said, ends


async def _try(
    policy: PausePolicy, engine: Counted, sound: np.ndarray, said: Sequence[str], ends: Sequence[float]
) -> tuple[float, list[float]]:
    """Share of wrong words, and how late each sentence stands, as if the sound came in real time."""
    heard: list[tuple[float, str]] = []
    at, clock = 0, 0.0
    while at < len(sound):
        clock = max(clock, (at + SAMPLE_RATE // 5) / SAMPLE_RATE)
        piece = sound[at : int(clock * SAMPLE_RATE)]
        at += len(piece)
        policy.pace.arrived(int(clock * 1000))
        before = engine.windows
        steps = await policy.feed(piece)
        clock += (engine.windows - before) * _HEARING_SECONDS
        heard += [(clock, cue.text) for step in steps for cue in step.cues]
    heard += [(clock, cue.text) for step in await policy.finish() for cue in step.cues]
    wanted, got = [units(" ".join(texts)) for texts in (said, [text for _, text in heard])]
    late = []
    for sentence, end in zip(said, ends, strict=True):
        first = next((t for t, text in heard if t >= end - 1 and ends_with(text, sentence)), None)
        if first is not None and first - end < PATIENCE_SECONDS:
            late.append(max(first - end, 0.0))
    return Levenshtein.distance(wanted, got) / len(wanted), late


if __name__ == "__main__":
    asyncio.run(compare_policies())
