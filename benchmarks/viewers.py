"""How many people can watch one broadcast that has been on air for hours, and what each costs.

    python benchmarks/viewers.py [--hours 4] [--viewers 25 100 200] [--seconds 20]

`streamarchive serve --no-workers` gives out an archive on SQLite with a broadcast of so many hours, to which a
segment of two seconds is added every two seconds, as a recorder adds them. Every viewer does what the page does:
opens it, listens to its events, asks for the playlist every two seconds and fetches the segment that is new.
Beside it, the least that giving out video can cost: nginx with the same segments and the same playlist as files,
written anew for every segment; it knows nothing of visibility, cuts or withheld parts.

The segments are small (360p, 45 kB), so that the work for each request is seen and not the copying. Viewers and
server share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
from sqlalchemy import insert, select

from streamarchive.catalogue import media_segments, tables
from streamarchive.clock import to_ticks
from streamarchive.media.commands import ffmpeg_path
from tests.services import file_server, free_port
from tests.site import SEGMENT_MS, Broadcast, make_media, open_site
from tests.waiting import until_async
from web.playlists import Playlists

_SECONDS = SEGMENT_MS / 1000
_ROWS = 500


@dataclass
class Seen:
    """What viewers have waited for, in ms, and what the server has done for it."""

    playlist: list[float] = field(default_factory=list)
    segment: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """From the commit of a segment to a viewer having all of it: two seconds at most are the viewer's own."""
    failures: int = 0
    cpu_percent: float = 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--viewers", type=int, nargs="+", default=[25, 100, 200])
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="viewers-") as folder:
        asyncio.run(measure(Path(folder), options))


async def measure(folder: Path, options: argparse.Namespace) -> None:
    """Both servers, with more and more viewers."""
    for name in ("media", "site", "files"):
        (folder / name).mkdir()
    for name in (folder, folder / "files"):
        name.chmod(0o755)  # nginx runs as somebody else
    media = make_media(Path(ffmpeg_path()), folder / "media")
    async with open_site(folder / "site", media) as site:
        broadcast = await site.go_live({"en": "A long day"})
        await broadcast.add_segments(len(media.segments))
        await _lengthen(broadcast, round(options.hours * 3600 / _SECONDS))
        path = f"/interviews/{broadcast.interview_id}"
        print(f"{broadcast.sequence} segments")
        with file_server(folder / "files") as files:
            async with (
                _serving(folder / "site" / "archive") as ours,
                _on_air(broadcast, folder / "files") as added,
            ):
                for count in options.viewers:
                    for name, url in (("streamarchive", ours + path), ("nginx", files)):
                        is_ours = name == "streamarchive"
                        _print(name, count, await _watched(url, count, options.seconds, added, is_ours=is_ours))


