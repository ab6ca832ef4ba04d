"""Style sheets, scripts and pictures."""

from __future__ import annotations

from aiohttp import web

from ..keys import RENDERER

_FOR_EVER = "public, max-age=31536000, immutable"


async def send(request: web.Request) -> web.StreamResponse:
    """A file of the site. Under its current address it may be kept for ever."""
    static = request.app[RENDERER].static
    file = static.get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    current = request.match_info["version"] == static.version
    headers = {"Cache-Control": _FOR_EVER if current else "no-cache", "Vary": "Accept-Encoding"}
    if file.gzipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=file.gzipped, content_type=file.media_type, headers=headers)
    return web.Response(body=file.body, content_type=file.media_type, headers=headers)
