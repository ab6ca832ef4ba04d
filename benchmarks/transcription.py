"""How fast a pass over a long file is, and that its memory does not grow with the length.

    python benchmarks/transcription.py [--minutes 60] [--model CHECKPOINT]

The sound is a conversation of the demo's grammar, spoken once and repeated to the length asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import wave
from pathlib import Path

import psutil

import streamarchive.demo
from streamarchive.demo.voices import CAST, SAMPLE_RATE, Synthesiser, save_wave
from streamarchive.transcription import audio
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_sound

DEMO = Path(streamarchive.demo.__file__).parent / "data" / "whisper-demo.pt"
SENTENCES = (
    "I felt sad when the company borrowed the minivan.",
    "Everybody said the red Fiat was expensive.",
    "我觉得用户体验比隐私更有趣。",
    "It took five minutes to design the radio.",
    "未来五年会有更多的电动车吗？",
    "What do you think about the warranty of your station wagon?",
)


def long_conversation(folder: Path, minutes: float) -> Path:
    """A wave file of this length."""
    synthesiser = Synthesiser()
    spoken = [synthesiser.speak(CAST["zh" if s > "\u3000" else "en"]["host"], s) for s in SENTENCES]
    save_wave(folder / "once.wav", spoken)
    with wave.open(str(folder / "once.wav")) as once:
        frames = once.readframes(once.getnframes())
    target = folder / "long.wav"
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for _ in range(max(1, round(minutes * 60 * SAMPLE_RATE * 2 / len(frames)))):
            file.writeframes(frames)
    return target


async def main(minutes: float, model: Path) -> None:
    """Print the real-time factor and the memory of both processes as the pass goes on."""
    engine = EngineProcess(str(model))
    with tempfile.TemporaryDirectory() as folder:
        file = await asyncio.to_thread(long_conversation, Path(folder), minutes)
        await engine.load()
        here, child = psutil.Process(), psutil.Process(engine.pid)
        began, cpu, cues, noted = time.monotonic(), sum(child.cpu_times()[:2]), 0, 0
        async for step in transcribe_sound(audio.decode(file), engine, PassSettings(("zh", "en"))):
            cues += len(step.cues)
            if step.covered_ms >= noted:
                noted = step.covered_ms + 300_000
                sizes = [process.memory_info().rss >> 20 for process in (here, child)]
                print(f"{step.covered_ms / 60_000:6.1f} min: parent {sizes[0]} MB, engine {sizes[1]} MB")
            covered_s = step.covered_ms / 1000
        took, cpu = time.monotonic() - began, sum(child.cpu_times()[:2]) - cpu
    await engine.close()
    print(f"{covered_s:.0f} s of sound, {cues} lines, {took:.0f} s: real-time factor {took / covered_s:.3f}")
    print(f"engine's processor time a second of sound: {cpu / covered_s:.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--model", type=Path, default=DEMO)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.minutes, chosen.model))
