"""Many streams at once: what each costs, and whether any segment comes late or not at all.

    python benchmarks/recorder_load.py [--streams 50] [--minutes 10]

One recorder records so many 720p streams (H.264 at 2.6 Mb/s with AAC, HLS from a server of this machine) without
transcription. Wanted: at most 1 % of a core and 25 MB of private memory a stream, ffmpeg and the recorder's own
process together; no gap, no second take, and no segment committed later than two of its lengths.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.recording import schedule, streamarchive
from streamarchive.catalogue import recordings, streams
from streamarchive.clock import to_ms
from streamarchive.media.commands import SEGMENT_SECONDS, ffmpeg_path
from streamarchive.models import StreamId
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from tests.truth import Truth, broadcast
from tests.waiting import until_async

_QUIET = ("-hide_banner", "-nostdin", "-v", "error", "-y")
_WARM_UP_SECONDS = 20


@dataclass(frozen=True)
class Standing:
    """What the catalogue has of a stream."""

    segments: int
    media_ms: int
    behind: float
    """How old the newest segment is, in seconds."""
    gaps: int
    takes: int
    partial: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pieces = make_720p(folder / "pieces", int(options.minutes * 60) + 120)
        asyncio.run(measure(folder, pieces, options.streams, options.minutes * 60))


def make_720p(folder: Path, seconds: int) -> list[Path]:
    """Pieces of a second each: twenty seconds are encoded and repeated, with a clock that goes on."""
    folder.mkdir()
    clip = folder / "clip.ts"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-f", "lavfi", "-i", "sine=440:r=48000"]
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "2600k", "-maxrate", "2600k", "-bufsize", "2600k"]
    sound = ["-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k"]
    loop = ["-stream_loop", "-1", "-i", str(clip), "-t", str(seconds), "-c", "copy"]
    split = ["-f", "segment", "-segment_time", "1", "-segment_format", "mpegts", str(folder / "piece%05d.ts")]
    for arguments in ([*picture, "-t", "20", *coding, *sound, str(clip)], [*loop, *split]):
        subprocess.run([ffmpeg_path(), *_QUIET, *arguments], check=True)
    return sorted(folder.glob("piece*.ts"))


async def measure(folder: Path, pieces: Sequence[Path], count: int, seconds: float) -> None:
    """Record all of them for so long."""
    data_dir = folder / "archive"
    async with broadcast(pieces, begin_at=15.0) as truth:
        ids = [await schedule(data_dir, truth.hls) for _ in range(count)]
        with streamarchive(data_dir, "work", "recorder") as worker:
            async with open_services(Settings(data_dir=data_dir)) as services:
                await _until_all(services, ids)
                await asyncio.sleep(_WARM_UP_SECONDS)
                behind = await _watch(services, worker, ids, seconds, truth)
                standing = [await _standing(services, stream_id) for stream_id in ids]
    _report(standing, behind)


async def _until_all(services: Services, ids: Sequence[StreamId]) -> None:
    async def begun() -> bool:
        return all([(await _standing(services, stream_id)).segments for stream_id in ids])

    await until_async(begun, "a segment of every stream", seconds=60)


async def _watch(
    services: Services, worker: psutil.Process, ids: Sequence[StreamId], seconds: float, truth: Truth
) -> list[float]:
    """Print what the recorder uses meanwhile; how far each stream was behind, each time it was looked at."""
    family = [worker, *worker.children()]
    used, began = sum(_cpu(process) for process in family), time.monotonic()
    own, behind = _cpu(worker), list[float]()
    while time.monotonic() - began < seconds and truth.now() < len(truth.pieces) - 5:
        behind += [(await _standing(services, stream_id)).behind for stream_id in ids]
        await asyncio.sleep(5)
    took = time.monotonic() - began
    now, own_now = sum(_cpu(process) for process in family), _cpu(worker)
    private = [process.memory_full_info().uss / 1e6 for process in family]
    share = 100 / took / len(ids)
    print(f"{len(ids)} streams, {took / 60:.1f} min, per stream:")
    print(f"  CPU      {(now - used) * share:.2f} % of a core (recorder {(own_now - own) * share:.2f} %)", end="")
    print("  (wanted: at most 1 %)")
    print(f"  private  {sum(private) / len(ids):.1f} MB (ffmpeg {statistics.mean(private[1:]):.1f} MB)", end="")
    print("  (wanted: at most 25 MB)")
    return behind


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _standing(services: Services, stream_id: StreamId) -> Standing:
    async with services.database.read() as connection:
        stream = await streams.get(connection, stream_id)
        if stream.recording_id is None:
            return Standing(0, 0, 0.0, 0, 0, 0)
        segments = await recordings.segments(connection, stream.recording_id)
        takes = await recordings.takes(connection, stream.recording_id)
        gaps = await recordings.gaps(connection, stream.recording_id)
    last = segments[-1]
    return Standing(
        segments=len(segments),
        media_ms=to_ms(last.end_ticks),
        behind=time.time() - last.arrived_at.timestamp(),
        gaps=len(gaps),
        takes=len(takes),
        partial=sum(segment.partial for segment in segments),
    )


def _report(standing: Sequence[Standing], behind: Sequence[float]) -> None:
    late = sum(value > 2 * SEGMENT_SECONDS for value in behind)
    print(f"  segments {sum(one.segments for one in standing)} in all,", end=" ")
    print(f"{min(one.media_ms for one in standing) / 1000:.0f} s or more of each stream")
    print(
        f"  newest segment {statistics.median(behind):.1f} s old (median), {max(behind):.1f} s (most);", end=" "
    )
    print(f"late in {late} of {len(behind)} looks (wanted: 0)")
    gaps, takes = sum(one.gaps for one in standing), sum(one.takes for one in standing) - len(standing)
    print(f"  {gaps} gaps, {takes} restarts (wanted: 0 and 0)")


if __name__ == "__main__":
    main()
