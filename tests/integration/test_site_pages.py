from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from sqlalchemy import text

from streamarchive import jobs
from streamarchive.catalogue import captioning, interviews
from streamarchive.models import Role, RunStage, Visibility
from tests import people
from tests.site import LENGTH_MS, TALK, draft, open_site

TITLES = {"en": "Teaching cars to listen", "zh": "让汽车学会倾听"}


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def text_of(browser, url, status=200, **options):
    async with browser.get(url, **options) as response:
        body = await response.text()
        assert response.status == status, body[:500]
        return body


async def json_of(browser, url, **options):
    return json.loads(await text_of(browser, url, **options))


async def test_an_empty_archive_says_what_to_do_next(site, browser):
    assert "Nothing here yet" in await text_of(browser, site.url)


async def test_home_shows_what_is_on_air_what_comes_and_what_there_is(site, browser):
    await site.ready(TITLES)
    await site.create({"en": "Tomorrow"}, held_at=datetime.now(UTC) + timedelta(days=1))
    broadcast = await site.go_live({"en": "Right now"})
    await broadcast.add_segments(1)
    await broadcast.say(draft(0, "Good morning from Beijing."))
    page = await text_of(browser, site.url)
    assert page.index("Right now") < page.index("Tomorrow") < page.index("Teaching cars to listen")
    assert "Good morning from Beijing." in page


async def test_pages_speak_the_language_of_the_browser_or_the_one_chosen(site, browser):
    await site.ready(TITLES)
    chinese = await text_of(browser, site.url, headers={"Accept-Language": "zh-CN"})
    assert '<html lang="zh-Hans">' in chinese
    assert "最新访谈" in chinese
    assert "让汽车学会倾听" in chinese
    form = {"language": "zh", "next": "/search?q=x"}
    async with browser.post(f"{site.url}/language", data=form) as response:
        assert str(response.url) == f"{site.url}/search?q=x"
        assert '<html lang="zh-Hans">' in await response.text()


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b"]
)
async def test_choosing_a_language_leads_nowhere_else(site, browser, target):
    form = {"language": "zh", "next": target}
    async with browser.post(f"{site.url}/language", data=form, allow_redirects=False) as response:
        assert response.headers["Location"] == "/"


async def test_a_form_of_another_site_is_refused(site, browser):
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        async with browser.post(f"{site.url}/language", data={"language": "zh"}, headers=headers) as response:
            assert response.status == 403


async def test_the_interview_page_has_player_lines_and_downloads(site, browser):
    interview_id = await site.ready(TITLES, note="Demo recogniser of 800 words.")
    page = await text_of(browser, f"{site.url}/interviews/{interview_id}?t=8.2")
    assert f"/interviews/{interview_id}/media.mp4?v=" in page
    assert "#t=8.2" in page
    assert "So who writes the software &lt;today&gt; &amp; tomorrow?" in page
    assert 'lang="zh-Hans">我们的智能座舱可以理解两种语言。' in page
    assert "Demo recogniser of 800 words." in page
    assert len(re.findall(r'aria-current="true"', page)) == 1
    for suffix in ("vtt", "srt", "txt", "json"):
        assert f"captions.{suffix}" in page


async def test_an_old_or_missing_slug_leads_to_the_address(site, browser):
    interview_id = await site.ready(TITLES)
    async with site.services.database.write() as tx:
        await interviews.set_titles(tx, interview_id, {"en": "A new name"})
    for slug in ("", "-teaching-cars-to-listen", "-nonsense"):
        async with browser.get(f"{site.url}/interviews/{interview_id}{slug}?t=5") as response:
            assert str(response.url) == f"{site.url}/interviews/{interview_id}-a-new-name?t=5"


