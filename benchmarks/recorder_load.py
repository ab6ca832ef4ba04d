"""Many streams at once: what each costs, and whether any segment comes late or not at all.

    python benchmarks/recorder_load.py [--streams 50] [--minutes 10]

One recorder records so many 720p streams (H.264 at 2.6 Mb/s with AAC, HLS in pieces of two seconds), the spool
for live transcribers included, without transcription. nginx serves them from files, so that little but the
recorder is measured; 50 streams write 1 GB a minute. Wanted: at most 1 % of a core and 25 MB of private memory a
stream, ffmpeg and the recorder's own process together; no gap, no second take, no hole in the media, and no
moment at which the newest segment of a stream is older than two of its lengths.
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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.recording import schedule, streamarchive
from streamarchive.catalogue import media_segments, recordings, streams
from streamarchive.clock import TICKS_PER_MS, to_ms
from streamarchive.media.commands import SEGMENT_SECONDS, ffmpeg_path
from streamarchive.models import MediaSegment, StreamId
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from tests.services import file_server
from tests.waiting import until_async

_QUIET = ("-hide_banner", "-nostdin", "-v", "error", "-y")
_PIECE_SECONDS = 2
_WINDOW = 8
"""Pieces that the playlist lists."""
_WARM_UP_SECONDS = 20
_LOOK_SECONDS = 5
_HOLE_TICKS = 40 * TICKS_PER_MS


@dataclass(frozen=True)
class Standing:
    """What the catalogue has of a stream in the end."""

    segments: int
    media_ms: int
    gaps: int
    takes: int
    holes: int
    """How often a segment does not begin where the one before it ends."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # nginx is another user
        seconds = int(options.minutes * 60) + _WARM_UP_SECONDS + 3 * options.streams + 60
        pieces = make_720p(folder / "air", seconds)
        asyncio.run(measure(folder, pieces, options.streams, options.minutes * 60))


def make_720p(folder: Path, seconds: int) -> list[Path]:
    """Pieces of the broadcast: twenty seconds are encoded and repeated, with a clock that goes on."""
    folder.mkdir()
    clip = folder.with_name("clip.ts")
    picture = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-f", "lavfi", "-i", "sine=440:r=48000"]
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "2600k", "-maxrate", "2600k", "-bufsize", "2600k"]
    sound = ["-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k"]
    loop = ["-stream_loop", "-1", "-i", str(clip), "-t", str(seconds), "-c", "copy"]
    length = ["-f", "segment", "-segment_time", str(_PIECE_SECONDS), "-segment_format", "mpegts"]
    split = [*length, "-individual_header_trailer", "0", str(folder / "piece%05d.ts")]
    for arguments in ([*picture, "-t", "20", *coding, *sound, str(clip)], [*loop, *split]):
        subprocess.run([ffmpeg_path(), *_QUIET, *arguments], check=True)
    return sorted(folder.glob("piece*.ts"))


@asynccontextmanager
async def on_air(pieces: Sequence[Path]) -> AsyncIterator[str]:
    """The address of a playlist that a piece is added to every two seconds."""
    playlist = pieces[0].with_name("live.m3u8")

    async def add_pieces() -> None:
        began = time.monotonic()
        for done in range(_WINDOW, len(pieces)):
            _write_playlist(playlist, pieces, done)
            await asyncio.sleep(began + (done + 1 - _WINDOW) * _PIECE_SECONDS - time.monotonic())

    _write_playlist(playlist, pieces, _WINDOW)
    task = asyncio.create_task(add_pieces())
    with file_server(playlist.parent) as url:
        try:
            yield f"{url}/{playlist.name}"
        finally:
            task.cancel()


def _write_playlist(playlist: Path, pieces: Sequence[Path], done: int) -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{_PIECE_SECONDS}"]
    lines += [f"#EXT-X-MEDIA-SEQUENCE:{done - _WINDOW}"]
    for piece in pieces[done - _WINDOW : done]:
        lines += [f"#EXTINF:{_PIECE_SECONDS}.0,", piece.name]
    draft = playlist.with_suffix(".new")
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(playlist)


