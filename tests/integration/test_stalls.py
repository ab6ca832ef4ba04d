"""Sources that stop, break, refuse or talk nonsense: noticed, written down, and recorded on afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamarchive.models import GapReason
from tests import stalling
from tests.recording import (
    QUICK,
    check_books,
    recording_worker,
    request_stop,
    schedule,
    state,
    until_ended,
    until_segments,
)
from tests.truth import broadcast
from tests.waiting import until_async
from workers.capture import Patience

BROKEN = {GapReason.BROKE_OFF, GapReason.NETWORK, GapReason.REFUSED}
SILENT = {GapReason.STALLED, GapReason.NETWORK}
CASES = [
    ("endless", "hang", SILENT),  # a stopped process, or a network that swallows everything
    ("endless", 404, BROKEN),
    ("endless", 403, BROKEN),
    ("endless", "garbage", BROKEN),
    ("hls", "frozen", SILENT | BROKEN),
    ("hls", "hang", SILENT),
    ("hls", 503, SILENT | BROKEN),
]


PATIENT = replace(QUICK, stall=Patience().stall)
"""As patient as recorders are: protocols have to notice by themselves."""


async def record_through(services, source, reasons, patience=QUICK):
    """What is silenced is a gap; restored, it is recorded on. The takes and gaps then."""
    stream_id = await schedule(services, source.url)
    async with recording_worker(services, patience):
        await until_segments(services, stream_id, 1)
        source.silence()

        async def noticed():
            stream, _, _, gaps = await state(services, stream_id)
            return stream.last_error and gaps

        [gap] = await until_async(noticed, "the gap", seconds=20)
        assert gap.reason in reasons, gap
        assert gap.ended_at is None
        assert gap.detail
        assert "\n" not in gap.detail
        source.restore()
        await until_segments(services, stream_id, 2, takes=2)
        await request_stop(services, stream_id)
        await until_ended(services, stream_id)
    stream, _, takes, gaps = await state(services, stream_id)
    await check_books(services, stream_id)
    assert stream.last_error is None
    assert all(gap.ended_at is not None and gap.ended_at >= gap.began_at for gap in gaps)
    return takes, gaps


@pytest.mark.parametrize(("way", "mood", "reasons"), CASES)
async def test_what_a_source_does_is_a_gap_and_recorded_on(services, pieces, way, mood, reasons):
    async with broadcast(pieces) as truth, stalling.moody(truth, way, mood) as source:
        takes, gaps = await record_through(services, source, reasons)
    assert len(takes) == 2
    # What an HLS server still lists fills a gap, or shortens it.
    assert len(gaps) == 1 or (way == "hls" and gaps == [])


async def test_http_that_is_cut_off_without_a_word(services, pieces):
    async with broadcast(pieces) as truth, stalling.cut_off(truth.endless) as source:
        await record_through(services, source, SILENT | BROKEN, PATIENT)


async def test_rtmp_that_is_cut_off_without_a_word(services, nginx_rtmp):
    async with stalling.rtmp(nginx_rtmp()) as source:
        await record_through(services, source, SILENT | BROKEN, PATIENT)


async def test_rtsp_that_is_cut_off_without_a_word(services, rtsp_url):
    camera = rtsp_url.replace("rtsp://", "rtsp://camera:Word-0123456789@") + "/camera"
    async with stalling.cut_off(camera) as source:
        await record_through(services, source, SILENT | BROKEN, PATIENT)


async def test_an_srt_encoder_that_stands_still(services):
    async with stalling.srt() as source:
        await record_through(services, source, SILENT | BROKEN, PATIENT)
