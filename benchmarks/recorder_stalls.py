"""How soon a recorder notices that a source is gone, and how soon it records on once the source is back.

    python benchmarks/recorder_stalls.py

One recorder, as patient as it is when nobody tests it, records a dozen sources at the same time. Each is silenced
in a way of its own: the cable is pulled (nothing arrives any more, nobody is told), the server hangs, refuses or
answers nonsense, the playlist stays as it is. Wanted: a gap within 20 s, with RTSP and SRT within 10 s, and
media of the same recording afterwards. Takes two minutes, and nginx with RTMP and GStreamer with RTSP.
"""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from streamarchive.models import StreamId
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from tests import stalling
from tests.recording import recording_worker, request_stop, schedule, state, until_ended, until_segments
from tests.services import nginx_rtmp, rtsp_server
from tests.stalling import Silent
from tests.truth import broadcast, make_pieces
from tests.waiting import until_async
from workers.capture import Patience

_MOODS = {
    "endless": ("hang", 403, 404, "garbage"),
    "hls": ("hang", "frozen", 403, 404, "garbage"),
}
_SECONDS = 20
_SOONER = {"RTSP, cable pulled": 10, "SRT, encoder stands still": 10}
_SOURCE_SECONDS = 300


@dataclass(frozen=True)
class Finding:
    """How long it took, in seconds from the silence, and from the return."""

    noticed: float
    again: float
    reason: str


def main() -> None:
    """Measure and print."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}")
    with tempfile.TemporaryDirectory() as scratch:
        found = asyncio.run(measure(Path(scratch)))
    print(f"{'source':32} {'gap after':>9} {'wanted':>7}  {'media after':>11}  reason")
    for name, one in found.items():
        print(f"{name:32} {one.noticed:7.1f} s {_wanted(name):5} s  {one.again:9.1f} s  {one.reason}")
    late = [name for name, one in found.items() if one.noticed > _wanted(name)]
    print(f"noticed late: {', '.join(late) or 'none'}")


def _wanted(name: str) -> int:
    return _SOONER.get(name, _SECONDS)


async def measure(folder: Path) -> dict[str, Finding]:
    """All at the same time."""
    pieces = await asyncio.to_thread(make_pieces, folder / "pieces", _SOURCE_SECONDS)
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(Settings(data_dir=folder / "archive")))
        sources: dict[str, Silent] = {}
        for way, moods in _MOODS.items():
            for mood in moods:
                truth = await stack.enter_async_context(broadcast(pieces))
                source = await stack.enter_async_context(stalling.moody(truth, way, mood))
                sources[f"{'HTTP' if way == 'endless' else 'HLS'}, {mood}"] = source
        truth = await stack.enter_async_context(broadcast(pieces))
        server, cameras = stack.enter_context(nginx_rtmp()), stack.enter_context(rtsp_server())
        camera = cameras.replace("rtsp://", "rtsp://camera:Word-0123456789@") + "/camera"
        for name, entered in (
            ("HTTP, cable pulled", stalling.cut_off(truth.endless)),
            ("RTMP, cable pulled", stalling.rtmp(server)),
            ("RTSP, cable pulled", stalling.cut_off(camera)),
            ("SRT, encoder stands still", stalling.srt()),
        ):
            sources[name] = await stack.enter_async_context(entered)
        ids = {name: await schedule(services, source.url) for name, source in sources.items()}
        async with recording_worker(services, Patience()):
            found = await asyncio.gather(*(_silence(services, ids[name], sources[name]) for name in sources))
        return dict(zip(sources, found, strict=True))


async def _silence(services: Services, stream_id: StreamId, source: Silent) -> Finding:
    await until_segments(services, stream_id, 2)
    source.silence()
    began = time.monotonic()

    async def gaps() -> list[object]:
        return (await state(services, stream_id))[3]

    [gap] = await until_async(gaps, "the gap", seconds=_SECONDS)
    noticed = time.monotonic() - began
    source.restore()
    began = time.monotonic()
    _, before, _, _ = await state(services, stream_id)
    await until_segments(services, stream_id, len(before) + 1, takes=2)
    again = time.monotonic() - began
    await request_stop(services, stream_id)
    await until_ended(services, stream_id)
    return Finding(noticed, again, f"{gap.reason}: {gap.detail}")


if __name__ == "__main__":
    main()
