"""How late live captions and search are, how wrong, and what is lost when they fall behind.

    python benchmarks/live.py [--seconds 60] [--minutes 10] [--only latency|slow|errors]

*latency*: `streamarchive serve` records one synthesised interview over HLS, then four at once. For each sentence
the time from the publication of the segment that holds its end to provisional text and to the caption in the
interview's event stream, and to the first search that finds it. Wanted: 95 of 100 captions within 5 s, findable
within 6 s, on two cores with nothing else to do.

*slow*: one broadcast, recorded, transcribed and finished in this process, with a recogniser that takes 0.5, 0.9
and 1.5 seconds for a second of sound. Wanted: recording is whole, the ladder is used, and the final pass has all.

*errors*: an interview in both languages is on air for `--minutes`, recorded over HLS by `streamarchive serve`;
the captions that stand in the archive while it is still on air, against what was said. Words count in English,
characters in Mandarin.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from rapidfuzz.distance import Levenshtein

import streamarchive.demo
from streamarchive import jobs
from streamarchive.catalogue import captioning, interviews, recordings, streams, transcripts
from streamarchive.models import Cue, InterviewId, JobState, RecordingState, Stage, Visibility
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings, as_environment
from tests.services import free_port
from tests.slowed import SlowedEngine, SlowedEngines
from tests.speaking import Source, ends_with, on_air, units
from workers.runner import run_workers

DEMO = Path(streamarchive.demo.__file__).parent / "data" / "whisper-demo.pt"
LANGUAGES = ("en", "zh")
_WARM_UP_SECONDS = 25
"""Models are loaded, and the first sentences wait for that."""
PATIENCE_SECONDS = 30
_SEARCH_EVERY_SECONDS = 0.25
_AT_THE_ENDS = 8
"""Sentences that may have been said before the recording began, or have no caption yet."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each broadcast is watched")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long errors are counted")
    parser.add_argument("--only", choices=["latency", "slow", "errors"])
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if options.only in (None, "latency"):
        for count in (1, 4):
            asyncio.run(measure_latency(count, options.seconds))
    if options.only in (None, "slow"):
        for slowness in (0.5, 0.9, 1.5):
            asyncio.run(measure_slow(slowness, options.seconds))
    if options.only in (None, "errors"):
        asyncio.run(measure_errors(options.minutes))


# --- latency ------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """Seconds after the publication of a sentence's end; sentences that were never matched are counted."""

    provisional: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    sentences: int = 0

    def print(self, title: str) -> None:
        """As a table."""
        print(f"\n{title}: {self.sentences} sentences")
        for name in ("provisional", "committed", "found"):
            values = getattr(self, name)
            print(f"  {name:>12}: {len(values):3} of {self.sentences}, {percentiles(values)}")


async def measure_latency(count: int, seconds: float) -> None:
    """Of so many broadcasts at once."""
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder) / "archive", port=free_port())
        async with on_air(_made(Path(folder) / "sources"), count) as sources, open_services(settings) as services:
            ids = [await _schedule(services, source) for source in sources]
            async with _serving(settings), aiohttp.ClientSession() as session:
                await _reachable(session, f"{settings.site}/healthz")
                watching = [
                    asyncio.create_task(Watch(settings.site, session, source, interview_id, measured).run())
                    for source, interview_id in zip(sources, ids, strict=True)
                ]
                await asyncio.sleep(_WARM_UP_SECONDS + seconds)
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
    measured.print(f"{count} on air")


