"""Lists ask the catalogue as often however long they are: else a page waits for a query for each entry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import event as events

from streamarchive.catalogue import assets, interviews
from streamarchive.models import AssetKind, RunStage, Visibility
from streamarchive.protocols import StoredObject
from streamarchive.services import Services, open_services
from streamarchive.settings import load_settings
from tests import factories
from tests.factories import line
from web.app import create_app
from workers import indexer


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(load_settings({"data_dir": tmp_path}, environ={}, dotenv=None)) as opened:
        yield opened


async def add_interviews(archive: Services, count: int) -> None:
    """Some that are archived, with a poster and a line, and some that are still to come."""
    await archive.search.prepare()
    for number in range(count):
        _, recording_id = await factories.uploaded(archive.database, f"Battery talk {number}")
        await factories.heard(archive.database, recording_id, line(0, "the battery"), stage=RunStage.FINAL)
        async with archive.database.write() as tx:
            poster = StoredObject(f"poster-{recording_id}.jpg", 1, "0" * 64)
            await assets.put(tx, recording_id, AssetKind.POSTER, poster, "image/jpeg", "test")
            await interviews.create(tx, titles={"en": f"Later {number}"}, visibility=Visibility.PUBLIC)
    while await indexer.drain(archive):
        pass


@pytest.mark.parametrize(
    ("path", "entry"), [("/", "Battery talk"), ("/", "Later"), ("/search?q=battery", "?t=0")]
)
async def test_a_longer_list_takes_no_more_queries(archive: Services, path: str, entry: str) -> None:
    asked: list[str] = []
    events.listen(
        archive.database._reader.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: asked.append(statement),
    )
    counted = []
    async with TestClient(TestServer(create_app(archive))) as browser:
        for _ in range(2):
            await add_interviews(archive, 4)
            asked.clear()
            async with browser.get(path) as response:
                shown = (await response.text()).count(entry)
            counted.append((len(asked), shown))
    (few_queries, few_shown), (more_queries, more_shown) = counted
    assert more_shown > few_shown > 0
    assert more_queries == few_queries, "\n".join(asked)


async def test_many_still_to_come_hide_neither_what_is_on_air_nor_what_there_is(
    archive: Services,
) -> None:
    await factories.uploaded(archive.database, "An archived one")
    await factories.on_air(archive.database)
    for number in range(70):
        await factories.interview(archive.database, f"Later {number}")
    async with TestClient(TestServer(create_app(archive))) as browser, browser.get("/") as response:
        page = await response.text()
    assert "An archived one" in page
    assert "Watch live" in page
