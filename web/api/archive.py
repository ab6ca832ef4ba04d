"""The archive as JSON: what the command line prints, at addresses."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from streamarchive import captions
from streamarchive.catalogue import interviews
from streamarchive.errors import UsageError
from streamarchive.models import Interview
from streamarchive.search import finding, query

from .. import state as states
from ..access import open_interview
from ..keys import SERVICES, VISIT
from ..render import COMPRESS_ASIDE_BYTES

_MOST = 100


async def search(request: web.Request) -> web.StreamResponse:
    """`?q=`, with `limit` in interviews and `after`: `{"total", "hits": […], "next"}`."""
    services = request.app[SERVICES]
    typed = request.query.get("q", "").strip()
    if not typed:
        raise UsageError("say what to search for: /api/search?q=…")
    answer = await finding.find(
        services.database,
        services.search,
        query.parse(typed),
        role=request[VISIT].asker.role,
        cursor=request.query.get("after", ""),
        limit=min(_number(request, "limit", 20), _MOST),
        moments=10,
    )
    values = finding.as_json(answer, services.settings.site)
    values["next"] = answer.next_cursor
    if answer.index_away:
        values["notice"] = "The search index is away; only titles, guests and events were looked at."
    return _answer(values)


async def list_interviews(request: web.Request) -> web.StreamResponse:
    """The listed ones, newest first: `{"interviews": […]}`, with `limit` and `offset`."""
    services = request.app[SERVICES]
    async with services.database.read() as connection:
        found = await interviews.latest(
            connection,
            request[VISIT].asker.role,
            limit=min(_number(request, "limit", 50), _MOST),
            offset=_number(request, "offset", 0),
        )
    return _answer({"interviews": [_values(interview, services.settings.site) for interview in found]})


async def interview(request: web.Request) -> web.StreamResponse:
    """One interview."""
    services = request.app[SERVICES]
    async with services.database.read() as connection:
        found = await open_interview(connection, request[VISIT].asker, request.match_info["id"])
        state = await states.load_state(connection, found)
    duration_ms = state.recording.duration_ms if state.recording else 0
    return _answer({**_values(found, services.settings.site), "duration_ms": duration_ms})


async def transcript(request: web.Request) -> web.StreamResponse:
    """Its lines with words and times: `{"language", "duration_ms", "cues": […]}`."""
    async with request.app[SERVICES].database.read() as connection:
        found = await open_interview(connection, request[VISIT].asker, request.match_info["id"])
        state = await states.load_state(connection, found)
        cues, _ = await states.load_lines(connection, found)
    return _answer(captions.to_json(cues, state.recording.duration_ms if state.recording else 0))


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


def _number(request: web.Request, name: str, default: int) -> int:
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 7):
        raise UsageError(f"{name} has to be a number, not {value[:40]!r}")
    return int(value)


def _answer(values: dict[str, Any]) -> web.Response:
    return web.Response(
        text=json.dumps(values, ensure_ascii=False),
        content_type="application/json",
        headers={"Cache-Control": "private, no-cache"},
        zlib_executor_size=COMPRESS_ASIDE_BYTES,
    )