async def _lengthen(broadcast: Broadcast, count: int) -> None:
    """Rows as if it had been on air for long: what there is, again and again, each time as another take's."""
    async with broadcast.site.services.database.write() as tx:
        table = tables.media_segment
        known = [dict(row._mapping) for row in await tx.execute(select(table).order_by(table.c.sequence))]
        rows = []
        for number in range(len(known), count):
            row = {**known[number % len(known)], "sequence": number, "start_ticks": to_ticks(number * SEGMENT_MS)}
            row["pts_ticks"] += to_ticks(number // len(known) * len(known) * SEGMENT_MS)
            del row["id"]
            rows.append(row)
        for at in range(0, len(rows), _ROWS):
            await tx.execute(insert(table), rows[at : at + _ROWS])
    broadcast.sequence = max(count, len(known))
    await broadcast.interrupt()
    broadcast.picture = 0


@asynccontextmanager
async def _serving(archive: Path) -> AsyncIterator[str]:
    """URL of the site in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "streamarchive", "serve", "--no-workers", "--port", str(port)]
    nowhere = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(
        *command, "--data-dir", str(archive), stdout=nowhere, stderr=nowhere
    )
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        with suppress(aiohttp.ClientError):
            async with aiohttp.request("GET", f"{url}/healthz") as response:
                return response.status == 200
        return False

    try:
        await until_async(answers, "the server to start")
        yield url
    finally:
        server.terminate()
        await server.wait()


@asynccontextmanager
async def _on_air(broadcast: Broadcast, files: Path) -> AsyncIterator[dict[str, float]]:
    """A segment every two seconds, for nginx as a file; tells when each was committed, by its address."""
    (files / "segments").mkdir()
    media = broadcast.site.media.segments
    playlists = Playlists(broadcast.site.services.database)
    added: dict[str, float] = {}

    async def go_on() -> None:
        while True:
            if broadcast.picture == len(media):
                await broadcast.interrupt()
                broadcast.picture = 0
            file = media[broadcast.picture]
            await broadcast.add_segments(1)
            committed = time.monotonic()
            text = await _playlist(broadcast, playlists)
            address = newest(text)
            added[address] = committed
            os.link(file, files / address)
            (files / "new").write_bytes(text)
            (files / "new").replace(files / "playlist.m3u8")
            await asyncio.sleep(_SECONDS)

    task = asyncio.create_task(go_on())
    try:
        await until_async(lambda: asyncio.sleep(0, bool(added)), "the first segment")
        yield added
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _playlist(broadcast: Broadcast, playlists: Playlists) -> bytes:
    interview = await broadcast.site.interview(broadcast.interview_id)
    async with broadcast.site.services.database.read() as connection:
        extent = await media_segments.extent(connection, broadcast.recording_id)
    found = await playlists.playlist(interview, broadcast.recording_id, extent, grows=True)
    assert found is not None
    return found.text


def newest(playlist: bytes) -> str:
    """The address of the last segment."""
    return playlist.rsplit(b"\n", 2)[-2].decode()


async def _watched(url: str, count: int, seconds: float, added: Mapping[str, float], *, is_ours: bool) -> Seen:
    """So many viewers for so long, who come one after the other within two seconds."""
    seen = Seen()
    servers = _listening(urlsplit(url).port)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        viewers = [
            asyncio.create_task(_watch(session, url, number / count * _SECONDS, added, seen, is_ours=is_ours))
            for number in range(count)
        ]
        await asyncio.sleep(2 * _SECONDS)  # the pages are there
        seen.playlist, seen.segment, seen.late = [], [], []
        before, begun = _cpu(servers), time.monotonic()
        await asyncio.sleep(seconds)
        seen.cpu_percent = (_cpu(servers) - before) / (time.monotonic() - begun) * 100
        for viewer in viewers:
            viewer.cancel()
        await asyncio.wait(viewers)
    return seen


async def _watch(
    session: aiohttp.ClientSession,
    url: str,
    begin: float,
    added: Mapping[str, float],
    seen: Seen,
    *,
    is_ours: bool,
) -> None:
    """One viewer, until cancelled."""
    await asyncio.sleep(begin)
    listening = None
    if is_ours:
        await _get(session, url, seen)
        listening = asyncio.create_task(_listen(session, f"{url}/events"))
    tag, last, next_at = "", "", time.monotonic()
    try:
        while True:
            headers = {"If-None-Match": tag, "Accept-Encoding": "gzip"}
            text, tag, took = await _get(session, f"{url}/playlist.m3u8", seen, headers)
            seen.playlist.append(took)
            if text and (address := newest(text)) != last:
                _, _, took = await _get(session, f"{url}/{address}", seen)
                seen.segment.append(took)
                seen.late.append((time.monotonic() - added[address]) * 1000)
                last = address
            next_at += _SECONDS
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
    finally:
        if listening:
            listening.cancel()


async def _get(
    session: aiohttp.ClientSession, url: str, seen: Seen, headers: Mapping[str, str] | None = None
) -> tuple[bytes, str, float]:
    """The body, the entity tag, and the ms that it took."""
    begun = time.monotonic()
    async with session.get(url, headers=headers) as response:
        body = await response.read()
        seen.failures += response.status >= 400
        return body, response.headers.get("ETag", ""), (time.monotonic() - begun) * 1000


async def _listen(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as response:
        async for _ in response.content:
            pass


def _listening(port: int | None) -> list[psutil.Process]:
    """The processes that answer on this port."""
    found = {one.pid for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == port}
    return [psutil.Process(pid) for pid in found if pid and pid != os.getpid()]


def _cpu(processes: Sequence[psutil.Process]) -> float:
    """Seconds of the processor that they have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _print(name: str, count: int, seen: Seen) -> None:
    columns = "   ".join(
        f"{what} p50 {percentile(values, 0.5):5.0f} p95 {percentile(values, 0.95):5.0f} ms"
        for what, values in (("playlist", seen.playlist), ("segment", seen.segment), ("behind", seen.late))
    )
    cost = f"{seen.cpu_percent:6.1f} % of a core"
    print(f"{name:14} {count:4} viewers   {cost}   {columns}   failed {seen.failures}", flush=True)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which this part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else float("nan")


if __name__ == "__main__":
    main()
