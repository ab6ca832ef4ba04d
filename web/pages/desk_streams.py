"""Setting a stream up: a look at what it sends, and streams that an encoder sends by itself."""

from __future__ import annotations

import asyncio
import base64
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from streamarchive.catalogue.database import now
from streamarchive.errors import SourceError, UsageError
from streamarchive.media import signal, source
from streamarchive.media.addresses import Protocol
from streamarchive.media.signal import Signal
from streamarchive.models import StreamId
from streamarchive.settings import Settings

from .. import auth
from ..access import open_interview
from ..desk import schedules
from ..keys import LOOKING, SERVICES, VISIT
from .desk_interview import page

_TOKEN_BYTES = 24


async def show_signal(request: web.Request) -> web.StreamResponse:
    """What the address in the form sends just now, on the page; nothing is recorded."""
    services = request.app[SERVICES]
    form = await request.post()
    typed = {name: str(form.get(name, "")).strip() for name in ("address", "starts", "ends", "anyway")}
    async with services.database.read() as connection:
        await open_interview(connection, request[VISIT].asker, request.match_info["id"])
    try:
        rules = source.rules_for(typed["address"], services.settings)
        async with request.app[LOOKING]:
            seen = await signal.look(typed["address"], rules)
    except SourceError as error:
        return await page(request, stream=typed, refused={"stream": str(error)}, status=400)
    return await page(request, stream=typed, found={"signal": seen, "picture": _as_url(seen)})


def looks_at_once() -> asyncio.Semaphore:
    """Decoding costs a core; people who test signals wait for one another."""
    return asyncio.Semaphore(2)


def _as_url(seen: Signal) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(seen.picture).decode()}" if seen.picture else ""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where an encoder sends to, and with which secret. It is shown once: only its hash is kept."""

    kind: Protocol
    address: str
    token: str
    key: str = ""
    """For RTMP: what encoders call the stream key."""


async def send_stream(request: web.Request) -> web.StreamResponse:
    """Have an encoder send a stream, over HTTP or RTMP; the page then says where to and with which token."""
    visit, services = request[VISIT], request.app[SERVICES]
    form = await request.post()
    kind = Protocol.PUSH_RTMP if form.get("kind") == "rtmp" else Protocol.PUSH_HTTP
    if kind is Protocol.PUSH_RTMP and not services.settings.rtmp_server:
        raise UsageError("there is no server for RTMP here; set STREAMARCHIVE_RTMP_SERVER")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    async with services.database.read() as connection:
        moment = await now(connection)
    try:
        schedule = schedules.read(form, moment, visit.language.gettext)
    except UsageError as error:
        return await page(request, refused={"sent": str(error)}, status=400)
    async with services.database.write() as tx:
        interview = await open_interview(tx, visit.asker, request.match_info["id"])
        stream_id = await schedules.add(tx, interview.id, kind, schedule, token)
        await auth.note(tx, request, "stream added", interview.id, {"address": kind, "stream": stream_id})
    return await page(request, found={"entrance": _entrance(services.settings, kind, stream_id, token)})


def _entrance(settings: Settings, kind: Protocol, stream_id: StreamId, token: str) -> Entrance:
    if kind is Protocol.PUSH_HTTP:
        return Entrance(kind, f"{settings.site}/ingest/{stream_id}", token)
    server, site = urlsplit(settings.rtmp_server), urlsplit(settings.site)
    host = f"[{site.hostname}]" if ":" in (site.hostname or "") else site.hostname
    port = f":{server.port}" if server.port else ""
    return Entrance(kind, f"rtmp://{host}{port}{server.path}", token, f"{stream_id}?token={token}")
