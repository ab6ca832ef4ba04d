"""The event stream of an interview's page."""

from __future__ import annotations

from aiohttp import web
from aiohttp_sse import sse_response

from ..access import open_interview
from ..keys import HUB, SERVICES, VISIT

_RETRY_MS = 2_000


async def stream(request: web.Request) -> web.StreamResponse:
    """Everything that changes, until the page is closed; see `web.events` for the messages."""
    visit = request[VISIT]
    async with request.app[SERVICES].database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
    async with (
        request.app[HUB].open_page(interview.id, visit, _seen(request)) as page,
        sse_response(request) as response,
    ):
        await response.send("{}", event="hello", retry=_RETRY_MS)
        async for message in page.messages():
            await response.send(message.text(visit), event=message.event, id=str(message.id))
    return response


def _seen(request: web.Request) -> int | None:
    """The id of the last change the page knows of."""
    value = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
