from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from streamarchive.catalogue import interviews, outbox, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.errors import SearchUnavailableError
from streamarchive.models import Role, RunStage, Visibility
from streamarchive.search import feed, finding
from streamarchive.search.query import parse
from streamarchive.services import Services, open_services
from tests import factories, services
from tests.archive import settings_of
from tests.factories import line
from tests.waiting import PATIENCE, until_async
from workers import indexer


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(settings_of(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def indexing(archive: Services) -> AsyncIterator[Services]:
    """The archive with its indexer at work."""
    stop = asyncio.Event()
    task = asyncio.create_task(indexer.run(archive, stop))
    yield archive
    stop.set()
    async with asyncio.timeout(5 * PATIENCE):
        await task


async def found(archive: Services, words: str, role: Role = Role.VIEWER) -> list[str]:
    answer = await finding.find(archive.database, archive.search, parse(words), role=role)
    assert not answer.index_away
    return [moment.cue.text for hit in answer.found for moment in hit.moments]


async def waiting(database: Database) -> int:
    async with database.read() as connection:
        return (await outbox.waiting(connection))[0]


async def settled(archive: Services) -> None:
    async def empty() -> bool:
        return await waiting(archive.database) == 0

    await until_async(empty, "the outbox to be empty")


async def test_what_is_said_is_found_and_what_is_withdrawn_is_not(indexing: Services) -> None:
    air = await factories.on_air(indexing.database)
    await factories.heard(indexing.database, air.recording_id, line(0, "the battery"), line(4_000, "a lidar"))
    await settled(indexing)
    assert await found(indexing, "battery") == ["the battery"]
    async with indexing.database.write() as tx:
        await transcripts.withdraw(tx, air.recording_id, 4_000)
    await settled(indexing)
    assert await found(indexing, "lidar") == []
    assert await found(indexing, "battery") == ["the battery"]


async def test_a_final_pass_replaces_what_was_found_live(indexing: Services) -> None:
    _, recording_id = await factories.uploaded(indexing.database)
    await factories.heard(indexing.database, recording_id, line(0, "a leader"), line(4_000, "the battery"))
    await settled(indexing)
    lines = (line(0, "a lidar"), line(4_000, "the battery"))
    await factories.heard(indexing.database, recording_id, *lines, stage=RunStage.FINAL)
    await settled(indexing)
    assert await found(indexing, "leader") == []
    assert await found(indexing, "lidar") == ["a lidar"]
    assert await found(indexing, "battery") == ["the battery"]


async def test_hiding_needs_no_index(indexing: Services) -> None:
    interview_id, recording_id = await factories.uploaded(indexing.database)
    await factories.heard(indexing.database, recording_id, line(0, "the battery"), stage=RunStage.FINAL)
    await settled(indexing)
    async with indexing.database.write() as tx:
        await interviews.set_visibility(tx, interview_id, Visibility.DRAFT)
    assert await found(indexing, "battery") == []
    assert await found(indexing, "battery", Role.EDITOR) == ["the battery"]


async def test_an_interview_that_shows_another_recording_is_found_by_that_one(indexing: Services) -> None:
    interview_id, old = await factories.uploaded(indexing.database)
    await factories.heard(indexing.database, old, line(0, "the battery"), stage=RunStage.FINAL)
    _, new = await factories.uploaded(indexing.database, visibility=Visibility.TRASHED)
    await factories.heard(indexing.database, new, line(0, "a lidar"), stage=RunStage.FINAL)
    await settled(indexing)
    async with indexing.database.write() as tx:
        await interviews.attach(tx, interview_id, new)
    await settled(indexing)
    query = parse("battery")
    results = await indexing.search.search(query)  # the index itself, not only what is shown of it
    assert results.total.value == 0
    assert await found(indexing, "lidar") == ["a lidar"]


async def test_a_batch_leaves_the_outbox_only_when_the_index_has_it(archive: Services) -> None:
    _, recording_id = await factories.uploaded(archive.database)
    lines = [line(at, f"sentence {at}") for at in range(0, 2_400_000, 2_000)]
    await factories.heard(archive.database, recording_id, *lines, stage=RunStage.FINAL)
    before = await waiting(archive.database)
    await archive.search.prepare()
    assert await indexer.drain(archive) is True
    assert 0 < await waiting(archive.database) < before
    while await indexer.drain(archive):
        pass
    assert await waiting(archive.database) == 0
    assert await indexer.drain(archive) is False
    assert await found(archive, "598000") == ["sentence 598000"]


async def test_while_the_index_is_away_the_outbox_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Elasticsearch that is not there, then an index that is: nothing is lost between."""
    away = settings_of(tmp_path, search=f"http://127.0.0.1:{services.free_port()}/archive")
    async with open_services(away) as archive:
        _, recording_id = await factories.uploaded(archive.database, "Cockpit")
        await factories.heard(archive.database, recording_id, line(0, "the battery"), stage=RunStage.FINAL)
        before = await waiting(archive.database)
        assert before > 0
        with pytest.raises(SearchUnavailableError):
            await indexer.drain(archive)
        stop = asyncio.Event()
        with caplog.at_level(logging.WARNING):
            task = asyncio.create_task(indexer.run(archive, stop))

            async def complained() -> bool:
                return "search is away" in caplog.text

            await until_async(complained, "the indexer to say that search is away")
            stop.set()
            async with asyncio.timeout(5 * PATIENCE):
                await task
        assert await waiting(archive.database) == before
        answer = await finding.find(archive.database, archive.search, parse("cockpit"), role=Role.VIEWER)
        assert (answer.index_away, len(answer.found)) == (True, 1)
    async with open_services(settings_of(tmp_path)) as archive:
        stop = asyncio.Event()
        task = asyncio.create_task(indexer.run(archive, stop))
        await settled(archive)
        assert await found(archive, "battery") == ["the battery"]
        stop.set()
        await task


async def test_an_index_that_was_deleted_is_rebuilt_from_the_catalogue(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_services(settings) as archive:
        _, recording_id = await factories.uploaded(archive.database)
        await factories.heard(archive.database, recording_id, line(0, "the battery"), stage=RunStage.FINAL)
        await archive.search.prepare()
        while await indexer.drain(archive):
            pass
    for file in tmp_path.glob("search.sqlite*"):
        file.unlink()
    async with open_services(settings) as archive:
        await archive.search.prepare()
        assert await found(archive, "battery") == []
        assert await archive.search.rebuild(partial(feed.everything, archive.database)) == 2
        assert await found(archive, "battery") == ["the battery"]


async def test_an_index_of_another_version_is_told_in_the_log_and_for_health_checks(
    archive: Services, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.search.prepare()
    for module in ("embedded", "generations"):
        monkeypatch.setattr(f"streamarchive.search.{module}.ANALYZER_VERSION", 1_000)
    stop = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(indexer.run(archive, stop))

        async def told() -> bool:
            return "reindex" in caplog.text

        await until_async(told, "the indexer to speak of the version")
        stop.set()
        await task


async def test_a_damaged_index_is_no_error_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "search.sqlite").write_bytes(b"this is not a database" * 1000)
    async with open_services(settings_of(tmp_path)) as archive:
        await factories.uploaded(archive.database, "Cockpit")
        answer = await finding.find(archive.database, archive.search, parse("cockpit"), role=Role.VIEWER)
        assert (answer.index_away, len(answer.found)) == (True, 1)
        assert await archive.search.rebuild(partial(feed.everything, archive.database)) == 1
        answer = await finding.find(archive.database, archive.search, parse("cockpit"), role=Role.VIEWER)
        assert (answer.index_away, len(answer.found)) == (False, 1)
