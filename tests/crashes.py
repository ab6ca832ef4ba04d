"""Recorders that are killed while they record, and what it costs: for the tests and for the benchmark."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from streamarchive.catalogue import interviews, media_segments, recordings, streams
from streamarchive.models import MediaSegment, Stream, StreamId, StreamState, Take
from streamarchive.services import Services
from tests.truth import RATE, Truth
from tests.waiting import until_async

NO_STREAM = StreamId(0)
VICTIMS = ("ffmpeg", "worker", "both")
_LATE_SECONDS = 0.2


@dataclass(frozen=True)
class Kill:
    """What one kill -9 cost, in seconds."""

    victim: str
    restart: float
    """From the kill until ffmpeg reads the source again."""
    lost: float
    """Media that is missing in the recording."""

    @property
    def beyond(self) -> float:
        """What is lost besides what was on air during the restart."""
        return max(0.0, self.lost - self.restart)


@dataclass
class Crashes:
    """A stream that is recorded by a worker process of its own, in an archive of its own."""

    services: Services
    truth: Truth
    stream_id: StreamId = NO_STREAM
    worker: asyncio.subprocess.Process | None = None
    kills: list[tuple[str, float, float]] = field(default_factory=list)
    """Victim, when it was killed and when ffmpeg read again, in seconds of the broadcast."""

    async def begin(self, url: str) -> None:
        """Schedule the stream and start the worker."""
        async with self.services.database.write() as tx:
            interview_id = await interviews.create(tx, titles={"en": "Crashes"}, languages=("en",))
            self.stream_id = await streams.create(tx, interview_id, url, exact_host_allowed=True)
        await self.start_worker()

    async def start_worker(self) -> None:
        """A new process."""
        settings = self.services.settings
        environment = {
            **os.environ,
            "STREAMARCHIVE_DATA_DIR": str(settings.data_dir),
            "STREAMARCHIVE_DATABASE": self.services.database.url,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        command = (sys.executable, "-m", "streamarchive", "work", "recorder")
        self.worker = await asyncio.create_subprocess_exec(
            *command, env=environment, stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self, victim: str, seconds: float) -> None:
        """Kill after so many seconds of recording; returns once ffmpeg reads again."""
        assert self.worker is not None
        await until_async(self._recording, "ffmpeg at work")
        await asyncio.sleep(seconds)
        await until_async(self._source_is_on_time, "the source to be on time")
        ffmpegs = await until_async(self._recording, "ffmpeg at work")
        asked, killed_at = len(self.truth.asked), self.truth.now()
        if victim != "worker":
            with suppress(ProcessLookupError):
                os.kill(ffmpegs[0], signal.SIGKILL)
        if victim != "ffmpeg":
            self.worker.kill()
            await self.worker.wait()
            await until_async(_gone(ffmpegs), "the end of ffmpeg")
            asked = len(self.truth.asked)
            await self.start_worker()

        async def reads() -> bool:
            return len(self.truth.asked) > asked and bool(set(await self._recording()) - set(ffmpegs))

        await until_async(reads, "the next take", seconds=60)
        self.kills.append((victim, killed_at, self.truth.asked[asked]))

    async def _source_is_on_time(self) -> bool:
        """What it sends late, on a busy machine, would count as lost."""
        return self.truth.late() < _LATE_SECONDS

    async def _recording(self) -> list[int]:
        assert self.worker is not None
        return children(self.worker.pid)

    async def finish(self) -> None:
        """Stop the recording and the worker."""
        assert self.worker is not None
        async with self.services.database.write() as tx:
            await streams.request_stop(tx, self.stream_id)

        async def ended() -> bool:
            return (await self.state())[0].state is StreamState.ENDED

        await until_async(ended, "the end of the stream", seconds=60)
        self.worker.terminate()
        await self.worker.wait()

    async def close(self) -> None:
        """Leave no process behind."""
        if self.worker is not None and self.worker.returncode is None:
            self.worker.kill()
            await self.worker.wait()

    async def state(self) -> tuple[Stream, list[MediaSegment], list[Take]]:
        """What the catalogue has."""
        async with self.services.database.read() as connection:
            stream = await streams.get(connection, self.stream_id)
            if stream.recording_id is None:
                return stream, [], []
            segments = await media_segments.of_recording(connection, stream.recording_id)
            return stream, segments, await recordings.takes(connection, stream.recording_id)

    async def check(self) -> list[Kill]:
        """Raise `AssertionError` unless what is committed is whole, in order and once; the costs."""
        _, segments, takes = await self.state()
        assert [segment.sequence for segment in segments] == list(range(len(segments)))
        end, places = 0, list[int]()
        for segment in segments:
            content = b"".join([chunk async for chunk in self.services.store.read(segment.key)])
            assert hashlib.sha256(content).hexdigest() == segment.sha256
            assert len(content) == segment.size_bytes
            assert abs(segment.start_ticks - end) <= 3600, "segments do not stand end to end"
            end = segment.end_ticks
            places += [place for place in self.truth.places([content]) if place is not None]
        assert all(a < b for a, b in pairwise(places)), "pictures are doubled or out of order"
        assert [take.number for take in takes] == sorted({take.number for take in takes})
        return self._costs(set(places), places[-1])

    def _costs(self, there: set[int], newest: int) -> list[Kill]:
        """The missing pictures, each on the account of the kill that is nearest in time."""
        if not self.kills:
            return []
        middles = [(read + killed) / 2 for (_, _, read), (_, killed, _) in pairwise(self.kills)]
        borders = [min(there), *(int(middle * RATE) for middle in middles), newest]
        return [
            Kill(victim, read_at - killed_at, sum(place not in there for place in range(start, end)) / RATE)
            for (victim, killed_at, read_at), (start, end) in zip(self.kills, pairwise(borders), strict=True)
        ]


async def random_kills(crashes: Crashes, count: int, draw: random.Random, longest: float = 6.0) -> None:
    """Kill so many times, each victim in turn in a random order, at random moments."""
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(count)]
    draw.shuffle(victims)
    for victim in victims:
        await crashes.kill(victim, draw.uniform(0.3, longest))


def _gone(pids: Sequence[int]):
    async def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid in pids)

    return gone


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
