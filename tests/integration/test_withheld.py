"""A withheld part, asked for at every address of the site."""

from __future__ import annotations

import asyncio
import re
import time

import aiohttp
import pytest
from sqlalchemy import select

from streamarchive import jobs, withholding
from streamarchive.catalogue import captioning, changes, corrections, interviews, tables, transcripts, withheld
from streamarchive.models import AssetKind, InterviewId, JobState, Role
from tests import people
from tests.site import SEGMENT_MS, draft
from tests.waiting import PATIENCE, until_async
from web.routes import ROUTES
from workers.indexer import drain

ASKED, CANARY = "zeppelin", "heliotrope"
"""The pages repeat what is asked for; what stands beside it in the lines is what must not be told."""
SAID = f"{ASKED} {CANARY}"
SOON_S = 2.0
"""What is withheld is away everywhere within this time."""

TEXT = {
    "/": "/",
    "/search": f"/search?q={ASKED}",
    "/search/facets": f"/search/facets?q={ASKED}",
    "/search.atom": f"/search.atom?q={ASKED}",
    "/api/search": f"/api/search?q={ASKED}",
    "/api/search/facets": f"/api/search/facets?q={ASKED}",
    "/api/suggestions": f"/api/suggestions?q={ASKED}",
    "/interviews/{reference}": "{address}",
    "/interviews/{id:[0-9a-z]{10}}/lines.json": "{base}/lines.json",
    "/interviews/{id:[0-9a-z]{10}}/captions.{format:vtt|srt|txt|json}": "{base}/captions.{format}",
    "/interviews/{id:[0-9a-z]{10}}/events": "{base}/events?after=0",
    "/api/interviews/{id:[0-9a-z]{10}}/transcript": "/api{base}/transcript",
}
"""Addresses that tell words."""
FACETS = "/search/facets", "/api/search/facets"
MEDIA = {
    "/interviews/{id:[0-9a-z]{10}}/playlist.m3u8",
    r"/interviews/{id:[0-9a-z]{10}}/segments/{sequence:\d{1,9}}-{ms:\d{1,12}}-{pts:\d{1,10}}.ts",
    "/interviews/{id:[0-9a-z]{10}}/{name:media.mp4|media.m4a|original|thumbnails.jpg|peaks.dat}",
    "/interviews/{id:[0-9a-z]{10}}/poster.jpg",
    "/interviews/{id:[0-9a-z]{10}}/thumbnails.vtt",
}
"""Addresses that give picture and sound."""
NEITHER = {
    "/api/interviews",
    "/api/interviews/{id:[0-9a-z]{10}}",
    "/sign-in",
    "/healthz",
    "/readyz",
    "/metrics",
    "/static/{version:[0-9a-f]{12}}/{name:.+}",
}
FILES = ("media.mp4", "media.m4a", "original", "poster.jpg", "thumbnails.jpg", "thumbnails.vtt", "peaks.dat")


def test_every_address_is_known_for_what_it_gives():
    """A new route has to say here whether it tells words, gives media, or neither."""
    asked = {route.path for route in ROUTES if route.method == "GET" and route.role is Role.VIEWER}
    assert asked == {*TEXT, *MEDIA, *NEITHER}


@pytest.fixture
async def viewer():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def producer(site):
    async with people.signed_in(site, Role.PRODUCER) as client:
        yield client


async def broadcast_with_canary(site):
    """Sixteen seconds on air; what must not be told is said from 4 to 12."""
    broadcast = await site.go_live({"en": "A talk"})
    await broadcast.add_segments(8)
    await broadcast.say(
        draft(0, "Good morning everybody."),
        *(draft(at, f"{SAID}, number {at}.", speaker=f"{CANARY} {at}") for at in (4_000, 6_000, 8_000)),
    )
    await site.suggester.matching(ASKED, Role.VIEWER)
    await site.suggester.settled()
    return broadcast


def addresses(interview):
    base = f"/interviews/{interview.id}"
    for path in TEXT.values():
        for written in ("vtt", "srt", "txt", "json") if "{format}" in path else ("",):
            yield path.format(base=base, address=interview.address, format=written)


