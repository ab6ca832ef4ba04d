"""Every route of the table, asked by a viewer, for interviews of every visibility."""

from __future__ import annotations

import re

import aiohttp
import pytest

from streamarchive.models import AssetKind, Role, Visibility
from tests.site import draft
from web.routes import ROUTES

SECRET = "The unmistakable zeppelin"
FILLED = {
    "format": "vtt",
    "sequence": "0",
    "ms": "0",
    "pts": "0",
    "name": "media.mp4",
}
LISTS = {
    "/": "",
    "/search": "?q=zeppelin",
    "/search/facets": "?q=zeppelin",
    "/search.atom": "?q=zeppelin",
    "/api/search": "?q=zeppelin",
    "/api/search/facets": "?q=zeppelin",
    "/api/suggestions": "?q=zeppelin",
    "/api/interviews": "",
}
ELSEWHERE = {"/sign-in", "/healthz", "/readyz", "/metrics", "/static/{version:[0-9a-f]{12}}/{name:.+}"}
"""Routes that show no interview at all."""

OPEN_TO_VIEWERS = [route for route in ROUTES if route.method == "GET" and route.role is Role.VIEWER]
OF_ONE = [route for route in OPEN_TO_VIEWERS if re.search(r"\{(id|reference)", route.path)]
OF_ALL = [route for route in OPEN_TO_VIEWERS if route not in OF_ONE and route.path not in ELSEWHERE]


def address(path, interview):
    """The route's path with its placeholders filled in for this interview."""
    known = {**FILLED, "id": interview.id, "reference": interview.address.rsplit("/", 1)[-1]}
    return re.sub(r"\{(\w+)(?::(?:[^{}]|\{\d+,?\d*\})*)?\}", lambda match: known[match[1]], path)


async def whole_interview(site, visibility):
    """One that has everything a route could give away."""
    broadcast = await site.go_live({"en": f"{SECRET} {visibility}"}, visibility)
    await broadcast.add_segments(2)
    said = f"{SECRET} {visibility}."
    await broadcast.say(draft(0, said, speaker=SECRET), draft(4_000, said, speaker="Host"))
    await broadcast.end()
    for kind in AssetKind:
        await site.put_asset(broadcast.recording_id, kind)
    return await site.interview(broadcast.interview_id)


async def status_of(session, url, method="GET"):
    async with session.request(method, url, allow_redirects=False) as response:
        return response.status


def test_every_route_a_viewer_may_ask_is_walked():
    """A new route has to say here which kind it is."""
    assert {route.path for route in OF_ALL} == set(LISTS)


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_what_belongs_to_an_interview_is_as_visible_as_its_page(site, visibility):
    interview = await whole_interview(site, visibility)
    expected = 200 if visibility in (Visibility.PUBLIC, Visibility.UNLISTED) else 404
    async with aiohttp.ClientSession() as session:
        for route in OF_ONE:
            url = site.url + address(route.path, interview)
            assert await status_of(session, url) == expected, url
            if not url.endswith("/events"):
                assert await status_of(session, url, "HEAD") == expected, url
        for name in ("media.m4a", "poster.jpg", "original", "thumbnails.jpg", "peaks.dat"):
            assert await status_of(session, f"{site.url}/interviews/{interview.id}/{name}") == expected, name


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_only_public_interviews_stand_in_lists_and_results(site, visibility):
    await whole_interview(site, visibility)
    async with aiohttp.ClientSession() as session:
        for path, query in LISTS.items():
            async with session.get(site.url + path + query) as response:
                assert (SECRET in await response.text()) is (visibility is Visibility.PUBLIC), path


async def test_hiding_takes_everything_away_at_once(site):
    interview = await whole_interview(site, Visibility.PUBLIC)
    async with aiohttp.ClientSession() as session:
        await site.show(interview.id, Visibility.DRAFT)
        for route in OF_ONE:
            assert await status_of(session, site.url + address(route.path, interview)) == 404, route.path
        for path, query in LISTS.items():
            async with session.get(site.url + path + query) as response:
                assert SECRET not in await response.text(), path


async def test_an_open_event_stream_ends_when_its_interview_is_hidden(site):
    interview = await whole_interview(site, Visibility.PUBLIC)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{site.url}/interviews/{interview.id}/events") as stream,
    ):
        await stream.content.readuntil(b"\r\n\r\n")
        await site.show(interview.id, Visibility.DRAFT)
        rest = await stream.content.read()
    assert b"event: gone" in rest
    assert SECRET.encode() not in rest