async def test_the_stages_of_a_broadcast(site, browser):
    broadcast = await site.go_live(TITLES)
    url = f"{site.url}/interviews/{broadcast.interview_id}"
    assert "Listening." in await text_of(browser, url)
    await broadcast.add_segments(2)
    await broadcast.say(TALK[0])
    await broadcast.interrupt()
    await broadcast.add_segments(2)
    live = await text_of(browser, url)
    assert 'data-stage="live"' in live
    assert "Welcome back to the show floor" in live
    assert "The recording was interrupted for" in live
    assert "playlist.m3u8" in live
    await broadcast.end()
    async with site.services.database.write() as tx:
        await jobs.enqueue(
            tx, "transcribe", f"recording:{broadcast.recording_id}", recording_id=broadcast.recording_id
        )
    processing = await text_of(browser, url)
    assert 'data-stage="processing"' in processing
    assert "Transcription" in processing
    assert "playlist.m3u8" in processing  # until the file is made, the segments can be played


async def test_what_went_wrong_is_told_plainly(site, browser):
    broadcast = await site.go_live(TITLES)
    await broadcast.add_segments(1)
    await broadcast.end()
    async with site.services.database.write() as tx:
        await jobs.enqueue(tx, "transcribe", "x", recording_id=broadcast.recording_id, max_attempts=1)
    job = await jobs.claim(site.services.database, ["transcribe"], "test")
    await jobs.fail(site.services.database, job, "there is no model /models/big.pt", retryable=False)
    page = await text_of(browser, f"{site.url}/interviews/{broadcast.interview_id}")
    assert "Transcription has stopped: there is no model /models/big.pt" in page


async def test_a_scheduled_interview_counts_down(site, browser):
    interview_id = await site.create(TITLES, held_at=datetime.now(UTC) + timedelta(hours=1))
    page = await text_of(browser, f"{site.url}/interviews/{interview_id}")
    assert "data-countdown=" in page
    assert "has not begun yet" in page


async def test_exports_have_their_types_and_the_documented_shape(site, browser):
    interview_id = await site.ready(TITLES)
    base = f"{site.url}/interviews/{interview_id}/captions."
    types = {"vtt": "text/vtt", "srt": "application/x-subrip", "txt": "text/plain", "json": "application/json"}
    for suffix, media_type in types.items():
        async with browser.get(base + suffix) as response:
            assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
            assert "智能座舱" in await response.text()
    values = await json_of(browser, base + "json")
    assert (values["language"], values["duration_ms"], len(values["cues"])) == ("en", LENGTH_MS, len(TALK))
    assert set(values["cues"][0]) >= {"start_ms", "end_ms", "text", "lang", "words"}


async def test_only_what_lies_between_in_and_out_point_is_shown(site, browser):
    interview_id = await site.ready(TITLES)
    async with site.services.database.write() as tx:
        await interviews.cut(tx, interview_id, 7_900, 15_900)
    values = await json_of(browser, f"{site.url}/interviews/{interview_id}/captions.json")
    assert [cue["start_ms"] for cue in values["cues"]] == [8_000, 12_000]
    page = await text_of(browser, f"{site.url}/interviews/{interview_id}")
    assert "Welcome back" not in page


async def test_search_leads_to_the_second_and_marks_the_words(site, browser):
    interview_id = await site.ready(TITLES)
    page = await text_of(browser, f"{site.url}/search?q=智能座舱")
    address = (await site.interview(interview_id)).address
    assert f'href="{address}?t=8"' in page
    assert "<mark>智能座舱</mark>" in page
    assert "1 interview · 1 moment" in page


async def test_a_live_hit_says_how_long_ago_it_was_said(site, browser):
    broadcast = await site.go_live({"en": "Right now"})
    await broadcast.add_segments(5)
    await broadcast.say(draft(1_000, "The zeppelin has landed."))
    page = await text_of(browser, f"{site.url}/search?q=zeppelin")
    assert re.search(r"on air, \d+ s ago", page)


async def test_search_says_what_it_left_out_and_when_nothing_is_found(site, browser):
    await site.ready(TITLES)
    page = await text_of(browser, f"{site.url}/search?q=zeppelin+lang:!!")
    assert "Nothing found for" in page
    assert "Not understood, so left out:" in page
    assert "<code>lang:!!</code>" in page


