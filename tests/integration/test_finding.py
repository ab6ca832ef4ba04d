"""Finding through catalogue and index together, over both engines: filters, pairs, fallbacks, facets, access."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert

from streamarchive.catalogue import interviews, recordings, tables
from streamarchive.catalogue.database import now
from streamarchive.catalogue.people import Guest
from streamarchive.models import InterviewId, Role, Visibility
from streamarchive.protocols import Results, SearchIndex, Sort, Total
from streamarchive.search import feed, finding
from streamarchive.search.answers import FallbackKind
from streamarchive.search.query import parse
from streamarchive.services import Services, open_services
from streamarchive.settings import load_settings
from tests import factories
from tests.factories import line
from tests.indexes import remove_index

pytestmark = pytest.mark.usefixtures("patient_search")


@pytest.fixture(params=["embedded", "elasticsearch"], scope="module")
def search_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "embedded":
        return f"sqlite:///{tmp_path_factory.mktemp('search')}/search.sqlite"
    return f"{request.getfixturevalue('elasticsearch_url')}/test-{uuid4().hex}"


@pytest.fixture
async def archive(search_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    """Four interviews, indexed: batteries and cockpits at one event in two years, a draft, and an old one."""
    settings = load_settings({"data_dir": tmp_path, "search": search_url}, environ={}, dotenv=None)
    async with open_services(settings) as opened:
        await _say(opened, "Batteries", 2025, "China Auto", ["the smart battery", "lasts long"], guest="张伟")
        await _say(
            opened,
            "Cockpits",
            2026,
            "China Auto",
            ["我们聊智能座舱", "和电池", "battery too"],
            guest="Anna Schmidt",
        )
        await _say(opened, "Old", 2019, None, ["an old battery"])
        await _say(opened, "Secret", 2026, "China Auto", ["a secret battery"], visibility=Visibility.DRAFT)
        async with opened.database.write() as tx:
            term = {
                "term": "smart cockpit",
                "lang": "en",
                "means": {"zh": "智能座舱"},
                "created_at": await now(tx),
            }
            await tx.execute(insert(tables.glossary_term).values(**term))
        await opened.search.prepare()
        await opened.search.rebuild(lambda checkpoint: feed.everything(opened.database, checkpoint))
        yield opened
    await asyncio.to_thread(remove_index, search_url)


async def _say(
    archive: Services,
    title: str,
    year: int,
    event: str | None,
    lines: list[str],
    *,
    guest: str = "",
    visibility: Visibility = Visibility.PUBLIC,
) -> InterviewId:
    async with archive.database.write() as tx:
        interview_id = await interviews.create(
            tx,
            titles={"en": title},
            visibility=visibility,
            held_at=datetime(year, 4, 25, 10, tzinfo=UTC),
            event={"en": event, "zh": "车展"} if event else None,
            guests=[Guest({"en": guest}, {})] if guest else [],
        )
        recording_id = await recordings.create_uploaded(
            tx, interview_id, duration_ms=60_000, has_video=True, damage=None
        )
    drafts = (line(n * 2_000, text, lang="en" if text.isascii() else "zh") for n, text in enumerate(lines))
    await factories.heard(archive.database, recording_id, *drafts)
    return interview_id


async def titles(archive: Services, typed: str, role: Role = Role.VIEWER) -> list[str]:
    answer = await finding.find(archive.database, archive.search, parse(typed), role=role, sort=Sort.NEWEST)
    assert answer.fallback is None
    return [found.interview.title() for found in answer.found]


async def texts(archive: Services, typed: str) -> list[str]:
    answer = await finding.find_moments(
        archive.database, archive.search, parse(typed), role=Role.VIEWER, sort=Sort.POSITION
    )
    return [found.moment.cue.text for found in answer.found]


async def test_filters_on_events_and_dates_are_asked_of_the_catalogue(archive: Services) -> None:
    assert await titles(archive, "battery") == ["Cockpits", "Batteries", "Old"]
    assert await titles(archive, 'battery event:"china auto"') == ["Cockpits", "Batteries"]
    assert await titles(archive, "battery 活动：车展 year:2025") == ["Batteries"]
    assert await titles(archive, "battery year:2019 year:2026") == ["Cockpits", "Old"]
    assert await titles(archive, "battery after:2025-04-25 before:2026") == ["Batteries"]
    assert await titles(archive, "battery before:2025-04-25") == ["Old"]
    for nothing in ("event:unknown", "year:1999", "after:2030", "year:2026 in:0000000000"):
        assert await titles(archive, f"battery {nothing}") == []
    assert sorted(await titles(archive, "battery year:2026", role=Role.EDITOR)) == ["Cockpits", "Secret"]


async def test_pairs_of_the_glossary_find_each_other(archive: Services) -> None:
    assert await texts(archive, "smart cockpit") == ["我们聊智能座舱"]
    answer = await finding.find(archive.database, archive.search, parse("smart cockpit"), role=Role.VIEWER)
    (moment,) = answer.found[0].moments
    assert [moment.cue.text[a:b] for a, b in moment.spans] == ["智能座舱"]
    assert await texts(archive, '"smart cockpit"') == []


async def test_a_phrase_goes_on_in_the_next_line(archive: Services) -> None:
    answer = await finding.find_moments(archive.database, archive.search, parse("座舱和电"), role=Role.VIEWER)
    (found,) = answer.found
    moment = found.moment
    assert moment.cue.text == "我们聊智能座舱"
    assert [moment.cue.text[a:b] for a, b in moment.spans] == ["座舱"]
    assert moment.continued == "和电池"
    assert [moment.continued[a:b] for a, b in moment.continued_spans] == ["和电"]


@pytest.mark.parametrize(
    ("typed", "kind", "instead", "found"),
    [
        ("zhangwei", FallbackKind.PINYIN, "张伟", "Batteries"),
        ("Zhang Wei", FallbackKind.PINYIN, "张伟", "Batteries"),
        ("wei zhang battery", FallbackKind.PINYIN, "张伟 battery", "Batteries"),
        ("章炜", FallbackKind.PINYIN, "张伟", "Batteries"),
        ("smart battary", FallbackKind.SPELLING, "smart battery", "Batteries"),
        ("schmitd", FallbackKind.SPELLING, "schmidt", "Cockpits"),
    ],
)
async def test_what_is_not_found_is_looked_for_otherwise_and_said_so(
    archive: Services, typed: str, kind: FallbackKind, instead: str, found: str
) -> None:
    answer = await finding.find(archive.database, archive.search, parse(typed), role=Role.VIEWER)
    assert answer.query.text == typed
    assert answer.fallback is not None
    assert (answer.fallback.kind, answer.fallback.query.text) == (kind, instead)
    assert [each.interview.title() for each in answer.found] == [found]


class Counted:
    """The index, and how often it is searched."""

    def __init__(self, index: SearchIndex) -> None:
        self._index, self.searches = index, 0

    async def search(self, *asked: Any, **options: Any) -> Results:
        self.searches += 1
        return await self._index.search(*asked, **options)

    async def similar(self, word: str, limit: int) -> tuple[str, ...]:
        return tuple(await self._index.similar(word, limit))


async def test_one_request_costs_few_searches(archive: Services) -> None:
    counted: Any = Counted(archive.search)
    typed = " ".join(f"battar{letter}" for letter in "abcdefghijklmnop")
    answer = await finding.find(archive.database, counted, parse(typed), role=Role.VIEWER)
    assert answer.fallback is None
    assert counted.searches < 10


async def test_fallbacks_know_nothing_the_asker_may_not_see(archive: Services) -> None:
    for typed in ("secrit", "smart 电池 old", "xyzzy"):
        answer = await finding.find(archive.database, archive.search, parse(typed), role=Role.VIEWER)
        assert (answer.fallback, answer.found) == (None, ())
    answer = await finding.find(archive.database, archive.search, parse("secrit"), role=Role.EDITOR)
    assert answer.fallback is not None


async def test_facets_are_of_what_the_asker_may_see(archive: Services) -> None:
    facets = await finding.find_facets(archive.database, archive.search, parse("battery"), role=Role.VIEWER)
    assert facets.langs == {"en": 3}
    assert facets.years == {2026: 1, 2025: 1, 2019: 1}
    assert [(event.names["en"], count) for event, count in facets.events] == [("China Auto", 2)]
    assert facets.exact
    seen = await finding.find_facets(archive.database, archive.search, parse("battery"), role=Role.EDITOR)
    assert seen.years[2026] == 2
    nothing = await finding.find_facets(archive.database, archive.search, parse("year:2026"), role=Role.VIEWER)
    assert (nothing.langs, nothing.events) == ({}, ())


async def test_totals_count_what_is_visible(archive: Services) -> None:
    answer = await finding.find_moments(
        archive.database, archive.search, parse("battery"), role=Role.VIEWER, limit=2
    )
    assert (answer.total, len(answer.found)) == (Total(3), 2)
    rest = await finding.find_moments(
        archive.database, archive.search, parse("battery"), role=Role.VIEWER, limit=2, cursor=answer.next_cursor
    )
    assert (len(rest.found), rest.next_cursor) == (1, "")