async def measure(folder: Path, pieces: Sequence[Path], count: int, seconds: float) -> None:
    """Record all of them for so long."""
    data_dir = folder / "archive"
    async with on_air(pieces) as url:
        ids = [await schedule(data_dir, url) for _ in range(count)]
        with streamarchive(data_dir, "work", "recorder") as worker:
            async with open_services(Settings(data_dir=data_dir)) as services:
                await _until_all(services, ids)
                await asyncio.sleep(_WARM_UP_SECONDS)
                ages = await _watch(services, worker, ids, seconds)
                standing = [await _standing(services, stream_id) for stream_id in ids]
    _report(standing, ages)


async def _until_all(services: Services, ids: Sequence[StreamId]) -> None:
    async def begun() -> bool:
        return all([await _segments(services, stream_id) for stream_id in ids])

    await until_async(begun, "a segment of every stream", seconds=60 + 3 * len(ids))


async def _watch(
    services: Services, worker: psutil.Process, ids: Sequence[StreamId], seconds: float
) -> list[float]:
    """Print what the recorder uses meanwhile; the age in seconds of each stream's newest segment at each look."""
    family = [worker, *worker.children()]
    before, began = [_cpu(process) for process in family], time.monotonic()
    seen = dict.fromkeys(ids, -1)
    ages: list[float] = []
    while time.monotonic() - began < seconds:
        for stream_id in ids:
            newest = (await _segments(services, stream_id, seen[stream_id]))[-1]
            seen[stream_id] = newest.sequence - 1
            ages.append(time.time() - newest.arrived_at.timestamp())
        await asyncio.sleep(_LOOK_SECONDS)
    took = time.monotonic() - began
    used = [_cpu(process) - start for process, start in zip(family, before, strict=True)]
    private = [process.memory_full_info().uss / 1e6 for process in family]
    share = 100 / took / len(ids)
    print(f"{len(ids)} streams, {took / 60:.1f} min, per stream:")
    print(f"  CPU      {sum(used) * share:.2f} % of a core", end=" ")
    print(f"(ffmpeg {sum(used[1:]) * share:.2f} %, recorder {used[0] * share:.2f} %; wanted: at most 1 %)")
    print(f"  private  {sum(private) / len(ids):.1f} MB", end=" ")
    print(f"(ffmpeg {statistics.mean(private[1:]):.1f} MB, recorder {private[0]:.0f} MB for all;", end=" ")
    print("wanted: at most 25 MB)")
    return ages


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _segments(services: Services, stream_id: StreamId, after: int = -1) -> list[MediaSegment]:
    """What is committed, behind the segment with this number."""
    async with services.database.read() as connection:
        stream = await streams.get(connection, stream_id)
        if stream.recording_id is None:
            return []
        return await media_segments.of_recording(connection, stream.recording_id, after)


async def _standing(services: Services, stream_id: StreamId) -> Standing:
    segments = await _segments(services, stream_id)
    async with services.database.read() as connection:
        takes = await recordings.takes(connection, segments[0].recording_id)
        gaps = await recordings.gaps(connection, segments[0].recording_id)
    return Standing(
        segments=len(segments),
        media_ms=to_ms(segments[-1].end_ticks),
        gaps=len(gaps),
        takes=len(takes),
        holes=sum(abs(b.start_ticks - a.end_ticks) > _HOLE_TICKS for a, b in pairwise(segments)),
    )


def _report(standing: Sequence[Standing], ages: Sequence[float]) -> None:
    late = sum(age > 2 * SEGMENT_SECONDS for age in ages)
    print(f"  segments {sum(one.segments for one in standing)} in all,", end=" ")
    print(f"{min(one.media_ms for one in standing) / 1000:.0f} s or more of each stream")
    print(f"  newest segment {statistics.median(ages):.1f} s old (median), {max(ages):.1f} s (most);", end=" ")
    print(f"late in {late} of {len(ages)} looks (wanted: 0)")
    gaps, takes = sum(one.gaps for one in standing), sum(one.takes for one in standing) - len(standing)
    print(f"  {gaps} gaps, {takes} restarts, {sum(one.holes for one in standing)} holes (wanted: 0 of each)")


if __name__ == "__main__":
    main()
