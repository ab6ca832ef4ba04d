"""The site as one application."""

from __future__ import annotations

from aiohttp import web

from streamarchive.services import Services

from .answering import IndexState
from .demo import add_desk
from .desk.receiving import stop_receiving
from .events import Hub
from .keys import (
    HUB,
    INDEX_STATE,
    LIVE_PICTURES,
    LOOKING,
    PLAYLISTS,
    RECEIVING,
    RENDERER,
    SENDERS,
    SERVICES,
    SUGGESTER,
)
from .live_pictures import LivePictures
from .middleware import add_headers, explain_errors, greet, identify, refuse_foreign_forms
from .pages.desk_streams import looks_at_once
from .playlists import Playlists
from .render import Renderer
from .routes import DEMO_ROUTES, add_routes
from .suggestions import Suggester


def create_app(services: Services) -> web.Application:
    """Pages, media, events and the JSON API over these services."""
    app = web.Application(middlewares=[greet, explain_errors, identify, refuse_foreign_forms])
    app[SERVICES] = services
    app[RENDERER] = Renderer()
    app[HUB] = Hub(services.database)
    app[SUGGESTER] = Suggester(services.database)
    app[INDEX_STATE] = IndexState(services.search)
    app[LIVE_PICTURES] = LivePictures(services.store)
    app[PLAYLISTS] = Playlists(services.database)
    app[RECEIVING] = set()
    app[SENDERS] = {}
    app[LOOKING] = looks_at_once()
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_close_pages)
    app.on_shutdown.append(stop_receiving)
    add_routes(app)
    if services.settings.demo_control:
        add_desk(app, services.settings.demo_control, services.database)
        add_routes(app, DEMO_ROUTES)
    return app


async def _close_pages(app: web.Application) -> None:
    """Event streams end first, else a shutdown would wait for every open page."""
    await app[HUB].close()
    await app[SUGGESTER].close()
