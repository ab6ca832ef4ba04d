"""The archive as JSON: what the command line prints, at addresses."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from streamarchive import captions
from streamarchive.catalogue import interviews
from streamarchive.models import Interview

from .. import state as states
from ..access import open_interview
from ..keys import SERVICES, VISIT
from .answers import answer_with, number

_MOST = 100


async def list_interviews(request: web.Request) -> web.StreamResponse:
    """The listed ones, newest first: `{"interviews": […]}`, with `limit` and `offset`."""
    services = request.app[SERVICES]
    async with services.database.read() as connection:
        found = await interviews.latest(
            connection,
            request[VISIT].asker.role,
            limit=min(number(request, "limit", 50), _MOST),
            offset=number(request, "offset", 0),
        )
    return answer_with({"interviews": [_values(interview, services.settings.site) for interview in found]})


async def interview(request: web.Request) -> web.StreamResponse:
    """One interview."""
    services = request.app[SERVICES]
    async with services.database.read() as connection:
        found = await open_interview(connection, request[VISIT].asker, request.match_info["id"])
        state = await states.load_state(connection, found)
    duration_ms = state.recording.duration_ms if state.recording else 0
    values = _values(found, services.settings.site)
    return answer_with({**values, "duration_ms": duration_ms, "translations": list(state.tracks)})


async def transcript(request: web.Request) -> web.StreamResponse:
    """Its lines with words and times: `{"language", "duration_ms", "cues": […]}`; `track=en` of a translation."""
    async with request.app[SERVICES].database.read() as connection:
        found = await open_interview(connection, request[VISIT].asker, request.match_info["id"])
        state = await states.load_state(connection, found)
        cues, _ = await states.load_lines(connection, found, states.track_of(request, state), words=True)
    return answer_with(captions.to_json(cues, state.recording.duration_ms if state.recording else 0))


def _values(found: Interview, site: str) -> dict[str, Any]:
    return {
        "interview": found.address.rsplit("/", 1)[-1],
        "id": found.id,
        "titles": dict(found.titles),
        "descriptions": dict(found.descriptions),
        "guests": [
            {"names": dict(person.names), "affiliations": dict(person.affiliations)} for person in found.guests
        ],
        "event": dict(found.event.names) if found.event else None,
        "languages": list(found.languages),
        "stage": found.stage,
        "held_at": found.held_at.isoformat(),
        "url": f"{site}{found.address}",
    }
