"""Search: interviews with their best moments, each a link to its second."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import recordings
from streamarchive.catalogue.database import now
from streamarchive.clock import to_ms
from streamarchive.models import Asset, AssetKind, MediaSegment, RecordingId, Stage
from streamarchive.search import finding, query

from ..keys import RENDERER, SERVICES, VISIT
from ..views import Found, Moment, card, moment

PAGE = 20
_MOMENTS = 4


async def show(request: web.Request) -> web.StreamResponse:
    """The page."""
    visit, services = request[VISIT], request.app[SERVICES]
    typed = request.query.get("q", "").strip()
    answer = await finding.find(
        services.database,
        services.search,
        query.parse(typed),
        role=visit.asker.role,
        cursor=request.query.get("after", ""),
        limit=PAGE,
        moments=_MOMENTS,
    )
    async with services.database.read() as connection:
        ids = [item.interview.recording_id for item in answer.found]
        files = await recordings.assets_of(connection, [key for key in ids if key is not None])
        found = [await _found(connection, item, visit.language.code, files) for item in answer.found]
    context = {
        "query_text": typed,
        "found": found,
        "total": answer.total.value,
        "total_interviews": answer.total_interviews.value,
        "ignored": answer.query.ignored,
        "away": answer.index_away,
        "next_url": f"/search?{urlencode({'q': typed, 'after': answer.next_cursor})}"
        if answer.next_cursor
        else None,
    }
    return request.app[RENDERER].page(request, "search.html", context)


async def _found(
    connection: AsyncConnection,
    item: finding.Found,
    code: str,
    files: Mapping[RecordingId, Mapping[AssetKind, Asset]],
) -> Found:
    interview = item.interview
    recording_id = interview.recording_id
    moments: list[Moment] = [moment(hit, interview.address, age=None) for hit in item.moments]
    if interview.stage is Stage.LIVE and recording_id is not None:
        segments, moment_now = await recordings.segments(connection, recording_id), await now(connection)
        moments = [
            moment(hit, interview.address, age=_age(segments, hit.cue.end_ms, moment_now)) for hit in item.moments
        ]
    assets = files.get(recording_id, {}) if recording_id is not None else {}
    return Found(card(interview, code, assets=assets), tuple(moments), item.total - len(moments))


def _age(segments: list[MediaSegment], at_ms: int, now_: datetime) -> timedelta | None:
    """How long ago this moment of a broadcast was; None if it is not one.

    A segment arrives when its last picture has been taken. Captions may be ahead of the newest segment.
    """
    holding = next((s for s in segments if to_ms(s.start_ticks + s.duration_ticks) >= at_ms), None)
    known = holding or (segments[-1] if segments else None)
    if known is None:
        return None
    end_ms = to_ms(known.start_ticks + known.duration_ticks)
    said_at = known.arrived_at + timedelta(milliseconds=at_ms - end_ms)
    return max(now_ - said_at, timedelta(0))
