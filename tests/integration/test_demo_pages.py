"""The demo's strip and its controls, over a real broadcaster; what only a browser shows is tested there."""

import aiohttp
import pytest
from aiohttp import web

from streamarchive.demo import director
from streamarchive.demo.control import BroadcasterClient
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests import services
from tests.broadcaster import BroadcasterProcess
from tests.waiting import PATIENCE, until
from web.app import create_app

SENTENCE = "en|The {part} is {adv} {adj} {conn} I {like} it."
CHOICES = [("choice", choice) for choice in ("horn", "very", "noisy", "but", "love")]


@pytest.fixture(scope="module")
def broadcaster(tmp_path_factory, ffmpeg):
    process = BroadcasterProcess(tmp_path_factory.mktemp("demo") / "broadcasts", services.free_port())
    until(process.status, "the broadcaster to answer")
    yield process
    process.close()


@pytest.fixture
async def visit(tmp_path, broadcaster, monkeypatch):
    """A visitor of the demo's site."""
    monkeypatch.setattr("streamarchive.demo.control._TIMEOUT", aiohttp.ClientTimeout(total=3 * PATIENCE))
    settings = Settings(data_dir=tmp_path / "archive", demo_control=broadcaster.address)
    async with open_services(settings) as opened:
        async with BroadcasterClient(broadcaster.address) as client:
            await director.put_on_air(opened.database, (await client.status()).on_air)
        runner = web.AppRunner(create_app(opened), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(address) as session:
            yield session
        await runner.cleanup()


async def text(response):
    return await response.text()


async def test_every_page_says_what_the_recogniser_is_and_offers_the_controls(visit):
    for path in ("/", "/search", "/search?q=battery", "/demo/say", "/no-such-page"):
        async with visit.get(path) as response:
            page = await text(response)
        assert "A demo recogniser of 514 English and 332 Mandarin synthetic words" in page
        for control in ("/demo/say", "/demo/kill-recorder", "/demo/end-broadcast"):
            assert control in page


async def test_a_filled_sentence_is_said_and_can_be_searched_for(visit, broadcaster):
    async with visit.post("/demo/say", data=[("sentence", SENTENCE), *CHOICES]) as response:
        assert response.status == 200
        page = await text(response)
    assert "The horn is very noisy but I love it." in page
    assert "/search?q=The+horn+is+very+noisy+but+I+love+it" in page

    until(
        lambda: [line for line in broadcaster.status()["sentences"] if line["requested"]],
        "the sentence to be said",
    )


@pytest.mark.parametrize(
    "fields",
    [
        [("sentence", "en|The {part} is on fire."), ("choice", "horn")],
        [("sentence", "en|What happened to the {part} {when}?"), ("choice", "horn"), ("choice", "at night")],
        [("sentence", SENTENCE), ("choice", "horn")],
        [("sentence", SENTENCE), ("choice", "<script>"), *CHOICES[1:]],
        [("sentence", "tlh|nuqneH")],
    ],
    ids=["unknown", "a question", "holes left", "foreign words", "another language"],
)
async def test_what_the_guest_cannot_say_is_refused_in_a_sentence(visit, fields):
    async with visit.post("/demo/say", data=fields) as response:
        assert response.status == 400
        assert "<script>" not in (await text(response)).replace('<script type="module"', "")


@pytest.mark.parametrize("path", ["/demo/say", "/demo/kill-recorder", "/demo/end-broadcast"])
async def test_forms_of_other_sites_are_refused(visit, broadcaster, path):
    before = broadcaster.status()["broadcast"]["id"]
    async with visit.post(path, headers={"Sec-Fetch-Site": "cross-site"}) as response:
        assert response.status == 403
    assert broadcaster.status()["broadcast"]["id"] == before


async def test_a_broadcast_is_ended_and_one_is_back_where_one_was(visit, broadcaster):
    before = broadcaster.status()["broadcast"]["id"]
    data = {"next": "/search?q=battery"}
    async with visit.post("/demo/end-broadcast", data=data, allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/search?q=battery"
    until(lambda: broadcaster.status()["broadcast"]["id"] != before, "the next broadcast")


async def test_nobody_is_led_to_another_site(visit):
    data = {"next": "//evil.example"}
    async with visit.post("/demo/end-broadcast", data=data, allow_redirects=False) as response:
        assert response.headers["Location"] == "/"


async def test_without_a_recorder_there_is_none_to_kill(visit):
    async with visit.post("/demo/kill-recorder") as response:
        assert response.status == 409
        assert "nothing is being recorded" in await text(response)


async def test_an_ordinary_site_has_no_such_pages(site):
    async with aiohttp.ClientSession(site.url) as session:
        for path in ("/demo/say", "/demo/status.json"):
            async with session.get(path) as response:
                assert response.status == 404
        async with session.get("/") as response:
            assert "demo" not in await text(response)


async def test_pages_go_on_while_the_broadcaster_is_away(visit, broadcaster):
    # The last test that needs it.
    broadcaster.process.kill()
    broadcaster.process.wait()
    async with visit.get("/") as response:
        assert response.status == 200
    async with visit.post("/demo/say", data=[("sentence", SENTENCE), *CHOICES]) as response:
        assert response.status == 503
        assert "does not answer" in await text(response)
