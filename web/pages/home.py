"""The home page: on air, coming up, latest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import interviews, recordings, transcripts
from streamarchive.catalogue.database import now
from streamarchive.models import Interview, Stage

from ..keys import RENDERER, SERVICES, VISIT
from ..views import Card, Text, card

_LOOKED_AT = 60
_LATEST = 24
_FORGOTTEN = timedelta(hours=12)
"""An interview that should have begun longer ago than this is not coming up any more."""


@dataclass(frozen=True, slots=True)
class OnAir:
    """An interview that can be watched now, with what was said last."""

    id: str
    card: Card
    latest: Text | None


async def show(request: web.Request) -> web.StreamResponse:
    """The page."""
    visit = request[VISIT]
    code = visit.language.code
    async with request.app[SERVICES].database.read() as connection:
        moment = await now(connection)
        found = await interviews.latest(connection, visit.asker.role, limit=_LOOKED_AT)
        live = [i for i in found if i.stage is Stage.LIVE]
        upcoming = [i for i in found if i.stage is Stage.SCHEDULED and i.held_at > moment - _FORGOTTEN]
        done = [i for i in found if i.stage in (Stage.PROCESSING, Stage.READY)][:_LATEST]
        context = {
            "live": [await _on_air(connection, interview, code) for interview in live],
            "upcoming": [await _card(connection, interview, code) for interview in reversed(upcoming)],
            "latest": [await _card(connection, interview, code) for interview in done],
        }
    return request.app[RENDERER].page(request, "home.html", context)


async def _card(connection: AsyncConnection, interview: Interview, code: str) -> Card:
    if interview.recording_id is None:
        return card(interview, code)
    recording = await recordings.get(connection, interview.recording_id)
    end = interview.out_ms if interview.out_ms is not None else recording.duration_ms
    return card(
        interview,
        code,
        duration_ms=end - (interview.in_ms or 0),
        assets=await recordings.assets(connection, recording.id),
    )


async def _on_air(connection: AsyncConnection, interview: Interview, code: str) -> OnAir:
    cues = await transcripts.of_recording(connection, interview.recording_id) if interview.recording_id else []
    latest = Text(cues[-1].text, cues[-1].lang) if cues else None
    return OnAir(interview.id, await _card(connection, interview, code), latest)
