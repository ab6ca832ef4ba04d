from __future__ import annotations

import aiohttp
import pytest

from streamarchive.catalogue import cuts, interviews
from streamarchive.media.segments import read_times
from streamarchive.models import AssetKind, Visibility
from tests.site import SEGMENT_MS


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def file_url(site):
    interview_id = await site.ready({"en": "A file"})
    return f"{site.url}/interviews/{interview_id}/media.mp4"


@pytest.fixture
def content(media):
    return media.mp4.read_bytes()


async def test_the_whole_file(browser, file_url, content):
    async with browser.get(file_url) as response:
        assert response.status == 200
        assert response.content_type == "video/mp4"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert await response.read() == content


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=0-99", slice(0, 100)), ("bytes=-50", slice(-50, None)), ("bytes=1000-", slice(1000, None))],
)
async def test_a_range_of_it(browser, file_url, content, header, part):
    async with browser.get(file_url, headers={"Range": header}) as response:
        body = await response.read()
        assert response.status == 206
        assert body == content[part]
        first = range(len(content))[part][0]
        assert response.headers["Content-Range"] == f"bytes {first}-{first + len(body) - 1}/{len(content)}"


async def test_several_ranges_and_other_units_get_everything(browser, file_url, content):
    for header in ("bytes=0-1,5-9", "lines=1-2"):
        async with browser.get(file_url, headers={"Range": header}) as response:
            assert response.status == 200
            assert await response.read() == content


async def test_a_range_beyond_the_end_is_refused_with_the_length(browser, file_url, content):
    async with browser.get(file_url, headers={"Range": f"bytes={len(content)}-"}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == f"bytes */{len(content)}"


async def test_a_range_of_another_version_gets_everything(browser, file_url):
    async with browser.get(file_url, headers={"Range": "bytes=0-9", "If-Range": '"other"'}) as response:
        assert response.status == 200
        tag = response.headers["ETag"]
    async with browser.get(file_url, headers={"Range": "bytes=0-9", "If-Range": tag}) as response:
        assert response.status == 206


async def test_a_browser_that_has_the_file_is_told_so(browser, file_url):
    async with browser.head(file_url) as response:
        assert response.status == 200
        tag, length = response.headers["ETag"], response.headers["Content-Length"]
    assert int(length) > 1000
    async with browser.get(file_url, headers={"If-None-Match": tag}) as response:
        assert response.status == 304


def address(media, number):
    """Of a segment of the test media in a broadcast that holds them in order."""
    pts = read_times(media.segments[number].read_bytes()).first_pts
    return f"segments/{number}-{number * SEGMENT_MS}-{pts}.ts"


async def test_the_playlist_grows_while_on_air_and_is_complete_afterwards(site, browser, media):
    broadcast = await site.go_live({"en": "On air"})
    url = f"{site.url}/interviews/{broadcast.interview_id}/playlist.m3u8"
    async with browser.get(url) as response:
        assert response.status == 404
    await broadcast.add_segments(2)
    await broadcast.interrupt()
    await broadcast.add_segments(1)
    async with browser.get(url) as response:
        assert response.content_type == "application/vnd.apple.mpegurl"
        text = await response.text()
    addresses = [line for line in text.splitlines() if not line.startswith("#")]
    assert addresses == [address(media, number) for number in range(3)]
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert "#EXT-X-ENDLIST" not in text
    async with browser.get(f"{site.url}/interviews/{broadcast.interview_id}/{addresses[0]}") as response:
        assert response.content_type == "video/mp2t"
        assert await response.read() == media.segments[0].read_bytes()
    await broadcast.end()
    async with browser.get(url) as response:
        assert "#EXT-X-ENDLIST" in await response.text()


async def test_media_outside_the_cut_is_not_given_out(site, browser, media):
    broadcast = await site.go_live({"en": "A long morning"})
    await broadcast.add_segments(6)
    async with site.services.database.write() as tx:
        await interviews.cut(tx, broadcast.interview_id, 4_000, 8_000)
    base = f"{site.url}/interviews/{broadcast.interview_id}"
    async with browser.get(f"{base}/playlist.m3u8") as response:
        addresses = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    assert addresses == [address(media, 2), address(media, 3)]
    for number, status in ((1, 404), (2, 200), (4, 404)):
        async with browser.get(f"{base}/{address(media, number)}") as response:
            assert response.status == status


async def test_the_file_of_a_shared_recording_shows_no_interview_the_others(site, browser):
    broadcast = await site.go_live({"en": "Before noon"})
    await broadcast.add_segments(4)
    await broadcast.end()
    await site.put_asset(broadcast.recording_id, AssetKind.MP4)
    base = f"{site.url}/interviews/{broadcast.interview_id}"
    async with browser.get(f"{base}/media.mp4") as response:
        assert response.status == 200
    after = await site.create({"en": "After noon"}, visibility=Visibility.DRAFT)
    async with site.services.database.write() as tx:
        await interviews.attach(tx, after, broadcast.recording_id)
        await cuts.cut(tx, broadcast.interview_id, None, 2 * SEGMENT_MS)
    async with browser.get(f"{base}/media.mp4") as response:
        assert response.status == 404
    async with browser.get(f"{base}/playlist.m3u8") as response:
        assert (await response.text()).count("segments/") == 2
    async with browser.get(base) as response:
        page = await response.text()
    assert "playlist.m3u8" in page
    assert "media.mp4" not in page
