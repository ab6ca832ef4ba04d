"""What kill -9 costs a final pass: a long recording whose engine, worker or both are killed again and again.

    python benchmarks/transcription_crashes.py [--kills 20] [--minutes 30] [--engine openai|faster] [--seed 1]

A synthesised interview is taken in and transcribed twice with the demo's model by a worker process of its own:
once undisturbed, once with kills in random order at random moments. Wanted: the same lines to the last
millisecond, and no window decoded more than twice for one kill (those of one batch go together). The half minute
for which a dead worker holds its job is not waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import tempfile
import time
from pathlib import Path

from accuracy import LANGUAGES, interview

from streamarchive.services import open_services
from streamarchive.settings import Settings
from streamarchive.transcription import arithmetic
from tests.archive import MODEL
from tests.interruptions import VICTIMS, Interrupted, interrupted


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--engine", choices=["openai", "faster"], default="openai")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{arithmetic.processor()}, Linux {platform.release()}; engine {options.engine}, seed {options.seed}")
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    """Both passes; raises `AssertionError` unless they give the same."""
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        file = folder / "interview.wav"
        await asyncio.to_thread(interview, file, options.minutes)
        began = time.monotonic()
        calm, expected = await _pass(folder / "calm", options.engine, file, [], draw, 0.0)
        took = time.monotonic() - began
        print(f"undisturbed: {len(calm.asked)} windows, {len(expected)} lines, {took:.0f} s")
        victims = [VICTIMS[number % len(VICTIMS)] for number in range(options.kills)]
        draw.shuffle(victims)
        began = time.monotonic()
        one, lines = await _pass(folder / "killed", options.engine, file, victims, draw, took / len(victims))
        report(one, time.monotonic() - began)
        assert lines == expected, "the lines differ"
        assert set(one.asked) == set(calm.asked), "the windows differ"
        print("the same lines, words and times as undisturbed")


async def _pass(
    data: Path, engine: str, file: Path, victims: list[str], draw: random.Random, longest: float
) -> tuple[Interrupted, list[object]]:
    settings = Settings(data_dir=data, engine=engine, model=str(MODEL), device="cpu")
    async with open_services(settings) as services:
        return await interrupted(services, file, LANGUAGES, victims, draw, longest)


def report(one: Interrupted, seconds: float) -> None:
    """What the kills cost; raises `AssertionError` where a window was decoded too often."""
    victims = ", ".join(f"{name} {one.victims.count(name)}" for name in VICTIMS)
    again = sum(one.asked.values()) - len(one.asked)
    print(f"{len(one.victims)} kills ({victims}), {seconds:.0f} s")
    print(f"windows decoded again: {again}, {again / max(len(one.victims), 1):.1f} a kill")
    print(f"a window decoded most often: {max(one.asked.values())} times")
    for before, after in zip(one.lives, one.lives[1:], strict=False):
        assert max((before + after).values(), default=0) <= 2, "a window was decoded more than twice for one kill"


if __name__ == "__main__":
    main()