async def test_search_text_is_never_markup(site, browser):
    page = await text_of(browser, f"{site.url}/search", params={"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in page


async def test_hits_read_as_the_transcript_does_now(site, browser):
    """The index may lag behind: what it proposes is read again from the catalogue."""
    interview_id = await site.ready(TITLES)
    interview = await site.interview(interview_id)
    await site.show(interview_id, Visibility.DRAFT)
    assert "<mark>" not in await text_of(browser, f"{site.url}/search?q=cockpit")
    await site.show(interview_id, Visibility.PUBLIC)
    from streamarchive.catalogue import transcripts

    async with site.services.database.write() as tx:
        run = await transcripts.begin_run(
            tx, interview.recording_id, RunStage.FINAL, engine="e", model="m", model_identity="2"
        )
        await transcripts.append(tx, run, [draft(0, "Everything is different.")], LENGTH_MS)
        await transcripts.adopt(tx, run)
    assert "<mark>" not in await text_of(browser, f"{site.url}/search?q=cockpit")


async def test_the_api_prints_what_the_command_line_prints(site, browser):
    interview_id = await site.ready(TITLES)
    address = (await site.interview(interview_id)).address
    found = await json_of(browser, f"{site.url}/api/search?q=cockpit")
    assert found["total"] == 1
    [hit] = found["hits"]
    printed = {
        "interview": address.rsplit("/", 1)[-1],
        "title": "Teaching cars to listen",
        "start_ms": 4_000,
        "end_ms": 7_800,
        "text": "The smart cockpit listens before it answers.",
        "url": f"http://archive.example{address}?t=4",
    }
    assert hit.items() >= printed.items()
    one = await json_of(browser, f"{site.url}/api/interviews/{interview_id}")
    assert (one["stage"], one["duration_ms"]) == ("ready", LENGTH_MS)
    everything = await json_of(browser, f"{site.url}/api/interviews")
    assert [item["id"] for item in everything["interviews"]] == [interview_id]
    transcript = await json_of(browser, f"{site.url}/api/interviews/{interview_id}/transcript")
    assert len(transcript["cues"]) == len(TALK)


@pytest.mark.parametrize("path", ["/api/search", "/api/search?q=x&limit=many", "/api/interviews?offset=-1"])
async def test_the_api_refuses_nonsense_in_one_sentence(site, browser, path):
    async with browser.get(site.url + path) as response:
        assert response.status == 400
        assert set(await response.json()) == {"error"}


@pytest.mark.parametrize(
    "path", ["/nope", "/interviews/nope", "/interviews/0000000000", "/static/000000000000/../app.py"]
)
async def test_what_is_not_there_is_a_page_that_leads_on(site, browser, path):
    assert "There is nothing at this address" in await text_of(browser, site.url + path, status=404)


async def test_every_answer_carries_safe_headers(site, browser):
    interview_id = await site.ready(TITLES)
    for path in (
        "/",
        "/nope",
        f"/interviews/{interview_id}/media.mp4",
        f"/interviews/{interview_id}/captions.vtt",
        "/api/search",
    ):
        async with browser.get(site.url + path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "same-origin"
            assert response.headers["Server"] == "StreamArchive"


async def test_pages_hold_no_inline_script_or_style(site, browser):
    interview_id = await site.ready(TITLES)
    broadcast = await site.go_live({"en": "Right now"})
    for path in (
        "/",
        "/search?q=cockpit",
        f"/interviews/{interview_id}",
        f"/interviews/{broadcast.interview_id}",
        "/x",
    ):
        async with browser.get(site.url + path) as response:
            page = await response.text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", page), path


async def test_static_files_may_be_kept_for_ever_and_pages_are_asked_for_again(site, browser):
    page = await text_of(browser, site.url)
    style = re.search(r'href="(/static/[^"]+\.css)"', page)[1]
    async with browser.get(site.url + style) as response:
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.content_type == "text/css"
    async with browser.get(site.url) as response:
        tag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "private, no-cache"
    async with browser.get(site.url, headers={"If-None-Match": tag}) as response:
        assert response.status == 304


async def test_health(site, browser):
    assert (await json_of(browser, f"{site.url}/healthz"))["ok"]
    ready = await json_of(browser, f"{site.url}/readyz")
    assert ready.pop("disk") in {"enough", "low", "full"}  # whatever this machine's has
    assert ready == {"ok": True, "database": "ok", "search": "ok"}


async def test_while_the_index_is_away_titles_answer_and_the_page_says_so(media, tmp_path, browser):
    """Nobody listens at this address: the client of a real server cannot reach it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with open_site(tmp_path, media, search=address) as site:
            await site.create({"en": "A zeppelin over Beijing"})
            await site.create({"en": "Something else"})
            page = await text_of(browser, f"{site.url}/search?q=zeppelin")
            assert "The search index is away at the moment" in page
            assert "A zeppelin over Beijing" in page
            assert "Something else" not in page
            values = await json_of(browser, f"{site.url}/api/search?q=zeppelin")
            assert values["index_away"] is True
            assert "A zeppelin over Beijing" in await text_of(browser, site.url)
            ready = await json_of(browser, f"{site.url}/readyz")
            assert ready["ok"]
            assert address in ready["search"]
            passed_on = await json_of(browser, f"{site.url}/readyz", headers={"X-Forwarded-For": "203.0.113.9"})
            assert (passed_on["ok"], passed_on["search"]) == (True, "away")


async def test_what_fails_inside_is_told_to_people_with_an_account_only(site, browser):
    async with site.services.database.write() as tx:
        await tx.execute(text("DROP TABLE glossary_term"))
    address = "/api/suggestions?q=battery"
    failed = json.loads(await text_of(browser, f"{site.url}{address}", status=503))
    assert failed == {"error": "Something went wrong here."}
    async with people.signed_in(site, Role.EDITOR) as editor:
        answer = await editor.get(address)
        assert answer.status == 503
        assert "the catalogue sqlite:" in json.loads(answer.text)["error"]


async def test_a_page_says_how_late_captions_are_and_where_there_are_none(site, browser):
    broadcast = await site.go_live({"en": "Now"})
    await broadcast.add_segments(2)
    await broadcast.say(draft(0, "Good morning from Beijing."))
    url = f"{site.url}{(await site.interview(broadcast.interview_id)).address}"
    async with site.services.database.write() as tx:
        await captioning.report(tx, broadcast.recording_id, lag_ms=12_345, rung=3)
        await captioning.skip(tx, broadcast.recording_id, 2_000, 34_000)
    page = await text_of(browser, url)
    assert "The captions are 10 s behind. What is left out follows after the broadcast." in page
    assert "Not captioned live: 32 s. The text follows after the broadcast." in page
    assert "字幕落后 10 秒" in await text_of(browser, url, headers={"Accept-Language": "zh-CN"})
    assert "Not captioned" not in await text_of(browser, url.replace("now", "").rstrip("-") + "/captions.vtt")
    async with site.services.database.write() as tx:
        await captioning.report(tx, broadcast.recording_id, problem="there is no model /srv/secret.pt")
    page = await text_of(browser, url)
    assert "There are no live captions at the moment." in page
    assert "secret" not in page


async def test_monitoring_learns_how_captions_fare_and_nothing_goes_through_a_proxy(site, browser):
    broadcast = await site.go_live({"en": "Now"})
    async with site.services.database.write() as tx:
        await captioning.report(tx, broadcast.recording_id, lag_ms=12_345, rung=2)
        await captioning.skip(tx, broadcast.recording_id, 2_000, 34_000)
    metrics = await text_of(browser, f"{site.url}/metrics")
    label = f'{{recording="{broadcast.recording_id}"}}'
    for line in (
        "streamarchive_recordings_on_air 1.0",
        f"streamarchive_captions_lag_seconds{label} 12.345",
        f"streamarchive_captions_rung{label} 2.0",
        f"streamarchive_captions_skipped_seconds{label} 32.0",
        f"streamarchive_captions_failing{label} 0.0",
    ):
        assert line in metrics
    for proxy in ({"X-Forwarded-For": "203.0.113.9"}, {"Via": "1.1 front"}, {"X-Forwarded-Proto": "https"}):
        await text_of(browser, f"{site.url}/metrics", status=404, headers=proxy)