async def told(viewer, site, path):
    """What this address answers; of an event stream, what it sends up to a change that is made now."""
    async with viewer.get(site.url + path) as response:
        if "/events" not in path:
            return await response.text()
        async with site.services.database.write() as tx:
            await changes.publish(tx, "interview", InterviewId(path.split("/")[2]))
        async with site.services.database.read() as connection:
            newest = await changes.newest_id(connection)
        sent = b""
        async with asyncio.timeout(30 * PATIENCE):
            while not any(int(seen) >= newest for seen in re.findall(rb"^id: *(\d+)", sent, re.MULTILINE)):
                sent += await response.content.readany()
        return sent.decode()


async def telling(viewer, site, interview):
    """Which addresses tell the word."""
    asked = list(addresses(interview))
    answers = await asyncio.gather(*(told(viewer, site, path) for path in asked))
    return {path for path, answer in zip(asked, answers, strict=True) if CANARY in answer}


async def status(viewer, site, path):
    async with viewer.get(site.url + path) as response:
        return response.status


async def files_given(viewer, site, interview):
    given = [name for name in FILES if await status(viewer, site, f"/interviews/{interview.id}/{name}") == 200]
    return set(given)


async def segments_given(viewer, site, interview, count):
    """By guessing their addresses."""
    base = f"/interviews/{interview.id}/segments"
    return [
        number
        for number in range(count)
        if await status(viewer, site, f"{base}/{number}-{number * SEGMENT_MS}-0.ts") == 200
    ]


async def withhold(producer, interview, **form):
    answer = await producer.post(f"/desk/{interview.id}/withheld", form)
    assert (answer.status, answer.location) == (303, f"/desk/{interview.id}?done=withheld#withheld"), (
        answer.notices
    )


async def lift(site, producer, interview):
    async with site.services.database.read() as connection:
        [held] = [r for r in await withheld.of_recording(connection, interview.recording_id) if r.holds]
    answer = await producer.post(f"/desk/{interview.id}/withheld/{held.id}/lift")
    assert answer.status == 303, answer.notices


