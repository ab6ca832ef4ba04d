"""What recording costs, and what a server costs that does nothing.

    python benchmarks/recording.py [--seconds 60] [--only recording|idle]

*Recording*: a 720p stream (H.264 at 2.6 Mb/s with AAC, over local HLS) is recorded with the live spool and
without transcription. Shown are ffmpeg and the recorder's own Python, each in per cent of one core, and memory.
Wanted: under 3 % together.

*Idle*: `streamarchive serve` with all its workers and nothing to do. Wanted: under 400 MB (proportional set
size, so that shared libraries count once) and under 2 % of a core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil

from streamarchive.catalogue import interviews, media_segments, streams
from streamarchive.media.commands import ffmpeg_path
from streamarchive.models import StreamId
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.services import free_port

_QUIET = ("-hide_banner", "-nostdin", "-v", "error", "-y")
_SOURCE_SECONDS = 20


@dataclass(frozen=True)
class Usage:
    """What some processes have used."""

    cpu_seconds: float
    pss_mb: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (default: 60)")
    parser.add_argument("--only", choices=["recording", "idle"])
    options = parser.parse_args()
    if options.only != "idle":
        measure_recording(options.seconds)
    if options.only != "recording":
        measure_idle(options.seconds)


def measure_recording(seconds: float) -> None:
    """CPU of ffmpeg and of the recorder around it."""
    with tempfile.TemporaryDirectory() as scratch, on_air(Path(scratch)) as url:
        data_dir = Path(scratch) / "archive"
        stream_id = asyncio.run(schedule(data_dir, url))
        with streamarchive(data_dir, "work", "recorder") as worker:
            wait(lambda: asyncio.run(count_segments(data_dir, stream_id)) >= 2)
            ffmpeg = next(child for child in worker.children() if "ffmpeg" in child.name())
            before = usage([ffmpeg]), usage([worker])
            began = time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            after = usage([ffmpeg]), usage([worker])
    shares = [100 * (a.cpu_seconds - b.cpu_seconds) / took for b, a in zip(before, after, strict=True)]
    print(f"recording 720p with the live spool, {took:.0f} s:")
    print(f"  ffmpeg    {shares[0]:.2f} % of a core, {after[0].pss_mb:.0f} MB")
    print(f"  recorder  {shares[1]:.2f} % of a core, {after[1].pss_mb:.0f} MB")
    print(f"  together  {sum(shares):.2f} % of a core (wanted: under 3 %)")


def measure_idle(seconds: float) -> None:
    """Memory and CPU of a server and its workers with nothing to do."""
    with tempfile.TemporaryDirectory() as scratch:
        port = free_port()
        with streamarchive(Path(scratch) / "archive", "serve", "--port", str(port)) as server:
            wait(lambda: answers(f"http://127.0.0.1:{port}/"))
            time.sleep(15)  # let the workers start and settle: what is measured is rest
            family = [server, *server.children(recursive=True)]
            before, began = [usage([process]) for process in family], time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            after = [usage([process]) for process in family]
            commands = [" ".join(process.cmdline()[1:]) for process in family]
    shares = [100 * (a.cpu_seconds - b.cpu_seconds) / took for b, a in zip(before, after, strict=True)]
    print(f"serve, idle, {took:.0f} s, {len(family)} processes:")
    for command, now, share in zip(commands, after, shares, strict=True):
        print(f"  {now.pss_mb:4.0f} MB {share:5.2f} %  {command[:90]}")
    print(f"  memory    {sum(now.pss_mb for now in after):.0f} MB (wanted: under 400 MB beyond the engine)")
    print(f"  CPU       {sum(shares):.2f} % of a core (wanted: under 2 %)")


def usage(processes: Sequence[psutil.Process]) -> Usage:
    """CPU so far and memory now."""
    times = [process.cpu_times() for process in processes]
    pss = sum(process.memory_full_info().pss for process in processes)
    return Usage(sum(t.user + t.system for t in times), pss / 1e6)


@contextmanager
def on_air(folder: Path) -> Iterator[str]:
    """A 720p stream over HLS, encoded beforehand so that its making costs nothing now."""
    source, air = folder / "source.ts", folder / "air"
    air.mkdir()
    picture = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-f", "lavfi", "-i", "sine=440:r=48000"]
    coding = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "2600k", "-maxrate", "2600k", "-bufsize", "2600k"]
    sound = ["-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k"]
    command = [ffmpeg_path(), *_QUIET, *picture, "-t", str(_SOURCE_SECONDS), *coding, *sound, str(source)]
    subprocess.run(command, check=True)
    hls = ["-f", "hls", "-hls_time", "2", "-hls_list_size", "8", "-hls_flags", "delete_segments", "live.m3u8"]
    loop = [ffmpeg_path(), *_QUIET, "-re", "-stream_loop", "-1", "-i", str(source), "-c", "copy", *hls]
    sender = subprocess.Popen(loop, cwd=air)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(air)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        wait((air / "live.m3u8").is_file)
        yield f"http://127.0.0.1:{server.server_address[1]}/live.m3u8"
    finally:
        sender.kill()
        sender.wait()
        server.shutdown()
        server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by the base class
        """Nothing."""


@contextmanager
def streamarchive(data_dir: Path, *arguments: str) -> Iterator[psutil.Process]:
    """A command of StreamArchive, ended afterwards."""
    environment = {**os.environ, "STREAMARCHIVE_DATA_DIR": str(data_dir)}
    process = subprocess.Popen([sys.executable, "-m", "streamarchive", *arguments], env=environment)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(15)


async def schedule(data_dir: Path, url: str) -> StreamId:
    """Have the stream recorded."""
    async with open_services(Settings(data_dir=data_dir)) as services, services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Benchmark"}, languages=("en",))
        return await streams.create(tx, interview_id, url, exact_host_allowed=True)


async def count_segments(data_dir: Path, stream_id: StreamId) -> int:
    """How many are committed."""
    async with open_services(Settings(data_dir=data_dir)) as services, services.database.read() as connection:
        stream = await streams.get(connection, stream_id)
        if stream.recording_id is None:
            return 0
        return len(await media_segments.of_recording(connection, stream.recording_id))


def answers(url: str) -> bool:
    """Whether a page comes."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own http address
            return bool(response.status == 200)
    except OSError:
        return False


def wait(condition: object, seconds: float = 60) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain; see the messages above")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
