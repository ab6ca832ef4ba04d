"""Passes over a recording whose worker, engine or both are killed at random moments: for tests and benchmark.

`python -m tests.interruptions DIARY` is the worker: the real one with the real recogniser, which besides writes
down each window before it is decoded.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
from sqlalchemy import update

from streamarchive import ingest, jobs
from streamarchive.catalogue import interviews, tables, transcripts
from streamarchive.catalogue.database import now
from streamarchive.ingest import Details
from streamarchive.models import CueDraft, JobState, RecordingId
from streamarchive.services import Services, open_services
from streamarchive.settings import as_environment, load_settings
from tests.waiting import until_async
from workers.runner import run_workers

VICTIMS = ("engine", "worker", "both")
_PATIENCE_SECONDS = 300
_AT_ONE_PLACE = 3
_NO_RECORDING = RecordingId(0)


@dataclass
class Interrupted:
    """One recording on its way through the final pass."""

    services: Services
    diary: Path
    recording_id: RecordingId = _NO_RECORDING
    lives: list[Counter[int]] = field(default_factory=list)
    """How often each window, by its start in ms, was asked for between two kills."""
    reached: list[int] = field(default_factory=lambda: [0])
    """How far the catalogue had the run at the beginning and at each kill, in ms."""
    victims: list[str] = field(default_factory=list)
    _worker: asyncio.subprocess.Process | None = None

    async def begin(self, file: Path, languages: tuple[str, ...]) -> None:
        """Take the file in and start the worker."""
        incoming = self.services.settings.data_dir / "incoming"
        details = Details({"en": "Interrupted"}, languages)
        interview_id = await ingest.import_file(
            self.services.database, self.services.store, file, details, incoming=incoming
        )
        async with self.services.database.read() as connection:
            found = (await interviews.get(connection, interview_id)).recording_id
        assert found is not None
        self.recording_id = found
        await self._start()

    async def kill(self, victim: str, seconds: float) -> bool:
        """Kill so long after the next window has been begun; False if the pass was done before.

        What dies five times at the same windows is parked, as it has to be: the fourth time it gets further.
        """
        least = self.reached[-1] + 1 if self._stuck() >= _AT_ONE_PLACE else 0

        async def decodes() -> bool:
            return (bool(self._written()) and await self._covered() >= least) or await self._done()

        await until_async(decodes, "a window to be decoded", seconds=_PATIENCE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._until_done(), seconds)
        assert self._worker is not None

        async def has_engine() -> bool:
            return bool(self._engines()) or await self._done()

        await until_async(has_engine, "an engine", seconds=_PATIENCE_SECONDS)
        engines = self._engines()
        if await self._done() or not engines:
            return False
        for engine in engines if victim != "worker" else []:
            engine.kill()
        if victim != "engine":
            self._worker.kill()
            await self._worker.wait()
        await asyncio.to_thread(psutil.wait_procs, engines, timeout=_PATIENCE_SECONDS)
        self._turn_page()
        self.reached.append(await self._covered())
        self.victims.append(victim)
        if victim != "engine":
            await self._let_lease_end()
            await self._start()
        return True

    async def finish(self) -> list[CueDraft]:
        """The lines of the finished pass."""
        await self._until_done()
        self._turn_page()
        async with self.services.database.read() as connection:
            [run] = await transcripts.runs(connection, self.recording_id)
            return await transcripts.run_lines(connection, run.id)

    async def close(self) -> None:
        """Leave no process behind."""
        if self._worker is not None and self._worker.returncode is None:
            self._worker.terminate()
            await self._worker.wait()

    @property
    def asked(self) -> Counter[int]:
        """How often each window was asked for in all."""
        return sum(self.lives, Counter[int]())

    async def _start(self) -> None:
        environment = {
            **os.environ,
            **as_environment(self.services.settings),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self._worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, str(self.diary), env=environment, stderr=asyncio.subprocess.DEVNULL
        )

    def _engines(self) -> list[psutil.Process]:
        assert self._worker is not None
        children = psutil.Process(self._worker.pid).children()
        return [child for child in children if any("engine_child" in part for part in _command(child))]

    def _written(self) -> list[int]:
        """The windows of this life so far."""
        return [int(line) for line in self.diary.read_text().split()] if self.diary.exists() else []

    def _stuck(self) -> int:
        """How many lives, up to the last, came no further than the one before."""
        *before, last = self.reached
        return sum(1 for _ in itertools.takewhile(lambda one: one == last, reversed(before)))

    async def _covered(self) -> int:
        async with self.services.database.read() as connection:
            runs = await transcripts.runs(connection, self.recording_id)
        return runs[0].covered_ms if runs else 0

    def _turn_page(self) -> None:
        self.lives.append(Counter(self._written()))
        self.diary.unlink(missing_ok=True)

    async def _let_lease_end(self) -> None:
        """As if the half minute were over for which a dead worker holds its job."""
        job = tables.job
        mine = (job.c.recording_id == self.recording_id) & (job.c.state == JobState.RUNNING)
        async with self.services.database.write() as tx:
            await tx.execute(update(job).where(mine).values(lease_until=await now(tx) - timedelta(days=1)))

    async def _until_done(self) -> None:
        await until_async(self._done, "the pass to end", seconds=_PATIENCE_SECONDS)

    async def _done(self) -> bool:
        async with self.services.database.read() as connection:
            found = await jobs.of_recording(connection, self.recording_id)
        [job] = [job for job in found if job.kind == "transcribe"]
        assert job.state is not JobState.PARKED, job.last_error
        return job.state is JobState.DONE


def _command(process: psutil.Process) -> list[str]:
    """Its command line; none if it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


async def interrupted(
    services: Services,
    file: Path,
    languages: tuple[str, ...],
    victims: Sequence[str],
    draw: random.Random,
    longest: float,
) -> tuple[Interrupted, list[CueDraft]]:
    """A pass whose processes are killed in this order, each up to `longest` seconds after its first window."""
    one = Interrupted(services, services.settings.data_dir / "windows.txt")
    try:
        await one.begin(file, languages)
        for victim in victims:
            if not await one.kill(victim, draw.uniform(0, longest)):
                break
        lines = await one.finish()
    finally:
        await one.close()
    return one, lines


class Diarist:
    """An engine that writes down when each window begins, in ms, before it is decoded."""

    def __init__(self, engine, diary):
        self._engine = engine
        self._diary = diary
        self.load, self.voice, self.close = engine.load, engine.voice, engine.close

    async def transcribe(self, windows, options) -> AsyncIterator:
        with self._diary.open("a") as file:
            file.writelines(f"{window.start_ms}\n" for window in windows)
        async for result in self._engine.transcribe(windows, options):
            yield result


async def work(diary: Path) -> None:
    """Do transcriptions until killed."""
    async with open_services(load_settings()) as services:
        final = Diarist(services.engines.final, diary)
        engines = SimpleNamespace(final=final, diarizer=None)
        await run_workers(replace(services, engines=engines), ("transcriber",), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
