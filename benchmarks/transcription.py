"""Speed and memory of transcription against what people use otherwise: same sound, same weights.

    python benchmarks/transcription.py [--device auto|cpu|cuda] [--sizes demo,base,small,turbo] [--threads 1,2]
                                       [--minutes 3.6] [--rounds 1] [--memory] [--only "ours, faster"]

`demo` is the bundled checkpoint on the demo's speech; the others have the true shapes of Whisper's models and say
a fixed number of tokens (benchmarks/shapes.py): they measure speed only. Every contestant is a process of its own
that is measured once its model is loaded. On a CPU processor time counts, and the sound is as long as takes all
of them the same number of windows: with a text that does not depend on what is heard, one more at the end would
cost as much as a full one. On a GPU (in 16 bits) wall time counts, after a warm-up, and the sound fills batches;
who cannot use the GPU is named with the reason.
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
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import shapes
import torch

import streamarchive.demo
from streamarchive.demo.voices import CAST, SAMPLE_RATE, Synthesiser, save_wave
from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription import arithmetic, convert
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
_MINUTES = {"demo": 3.6, "base": 3.6, "small": 1.8, "turbo": 1.8}
"""A full batch of ours, of eight windows or of four."""
_MINUTES_ON_GPU = 14.5
"""Two full batches of ours."""
_GPU_THREADS = 4
_SENTENCES = "once.wav"
"""Beside the sound: each sentence once."""


def conversation(folder: Path, minutes: float, *, times: int = 1, silence_minutes: float = 0.0) -> Path:
    """A wave file of this length: sentences of the demo so many times, then silence, over and over."""
    synthesiser = Synthesiser()
    save_wave(folder / _SENTENCES, [synthesiser.speak(CAST["en"]["host"], sentence) for sentence in SENTENCES])
    with wave.open(str(folder / _SENTENCES)) as once:
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
    """Processor time and wall time of this process and its children."""

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


class GpuMemory:
    """How much more of the GPU's memory is taken than at the beginning, by whichever process; asked often."""

    def __enter__(self) -> GpuMemory:
        """Begin, with torch's own context in place."""
        self._ended, self.peak_mb = threading.Event(), 0
        self._before = self._taken()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the figure is `peak_mb`."""
        self._ended.set()
        self._thread.join()

    def _taken(self) -> int:
        free, total = torch.cuda.mem_get_info()
        return int(total - free)

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.peak_mb = max(self.peak_mb, (self._taken() - self._before) >> 20)


Transcribe = Callable[[Path], int]
"""Transcribes a file and says how many words it found."""


@contextmanager
def openai_whisper(model: str, device: str, threads: int, *, beams: int | None) -> Iterator[Transcribe]:
    """What the command does, once the model is loaded; without beams it is greedy."""
    import whisper

    torch.set_num_threads(threads)
    loaded = whisper.load_model(model, device=device)
    how = {"temperature": 0.0, "condition_on_previous_text": False, "beam_size": beams}

    def transcribe(file: Path) -> int:
        found = loaded.transcribe(str(file), fp16=device == "cuda", **how)
        return len(found["text"].split())

    yield transcribe


@contextmanager
def faster_whisper(model: str, device: str, threads: int, *, batched: bool) -> Iterator[Transcribe]:
    """faster-whisper's own pipelines at beam 5, 8 bits on a CPU, voice activity on, words as ours.

    Eight windows at a time are its default; on a GPU it gets sixteen, as ours.
    """
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    numbers = "float16" if device == "cuda" else "int8"
    folder = str(convert.converted(model))
    loaded = WhisperModel(folder, device=device, compute_type=numbers, cpu_threads=threads)
    how = {"beam_size": 5, "temperature": 0.0, "vad_filter": True, "word_timestamps": True}

    def transcribe(file: Path) -> int:
        if batched:
            batch = 16 if device == "cuda" else 8
            found, _ = BatchedInferencePipeline(loaded).transcribe(str(file), batch_size=batch, **how)
        else:
            found, _ = loaded.transcribe(str(file), condition_on_previous_text=False, **how)
        return sum(len(segment.text.split()) for segment in found)

    yield transcribe


@contextmanager
def ours(model: str, device: str, threads: int, *, engine: str) -> Iterator[Transcribe]:
    """A whole pass, words included, at beam 5."""
    with asyncio.Runner() as runner:
        process = EngineProcess(model, engine=engine, device=device, threads=threads)  # type: ignore[arg-type]
        try:
            runner.run(process.load())
            settings = PassSettings(("en",), TranscribeOptions(beam_size=5, temperatures=(0.0,)))

            def transcribe(file: Path) -> int:
                found = runner.run(transcribe_file(file, process, settings))
                return sum(len(cue.text.split()) for cue in found.cues)

            yield transcribe
        finally:
            runner.run(process.close())


@contextmanager
def prepare(model: str, device: str, threads: int) -> Iterator[Transcribe]:
    """Convert the model and choose the arithmetics, so that nobody is measured doing it."""
    convert.converted(model)
    for engine in ("openai", "faster") if device == "cpu" else ():
        with ours(model, device, threads, engine=engine):
            pass
    yield lambda _file: 0


PREPARE = "prepare"
CONTESTANTS: Mapping[str, Callable[[str, str, int], AbstractContextManager[Transcribe]]] = {
    "whisper (the command)": partial(openai_whisper, beams=5),
    "whisper, greedy": partial(openai_whisper, beams=None),
    "faster-whisper transcribe": partial(faster_whisper, batched=False),
    "faster-whisper batched": partial(faster_whisper, batched=True),
    "ours, openai": partial(ours, engine="openai"),
    "ours, faster": partial(ours, engine="faster"),
}


def compete(name: str, file: Path, model: str, device: str, threads: int) -> None:
    """Be measured, and print the figures for the process that compares."""
    contestant = prepare if name == PREPARE else CONTESTANTS[name]
    with _gpu_memory(device) as gpu, contestant(model, device, threads) as transcribe:
        if device == "cuda":
            transcribe(file.with_name(_SENTENCES))  # to warm up
        with Meter() as meter:
            words = transcribe(file)
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(one).ru_maxrss for one in who)  # of children that have ended
    memory_mb = gpu.peak_mb if gpu else peak >> 10
    print(json.dumps({"cpu": meter.cpu, "wall": meter.wall, "peak_mb": memory_mb, "words": words}))


@contextmanager
def _gpu_memory(device: str) -> Iterator[GpuMemory | None]:
    if device != "cuda":
        yield None
        return
    with GpuMemory() as memory:
        yield memory


class CannotRunError(Exception):
    """A contestant failed; in its own words."""


@dataclass(frozen=True)
class Match:
    """What all contestants have in common."""

    size: str
    model: Path
    file: Path
    minutes: float
    device: str
    threads: int


def measured(name: str, match: Match) -> dict[str, float]:
    """Run one contestant in a process of its own. Raises `CannotRunError`."""
    threads = str(match.threads)
    arguments = ["--contestant", name, "--file", match.file, "--model", match.model, "--device", match.device]
    finished = subprocess.run(
        [sys.executable, __file__, *map(str, arguments), "--threads", threads],
        env={**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": _path()},
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        said = finished.stderr.strip().splitlines() or [f"it ended with {finished.returncode}"]
        raise CannotRunError(said[-1])
    found: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return found


def _path() -> str:
    """Where its packages are: here, and wherever they are looked for already."""
    return os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


Figures = Mapping[str, float]
Result = Figures | CannotRunError


def best(names: Sequence[str], rounds: int, measure: Callable[[str], Figures], counts: str) -> dict[str, Result]:
    """One after another, so many times: of each what took it least, for machines that others use as well."""
    found: dict[str, Result] = {}
    for name in [*names] * rounds:
        before = found.get(name)
        if isinstance(before, CannotRunError):
            continue
        try:
            now = measure(name)
        except CannotRunError as error:
            found[name] = error
        else:
            found[name] = min(before or now, now, key=lambda figures: figures[counts])
            print(f"{name}: {now[counts]:.1f} s", file=sys.stderr, flush=True)
    return found


def compare(match: Match, rounds: int, names: Sequence[str]) -> None:
    """A table of these contestants; ratios are to the first, by processor time or, on a GPU, by wall time."""
    measured(PREPARE, match)
    on_gpu = match.device == "cuda"
    counts, memory_of, ratio = ("wall", "GPU", "faster") if on_gpu else ("cpu", "peak", "less CPU")
    found = best(names, rounds, lambda name: measured(name, match), counts)
    print(
        f"\n{match.size}, {match.threads} thread{'s' * (match.threads > 1)}, {match.minutes:g} min of speech, "
        f"beam 5 unless said otherwise{f', best of {rounds} rounds' if rounds > 1 else ''}"
    )
    print(f"{'':28}{'CPU s/hour':>11}{'wall s/hour':>12}{memory_of + ' MB':>9}{'words':>7}{ratio:>10}")
    plain = 0.0
    for name, figures in found.items():
        if isinstance(figures, CannotRunError):
            if not on_gpu or "faster" not in name:
                raise figures
            print(f"{name:28}cannot use this GPU: {figures}")
            continue
        plain = plain or figures[counts]
        hour = 60 / match.minutes
        print(
            f"{name:28}{figures['cpu'] * hour:11.0f}{figures['wall'] * hour:12.1f}{figures['peak_mb']:9.0f}"
            f"{figures['words']:7.0f}{plain / figures[counts]:9.1f}x",
            flush=True,
        )


def memory(folder: Path, names: Sequence[str]) -> None:
    """Peak memory of a pass with the bundled checkpoint over one hour and over six; speech comes in batches."""
    print("\npeak memory of a pass, both processes, bundled checkpoint, two minutes of each half hour are speech")
    measured(PREPARE, Match("demo", DEMO, folder, 0, "cpu", 1))
    for engine in names:
        peaks = []
        for hours in (1, 6):
            file = conversation(folder, hours * 60, times=5, silence_minutes=28)
            found = measured(engine, Match("demo", DEMO, file, hours * 60, "cpu", 1))
            file.unlink()
            peaks.append(found["peak_mb"])
            print(f"{engine:28}{hours} h: {found['peak_mb']:.0f} MB, {found['cpu']:.0f} s CPU", flush=True)
        print(f"{'':28}six hours take {peaks[1] / peaks[0] - 1:+.1%} of what one takes")


def _tell_choices(folder: Path) -> None:
    """What the engines chose to compute in for this size, and why."""
    for note in sorted(folder.glob("*.json")):
        known = json.loads(note.read_text(encoding="utf-8"))
        seconds = ", ".join(f"{name} {value:.3f} s" for name, value in known["seconds"].items())
        print(
            f"{known['part']} of {known['engine']}, {known['threads']} thread(s): {known['choice']} ({seconds})"
        )
        note.unlink()


def _device(wanted: str) -> str:
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _gpu_name(device: str) -> str:
    return f", {torch.cuda.get_device_name()}, torch {torch.__version__}" if device == "cuda" else ""


def _threads(device: str) -> str:
    return str(min(_GPU_THREADS, os.cpu_count() or 1)) if device == "cuda" else "1,2"


def main() -> None:
    """Compare, or be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if torch finds one"
    )
    parser.add_argument("--sizes", default="demo,base,small,turbo")
    parser.add_argument(
        "--threads", help=f"1,2, of which two with the smaller models only; {_GPU_THREADS} on a GPU"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"from {max(_MINUTES.values())} down to {min(_MINUTES.values())}, the larger "
        f"the model the less; on a GPU {_MINUTES_ON_GPU:g}",
    )
    parser.add_argument("--rounds", type=int, default=1, help="so many times, and each one's best counts")
    parser.add_argument("--only", default="", help="only contestants whose names have this in them")
    parser.add_argument("--memory", action="store_true", help="only the memory of long passes (some minutes)")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.contestant:
        compete(chosen.contestant, chosen.file, chosen.model, chosen.device, int(chosen.threads))
        return
    device = _device(chosen.device)
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here: leave --device out")
    names = [name for name in CONTESTANTS if chosen.only in name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # conversions and choices end with the run
        print(f"{arithmetic.processor()}, {os.cpu_count()} processors{_gpu_name(device)}")
        if chosen.memory:
            memory(folder, [name for name in names if name.startswith("ours")])
            return
        for size in chosen.sizes.split(","):
            usual = _MINUTES_ON_GPU if device == "cuda" else _MINUTES[size]
            minutes = chosen.minutes or usual
            file = conversation(folder, minutes)
            model = DEMO if size == "demo" else shapes.make(size, folder)
            for threads in map(int, (chosen.threads or _threads(device)).split(",")):
                if threads == 1 or size in ("demo", "base") or device == "cuda":
                    compare(Match(size, model, file, minutes, device, threads), chosen.rounds, names)
            _tell_choices(folder / "cache" / "streamarchive" / "measured")
            if size != "demo":
                model.unlink()


if __name__ == "__main__":
    main()
