"""A translation on the site: a track of the page, its captions, exports and search; and how to get one."""

from __future__ import annotations

import json

import aiohttp
import pytest
from sqlalchemy import select

from streamarchive import jobs
from streamarchive.catalogue import tables
from streamarchive.models import Role, Script, Stage
from tests import people
from tests.people import Client
from tests.site import Site, draft

TITLES = {"en": "Teaching cars to listen", "zh": "让汽车学会倾听"}
TRANSLATED = "Our intelligent cabin understands two languages."
SPOKEN = "我们的智能座舱可以理解两种语言。"


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def producer(site: Site):
    async with people.signed_in(site, Role.PRODUCER) as client:
        yield client


@pytest.fixture
async def talk(site: Site) -> str:
    interview_id = await site.ready(TITLES, languages=("zh", "en"))
    await site.translate(interview_id, [draft(8_000, TRANSLATED)])
    return interview_id


async def text_of(browser: aiohttp.ClientSession, url: str) -> str:
    async with browser.get(url) as response:
        assert response.status == 200
        return await response.text()


async def test_a_page_without_a_translation_offers_none(site: Site, browser):
    interview_id = await site.ready(TITLES)
    page = await text_of(browser, f"{site.url}/interviews/{interview_id}")
    assert 'class="tracks"' not in page
    assert page.count("<track ") == 1


async def test_the_page_shows_either_track_and_plays_both(site: Site, browser, talk: str):
    address = (await site.interview(talk)).address
    spoken = await text_of(browser, site.url + address)
    assert SPOKEN in spoken
    assert TRANSLATED not in spoken
    assert f'src="/interviews/{talk}/captions.vtt?track=en" srclang="en"' in spoken
    assert f'href="{address}?track=en#transcript"' in spoken
    english = await text_of(browser, f"{site.url}{address}?track=en")
    assert SPOKEN not in english
    assert TRANSLATED in english
    assert "Battery prices have fallen again this year." in english
    assert f'href="/interviews/{talk}/captions.srt?track=en"' in english
    assert f'href="{address}?track=en&amp;t=8"' in english
    unknown = await text_of(browser, f"{site.url}{address}?track=fr")
    assert SPOKEN in unknown


async def test_exports_and_lines_are_those_of_the_track(site: Site, browser, talk: str):
    base = f"{site.url}/interviews/{talk}"
    for path in ("captions.vtt", "captions.srt", "captions.txt", "captions.json", "lines.json"):
        assert SPOKEN in await text_of(browser, f"{base}/{path}")
        english = await text_of(browser, f"{base}/{path}?track=en")
        assert TRANSLATED in english
        assert SPOKEN not in english
    listed = json.loads(await text_of(browser, f"{site.url}/api/interviews/{talk}"))
    assert listed["translations"] == ["en"]
    transcript = json.loads(await text_of(browser, f"{site.url}/api/interviews/{talk}/transcript?track=en"))
    assert {cue["lang"] for cue in transcript["cues"]} == {"en"}


async def test_a_translated_moment_is_found_told_apart_and_opens_its_track(site: Site, browser, talk: str):
    found = json.loads(await text_of(browser, f"{site.url}/api/search?q=intelligent+cabin"))
    [hit] = found["hits"]
    assert (hit["text"], hit["translated"], hit["lang"]) == (TRANSLATED, True, "en")
    assert hit["url"].endswith("?track=en&t=8")
    page = await text_of(browser, f"{site.url}/search?q=intelligent+cabin")
    assert "translated by machine" in page
    assert "?track=en&amp;t=8" in page


async def open_jobs(site: Site) -> list[str]:
    async with site.services.database.read() as connection:
        rows = await connection.execute(select(tables.job.c.kind).where(tables.job.c.state == "queued"))
        return sorted(rows.scalars())


async def test_a_pass_is_asked_for_on_the_desk_once(site: Site, producer: Client, talk: str):
    for kind in ("translate", "again", "translate"):
        answer = await producer.post(f"/desk/{talk}/transcript/pass", {"pass": kind})
        assert answer.status == 303
    assert await open_jobs(site) == ["transcribe", "translate"]
    async with site.services.database.write() as tx:
        [transcribing] = (
            await jobs.newest(tx, "transcribe", [str((await site.interview(talk)).recording_id)])
        ).values()
        await jobs.cancel(tx, transcribing.id)
    assert (await site.interview(talk)).stage is Stage.READY  # it is read and played while it is translated
    assert (
        (await producer.get(answer.location.partition("#")[0]))
        .notices[0]
        .startswith("The recording is translated")
    )
    assert (await producer.post(f"/desk/{talk}/transcript/pass", {"pass": "sing"})).status == 400


async def test_there_is_nothing_to_translate_before_there_is_a_recording(site: Site, producer: Client):
    interview_id = await site.create(TITLES)
    assert (await producer.post(f"/desk/{interview_id}/transcript/pass", {"pass": "translate"})).status == 404
    assert await open_jobs(site) == []


async def test_why_there_is_no_translation_stands_on_the_desk(site: Site, producer: Client, talk: str):
    await producer.post(f"/desk/{talk}/transcript/pass", {"pass": "translate"})
    job = await jobs.claim(site.services.database, ["translate"], "test")
    await jobs.fail(site.services.database, job, "the model whisper-demo cannot translate: set …")
    assert "whisper-demo cannot translate: set …" in (await producer.get(f"/desk/{talk}/work")).text


async def test_how_it_is_transcribed_is_chosen_on_the_desk(site: Site, producer: Client, talk: str):
    form = {"script": "hant", "person_per_channel": "1"}
    assert (await producer.post(f"/desk/{talk}/transcript", form)).status == 303
    interview = await site.interview(talk)
    assert (interview.script, interview.person_per_channel) == (Script.TRADITIONAL, True)
    assert '<option value="hant" selected>' in (await producer.get(f"/desk/{talk}")).text
    assert (await producer.post(f"/desk/{talk}/transcript", {"script": "runes"})).status == 400
    assert (await site.interview(talk)).script is Script.TRADITIONAL


async def test_only_producers_ask_for_passes(site: Site, talk: str):
    async with people.signed_in(site, Role.EDITOR) as editor:
        assert (await editor.post(f"/desk/{talk}/transcript/pass", {"pass": "translate"})).status == 404
    assert await open_jobs(site) == []
