"""An archive that is written to all the time, and indexers that are killed while they index it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from streamarchive.catalogue import corrections, interviews, transcripts
from streamarchive.errors import EditError, SearchError
from streamarchive.models import InterviewId, RecordingId, RunStage
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings, load_settings
from tests import factories
from tests.factories import line
from tests.indexes import expected, stored
from tests.processes import child
from tests.waiting import until_async
from workers import indexer

LINES_AT_ONCE = 500


def settings_of(folder: Path, search: str, database: str = "") -> Settings:
    """An archive in a folder, with its index at a URL."""
    return load_settings({"data_dir": folder, "search": search, "database": database}, environ={}, dotenv=None)


async def load(archive: Services, cues: int) -> None:
    """Final passes over one recording after the other, until so many lines wait for the index."""
    for number in range(max(cues // LINES_AT_ONCE, 1)):
        _, recording_id = await factories.uploaded(archive.database, f"Talk {number}")
        lines = [line(at * 2_000, f"sentence {at} of talk {number} 智能座舱") for at in range(LINES_AT_ONCE)]
        await factories.heard(archive.database, recording_id, *lines, stage=RunStage.FINAL)


@asynccontextmanager
async def writing(archive: Services) -> AsyncIterator[list[int]]:
    """Corrections, deletions, new lines, cuts and new titles, one after the other, for the length of the block.

    Yields a list whose only item is how many there have been.
    """
    stop, written = asyncio.Event(), [0]
    task = asyncio.create_task(_write_until(archive, stop, written))
    try:
        yield written
    finally:
        stop.set()
        await task


async def _write_until(archive: Services, stop: asyncio.Event, written: list[int]) -> None:
    source = random.Random(11)
    async with archive.database.read() as connection:
        known = await interviews.by_ids(connection, await interviews.all_ids(connection))
    talks = [(each.id, each.recording_id) for each in known.values() if each.recording_id is not None]
    while not stop.is_set():
        interview_id, recording_id = source.choice(talks)
        try:
            await _write(archive, interview_id, recording_id, source, written[0])
        except EditError:
            continue  # e.g. a line where there is one
        written[0] += 1
        await asyncio.sleep(0.01)  # 50 or so a second: what is killed and stopped meanwhile is not to fall behind


async def _write(
    archive: Services, interview_id: InterviewId, recording_id: RecordingId, source: random.Random, number: int
) -> None:
    async with archive.database.write() as tx:
        there = await transcripts.of_recording(tx, recording_id)
        cue = source.choice(there)
        match source.choice(["edit", "edit", "delete", "insert", "speaker", "merge", "cut", "rename"]):
            case "edit":
                await corrections.edit(tx, cue.id, cue.revision, f"corrected {number}", None)
            case "delete" if len(there) > LINES_AT_ONCE // 2:
                await corrections.delete(tx, cue.id, cue.revision, None)
            case "insert":
                await corrections.insert(
                    tx, recording_id, cue.end_ms, cue.end_ms + 100, f"new {number}", "en", None
                )
            case "speaker":
                await corrections.set_speaker(tx, cue.id, cue.revision, f"Voice {number % 5}", None)
            case "merge" if cue != there[-1]:
                await corrections.merge(tx, cue.id, cue.revision, "next", None)
            case "cut" if number % 10 == 0:
                await interviews.cut(tx, interview_id, source.choice([None, 4_000]), None)
            case _:
                await interviews.set_titles(tx, interview_id, {"en": f"Talk {number}"})


async def indexing(archive: Services, stop: asyncio.Event) -> None:
    """An indexer that goes on after whatever the server answers, as its supervisor makes it do."""
    while not stop.is_set():
        try:
            await indexer.run(archive, stop)
        except SearchError:
            await asyncio.sleep(0.1)


class _Telling:
    """An index that tells when it is about to be written to."""

    def __init__(self, index: Any, say: Connection) -> None:
        self._index = index
        self._say = say

    async def write(self, operations: Any) -> None:
        self._say.send(len(operations))
        await self._index.write(operations)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


async def index_without_end(say: Connection, settings: Settings) -> None:
    """An indexer in a process of its own."""
    async with open_services(settings) as services:
        telling = replace(services, search=_Telling(services.search, say))
        await indexer.run(telling, asyncio.Event())


async def kill_indexers(archive: Services, kills: int) -> None:
    """Start an indexer and kill it in the middle of a write, so many times; two are at work at once."""
    source = random.Random(5)
    for _ in range(kills):
        with child(index_without_end, archive.settings) as one, child(index_without_end, archive.settings) as two:
            for indexing in (one, two):
                for _ in range(source.randint(1, 3)):
                    await asyncio.to_thread(indexing.listen, seconds=120)
            await asyncio.sleep(source.uniform(0, 0.15))  # where in its write it is hit, is chance
            one.kill()
            two.kill()
            one.rest()
            two.rest()


async def agrees(archive: Services) -> bool:
    """Whether the index, once it has caught up, holds exactly what the catalogue says."""
    await indexer.catch_up(archive)

    async def sound() -> bool:
        return await archive.search.damage() == ""  # it is also "takes too long", of a server that is busy

    await until_async(sound, "an index without damage", seconds=5)
    return await stored(archive) == await expected(archive)
