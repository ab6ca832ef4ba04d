"""Pictures of the site: on air, along the seek bar; and what is said once segments are gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from streamarchive.catalogue import assets, interviews, media_segments, retention, withheld
from streamarchive.media import thumbnails
from streamarchive.media.loudness import Loudness
from streamarchive.models import AssetKind, Stretch, Visibility
from tests.site import LENGTH_MS
from web import live_pictures
from web.playlists import Recorded

JPEG = b"\xff\xd8\xff"


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession() as session:
        yield session


async def get(browser, url, **headers):
    async with browser.get(url, headers=headers) as response:
        return response.status, response.headers, await response.read()


async def test_an_interview_on_air_has_a_picture_of_just_now(site, browser, monkeypatch):
    monkeypatch.setattr(live_pictures, "FRESH_SECONDS", 0.0)
    broadcast = await site.go_live({"en": "On air"})
    url = f"{site.url}/interviews/{broadcast.interview_id}/poster.jpg"
    assert (await get(browser, url))[0] == 404
    assert b"poster.jpg" not in (await get(browser, site.url))[2]
    await broadcast.add_segments(1)
    status, headers, first = await get(browser, url)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert first.startswith(JPEG)
    assert (await get(browser, url, **{"If-None-Match": headers["ETag"]}))[0] == 304
    await broadcast.add_segments(1)
    status, later, second = await get(browser, url)
    assert second.startswith(JPEG)
    assert (later["ETag"], second) != (headers["ETag"], first)
    for page in ("/", f"/interviews/{broadcast.interview_id}"):
        assert b"/poster.jpg" in (await get(browser, site.url + page))[2], page


async def test_a_picture_is_kept_for_some_seconds_and_not_longer_than_it_is_shown(site, browser):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(1)
    url = f"{site.url}/interviews/{broadcast.interview_id}/poster.jpg"
    _, headers, _ = await get(browser, url)
    await broadcast.add_segments(2)
    assert (await get(browser, url))[1]["ETag"] == headers["ETag"], "made ten seconds ago at most"
    await site.show(broadcast.interview_id, Visibility.DRAFT)
    assert (await get(browser, url))[0] == 404


async def test_what_is_withheld_is_not_the_picture_of_an_interview_on_air(site, browser):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(3)
    url = f"{site.url}/interviews/{broadcast.interview_id}/poster.jpg"
    _, headers, _ = await get(browser, url)
    async with site.services.database.write() as tx:
        await withheld.withhold(tx, broadcast.recording_id, 4_500, 5_500)
    status, earlier, _ = await get(browser, url)
    assert status == 200
    assert earlier["ETag"] != headers["ETag"], "the newest is withheld: it is an earlier one"
    async with site.services.database.write() as tx:
        await withheld.withhold(tx, broadcast.recording_id, 0, 3_000)
    assert (await get(browser, url))[0] == 404


async def test_whoever_waits_for_a_picture_does_not_get_one_that_was_withheld_meanwhile(site, monkeypatch):
    """It is still being made for somebody who asked before."""
    begun, go_on, make_picture = asyncio.Event(), asyncio.Event(), live_pictures.first_picture

    async def slowly(segment):
        begun.set()
        await go_on.wait()
        return await make_picture(segment)

    monkeypatch.setattr(live_pictures, "first_picture", slowly)
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(2)
    async with site.services.database.read() as connection:
        segments = tuple(await media_segments.of_recording(connection, broadcast.recording_id))
    recorded = Recorded(broadcast.recording_id, segments=segments)
    interview = await site.interview(broadcast.interview_id)
    pictures = live_pictures.LivePictures(site.services.store)
    before = asyncio.create_task(pictures.of(interview, recorded))
    await begun.wait()
    withholding = replace(interview, withheld=(Stretch(0, 4_000),))
    afterwards = asyncio.create_task(pictures.of(withholding, recorded))
    await asyncio.sleep(0)  # it waits for the picture that is being made
    go_on.set()
    assert (await before)[0] == segments[-1].key
    assert await afterwards is None


async def with_products(site):
    """A finished interview with a strip and peaks (any bytes do: the site only gives them out)."""
    interview_id = await site.ready({"en": "A file"})
    recording_id = (await site.interview(interview_id)).recording_id
    strip = thumbnails.plan(LENGTH_MS, 640, 360)
    for kind, details in (
        (AssetKind.THUMBNAILS, strip.details()),
        (AssetKind.PEAKS, Loudness(-18.2, -1.5, 6.0).details()),
    ):
        stored = await site.keep(site.media.poster, "assets", ".jpg")
        async with site.services.database.write() as tx:
            await assets.put(tx, recording_id, kind, stored, "image/jpeg", "test", details=details)
    return interview_id, strip


async def test_the_map_of_thumbnails_leads_to_the_strip(site, browser):
    interview_id, strip = await with_products(site)
    base = f"{site.url}/interviews/{interview_id}"
    status, headers, text = await get(browser, f"{base}/thumbnails.vtt")
    assert (status, headers["Content-Type"]) == (200, "text/vtt; charset=utf-8")
    lines = text.decode().splitlines()
    cues = [line for line in lines if "#xywh=" in line]
    assert len(cues) == strip.count
    address = cues[0].partition("#")[0]
    assert (await get(browser, f"{base}/{address}"))[2].startswith(JPEG)
    assert (await get(browser, f"{base}/peaks.dat"))[0] == 200
    page = (await get(browser, base))[2].decode()
    assert f"/interviews/{interview_id}/thumbnails.vtt?v=" in page
    await site.show(interview_id, Visibility.DRAFT)
    for name in ("thumbnails.vtt", address, "peaks.dat", "poster.jpg"):
        assert (await get(browser, f"{base}/{name}"))[0] == 404, name


async def test_what_has_not_been_made_is_not_there(site, browser):
    interview_id = await site.ready({"en": "From long ago"})
    base = f"{site.url}/interviews/{interview_id}"
    for name in ("thumbnails.vtt", "thumbnails.jpg", "peaks.dat"):
        assert (await get(browser, f"{base}/{name}"))[0] == 404, name
    assert 'data-thumbnails="" data-peaks=""' in (await get(browser, base))[2].decode()


async def test_the_playlist_of_released_segments_says_where_the_broadcast_is_now(site, browser):
    broadcast = await site.go_live({"en": "Last week"})
    await broadcast.add_segments(2)
    await broadcast.end()
    await site.put_asset(broadcast.recording_id, AssetKind.MP4)
    base = f"{site.url}/interviews/{broadcast.interview_id}"
    assert (await get(browser, f"{base}/playlist.m3u8"))[0] == 200
    assert (await get(browser, f"{base}/segments/0-0-0.ts"))[0] == 200
    async with site.services.database.write() as tx:
        await retention.release(tx, broadcast.recording_id)
        assert await interviews.ids_of_recording(tx, broadcast.recording_id) == [broadcast.interview_id]
    status, _, said = await get(browser, f"{base}/playlist.m3u8")
    assert status == 410
    assert b"it is played from its file" in said
    assert (await get(browser, f"{base}/segments/0-0-0.ts"))[0] == 404
    assert (await get(browser, f"{base}/media.mp4"))[0] == 200
    assert b"media.mp4?v=" in (await get(browser, base))[2]


async def test_a_broadcast_without_segments_is_not_sent_to_its_playlist(site, browser):
    """Its file is being made again, as that of an upload: there is nothing to play, or what there is."""
    broadcast = await site.go_live({"en": "Last week"})
    await broadcast.add_segments(2)
    await broadcast.end()
    await site.put_asset(broadcast.recording_id, AssetKind.MP4)
    base = f"{site.url}/interviews/{broadcast.interview_id}"
    async with site.services.database.write() as tx:
        await retention.release(tx, broadcast.recording_id)
        found = await withheld.withhold(tx, broadcast.recording_id, 1_000, 2_000)
    page = (await get(browser, base))[2]
    assert b"There is no recording to play" in page
    assert b"playlist.m3u8" not in page
    async with site.services.database.write() as tx:
        stored = await site.keep(site.media.mp4, "assets", ".mp4")
        left = [Stretch(0, 1_000), Stretch(2_000, 4_000)]
        await assets.put(tx, broadcast.recording_id, AssetKind.MP4, stored, "video/mp4", "x", left)
        await withheld.lift(tx, found.id)
    assert b"media.mp4?v=" in (await get(browser, base))[2], "what lacks a part is better than nothing"
