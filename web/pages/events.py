"""The event stream of an interview's page."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from ..access import open_interview
from ..events import Page
from ..keys import HUB, SERVICES, VISIT

_RETRY_MS = 2_000
_PING_SECONDS = 5.0
"""How soon a page that was closed is noticed while nothing else is sent."""


async def stream(request: web.Request) -> web.StreamResponse:
    """Everything that changes, until the page is closed; see `web.events` for the messages."""
    visit = request[VISIT]
    async with request.app[SERVICES].database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
    async with (
        request.app[HUB].open_page(interview.id, visit, _seen(request)) as page,
        sse_response(request, ping_interval=_PING_SECONDS) as response,
    ):
        left = asyncio.create_task(_close_when_left(response, page))
        try:
            await response.send("{}", event="hello", retry=_RETRY_MS)
            async for message in page.messages():
                seen = None if message.id is None else str(message.id)
                await response.send(message.text(visit), event=message.event, id=seen)
        except ConnectionResetError:
            pass  # the page was closed while we wrote
        finally:
            left.cancel()
    return response


async def _close_when_left(response: EventSourceResponse, page: Page) -> None:
    await response.wait()
    page.close()


def _seen(request: web.Request) -> int | None:
    """The id of the last change the page knows of."""
    value = request.headers.get("Last-Event-ID") or request.query.get("after") or ""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
