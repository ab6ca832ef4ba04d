"""Choosing the language of the pages."""

from __future__ import annotations

from aiohttp import web

from ..keys import RENDERER
from ..languages import COOKIE

_YEAR_SECONDS = 365 * 24 * 3600


async def choose(request: web.Request) -> web.StreamResponse:
    """Remember the choice and go back to where it was made."""
    form = await request.post()
    code, wanted = str(form.get("language", "")), str(form.get("next", "/"))
    response = web.HTTPSeeOther(on_this_site(wanted))
    if code in request.app[RENDERER].languages:
        response.set_cookie(
            COOKIE, code, max_age=_YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.secure
        )
    raise response


def on_this_site(path: str) -> str:
    """The path if it leads to this site, else the home page."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if safe else "/"
