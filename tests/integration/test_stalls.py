"""Sources that stop, break, refuse or talk nonsense: noticed, written down, and recorded on afterwards."""

from __future__ import annotations

import pytest

from streamarchive.models import GapReason
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.recording import (
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


@pytest.mark.parametrize(("way", "mood", "reasons"), CASES)
async def test_what_a_source_does_is_a_gap_and_recorded_on(tmp_path, pieces, way, mood, reasons):
    async with open_services(Settings(data_dir=tmp_path / "archive")) as services, broadcast(pieces) as truth:
        stream_id = await schedule(services, getattr(truth, way))
        async with recording_worker(services):
            await until_segments(services, stream_id, 1)
            truth.set_mood(mood)

            async def noticed():
                stream, _, _, gaps = await state(services, stream_id)
                return stream.last_error and gaps

            [gap] = await until_async(noticed, "the gap", seconds=20)
            assert gap.reason in reasons, gap
            assert gap.ended_at is None
            assert gap.detail
            assert "\n" not in gap.detail
            truth.set_mood("ok")
            await until_segments(services, stream_id, 2, takes=2)
            await request_stop(services, stream_id)
            await until_ended(services, stream_id)
        stream, _, takes, gaps = await state(services, stream_id)
        await check_books(services, stream_id)
    assert stream.last_error is None
    assert len(takes) == 2
    assert all(gap.ended_at is not None and gap.ended_at >= gap.began_at for gap in gaps)
    # What an HLS server still lists fills a gap, or shortens it.
    assert len(gaps) == 1 or (way == "hls" and gaps == [])
