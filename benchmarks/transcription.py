"""Speed and memory of transcription against what people use otherwise: same sound, same weights.

    python benchmarks/transcription.py [--sizes demo,base,small,turbo] [--threads 1,2] [--minutes 1.8] [--memory]
                                       [--only "ours, faster"]

`demo` is the bundled checkpoint on the demo's speech; the others have the true shapes of Whisper's models and say
a fixed number of tokens (benchmarks/shapes.py): they measure speed only. Every contestant is a process of its own
that is measured once its model is loaded. The sound is as long as takes all of them the same number of windows:
with a text that does not depend on what is heard, one more at the end would cost as much as a full one.
`--memory` instead measures the peak memory over one hour and over six.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path

import shapes

import streamarchive.demo
from streamarchive.demo.voices import CAST, SAMPLE_RATE, Synthesiser, save_wave
from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription import convert, encoders
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file

DEMO = Path(streamarchive.demo.__file__).parent / "data" / "whisper-demo.pt"
SENTENCES = (
    "I felt sad when the company borrowed the minivan.",
    "Everybody said the red Fiat was expensive.",
    "It took five minutes to design the radio.",
    "I prefer the windows because it is really fast.",
    "Our team in London has six engineers.",
    "What do you think about the warranty of your station wagon?",
)
_MINUTES, _FEW_MINUTES = 1.8, 0.9
"""Four windows for each of them, and two."""
PLAIN = "whisper (the command)"
CONTESTANTS = {
    PLAIN: "whisper_beam",
    "whisper, greedy": "whisper_greedy",
    "faster-whisper transcribe": "faster_whisper",
    "faster-whisper batched": "faster_whisper_batched",
    "ours, openai": "ours_openai",
    "ours, faster": "ours_faster",
}


def conversation(folder: Path, minutes: float, *, times: int = 1, silence_minutes: float = 0.0) -> Path:
    """A wave file of this length: sentences of the demo so many times, then silence, over and over."""
    synthesiser = Synthesiser()
    save_wave(folder / "once.wav", [synthesiser.speak(CAST["en"]["host"], sentence) for sentence in SENTENCES])
    with wave.open(str(folder / "once.wav")) as once:
        frames = once.readframes(once.getnframes()) * times + bytes(round(silence_minutes * 60 * SAMPLE_RATE) * 2)
    wanted, target = round(minutes * 60 * SAMPLE_RATE) * 2, folder / f"talk-{minutes:g}.wav"
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        for at in range(0, wanted, len(frames)):
            file.writeframes(frames[: wanted - at])
    return target


class Meter:
    """Processor time, wall time and peak memory of this process and its children."""

    def __enter__(self) -> Meter:
        """Begin."""
        self._wall, self._cpu = time.monotonic(), self._processor()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the figures are `wall` and `cpu`, in seconds."""
        self.wall = time.monotonic() - self._wall
        self.cpu = self._processor() - self._cpu

    @staticmethod
    def _processor() -> float:
        import psutil

        here = psutil.Process()
        return sum(sum(p.cpu_times()[:2]) for p in (here, *here.children(recursive=True)))

    def report(self, words: int) -> None:
        """Print it for the process that compares; call it when the children have ended."""
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak = sum(resource.getrusage(one).ru_maxrss for one in who)
        print(json.dumps({"cpu": self.cpu, "wall": self.wall, "peak_mb": peak >> 10, "words": words}))


def whisper_beam(file: Path, model: str, threads: int, **how: object) -> None:
    """What the command does with its defaults (beam 5), once the model is loaded."""
    import torch
    import whisper

    torch.set_num_threads(threads)
    loaded = whisper.load_model(model, device="cpu")
    options = how or {"beam_size": 5}
    with Meter() as meter:
        found = loaded.transcribe(
            str(file), temperature=0.0, fp16=False, condition_on_previous_text=False, **options
        )
    meter.report(len(found["text"].split()))


def whisper_greedy(file: Path, model: str, threads: int) -> None:
    """The same without beams."""
    whisper_beam(file, model, threads, beam_size=None)


