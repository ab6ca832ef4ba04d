"""Index and catalogue agree exactly, whatever is killed or stopped while both are written to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from streamarchive.catalogue import outbox
from streamarchive.errors import SearchUnavailableError
from streamarchive.models import Role
from streamarchive.protocols import Portion
from streamarchive.search import feed, finding
from streamarchive.search.query import parse
from streamarchive.services import Services, open_services
from tests import index_faults, services
from tests.conftest import absent
from tests.indexes import ask
from tests.services import ElasticsearchNode
from tests.waiting import until_async
from workers import indexer

KILLS = 8


@pytest.fixture(scope="module")
def node() -> Iterator[ElasticsearchNode]:
    """A node that these tests may stop, with so little room for writes that it refuses some (429)."""
    try:
        with services.elasticsearch_node(options={"indexing_pressure.memory.limit": "1mb"}) as node:
            yield node
    except services.MissingServiceError as error:
        absent("elasticsearch", str(error))


@pytest.fixture(params=["embedded", "elasticsearch"])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Services]:
    url = f"sqlite:///{tmp_path}/search.sqlite"
    if request.param == "elasticsearch":
        url = f"{request.getfixturevalue('node').url}/test-{uuid4().hex}"
    async with open_services(index_faults.settings_of(tmp_path, url)) as opened:
        yield opened


@pytest.fixture
async def served(node: ElasticsearchNode, tmp_path: Path) -> AsyncIterator[Services]:
    """An archive with its index on the node."""
    url = f"{node.url}/test-{uuid4().hex}"
    async with open_services(index_faults.settings_of(tmp_path, url)) as opened:
        yield opened


async def test_indexers_that_are_killed_lose_and_double_nothing(archive: Services) -> None:
    await archive.search.prepare()
    await index_faults.load(archive, 4_000)
    async with index_faults.writing(archive) as written:
        await index_faults.kill_indexers(archive, KILLS)
    assert written[0] > KILLS
    assert await index_faults.agrees(archive)


async def test_several_indexers_share_the_work_with_a_server_that_is_short_of_room(
    served: Services, node: ElasticsearchNode
) -> None:
    """It refuses what it has no room for (429), and gets it again later."""
    await served.search.prepare()
    before = refusals(node)
    for _ in range(10):  # until they happen to write at the same time, which is when there is no room
        await index_faults.load(served, 3_000)
        stop = asyncio.Event()
        at_work = [asyncio.create_task(index_faults.indexing(served, stop)) for _ in range(4)]
        await until_async(partial(_emptied, served), "the outbox to be empty", seconds=60)
        stop.set()
        await asyncio.gather(*at_work)
        if refusals(node) > before:
            break
    assert refusals(node) > before
    assert await index_faults.agrees(served)


async def _emptied(archive: Services) -> bool:
    async with archive.database.read() as connection:
        waiting, _ = await outbox.waiting(connection)
    return waiting == 0


def refusals(node: ElasticsearchNode) -> int:
    """How many writes the server has had no room for."""
    nodes = ask(f"{node.url}/_nodes/stats/indexing_pressure", "GET")["nodes"]
    return sum(each["indexing_pressure"]["memory"]["total"]["coordinating_rejections"] for each in nodes.values())


@pytest.mark.parametrize("how", ["suspended", "killed"])
async def test_while_the_server_is_away_pages_answer_and_afterwards_all_is_there(
    served: Services, node: ElasticsearchNode, how: str
) -> None:
    await served.search.prepare()
    await index_faults.load(served, 1_000)
    stop = asyncio.Event()
    task = asyncio.create_task(index_faults.indexing(served, stop))
    try:
        async with index_faults.writing(served) as written:
            await until_async(partial(_finds, served, "sentence"), "the index to have something")
            node.suspend() if how == "suspended" else node.kill()
            before = written[0]
            async with asyncio.timeout(60):  # a page that hangs would hang for ever
                answer = await finding.find(served.database, served.search, parse("talk"), role=Role.ADMIN)
            assert (answer.index_away, len(answer.found)) == (True, 2)
            assert not (await served.search.health()).ok
            await until_async(partial(_more, written, before + 10), "writing to go on")
            node.resume() if how == "suspended" else node.start()
        assert await _caught_up(served)
    finally:
        stop.set()
        await task
    assert await index_faults.agrees(served)


async def _more(written: list[int], than: int) -> bool:
    return written[0] > than


async def _finds(archive: Services, typed: str) -> bool:
    answer = await finding.find(archive.database, archive.search, parse(typed), role=Role.ADMIN)
    return not answer.index_away and answer.total.value > 0


async def _caught_up(archive: Services) -> bool:
    async def agrees() -> bool:
        try:
            return await index_faults.agrees(archive)
        except SearchUnavailableError:
            return False

    return await until_async(agrees, "the index to catch up", seconds=60)


async def test_a_server_killed_during_a_reindex_serves_the_old_index_and_the_next_goes_on(
    served: Services, node: ElasticsearchNode
) -> None:
    await served.search.prepare()
    await index_faults.load(served, 4_000)
    await indexer.catch_up(served)
    asked: list[int] = []

    async def source(after: int) -> AsyncIterator[Portion]:
        asked.append(after)
        async for portion in feed.everything(served.database, after):
            yield portion
            if portion.checkpoint >= 2_000 and len(asked) == 1:
                node.kill()

    with pytest.raises(SearchUnavailableError):
        await served.search.rebuild(source)
    node.start()
    assert await until_async(partial(_finds, served, "sentence"), "the old index to answer")
    async with index_faults.writing(served):
        await served.search.rebuild(source)
        await indexer.catch_up(served)
    assert asked[0] == 0
    assert asked[1] >= 1_000, "it goes on"
    assert await index_faults.agrees(served)
    assert "reindex" not in (await served.search.health()).sentence


@pytest.mark.usefixtures("patient_search")
async def test_a_rebuild_beside_indexers_and_searches_fails_no_search_and_loses_nothing(
    archive: Services,
) -> None:
    await archive.search.prepare()
    await index_faults.load(archive, 2_000)
    await indexer.catch_up(archive)

    async def found() -> bool:
        answer = await finding.find(archive.database, archive.search, parse("智能座舱"), role=Role.ADMIN)
        assert (answer.index_away, answer.timed_out) == (False, False)
        return answer.total.value > 500

    await until_async(found, "what has been written to be findable")
    stop, searches, enough = asyncio.Event(), 0, asyncio.Event()

    async def source(after: int) -> AsyncIterator[Portion]:
        """Everything; the last of it once some have searched meanwhile."""
        async for portion in feed.everything(archive.database, after):
            yield portion
        await enough.wait()

    task = asyncio.create_task(index_faults.indexing(archive, stop))
    async with index_faults.writing(archive):
        rebuilding = asyncio.create_task(archive.search.rebuild(source))
        while not rebuilding.done():
            assert await found()
            searches += 1
            if searches > 3:
                enough.set()
        await rebuilding
    stop.set()
    await task
    assert searches > 3
    assert await index_faults.agrees(archive)
