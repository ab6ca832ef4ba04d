"""Whether this process lives, and whether it can do its work."""

from __future__ import annotations

from aiohttp import web

from streamarchive.catalogue import changes
from streamarchive.errors import StreamArchiveError
from streamarchive.media import disk

from .. import auth
from ..keys import SERVICES


async def live(_request: web.Request) -> web.StreamResponse:
    """The process answers."""
    return web.json_response({"ok": True}, headers={"Cache-Control": "no-store"})


async def ready(request: web.Request) -> web.StreamResponse:
    """The catalogue answers. Search away and a disk that fills up are told and do not count: pages work.

    Why something is away names servers, so only those who ask this process itself are told.
    """
    services = request.app[SERVICES]
    try:
        async with services.database.read() as connection:
            await changes.newest_id(connection)
    except StreamArchiveError as error:
        return _answer(503, {"ok": False, "database": str(error) if auth.asks_directly(request) else "away"})
    health = await services.search.health()
    room = disk.room(await services.store.free_fraction())
    search = "ok" if health.ok and health.analyzer_current else "away"
    if search != "ok" and auth.asks_directly(request):
        search = health.sentence
    return _answer(200, {"ok": True, "database": "ok", "search": search, "disk": room})


def _answer(status: int, values: dict[str, object]) -> web.Response:
    return web.json_response(values, status=status, headers={"Cache-Control": "no-store"})
