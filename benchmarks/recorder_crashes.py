"""What kill -9 costs: one long recording killed again and again, and the same done to other ways of recording.

    python benchmarks/recorder_crashes.py [--kills 100] [--hls-kills 30] [--rounds 10] [--seed 1]

*Ours*: ffmpeg, the recorder, and both are killed in random order at random moments. The source knows each of its
pictures, so what is missing is counted. One run reads an endless response that begins with the last key frame
and repeats nothing; one reads HLS, whose window holds twelve seconds. Wanted: at most 1.0 s lost beyond the
restart, which is the time from the kill until ffmpeg reads the source again; all that was committed whole, in
order and once. 10 to 12 s a kill; the two runs, each with an archive of its own, go on at the same time, so that
100 kills take some 20 minutes.

*Others*: ffmpeg alone, copying the same source into what others record to, killed after some seconds; lost is the
time from the last picture that can be read to the kill.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from streamarchive.media import commands
from streamarchive.media.segments import read_tracks, whole_packets
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from tests.crashes import Crashes, Kill, random_kills
from tests.truth import RATE, Truth, broadcast, make_pieces

_SECONDS_A_KILL = 14
_COPY = ("-c", "copy")
_ADTS = ("-bsf:a", "aac_adtstoasc")
_OTHERS: Mapping[str, Sequence[str]] = {
    "-f mp4": (*_COPY, "-f", "mp4", "out.mp4"),
    "-f mp4, fragmented": (*_COPY, "-f", "mp4", "-movflags", "+frag_keyframe+empty_moov", *_ADTS, "out.mp4"),
    "-f matroska": (*_COPY, "-f", "matroska", "out.mkv"),
    "-f hls, 4 s": (*_COPY, "-f", "hls", "-hls_time", "4", "-hls_list_size", "0", "out.m3u8"),
    "-f segment, 4 s": (*_COPY, "-f", "segment", "-segment_time", "4", "s%08d.ts"),
}
_OURS = "ours: segments, flushed"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of the endless source (default: 100)")
    parser.add_argument("--hls-kills", type=int, default=30, help="of the HLS source (default: 30)")
    parser.add_argument("--rounds", type=int, default=10, help="of the comparison (default: 10)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}; seed {options.seed}")
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    """Everything, over one broadcast made beforehand."""
    draws = {name: random.Random(f"{options.seed} {name}") for name in ("endless", "hls", "others")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seconds = max(_SECONDS_A_KILL * max(options.kills, options.hls_kills), 18 * options.rounds) + 60
        pieces = await asyncio.to_thread(make_pieces, folder / "pieces", seconds)

        runs = [("endless", options.kills), ("hls", options.hls_kills)]
        async with AsyncExitStack() as stack:
            archives = [
                await stack.enter_async_context(open_services(Settings(data_dir=folder / name)))
                for name, _ in runs
            ]
            async with asyncio.TaskGroup() as tasks:
                for services, (name, kills) in zip(archives, runs, strict=True):
                    tasks.create_task(ours(services, pieces, name, kills, draws[name]))
        if options.rounds:
            await compare(folder, pieces, options.rounds, draws["others"])


async def ours(services: Services, pieces: Sequence[Path], name: str, kills: int, draw: random.Random) -> None:
    """Print what so many kills of one recording cost; raises if anything committed is not as it was."""
    if not kills:
        return
    async with broadcast(pieces) as truth:
        crashes = Crashes(services, truth)
        try:
            await crashes.begin(truth.endless if name == "endless" else truth.hls)
            await random_kills(crashes, kills, draw)
            await crashes.finish()
        finally:
            await crashes.close()
        costs = await crashes.check()
        _, segments, takes = await crashes.state()
    print(f"\n{name}: {len(segments)} segments in {len(takes)} takes re-hashed, in order, no picture twice")
    report(name, costs)


def report(name: str, costs: Sequence[Kill]) -> None:
    """A table of what they cost."""
    print(f"seconds a kill, {name:8}           median    p95    max")
    for victim in ("ffmpeg", "worker", "both"):
        own = [cost for cost in costs if cost.victim == victim]
        if own:
            print(f"  {victim:7} restart           {_spread([cost.restart for cost in own])}")
            print(f"  {victim:7} lost              {_spread([cost.lost for cost in own])}")
    beyond = _spread([cost.beyond for cost in costs])[2:]
    print(f"  all     lost beyond restart {beyond}  (wanted: at most 1.0)", flush=True)


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return f"{statistics.median(ordered):8.2f} {p95:6.2f} {ordered[-1]:6.2f}"


async def compare(folder: Path, pieces: Sequence[Path], rounds: int, draw: random.Random) -> None:
    """The same kills for every way of recording."""
    lost: dict[str, list[float]] = {name: [] for name in (*_OTHERS, _OURS)}
    async with broadcast(pieces) as truth:
        for number in range(rounds):
            seconds = draw.uniform(8, 16)
            costs = await asyncio.gather(
                *(_killed(truth, folder / f"round{number}-{at}", name, seconds) for at, name in enumerate(lost))
            )
            for name, cost in zip(lost, costs, strict=True):
                lost[name].append(cost)
    print(f"\nffmpeg alone, {rounds} kills after 8 to 16 s: seconds lost   median    p95    max")
    for name, values in lost.items():
        print(f"  {name:44}   {_spread(values)}")


async def _killed(truth: Truth, folder: Path, name: str, seconds: float) -> float:
    """Record with one ffmpeg and kill it: how much before the kill the last readable picture is."""
    await asyncio.to_thread(folder.mkdir)
    source = ("-protocol_whitelist", "http,tcp", "-analyzeduration", "1000000", "-i", truth.endless)
    arguments = [*source, *_OTHERS.get(name, ())]
    if name == _OURS:
        arguments = commands.record(commands.http_input(truth.endless, hls=False), spool=None)
    first = int(truth.now())
    process = await asyncio.create_subprocess_exec(
        *commands.program(),
        *arguments,
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await asyncio.sleep(seconds)
    killed_at = truth.now()
    if process.returncode is not None:
        raise SystemExit(f"ffmpeg {name} ended by itself with {process.returncode}")
    process.kill()
    await process.wait()
    pictures = await asyncio.to_thread(_pictures, folder)
    return killed_at - (first + pictures / RATE)


def _pictures(folder: Path) -> int:
    """How many can be read of what is there."""
    for file in (*folder.glob("out.mp4"), *folder.glob("out.mkv")):
        copy = ["-i", str(file), "-map", "0:v:0", "-c", "copy", "-f", "mpegts", str(folder / "readable.ts")]
        subprocess.run([*commands.program(), "-y", *copy], check=False, capture_output=True)
    return sum(_count(file) for file in folder.glob("*.ts"))


def _count(file: Path) -> int:
    data = file.read_bytes()
    tracks = read_tracks(data[: whole_packets(len(data))])
    return sum(len(track.pts) for track in tracks.values() if track.video)


if __name__ == "__main__":
    main()
