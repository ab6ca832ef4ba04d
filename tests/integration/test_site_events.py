from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from sqlalchemy import text

from streamarchive import jobs
from streamarchive.catalogue import captioning, changes, interviews
from streamarchive.errors import DatabaseUnavailableError
from streamarchive.models import AssetKind
from tests.site import TALK, draft
from tests.waiting import PATIENCE, until_async
from web import events
from web.access import Asker, Visit
from web.keys import HUB, RENDERER

WAIT_SECONDS = 10 * PATIENCE


class Stream:
    """An event stream as a browser reads it."""

    def __init__(self, response):
        self.response = response
        self.last_id = None

    async def next(self, *wanted):
        """The data of the next event of these kinds."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                block = (await self.response.content.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in block.strip().splitlines() if ": " in line)
                self.last_id = fields.get("id", self.last_id)
                if fields.get("event") in wanted:
                    return json.loads(fields["data"])


@asynccontextmanager
async def listening(site, interview_id, after=None, last_event_id=None, **headers):
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    query = "" if after is None else f"?after={after}"
    url = f"{site.url}/interviews/{interview_id}/events{query}"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        assert response.status == 200
        stream = Stream(response)
        await stream.next("hello")
        yield stream


async def newest(site):
    async with site.services.database.read() as connection:
        return await changes.newest_id(connection)


@pytest.fixture
async def broadcast(site):
    on_air = await site.go_live({"en": "On air"})
    await on_air.add_segments(1)
    return on_air


async def test_what_is_said_reaches_open_pages(site, broadcast):
    async with listening(site, broadcast.interview_id) as stream:
        await broadcast.say(TALK[0])
        lines = await stream.next("lines")
    assert [line["text"] for line in lines["added"]] == [TALK[0].text]
    assert lines["removed"] == []


async def test_what_may_still_change_reaches_open_pages_of_that_part_only(site, broadcast):
    async def say(text, start_ms):
        said = {"text": text, "lang": "en", "certain": 3, "start_ms": start_ms}
        async with site.services.database.write() as tx:
            await captioning.say(tx, broadcast.recording_id, said)
        return said

    async with site.services.database.write() as tx:
        await interviews.cut(tx, broadcast.interview_id, 10_000, None)
    async with listening(site, broadcast.interview_id) as stream:
        await say("What the guests say before it begins.", 9_000)
        shown = await say("Welcome to", 10_000)
        assert await stream.next("said") == shown
        over = await say("", 0)
        assert await stream.next("said") == over


async def test_pages_learn_how_late_captions_are_and_what_they_have_left_out(site, broadcast):
    async with listening(site, broadcast.interview_id) as stream:
        async with site.services.database.write() as tx:
            await captioning.report(tx, broadcast.recording_id, lag_ms=32_000, rung=3)
        assert (await stream.next("state"))["captions"].startswith(
            "The captions are 30 s behind. What is left out"
        )
        async with site.services.database.write() as tx:
            await captioning.skip(tx, broadcast.recording_id, 1_000, 33_000)
        skip = await stream.next("skip")
        assert (skip["start_ms"], skip["end_ms"], skip["skipped"]) == (1_000, 33_000, True)
        async with site.services.database.write() as tx:
            await captioning.report(tx, broadcast.recording_id, problem="/srv/model.pt is missing")
        assert (await stream.next("state"))["captions"].startswith("There are no live captions at the moment.")


async def test_a_page_gets_what_happened_while_it_was_loading(site, broadcast):
    seen = await newest(site)
    await broadcast.say(TALK[0])
    await broadcast.say(TALK[1])
    async with listening(site, broadcast.interview_id, after=seen) as stream:
        lines = await stream.next("lines")
    assert [line["text"] for line in lines["added"]] == [TALK[0].text, TALK[1].text]


async def test_a_page_that_comes_back_misses_nothing_and_sees_nothing_twice(site, broadcast):
    async with listening(site, broadcast.interview_id) as stream:
        await broadcast.say(TALK[0])
        await stream.next("lines")
        last_id = stream.last_id
    await broadcast.say(TALK[1])
    async with listening(site, broadcast.interview_id, after=0, last_event_id=last_id) as stream:
        lines = await stream.next("lines")
        assert [line["text"] for line in lines["added"]] == [TALK[1].text]
        await broadcast.say(TALK[3])
        assert [line["text"] for line in (await stream.next("lines"))["added"]] == [TALK[3].text]


@pytest.mark.parametrize("unknown", ["999999999", "0"])
async def test_an_unknown_or_forgotten_position_is_answered_with_reset(site, broadcast, unknown):
    async with site.services.database.write() as tx:
        await changes.prune(tx, keep=1)
    async with listening(site, broadcast.interview_id, last_event_id=unknown) as stream:
        await stream.next("reset")
        await broadcast.say(TALK[0])
        assert (await stream.next("lines"))["added"]


async def test_pages_hear_of_their_own_interview_only(site, broadcast):
    other = await site.go_live({"en": "Another"})
    async with listening(site, broadcast.interview_id) as stream:
        await other.say(draft(0, "Not for you."))
        await broadcast.say(draft(0, "For you."))
        assert [line["text"] for line in (await stream.next("lines"))["added"]] == ["For you."]


async def test_a_gap_appears_its_length_follows_and_it_goes_when_it_is_filled(site, broadcast):
    async with listening(site, broadcast.interview_id) as stream:
        await broadcast.interrupt()
        [gap] = (await stream.next("gaps"))["gaps"]
        assert gap["start_ms"] == 2_000
        assert "the recorder was stopped" in gap["text"]
        await broadcast.add_segments(1)
        [again] = (await stream.next("gaps"))["gaps"]
        assert again["key"] == gap["key"]
        assert again["text"] != gap["text"]
        await broadcast.interrupt()
        assert len((await stream.next("gaps"))["gaps"]) == 2
        await broadcast.add_segments(1, joined=True)
        assert (await stream.next("gaps"))["gaps"] == [again]


async def test_the_page_follows_from_live_to_the_finished_file(site, broadcast):
    async with listening(site, broadcast.interview_id) as stream:
        await broadcast.end()
        async with site.services.database.write() as tx:
            await jobs.enqueue(tx, "finalise", "x", recording_id=broadcast.recording_id)

        async def state(kind, stage):
            while (found := await stream.next("state"))["stage"] != stage or found["player"]["kind"] != kind:
                pass
            return found

        processing = await state("hls", "processing")
        assert processing["work"][0]["label"] == "Making the recording"
        job = await jobs.claim(site.services.database, ["finalise"], "test")
        await site.put_asset(broadcast.recording_id, AssetKind.MP4)
        async with site.services.database.write() as tx:
            await jobs.finish(tx, job)
        ready = await state("file", "ready")
        assert "/media.mp4?v=" in ready["player"]["url"]
        assert ready["work"] == []


async def test_states_are_worded_in_the_language_of_each_page(site, broadcast):
    async with listening(site, broadcast.interview_id, **{"Accept-Language": "zh"}) as stream:
        async with site.services.database.write() as tx:
            await jobs.enqueue(tx, "transcribe", "x", recording_id=broadcast.recording_id)
        assert (await stream.next("state"))["work"][0]["label"] == "转写"


async def test_a_replaced_transcript_is_read_anew(site, broadcast):
    await broadcast.say(TALK[0])
    async with listening(site, broadcast.interview_id) as stream:
        await site.transcribe(broadcast.recording_id, TALK[:3])
        await stream.next("whole")
    url = f"{site.url}/interviews/{broadcast.interview_id}/lines.json"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        values = await response.json()
    assert [line["text"] for line in values["lines"]] == [line.text for line in TALK[:3]]


async def test_nothing_is_tailed_while_no_page_is_open(site, broadcast):
    hub = site.app[HUB]
    async with listening(site, broadcast.interview_id):
        assert hub.is_tailing

    async def idle():
        return not hub.is_tailing

    await until_async(idle, "the tail to end")


async def test_what_is_told_while_the_catalogue_goes_away_is_told_when_it_is_back(site, broadcast, monkeypatch):
    """Else a page would play on what is withheld by now."""
    monkeypatch.setattr(events, "_RETRY_SECONDS", 0.1)
    read, asked = events._messages, []

    async def away_once(*arguments):
        asked.append(arguments)
        if len(asked) == 1:
            raise DatabaseUnavailableError("the server closed the connection unexpectedly")
        return await read(*arguments)

    monkeypatch.setattr(events, "_messages", away_once)
    async with listening(site, broadcast.interview_id) as stream:
        async with site.services.database.write() as tx:
            await changes.publish(tx, "withheld", broadcast.interview_id)
        await stream.next("withheld")


async def test_what_cannot_be_read_at_the_moment_is_told_later(site, broadcast, monkeypatch):
    read, failed = events._messages, []

    async def fail_once(connection, *arguments):
        if not failed:
            failed.append(True)
            await connection.execute(text("SELECT * FROM a_table_that_is_away"))
        return await read(connection, *arguments)

    async def has_failed():
        return bool(failed)

    monkeypatch.setattr(events, "_messages", fail_once)
    async with listening(site, broadcast.interview_id) as stream:
        await broadcast.say(TALK[0])
        await until_async(has_failed, "the tail to fail")
        lines = await stream.next("lines")
    assert [line["text"] for line in lines["added"]] == [TALK[0].text]


async def test_a_page_that_is_cut_off_between_two_messages_of_a_moment_gets_both_again(site, broadcast):
    """It lags so far behind that the second has no room."""
    hub, before = site.app[HUB], await newest(site)
    async with hub.open_page(
        broadcast.interview_id, Visit(Asker(), site.app[RENDERER].languages["en"]), None
    ) as page:
        for _ in range(events._QUEUE - 2):
            page.put(events.Message(before, "media", {"duration_ms": 0}))
        async with site.services.database.write() as tx:
            await changes.publish(tx, "cues", broadcast.interview_id, {"whole": True})
            await changes.publish(tx, "interview", broadcast.interview_id)

        async def is_cut_off():
            return page.closed

        await until_async(is_cut_off, "the page to be cut off")
        got = [message async for message in page.messages()]
    assert got[-1].event == "whole"
    seen = max(message.id for message in got if message.id is not None)
    async with listening(site, broadcast.interview_id, last_event_id=str(seen)) as stream:
        await stream.next("state")


async def test_twenty_pages_all_hear_it(site, broadcast):
    async def hear():
        async with listening(site, broadcast.interview_id) as stream:
            ready.release()
            return (await stream.next("lines"))["added"][0]["text"]

    ready = asyncio.Semaphore(0)
    pages = [asyncio.create_task(hear()) for _ in range(20)]
    for _ in pages:
        await ready.acquire()
    await broadcast.say(TALK[0])
    assert await asyncio.gather(*pages) == [TALK[0].text] * 20
