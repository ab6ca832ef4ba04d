"""Streams that an encoder sends: over HTTP with a token, and over RTMP through a server that asks us."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network

from streamarchive.catalogue import interviews, streams
from streamarchive.media.addresses import Protocol
from streamarchive.models import Role
from tests import people
from tests.encoders import H264, OPUS, encoder
from tests.media import make
from tests.onair import on_air
from tests.recording import (
    check_books,
    recording_worker,
    request_stop,
    state,
    until_ended,
    until_segments,
)
from tests.waiting import until_async

TOKEN = "the-token-of-this-stream"


async def schedule(site, kind=Protocol.PUSH_HTTP):
    async with site.services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Live"}, languages=("en",))
        return await streams.create(tx, interview_id, kind, token=TOKEN)


def over_http(site, stream_id, form="mpegts", token=TOKEN):
    """Where ffmpeg sends to."""
    login = f"Authorization: Bearer {token}\r\n"
    return ("-f", form, "-headers", login, "-method", "PUT", f"{site.url}/ingest/{stream_id}")


async def test_an_encoder_that_connects_again_is_recorded_on(site):
    """First as MPEG-TS, then as Matroska with sound that has to be encoded anew: every connection is a take."""
    stream_id = await schedule(site)
    async with recording_worker(site.services):
        async with encoder(*over_http(site, stream_id)):
            await until_segments(site.services, stream_id, 2)
        _, before, _, _ = await state(site.services, stream_id)
        for _ in range(2):  # the first finds out that the sound does not fit
            async with encoder(*over_http(site, stream_id, "matroska"), codecs=(*H264, *OPUS)) as sending:
                await until_async(lambda: _grown(site, stream_id, len(before) + 2, sending), "more segments")
        await until_segments(site.services, stream_id, len(before) + 2, takes=2)
        await request_stop(site.services, stream_id)
        await until_ended(site.services, stream_id)
    await check_books(site.services, stream_id)
    _, segments, takes, gaps = await state(site.services, stream_id)
    assert segments[: len(before)] == before
    assert len(gaps) == len(takes) - 1


async def _grown(site, stream_id, count, sending):
    """Whether there are so many segments, or the encoder was hung up on."""
    _, segments, _, _ = await state(site.services, stream_id)
    return len(segments) >= count or sending.returncode is not None


async def test_who_may_not_send_is_told_so_and_reaches_nobody(site):
    stream_id = await schedule(site)
    async with people.visitor(site) as visitor:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = await visitor.ask("PUT", f"/ingest/{stream_id}", data=b"x", headers=headers)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="ingest"')
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await visitor.ask("PUT", "/ingest/99", data=b"x", headers=right)).status == 401
        answer = await visitor.ask("PUT", f"/ingest/{stream_id}", data=b"ffconcat version 1.0\n", headers=right)
        assert answer.status == 415
        for fields in ({"name": str(stream_id), "token": TOKEN}, {"name": "x"}, {}):
            assert (await visitor.ask("POST", "/ingest/rtmp", data=fields)).status == 403, (
                "it is not sent by RTMP"
            )


async def test_without_a_recorder_an_encoder_is_asked_to_come_again(site, monkeypatch, tmp_path):
    monkeypatch.setattr("web.pages.ingest._PATIENCE_SECONDS", 0.2)
    stream_id = await schedule(site)
    media = make(tmp_path / "some.ts", 1).read_bytes()
    async with people.visitor(site) as visitor:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = await visitor.ask("PUT", f"/ingest/{stream_id}", data=media, headers=headers)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_obs_over_rtmp_with_the_streams_key(site, nginx_rtmp):
    """The recipe of the operator's guide: nginx asks us who may publish, the recorder fetches from nginx."""
    server = nginx_rtmp(f"{site.url}/ingest/rtmp")
    stream_id = await schedule(site, Protocol.PUSH_RTMP)
    settings = site.services.settings.model_copy(update={"rtmp_server": server})
    async with recording_worker(replace(site.services, settings=settings)):
        async with encoder("-f", "flv", f"{server}/{stream_id}?token=wrong") as refused:
            await refused.wait()
        async with encoder("-f", "flv", f"{server}/{stream_id}?token={TOKEN}"):
            await until_segments(site.services, stream_id, 2)
            await request_stop(site.services, stream_id)
            await until_ended(site.services, stream_id)
    await check_books(site.services, stream_id)


async def test_a_token_is_shown_once_and_kept_as_a_hash(site):
    async with people.signed_in(site, Role.PRODUCER) as producer:
        created = await producer.post("/desk/new", {"title_en": "Live", "languages": "en"})
        address = created.location.partition("?")[0]
        planned = {"starts": "2035-01-01T10:00", "ends": "2035-01-01T11:00"}
        answer = await producer.post(f"{address}/streams/sent", {"kind": "http", **planned})
        assert answer.status == 200
        token = re.search(r'Bearer ([\w-]{32})"', answer.text)[1]
        assert answer.headers["Cache-Control"] == "no-store"
        async with site.services.database.read() as connection:
            (stream,) = await streams.of_interview(connection, address.rpartition("/")[2])
            assert token not in repr(stream)
            assert stream.overruns, "past its end while the encoder sends, as every stream of the desk"
            assert token not in stream.token_sha256
            assert await streams.may_send(connection, stream.id, Protocol.PUSH_HTTP, token)
        assert token not in (await producer.get(address)).text
        refused = await producer.post(f"{address}/streams/sent", {"kind": "rtmp"})
        assert refused.status == 400, "there is no server for RTMP here"


async def test_the_desk_shows_what_a_stream_sends(site, tmp_path, monkeypatch):
    async with on_air(tmp_path / "air") as air, people.signed_in(site, Role.PRODUCER) as producer:
        created = await producer.post("/desk/new", {"title_en": "Live", "languages": "en"})
        address = created.location.partition("?")[0]
        fields = {"address": air.url}
        refused = await producer.post(f"{address}/streams/signal", fields)
        assert (refused.status, "private network" in refused.notices[0]) == (400, True)
        monkeypatch.setattr(type(site.services.settings), "networks", (ip_network("127.0.0.0/8"),))
        answer = await producer.post(f"{address}/streams/signal", fields)
    assert answer.status == 200, answer.notices
    assert "h264, 320 × 180" in answer.text
    assert "data:image/jpeg;base64," in answer.text
    async with site.services.database.read() as connection:
        assert await streams.of_interview(connection, address.rpartition("/")[2]) == []