async def test_no_address_tells_or_gives_it_within_two_seconds_though_the_index_lags(site, viewer, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    before = await telling(viewer, site, interview)
    assert before == set(addresses(interview))
    [events] = [path for path in before if "/events" in path]
    began = time.monotonic()
    await withhold(producer, interview, **{"from": "0:05", "to": "0:11", "reason": "slander"})
    assert time.monotonic() - began < SOON_S * PATIENCE
    # From then on each first answer is without it. The index has not learned of it: nobody drains the outbox.
    assert await telling(viewer, site, interview) == set()
    assert await segments_given(viewer, site, interview, 8) == [0, 1, 6, 7]
    await drain(site.services)
    assert await telling(viewer, site, interview) == set()
    found = await told(viewer, site, f"/api/search?q={ASKED}")
    assert '"total": 0' in found or '"value": 0' in found, found
    playlist = await told(viewer, site, f"/interviews/{interview.id}/playlist.m3u8")
    assert playlist.count("#EXT-X-GAP") == 4
    assert playlist.count(".ts") == 8  # the media clock is as it was
    await lift(site, producer, interview)
    await drain(site.services)
    await site.suggester.matching(ASKED, Role.VIEWER)
    await site.suggester.settled()
    assert await telling(viewer, site, interview) >= before - {events}  # that is for pages that were open
    assert await segments_given(viewer, site, interview, 8) == list(range(8))


async def test_a_translation_does_not_tell_it_either(site, viewer, producer):
    talk = await site.ready({"en": "A talk"}, [draft(0, "第一句话。", "zh"), draft(4_000, "第二句话。", "zh")])
    await site.translate(talk, [draft(0, "The first sentence."), draft(4_500, f"The second: {SAID}.")])
    interview = await site.interview(talk)
    written = ("captions.vtt", "captions.srt", "captions.txt", "captions.json", "lines.json")
    paths = [interview.address, f"/api/interviews/{talk}/transcript"]
    paths = [f"{path}?track=en" for path in (*paths, *(f"/interviews/{talk}/{name}" for name in written))]
    paths += [f"/api/search?q={ASKED}", f"/search?q={ASKED}"]

    async def tell():
        return [path for path in paths if CANARY in await told(viewer, site, path)]

    assert await tell() == paths
    await withhold(producer, interview, **{"from": "0:05", "to": "0:06"})
    assert await tell() == []
    assert "The first sentence" in await told(viewer, site, paths[0])
    await lift(site, producer, interview)
    await drain(site.services)
    assert await tell() == paths


async def test_finished_files_are_refused_at_once_and_the_page_plays_the_playlist(site, viewer, producer):
    broadcast = await broadcast_with_canary(site)
    await broadcast.end()
    for kind in AssetKind:
        await site.put_asset(broadcast.recording_id, kind)
    interview = await site.interview(broadcast.interview_id)
    assert await files_given(viewer, site, interview) == set(FILES)
    assert "media.mp4" in await told(viewer, site, interview.address)
    await withhold(producer, interview, **{"from": "5", "to": "6"})
    assert await files_given(viewer, site, interview) == set()
    page = await told(viewer, site, interview.address)
    assert "playlist.m3u8" in page
    for name in FILES:
        assert name not in page
        assert name not in await told(viewer, site, "/")
        assert name not in await told(viewer, site, "/search?q=morning")
    refused = await told(viewer, site, f"/interviews/{interview.id}/media.mp4")
    assert "being made again" in refused
    async with site.services.database.read() as connection:
        kinds = [job.kind for job in await jobs.of_recording(connection, interview.recording_id)]
    assert kinds == ["finalise"]
    await lift(site, producer, interview)
    assert await files_given(viewer, site, interview) == set(FILES)


async def test_an_upload_plays_nothing_until_it_is_made_again(site, viewer, producer):
    interview = await site.interview(await site.ready({"en": "A file"}))
    await withhold(producer, interview, **{"from": "5", "to": "6"})
    page = await told(viewer, site, interview.address)
    assert "<video" not in page
    assert "There is no recording to play" in page


async def test_the_last_thirty_seconds_of_what_is_on_air(site, viewer, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    await withhold(producer, interview, last="30")
    assert await telling(viewer, site, interview) == set()
    assert await segments_given(viewer, site, interview, 8) == []
    await broadcast.interrupt()
    broadcast.picture = 0
    await broadcast.add_segments(15)  # the rest of those seconds, and what comes afterwards
    given = await segments_given(viewer, site, interview, 23)
    assert given
    assert given[-1] == 22
    assert min(given) >= 8
    await broadcast.end()
    refused = await producer.post(f"/desk/{interview.id}/withheld", {"last": "30"})
    assert refused.status == 400
    assert any("not on air" in notice for notice in refused.notices)


async def test_what_is_being_said_is_not_told(site, viewer, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    await withhold(producer, interview, **{"from": "14", "to": "20"})
    for start_ms, expected in ((13_000, False), (18_000, False), (21_000, True)):
        if start_ms > 20_000:
            await broadcast.add_segments(3)
        async with site.services.database.write() as tx:
            said = {"text": "just now", "lang": "en", "certain": 0, "start_ms": start_ms}
            await captioning.say(tx, broadcast.recording_id, said)
        sent = await told(viewer, site, f"/interviews/{interview.id}/events?after=0")
        assert ("just now" in sent) is expected, start_ms


async def test_an_open_page_hears_of_it_and_corrections_of_it_stay_with_editors(site, viewer, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    url = f"/interviews/{interview.id}/events"
    async with viewer.get(site.url + url) as response, producer.session.get(site.url + url) as staff:
        seen, theirs = bytearray(), bytearray()

        async def read(stream, into):
            async for chunk in stream.content.iter_any():
                into += chunk

        async def both(word):
            async def arrived():
                return word in seen and word in theirs

            await until_async(arrived, str(word))

        readers = [asyncio.create_task(read(response, seen)), asyncio.create_task(read(staff, theirs))]
        try:
            await both(b"event: hello")
            began = time.monotonic()
            await withhold(producer, interview, **{"from": "5", "to": "11"})
            await both(b"event: withheld")
            assert time.monotonic() - began < SOON_S * PATIENCE
            seen.clear()
            theirs.clear()
            async with site.services.database.write() as tx:
                cue = (await transcripts.of_recording(tx, broadcast.recording_id))[1]
                await corrections.edit(tx, cue.id, cue.revision, f"{CANARY} corrected", None)
            await both(b"event: lines")
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
    assert CANARY.encode() not in seen
    assert f"{CANARY} corrected".encode() in theirs


async def test_who_is_signed_in_sees_the_lines_marked_and_exports_are_without_them(site, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    await withhold(producer, interview, **{"from": "5", "to": "11"})
    page = (await producer.get(interview.address)).text
    marked = re.findall(r'<li class="line[^"]* withheld"', page)
    assert len(marked) == 3
    assert page.count('data-mark="Withheld"') == 3
    for written in ("vtt", "srt", "txt", "json"):
        assert CANARY not in (await producer.get(f"/interviews/{interview.id}/captions.{written}")).text
    assert (await producer.get(f"/interviews/{interview.id}/segments/3-6000-0.ts")).status == 404
    desk = (await producer.get(f"/desk/{interview.id}")).text
    assert "0:05 – 0:11" in desk
    assert "Delete it for good" not in desk


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"from": "x", "to": "5"}, "1:02:30.5"),
        ({"from": "", "to": "5"}, "where the part begins"),
        ({"from": "5", "to": "5"}, "after the beginning"),
        ({"from": "1:00:00", "to": "2:00:00"}, "does not reach"),
    ],
)
async def test_a_form_that_means_nothing_is_refused_and_kept(site, producer, form, sentence):
    broadcast = await broadcast_with_canary(site)
    answer = await producer.post(f"/desk/{broadcast.interview_id}/withheld", {**form, "reason": "because"})
    assert answer.status == 400
    assert any(sentence in notice for notice in answer.notices), answer.notices
    assert 'value="because"' in answer.text
    async with site.services.database.read() as connection:
        assert (await interviews.get(connection, broadcast.interview_id)).withheld == ()


async def test_every_step_is_in_the_audit_log_and_purging_is_for_admins(site, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    await withhold(producer, interview, **{"from": "5", "to": "11", "reason": "slander"})
    assert (await producer.post(f"/desk/{interview.id}/withheld/1/purge", {"sure": "1"})).status == 404
    await lift(site, producer, interview)
    async with site.services.database.read() as connection:
        rows = (await connection.execute(select(tables.audit).order_by(tables.audit.c.id))).all()
    deeds = [(row.action, row.details.get("from_ms")) for row in rows if row.action.startswith("range")]
    assert deeds == [("range withheld", 5_000), ("range lifted", 5_000)]


async def test_what_an_admin_has_had_deleted_for_good_cannot_be_cancelled(site, producer):
    broadcast = await broadcast_with_canary(site)
    interview = await site.interview(broadcast.interview_id)
    await broadcast.end()
    await withhold(producer, interview, **{"from": "5", "to": "11"})
    async with site.services.database.write() as tx:
        [held] = await withheld.of_recording(tx, interview.recording_id)
        await withholding.purge(tx, held.id)
        [job] = [job for job in await jobs.of_recording(tx, interview.recording_id) if job.kind == jobs.PURGE]
    assert f"/jobs/{job.id}/cancel" not in (await producer.get(f"/desk/{interview.id}")).text
    answer = await producer.post(f"/desk/{interview.id}/jobs/{job.id}/cancel")
    assert (answer.status, "cannot be cancelled" in answer.text) == (409, True)
    async with site.services.database.read() as connection:
        assert (await jobs.get(connection, job.id)).state is JobState.QUEUED
