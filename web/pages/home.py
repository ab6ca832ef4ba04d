"""The home page: on air, coming up, latest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import assets, interviews, recordings, transcripts, withheld
from streamarchive.catalogue.database import now
from streamarchive.models import Interview, Recording

from ..keys import RENDERER, SERVICES, VISIT
from ..state import has_picture
from ..views import Card, Text, card
from . import saved_searches

_UPCOMING = 24
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
    role = visit.asker.role
    async with request.app[SERVICES].database.read() as connection:
        live = await interviews.on_air(connection, role)
        since = await now(connection) - _FORGOTTEN
        upcoming = await interviews.upcoming(connection, since, role, limit=_UPCOMING)
        archived = await interviews.archived(connection, role, limit=_LATEST)
        live_cards = await _cards(connection, live, code)
        latest_cards = await _cards(connection, archived, code)
        context = {
            "listens": await saved_searches.listens(connection, request),
            "told": await saved_searches.fresh(connection, request),
            "live": [
                OnAir(interview.id, shown, await _said_last(connection, interview))
                for interview, shown in zip(live, live_cards, strict=True)
            ],
            "upcoming": [card(interview, code) for interview in upcoming],
            "latest": latest_cards,
        }
    return request.app[RENDERER].page(request, "home.html", context)


async def _cards(connection: AsyncConnection, shown: Sequence[Interview], code: str) -> list[Card]:
    """All of them at once: a query for each would be what the page waits for."""
    ids = [interview.recording_id for interview in shown if interview.recording_id is not None]
    known = await recordings.by_ids(connection, ids)
    files = await assets.of_recordings(connection, ids)
    return [
        card(
            interview,
            code,
            duration_ms=_duration_ms(interview, known[interview.recording_id]),
            has_picture=has_picture(
                interview,
                known[interview.recording_id],
                withheld.given(interview, files.get(interview.recording_id, {})),
            ),
        )
        for interview in shown
        if interview.recording_id is not None
    ]


def _duration_ms(interview: Interview, recording: Recording) -> int:
    end = interview.out_ms if interview.out_ms is not None else recording.duration_ms
    return end - (interview.in_ms or 0)


async def _said_last(connection: AsyncConnection, interview: Interview) -> Text | None:
    shown = await transcripts.last_shown(connection, interview)
    return Text(shown.text, shown.lang) if shown else None
