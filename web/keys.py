"""What the application and each request carry, under typed keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from streamarchive.services import Services

from .access import Visit

if TYPE_CHECKING:
    from .answering import IndexState
    from .events import Hub
    from .live_pictures import LivePictures
    from .playlists import Playlists
    from .render import Renderer
    from .suggestions import Suggester


SERVICES = web.AppKey("services", Services)
RENDERER: web.AppKey[Renderer] = web.AppKey("renderer")
HUB: web.AppKey[Hub] = web.AppKey("hub")
SUGGESTER: web.AppKey[Suggester] = web.AppKey("suggester")
INDEX_STATE: web.AppKey[IndexState] = web.AppKey("index_state")
LIVE_PICTURES: web.AppKey[LivePictures] = web.AppKey("live_pictures")
PLAYLISTS: web.AppKey[Playlists] = web.AppKey("playlists")
RECEIVING: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("receiving")
"""Requests whose file is still arriving."""
SENDERS: web.AppKey[dict[int, asyncio.Task[Any]]] = web.AppKey("senders")
"""The request through which each stream comes that an encoder sends."""
LOOKING: web.AppKey[asyncio.Semaphore] = web.AppKey("looking")
"""Who may decode a stream to show its signal."""
VISIT = web.RequestKey("visit", Visit)
