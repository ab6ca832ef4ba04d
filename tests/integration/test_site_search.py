"""Search as visitors get it: the page in its states, its JSON, its feed, what is suggested, what is watched."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import unescape
from xml.etree import ElementTree

import pytest
from sqlalchemy import select

from streamarchive import jobs, webhooks
from streamarchive.catalogue import cuts, saved_searches, tables
from streamarchive.catalogue.database import now
from streamarchive.catalogue.people import Guest
from streamarchive.models import JobState, Role, Visibility
from tests import people, services
from tests.people import Client
from tests.site import Site, draft, open_site
from web.suggestions import Suggester
from workers import watcher

GUEST = Guest({"en": "Zhang Wei", "zh": "张伟"}, {})
EVENT = {"en": "Auto Beijing"}
ATOM = "{http://www.w3.org/2005/Atom}"


async def many(site: Site, count: int, word: str = "battery") -> None:
    """As many interviews, each with a moment."""
    for number in range(count):
        await site.ready({"en": f"Talk {number:03}"}, [draft(0, f"A {word} {number:03}.", speaker="Host")])


def hits(page: str) -> list[str]:
    """The titles of the interviews on a page of results."""
    return re.findall(r"Talk \d{3}", "".join(re.findall(r"<h2><a[^>]*>[^<]*</a></h2>", page)))


def link(page: str, label: str) -> str:
    """Where the link of this name leads."""
    found = re.search(rf'<a[^>]*href="([^"]+)"[^>]*>(?:<[^>]+>)*\s*{re.escape(label)}', page)
    assert found is not None, label
    return unescape(found[1])


async def test_more_is_a_link_and_stays_where_it_was_while_new_cues_arrive(site: Site) -> None:
    await many(site, 45)
    async with people.visitor(site) as nobody:
        path, seen, pages = "/search?q=battery", [], 0
        while path:
            page = (await nobody.get(path)).text
            seen += hits(page)
            pages += 1
            await site.ready({"en": f"Newer {pages}"}, [draft(0, "battery battery battery", speaker="Host")])
            path = link(page, "More interviews") if "More interviews" in page else ""
    assert pages == 3
    assert sorted(seen) == [f"Talk {number:03}" for number in range(45)]


async def test_moments_stand_one_by_one_in_the_order_that_is_asked_for(site: Site) -> None:
    await site.ready({"en": "Old"}, [draft(0, "battery one"), draft(4_000, "battery two")], held_at=at(2025))
    await site.ready({"en": "New"}, [draft(0, "battery three")], held_at=at(2026))
    async with people.visitor(site) as nobody:
        newest = (await nobody.get("/search?q=battery&view=moments&sort=newest")).text
        oldest = (await nobody.get("/search?q=battery&view=moments&sort=oldest")).text
    said = re.compile(r"</mark> (one|two|three)")
    assert said.findall(newest) == ["three", "two", "one"]
    assert said.findall(oldest) == ["one", "two", "three"]
    assert "3 moments" in newest


def at(year: int) -> datetime:
    return datetime(year, 4, 25, tzinfo=UTC)


async def test_facets_add_their_filter_to_the_query_and_take_it_away(site: Site) -> None:
    lines = [draft(0, "battery one", speaker="Ann Lee"), draft(4_000, "battery two", speaker="Host")]
    await site.ready({"en": "One"}, lines, event=EVENT, held_at=at(2025))
    await site.ready({"en": "Two"}, [draft(0, "battery three", "zh", speaker="Host")], held_at=at(2026))
    async with people.visitor(site) as nobody:
        facets = (await nobody.get("/search/facets?q=battery")).text
        narrowed = (await nobody.get(link(facets, "Ann Lee"))).text
        assert "</mark> one" in narrowed
        assert "</mark> two" not in narrowed
        wider = await nobody.get(link(narrowed, "Ann Lee"))
        assert "</mark> two" in wider.text
        for label, shown in (("Chinese", "three"), ("2026", "three"), ("Auto Beijing", "one")):
            if label in facets:
                assert f"</mark> {shown}" in (await nobody.get(link(facets, label))).text
        counted = json.loads((await nobody.get("/api/search/facets?q=battery")).text)
    assert counted["speakers"] == {"Host": 2, "Ann Lee": 1}
    assert counted["years"] == {"2026": 1, "2025": 2}
    assert [event["count"] for event in counted["events"]] == [2]


async def test_what_was_found_instead_says_so(site: Site) -> None:
    await site.ready({"en": "Voices"}, guests=[GUEST])
    async with people.visitor(site) as nobody:
        page = await nobody.get("/search?q=zhangwei")
        assert any("Nothing was found for “zhangwei”" in notice for notice in page.notices)
        found = json.loads((await nobody.get("/api/search?q=zhangwei")).text)
        assert found["fallback"] == {"kind": "pinyin", "query": "张伟"}
        nothing = await nobody.get("/search?q=zeppelin")
    assert "Nothing found for “zeppelin”" in nothing.text
    assert nothing.notices == []


async def test_a_phrase_across_a_border_shows_both_ends(site: Site) -> None:
    await site.ready({"en": "One"}, [draft(0, "this is the smart"), draft(4_000, "cockpit of today")])
    async with people.visitor(site) as nobody:
        page = (await nobody.get('/search?q="smart cockpit"')).text
    assert re.search(r"<mark>smart</mark>\s*<mark>cockpit</mark> of today…", page)


async def test_doubtful_lines_and_what_is_on_air_are_marked(site: Site) -> None:
    broadcast = await site.go_live({"en": "Live"})
    await broadcast.add_segments(3)
    await broadcast.say(draft(0, "battery", doubt="unsure"))
    async with people.visitor(site) as nobody:
        page = (await nobody.get("/search?q=battery")).text
    assert "the recogniser was not sure" in page
    assert re.search(r"on air, \d+ (s|min) ago", page)


async def test_while_the_index_is_away_every_view_says_so(media, tmp_path) -> None:
    async with open_site(tmp_path, media, search=f"http://127.0.0.1:{services.free_port()}/x") as site:
        await site.create({"en": "Battery talk"})
        async with people.visitor(site) as nobody:
            for view in ("interviews", "moments"):
                page = await nobody.get(f"/search?q=battery&view={view}")
                assert "Battery talk" in page.text
                assert any("away" in notice for notice in page.notices)
                found = json.loads((await nobody.get(f"/api/search?q=battery&view={view}")).text)
                assert [each["titles"] for each in found["interviews"]] == [{"en": "Battery talk"}]
                assert found["index_away"] is True
            assert "away" in (await nobody.get("/search/facets?q=battery")).text
            feed = await nobody.get("/search.atom?q=battery")
            assert feed.status == 503
            suggested = json.loads((await nobody.get("/api/suggestions?q=bat")).text)["suggestions"]
    assert [one["text"] for one in suggested] == ["Battery talk"]


async def test_what_takes_too_long_is_shown_as_far_as_it_came_and_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.ready({"en": "Cars"})
    monkeypatch.setattr("streamarchive.search.ranking.SEARCH_SECONDS", 0.0)
    monkeypatch.setattr("streamarchive.search.ranking._STEPS_BETWEEN_CLOCKS", 1)
    async with people.visitor(site) as nobody:
        for view in ("interviews", "moments"):
            page = await nobody.get(f"/search?q=cockpit&view={view}")
            assert page.status == 200
            assert any("took too long" in notice for notice in page.notices)
            assert link(page.text, "Try again").startswith("/search?q=cockpit")
            found = json.loads((await nobody.get(f"/api/search?q=cockpit&view={view}")).text)
            assert (found["timed_out"], found["total_exact"]) == (True, False)
        assert json.loads((await nobody.get("/api/search/facets?q=cockpit")).text)["timed_out"] is True
        monkeypatch.undo()
        again = await nobody.get("/search?q=cockpit")
    assert again.notices == []
    assert "<mark>cockpit</mark>" in again.text


async def test_an_index_of_another_version_is_told_on_the_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.ready({"en": "Cars"})
    monkeypatch.setattr("streamarchive.search.embedded.ANALYZER_VERSION", 1_000)
    async with people.visitor(site) as nobody, people.signed_in(site, Role.ADMIN) as admin:
        page = await nobody.get("/search?q=cockpit")
        assert any("made by another version" in notice for notice in page.notices)
        assert "streamarchive reindex" not in page.text
        assert "<mark>cockpit</mark>" in page.text
        assert "streamarchive reindex" in (await admin.get("/search?q=cockpit")).text


@pytest.mark.parametrize("typed", ["event:beijing", "-battery", "lang:zh year:2026", "？"])
async def test_a_query_that_asks_for_nothing_is_told_what_it_lacks(site: Site, typed: str) -> None:
    async with people.visitor(site) as nobody:
        page = (await nobody.get("/search", params={"q": typed})).text
    assert "Add a word." in page


async def test_the_api_pages_by_cursor_and_refuses_nothing_that_was_typed(site: Site) -> None:
    await many(site, 5)
    async with people.visitor(site) as nobody:
        seen, after = [], ""
        while True:
            path = f"/api/search?q=battery&view=moments&sort=position&limit=2&after={after}"
            answer = json.loads((await nobody.get(path)).text)
            seen += [hit["text"] for hit in answer["hits"]]
            after = answer["next"]
            if after is None:
                break
        assert sorted(seen) == [f"A battery {number:03}." for number in range(5)]
        assert answer["hits"][0]["spans"] == [[2, 9]]
        for typed in ('"', "-", "year:soon", "a:b", "NEAR(", "%00", "x" * 900):
            assert (await nobody.get("/api/search", params={"q": typed})).status == 200, typed
        assert (await nobody.get("/api/search?q=battery&limit=x")).status == 400
        ignored = json.loads((await nobody.get("/api/search?q=battery year:soon")).text)["ignored"]
    assert ignored == ["year:soon"]


# --- the feed -----------------------------------------------------------------------------------------------


async def test_any_search_is_an_atom_feed_with_ids_that_stay(site: Site) -> None:
    await site.ready({"en": "One <two>"}, [draft(12_000, "A battery & more \x0b", speaker="Ann")])
    hidden = await site.ready({"en": "Draft"}, [draft(0, "battery")], visibility=Visibility.DRAFT)
    async with people.signed_in(site, Role.ADMIN) as admin:
        answer = await admin.get("/search.atom?q=battery")
        again = await admin.get("/search.atom?q=battery")
        page = (await admin.get("/search?q=battery")).text
    assert answer.headers["Content-Type"] == "application/atom+xml; charset=utf-8"
    assert 'type="application/atom+xml"' in page
    feed = ElementTree.fromstring(answer.text)
    for name in ("id", "title", "updated"):
        assert feed.findtext(ATOM + name)
    [entry] = feed.findall(f"{ATOM}entry")
    assert str(hidden) not in answer.text
    assert entry.findtext(f"{ATOM}content") == "Ann: A battery & more \ufffd"
    [target] = [each.get("href") for each in entry.findall(f"{ATOM}link")]
    assert re.fullmatch(r"http://archive\.example/interviews/[0-9a-z]{10}-one-two\?t=12", target or "")
    assert (entry.findtext(f"{ATOM}id") or "").startswith("tag:archive.example,2026:interviews/")
    ids = [each.text for each in ElementTree.fromstring(again.text).iter(f"{ATOM}id")]
    assert ids == [each.text for each in feed.iter(f"{ATOM}id")]
    assert datetime.fromisoformat(entry.findtext(f"{ATOM}updated") or "").tzinfo is not None


async def test_a_line_that_a_later_pass_replaces_is_the_same_entry(site: Site) -> None:
    """A reader of the feed is not shown it twice."""
    interview_id = await site.ready({"en": "One"}, [draft(12_000, "a batery is a battery")])

    async def entry() -> tuple[str | None, str | None]:
        answer = await nobody.get("/search.atom?q=battery")
        [found] = ElementTree.fromstring(answer.text).findall(f"{ATOM}entry")
        return found.findtext(f"{ATOM}id"), found.findtext(f"{ATOM}content")

    async with people.visitor(site) as nobody:
        number, said = await entry()
        recording_id = (await site.interview(interview_id)).recording_id
        assert recording_id is not None
        await site.transcribe(recording_id, [draft(12_000, "a battery is a battery")])
        assert await entry() == (number, "a battery is a battery")
        assert said == "a batery is a battery"


# --- suggestions --------------------------------------------------------------------------------------------


async def suggested(client: Client, typed: str) -> list[tuple[str, str]]:
    found = json.loads((await client.get("/api/suggestions", params={"q": typed})).text)["suggestions"]
    return [(one["kind"], one["text"]) for one in found]


async def test_suggestions_come_from_titles_guests_terms_and_what_is_said(site: Site) -> None:
    lines = [draft(at_ms, "The battery pack is new.") for at_ms in range(0, 20_000, 4_000)]
    interview_id = await site.ready({"en": "Batteries of tomorrow"}, lines, guests=[GUEST])
    async with site.services.database.write() as tx:
        term = {"term": "智能座舱", "lang": "zh", "means": {"en": "smart cockpit"}, "created_at": await now(tx)}
        await tx.execute(tables.glossary_term.insert().values(**term))
    async with people.visitor(site) as nobody:
        assert await suggested(nobody, "zhangw") == [("guest", "张伟")]
        await site.suggester.settled()
        assert await suggested(nobody, "batt") == [("title", "Batteries of tomorrow"), ("phrase", "battery pack")]
        assert await suggested(nobody, "smart c") == [("term", "smart cockpit")]
        await site.show(interview_id, Visibility.DRAFT)
        assert await suggested(nobody, "batt") == []
        async with people.signed_in(site, Role.EDITOR) as editor:
            assert len(await suggested(editor, "batt")) == 2


async def test_what_has_been_cut_away_is_not_suggested_any_more(site: Site) -> None:
    lines = [draft(at_ms, "The battery pack is new.") for at_ms in range(0, 20_000, 4_000)]
    interview_id = await site.ready({"en": "Cars"}, lines)
    suggester = Suggester(site.services.database, count_every=0)

    async def offered() -> list[str]:
        await suggester.matching("batt", Role.VIEWER)
        await suggester.settled()
        found = [one.text for one in await suggester.matching("batt", Role.VIEWER)]
        await suggester.settled()  # it counts again each time
        return found

    assert await offered() == ["battery pack"]
    async with site.services.database.write() as tx:
        await cuts.cut(tx, interview_id, 19_000, None)
    assert await offered() == []
    await suggester.close()


# --- saved searches -----------------------------------------------------------------------------------------


async def test_what_somebody_listens_for_stands_on_their_home_page_when_it_is_said(site: Site) -> None:
    async with people.signed_in(site, Role.EDITOR) as eva, people.visitor(site) as nobody:
        assert (await eva.post("/saved-searches", {"q": '"smart cockpit"'})).status == 303
        assert (await eva.post("/saved-searches", {"q": '"smart cockpit"'})).status == 400
        interview_id = await site.ready({"en": "Cars"})
        while await watcher.Watcher(site.services).compare():
            pass
        home = (await eva.get("/")).text
        assert "<mark>smart cockpit</mark>" in home
        assert f"/interviews/{interview_id}-cars?t=4" in home
        assert "<mark>smart cockpit</mark>" in (await eva.get("/saved-searches/told")).text
        assert "<mark>" not in (await nobody.get("/")).text
        assert "<mark>" not in (await nobody.get("/saved-searches/told")).text
        await site.show(interview_id, Visibility.TRASHED)
        assert "<mark>" not in (await eva.get("/")).text
        assert "<mark>" not in (await eva.get("/saved-searches")).text
        await site.show(interview_id, Visibility.PUBLIC)
        up_to = re.search(r'name="up_to" value="(\d+)"', home)
        assert up_to is not None
        assert (await eva.post("/saved-searches/seen", {"up_to": up_to[1]})).status == 303
        assert "<mark>" not in (await eva.get("/")).text
        page = (await eva.get("/saved-searches")).text
        assert "<mark>smart cockpit</mark>" in page
        removing = re.search(r'action="(/saved-searches/\d+/remove)"', page)
        assert removing is not None
        assert (await eva.post(removing[1])).status == 303
        assert removing[1] not in (await eva.get("/saved-searches")).text


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("", ""),
        ("-battery", ""),
        ("battery year:soon", ""),
        ("battery", "ftp://example.org/"),
        ("battery", "http://127.0.0.1:8080/"),
        ("battery", "http://eva:secret@example.org/"),
    ],
)
async def test_what_cannot_be_listened_for_is_refused_in_a_sentence(site: Site, typed: str, url: str) -> None:
    async with people.signed_in(site, Role.EDITOR) as eva:
        answer = await eva.post("/saved-searches", {"q": typed, "webhook_url": url})
        assert answer.status == 400
        assert len(answer.notices) == 1
        assert "/remove" not in answer.text


async def test_a_webhook_that_has_given_up_says_why_and_can_be_tried_again(site: Site) -> None:
    database = site.services.database
    async with people.signed_in(site, Role.EDITOR, "eva") as eva:
        async with database.write() as tx:
            user_id = (await tx.execute(select(tables.user.c.id))).scalar_one()
            await saved_searches.add(tx, user_id, "cockpit", "http://hooks.example/")
        await site.ready({"en": "Cars"})
        await watcher.Watcher(site.services).compare()
        job = await jobs.claim(database, [webhooks.JOB], "test")
        assert job is not None
        await jobs.fail(database, job, "hooks.example answers 410; it is called again", retryable=False)
        page = (await eva.get("/saved-searches")).text
        assert "hooks.example answers 410" in page
        again = re.search(r'action="(/saved-searches/\d+/again)"', page)
        assert again is not None
        assert (await eva.post(again[1])).status == 303
        async with database.read() as connection:
            assert (await jobs.get(connection, job.id)).state is JobState.QUEUED
        assert "/again" not in (await eva.get("/saved-searches")).text


async def test_nobody_reaches_the_saved_searches_of_others(site: Site) -> None:
    async with people.signed_in(site, Role.EDITOR, "eva") as eva, people.signed_in(site, Role.ADMIN) as admin:
        await eva.post("/saved-searches", {"q": "battery"})
        removing = re.search(r'action="(/saved-searches/\d+/remove)"', (await eva.get("/saved-searches")).text)
        assert removing is not None
        assert "battery" not in (await admin.get("/saved-searches")).text
        assert (await admin.post(removing[1])).status == 404
        assert removing[1] in (await eva.get("/saved-searches")).text


async def test_the_glossary_pair_is_found_from_either_side(site: Site) -> None:
    lines = [draft(8_000, "我们的智能座舱可以理解两种语言。", "zh")]
    await site.ready({"zh": "对话"}, lines)
    async with site.services.database.write() as tx:
        term = {"term": "智能座舱", "lang": "zh", "means": {"en": "smart cockpit"}, "created_at": await now(tx)}
        await tx.execute(tables.glossary_term.insert().values(**term))
    await site.ready({"en": "Talk"}, [draft(12_000, "A smart cockpit is quiet.")])
    async with people.visitor(site) as nobody:
        for typed in ("smart cockpit", "智能座舱"):
            page = (await nobody.get("/search", params={"q": typed})).text
            assert "<mark>智能座舱</mark>" in page
            assert "<mark>smart cockpit</mark>" in page.replace("</mark> <mark>", " ")
        page = (await nobody.get('/search?q="smart cockpit"')).text
        assert "<mark>智能座舱</mark>" not in page