class Watch:
    """Watches one interview as a browser does, and asks the search."""

    def __init__(
        self, site: str, session: aiohttp.ClientSession, source: Source, interview_id: str, measured: Measured
    ) -> None:
        self._site = site
        self._session = session
        self._source = source
        self._id = interview_id
        self._measured = measured
        self._begins_at = time.time() + _WARM_UP_SECONDS
        self._seen: dict[str, list[tuple[float, str]]] = {"said": [], "lines": []}
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: set[int] = set()

    async def run(self) -> None:
        """Until cancelled; sentences that are still waited for then do not count."""
        reading = asyncio.create_task(self._read())
        try:
            while True:
                for sentence, at in self._source.published():
                    if sentence.number not in self._known and at > self._begins_at:
                        task = asyncio.create_task(self._follow(sentence.text, at))
                        self._tasks.add(task)
                    self._known.add(sentence.number)
                await asyncio.sleep(0.1)
        finally:
            for task in (reading, *self._tasks):
                task.cancel()
            await asyncio.gather(reading, *self._tasks, return_exceptions=True)

    async def _follow(self, said: str, at: float) -> None:
        committed = await self._first("lines", said, at)
        provisional = next((t for t, text in self._seen["said"] if t > at - 20 and ends_with(text, said)), None)
        self._measured.sentences += 1
        if committed is None:
            return
        seen_at, text = committed
        self._measured.committed.append(seen_at - at)
        self._measured.provisional.append(max(min(provisional or seen_at, seen_at) - at, 0.0))
        await self._search(text, at)

    async def _first(self, kind: str, said: str, at: float) -> tuple[float, str] | None:
        """When an event first showed the end of the sentence, and as what."""
        while time.time() < at + PATIENCE_SECONDS:
            for seen_at, text in self._seen[kind]:
                # A committed line may come before the segment is published whole, never before it is said.
                if seen_at > at - 4 and ends_with(text, said):
                    return seen_at, text
            await asyncio.sleep(0.05)
        return None

    async def _search(self, text: str, at: float) -> None:
        words = units(text)[-6:]
        query = '"' + ("" if any(word > "\u3000" for word in words) else " ").join(words) + '"'
        while time.time() < at + PATIENCE_SECONDS:
            async with self._session.get(f"{self._site}/api/search", params={"q": query}) as response:
                hits = (await response.json())["hits"] if response.ok else []
            if any(hit["interview"].split("-")[0] == self._id for hit in hits):
                self._measured.found.append(time.time() - at)
                return
            await asyncio.sleep(_SEARCH_EVERY_SECONDS)

    async def _read(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(f"{self._site}/interviews/{self._id}/events", timeout=timeout) as response:
            event = ""
            async for raw in response.content:
                line = raw.decode().rstrip("\r\n")
                if line.startswith("event:"):
                    event = line.removeprefix("event:").strip()
                elif line.startswith("data:") and event in self._seen:
                    data = json.loads(line.removeprefix("data:"))
                    texts = [data["text"]] if event == "said" else [cue["text"] for cue in data["added"]]
                    self._seen[event] += [(time.time(), text) for text in texts]


# --- a slow recogniser --------------------------------------------------------------------------------------


async def measure_slow(slowness: float, seconds: float) -> None:
    """One broadcast to its end, and what its final pass makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder) / "archive")
        async with on_air(_made(Path(folder) / "sources"), 1) as [source], open_services(settings) as services:
            engines = SlowedEngines(services.engines, slowness)
            stop = asyncio.Event()
            kinds = ("recorder", "live_transcriber", "transcriber", "finaliser", "indexer")
            working = asyncio.create_task(run_workers(replace(services, engines=engines), kinds, stop))
            try:
                await _slow_broadcast(services, source, engines.live, slowness, seconds)
            finally:
                stop.set()
                await asyncio.gather(working, return_exceptions=True)


async def _slow_broadcast(
    services: Services, source: Source, slow: SlowedEngine, slowness: float, seconds: float
) -> None:
    interview_id = await _schedule(services, source)
    rungs, lags = [0], [0]
    deadline = time.monotonic() + _WARM_UP_SECONDS + seconds
    while time.monotonic() < deadline:
        async with services.database.read() as connection:
            for fares in await captioning.on_air(connection):
                rungs.append(fares.rung)
                lags.append(fares.lag_ms)
        await asyncio.sleep(0.5)
    said = [sentence.text for sentence, _ in source.published()]
    source.broadcast.end()
    live, skipped_ms = await _when_off_air(services, interview_id)
    final, duration_ms, gaps = await _when_ready(services, interview_id)
    print(f"\n{slowness} s a second of sound: {duration_ms / 1000:.0f} s recorded, {gaps} gaps")
    print(f"  furthest down the ladder: {max(rungs)}, lag up to {max(lags) / 1000:.0f} s, beams {slow.beams}")
    print(f"  left out on air: {skipped_ms / 1000:.0f} s; sentences on air {_share(live, said)}")
    print(f"  sentences after the final pass {_share(final, said)}")


async def _when_off_air(services: Services, interview_id: InterviewId) -> tuple[list[Cue], int]:
    """The live lines as the final pass finds them, and how much they leave out."""
    while True:
        async with services.database.read() as connection:
            interview = await interviews.get(connection, interview_id)
            assert interview.recording_id is not None
            recording = await recordings.get(connection, interview.recording_id)
            fares = await captioning.of_recording(connection, recording.id)
            cues = await transcripts.of_recording(connection, recording.id)
        if recording.state is RecordingState.FINISHED:
            return cues, fares.skipped_ms if fares else 0
        await asyncio.sleep(0.2)


async def _when_ready(services: Services, interview_id: InterviewId) -> tuple[list[Cue], int, int]:
    """The lines of the final pass, the length of the recording, the number of its gaps."""
    while True:
        async with services.database.read() as connection:
            interview = await interviews.get(connection, interview_id)
            assert interview.recording_id is not None
            passes = {job.kind: job for job in await jobs.of_recording(connection, interview.recording_id)}
            final = passes.get(jobs.TRANSCRIBE)
            if final is not None and final.state is JobState.PARKED:
                raise SystemExit(f"the final pass has failed: {final.last_error}")
            if interview.stage is Stage.READY and final is not None and final.state is JobState.DONE:
                recording = await recordings.get(connection, interview.recording_id)
                cues = await transcripts.of_recording(connection, recording.id)
                return cues, recording.duration_ms, len(await recordings.gaps(connection, recording.id))
        await asyncio.sleep(0.5)


def _share(cues: Sequence[Cue], said: Sequence[str]) -> str:
    there = sum(any(ends_with(cue.text, sentence) for cue in cues) for sentence in said)
    return f"{there} of {len(said)}"


# --- errors -------------------------------------------------------------------------------------------------


async def measure_errors(minutes: float) -> None:
    """Of the captions that stand while one interview is still on air."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder) / "archive", port=free_port())
        async with on_air(_made(Path(folder) / "sources"), 1) as [source], open_services(settings) as services:
            interview_id = await _schedule(services, source)
            async with _serving(settings):
                await asyncio.sleep(_WARM_UP_SECONDS + minutes * 60)
                async with services.database.read() as connection:
                    interview = await interviews.get(connection, interview_id)
                    assert interview.recording_id is not None
                    cues = await transcripts.of_recording(connection, interview.recording_id)
            log = (source.broadcast.folder / "sentences.jsonl").read_text(encoding="utf-8")
    said = [(line["lang"], units(line["text"])) for line in map(json.loads, log.splitlines())]
    print(f"\nerrors of the captions while on air, {minutes:g} min")
    for language, (wrong, count) in _errors(said, [unit for cue in cues for unit in units(cue.text)]).items():
        print(f"  {language}: {wrong} of {count}, {wrong / max(count, 1):.1%}")


def _errors(said: Sequence[tuple[str, list[str]]], heard: list[str]) -> dict[str, tuple[int, int]]:
    """By language how many are wrong, and of how many.

    The recording began within the talk, and what was said last has no caption yet: those sentences at both ends
    are left out without which the fewest are wrong.
    """
    spans = [(first, len(said) - last) for first in range(_AT_THE_ENDS) for last in range(_AT_THE_ENDS)]
    first, end = min(spans, key=lambda span: Levenshtein.distance(_joined(said[slice(*span)]), heard))
    counted = [(unit, language) for language, spoken in said[first:end] for unit in spoken]
    found = {language: (0, sum(other == language for _, other in counted)) for language in LANGUAGES}
    for edit in Levenshtein.editops([unit for unit, _ in counted], heard):
        language = counted[min(edit.src_pos, len(counted) - 1)][1]
        found[language] = (found[language][0] + 1, found[language][1])
    return found


def _joined(said: Sequence[tuple[str, list[str]]]) -> list[str]:
    return [unit for _, spoken in said for unit in spoken]


# --- around it ----------------------------------------------------------------------------------------------


def percentiles(values: Sequence[float]) -> str:
    """For people."""
    if len(values) < 2:
        return "nothing was measured"
    p95 = statistics.quantiles(values, n=20, method="inclusive")[-1]
    return f"p50 {statistics.median(values):.1f} s, p95 {p95:.1f} s, longest {max(values):.1f} s ({len(values)})"


def _settings(data_dir: Path, port: int = 0) -> Settings:
    return Settings(data_dir=data_dir, model=str(DEMO), device="cpu", port=port, allow_networks=("127.0.0.0/8",))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _schedule(services: Services, source: Source) -> InterviewId:
    async with services.database.write() as tx:
        interview_id = await interviews.create(
            tx, titles={"en": "On air"}, languages=LANGUAGES, visibility=Visibility.PUBLIC
        )
        await streams.create(tx, interview_id, source.url)
    return interview_id


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[None]:
    """`streamarchive serve` with all its workers."""
    environment = {**os.environ, **as_environment(settings)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamarchive", "serve", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()


async def _reachable(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as response:
                if response.ok:
                    return
        await asyncio.sleep(0.1)
    raise SystemExit("the server did not come up within a minute")


if __name__ == "__main__":
    main()