def faster_whisper(file: Path, model: str, threads: int, *, batched: bool = False) -> None:
    """faster-whisper's own pipelines at beam 5 in 8 bits, voice activity on, words as ours."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    loaded = WhisperModel(str(convert.converted(model)), device="cpu", compute_type="int8", cpu_threads=threads)
    how = {"beam_size": 5, "temperature": 0.0, "vad_filter": True, "word_timestamps": True}
    with Meter() as meter:
        if batched:
            found, _ = BatchedInferencePipeline(loaded).transcribe(str(file), batch_size=8, **how)
        else:
            found, _ = loaded.transcribe(str(file), condition_on_previous_text=False, **how)
        words = sum(len(segment.text.split()) for segment in found)
    meter.report(words)


def faster_whisper_batched(file: Path, model: str, threads: int) -> None:
    """Eight windows at a time, which is its default."""
    faster_whisper(file, model, threads, batched=True)


def ours(file: Path, model: str, threads: int, engine: str) -> None:
    """A whole pass, words included, at beam 5."""

    async def measure() -> None:
        process = EngineProcess(model, engine=engine, device="cpu", threads=threads)  # type: ignore[arg-type]
        await process.load()
        options = TranscribeOptions(beam_size=5, temperatures=(0.0,))
        with Meter() as meter:
            found = await transcribe_file(file, process, PassSettings(("en",), options))
        await process.close()
        meter.report(sum(len(cue.text.split()) for cue in found.cues))

    asyncio.run(measure())


def ours_openai(file: Path, model: str, threads: int) -> None:
    """On the package openai-whisper."""
    ours(file, model, threads, "openai")


def ours_faster(file: Path, model: str, threads: int) -> None:
    """On CTranslate2."""
    ours(file, model, threads, "faster")


def prepare(_file: Path, model: str, threads: int) -> None:
    """Convert the model and choose the encoders, so that nobody is measured doing it."""

    async def load() -> None:
        for engine in ("openai", "faster"):
            process = EngineProcess(model, engine=engine, device="cpu", threads=threads)  # type: ignore[arg-type]
            await process.load()
            await process.close()

    asyncio.run(load())
    print("{}")


def measured(name: str, file: Path, model: Path, threads: int) -> dict[str, float]:
    """Run one contestant in a process of its own."""
    contestant = CONTESTANTS.get(name, name)
    arguments = ["--contestant", contestant, "--file", file, "--model", model, "--threads", threads]
    finished = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": _root()},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return found


def _root() -> str:
    return str(Path(__file__).parents[1])


def compare(size: str, model: Path, file: Path, minutes: float, threads: int, names: Sequence[str]) -> None:
    """A table of these contestants; ratios are to the first."""
    print(
        f"\n{size}, {threads} thread{'s' * (threads > 1)}, {minutes:g} min of speech, "
        "beam 5 unless said otherwise"
    )
    print(f"{'':28}{'CPU s/hour':>11}{'wall s/hour':>12}{'peak MB':>9}{'words':>7}{'less CPU':>10}")
    plain = 0.0
    measured("prepare", file, model, threads)
    for name in names:
        found = measured(name, file, model, threads)
        plain = plain or found["cpu"]
        hour = 60 / minutes
        print(
            f"{name:28}{found['cpu'] * hour:11.0f}{found['wall'] * hour:12.0f}{found['peak_mb']:9.0f}"
            f"{found['words']:7.0f}{plain / found['cpu']:9.1f}x",
            flush=True,
        )


def memory(folder: Path, names: Sequence[str]) -> None:
    """Peak memory of a pass with the bundled checkpoint over one hour and over six; speech comes in batches."""
    print("\npeak memory of a pass, both processes, bundled checkpoint, two minutes of each half hour are speech")
    measured("prepare", folder, DEMO, 1)
    for engine in names:
        peaks = []
        for hours in (1, 6):
            file = conversation(folder, hours * 60, times=5, silence_minutes=28)
            found = measured(engine, file, DEMO, 1)
            file.unlink()
            peaks.append(found["peak_mb"])
            print(f"{engine:28}{hours} h: {found['peak_mb']:.0f} MB, {found['cpu']:.0f} s CPU", flush=True)
        print(f"{'':28}six hours take {peaks[1] / peaks[0] - 1:+.1%} of what one takes")


def _tell_choices(folder: Path) -> None:
    """Which encoders the engines chose for this size, and why."""
    for note in sorted(folder.glob("*.json")):
        known = json.loads(note.read_text(encoding="utf-8"))
        seconds = ", ".join(f"{name} {value:.2f} s" for name, value in known["seconds_a_window"].items())
        print(f"encoder of {known['engine']}, {known['threads']} thread(s): {known['choice']} ({seconds})")
        note.unlink()


def main() -> None:
    """Compare, or be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="demo,base,small,turbo")
    parser.add_argument("--threads", default="1,2", help="two threads are measured with the smaller models only")
    parser.add_argument("--minutes", type=float, help=f"{_MINUTES}, with turbo {_FEW_MINUTES}")
    parser.add_argument("--only", default="", help="only contestants whose names have this in them")
    parser.add_argument("--memory", action="store_true", help="only the memory of long passes (some minutes)")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contestant:
        globals()[chosen.contestant](chosen.file, chosen.model, int(chosen.threads))
        return
    names = [name for name in CONTESTANTS if chosen.only in name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # conversions and choices end with the run
        print(f"{encoders.processor()}, {os.cpu_count()} processors")
        if chosen.memory:
            memory(folder, [name for name in names if name.startswith("ours")])
            return
        for size in chosen.sizes.split(","):
            minutes = chosen.minutes or (_FEW_MINUTES if size == "turbo" else _MINUTES)
            file = conversation(folder, minutes)
            model = DEMO if size == "demo" else shapes.make(size, folder)
            for threads in map(int, chosen.threads.split(",")):
                if threads == 1 or size in ("demo", "base"):
                    compare(size, model, file, minutes, threads, names)
            _tell_choices(folder / "cache" / "streamarchive" / "measured")
            if size != "demo":
                model.unlink()


if __name__ == "__main__":
    main()
