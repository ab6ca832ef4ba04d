"""What hours in which nobody speaks cost: `python benchmarks/silence.py [--hours 8]`.

A silent recording is imported and transcribed with the demo's model by `streamarchive import --wait`, in a
temporary folder. Shown are how long that takes, whether the transcript is finished and empty, and the most memory
of each process in the first and in the second half. Wanted: minutes, not hours; and no more memory in the second
half. (ffmpeg's own grows with the number of packets, as the index of an MP4 does.)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from streamarchive.catalogue import interviews, recordings, transcripts
from streamarchive.media.commands import ffmpeg_path
from streamarchive.models import RunStage
from streamarchive.services import open_services
from streamarchive.settings import Settings

_MODEL = Path(__file__).parents[1] / "streamarchive" / "demo" / "data" / "whisper-demo.pt"
_PIECE_SECONDS = 900
_SAMPLE_SECONDS = 0.25

Sample = tuple[float, dict[str, float]]
"""When, and the resident memory of each process in MB."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=8.0)
    hours = parser.parse_args().hours
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before"
    )
    with tempfile.TemporaryDirectory(prefix="silence-") as text:
        folder = Path(text)
        file = make_silence(folder, hours)
        began = time.monotonic()
        samples = take_in(folder, file)
        took = time.monotonic() - began
        print(f"{hours:g} h of silence in {took:.0f} s, {3600 * hours / took:.0f} times as fast as it lasts")
        print(asyncio.run(outcome(folder)))
        report(samples, began + took / 2)


def make_silence(folder: Path, hours: float) -> Path:
    """AAC in stereo, as a camera leaves it whose microphone was off."""
    piece, whole = folder / "piece.m4a", folder / "silence.m4a"
    quiet = [ffmpeg_path(), "-hide_banner", "-nostdin", "-v", "error"]
    source = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo", "-t", str(_PIECE_SECONDS)]
    subprocess.run([*quiet, *source, "-b:a", "64k", piece], check=True)
    times = max(round(hours * 3600 / _PIECE_SECONDS) - 1, 0)
    subprocess.run([*quiet, "-stream_loop", str(times), "-i", piece, "-c", "copy", whole], check=True)
    return whole


def take_in(folder: Path, file: Path) -> list[Sample]:
    """Import it and wait until it is processed; memory meanwhile."""
    own = {"STREAMARCHIVE_DATA_DIR": str(folder / "archive"), "STREAMARCHIVE_MODEL": str(_MODEL)}
    command = [sys.executable, "-m", "streamarchive", "import", str(file), "--language", "en", "--wait"]
    process = subprocess.Popen(
        command, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    samples: list[Sample] = []
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            samples.append((time.monotonic(), memory(psutil.Process(process.pid))))
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode != 0:
        raise SystemExit(f"the import ended with {process.returncode}")
    return samples


def memory(process: psutil.Process) -> dict[str, float]:
    """Resident, in MB, by what a process is."""
    found = {"streamarchive": process.memory_info().rss / 1e6}
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            name = _role(child.cmdline())
            found[name] = max(found.get(name, 0.0), child.memory_info().rss / 1e6)
    return found


def _role(command: Sequence[str]) -> str:
    return "ffmpeg" if any(part.endswith("ffmpeg") for part in command) else "engine"


async def outcome(folder: Path) -> str:
    """What the archive says of it."""
    async with (
        open_services(Settings(data_dir=folder / "archive")) as services,
        services.database.read() as connection,
    ):
        [interview_id] = await interviews.all_ids(connection)
        interview = await interviews.get(connection, interview_id)
        assert interview.recording_id is not None
        recording = await recordings.get(connection, interview.recording_id)
        runs = await transcripts.runs(connection, recording.id)
        lines = await transcripts.of_recording(connection, recording.id)
    [final] = [run for run in runs if run.stage is RunStage.FINAL]
    finished = "finished" if final.finished_at else "not finished"
    return f"recording of {recording.duration_ms / 3.6e6:.2f} h; transcription {finished}, {len(lines)} lines"


def report(samples: Sequence[Sample], half: float) -> None:
    """The most of either half, by process."""
    most: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for moment, found in samples:
        for name, megabytes in found.items():
            second = int(moment > half)
            most[name][second] = max(most[name][second], megabytes)
    print(f"{'memory, MB':<16}{'first half':>12}{'second half':>13}")
    for name, (first, second) in sorted(most.items()):
        print(f"{name:<16}{first:>12.0f}{second:>13.0f}")


if __name__ == "__main__":
    main()
