"""What encoders send: over HTTP straight to the recorder; for RTMP, the server beside us asks who may publish."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from aiohttp import web

from streamarchive.catalogue import streams
from streamarchive.errors import NotFoundError
from streamarchive.media import inlet
from streamarchive.media.addresses import Protocol
from streamarchive.media.inlet import Inlet
from streamarchive.media.probe import kind_of
from streamarchive.models import Stream

from ..keys import RECEIVING, SENDERS, SERVICES

_PATIENCE_SECONDS = 40.0
"""How long an encoder is held until a recorder is ready for it: longer than one takes to come back."""
_STALLED_SECONDS = 20.0
_HEAD_BYTES = 600
_KINDS = frozenset({"mpegts", "matroska", "flv", "aac", "mp3"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ingest"'}
_LATER = {"Retry-After": "5"}


async def receive(request: web.Request) -> web.StreamResponse:
    """Hand an encoder's bytes on as they come. The newest connection of a stream ends the one before."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise NotFoundError("send the stream's token: Authorization: Bearer TOKEN")
        stream = await _allowed(request, request.match_info["stream"], Protocol.PUSH_HTTP, token.strip())
    except NotFoundError as error:
        return web.Response(status=401, text=f"{error}\n", headers=_CHALLENGE)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we are in a coroutine
    senders = request.app[SENDERS]
    if (before := senders.get(stream.id)) is not None:
        before.cancel()
    senders[stream.id] = task
    request.app[RECEIVING].add(task)
    try:
        return await _pass_on(request, stream)
    finally:
        request.app[RECEIVING].discard(task)
        if senders.get(stream.id) is task:
            del senders[stream.id]


async def _pass_on(request: web.Request, stream: Stream) -> web.Response:
    head = b""
    while len(head) < _HEAD_BYTES and (chunk := await _next(request)):
        head += chunk
    if kind_of(head) not in _KINDS:
        kinds = "MPEG-TS, Matroska, FLV, AAC or MP3"
        return web.Response(status=415, text=f"this is no stream that can be recorded; send {kinds}\n")
    pipe = await Inlet(request.app[SERVICES].settings.data_dir, stream.id).open(_PATIENCE_SECONDS)
    if pipe is None:
        why = "no recorder on this machine waits for this stream; is it time, and does one run here?"
        return web.Response(status=503, text=f"{why}\n", headers=_LATER)
    try:
        await inlet.send(pipe, head)
        while chunk := await _next(request):
            await inlet.send(pipe, chunk)
    except BrokenPipeError:
        return web.Response(status=503, text="the recorder takes no more; connect again\n", headers=_LATER)
    finally:
        os.close(pipe)
    return web.Response(status=204)


async def _next(request: web.Request) -> bytes:
    """What comes next; nothing at the end, or when an encoder has fallen silent or broken off."""
    with suppress(OSError):  # a time-out is one
        async with asyncio.timeout(_STALLED_SECONDS):
            return await request.content.readany()
    return b""


async def may_publish(request: web.Request) -> web.StreamResponse:
    """Whether an encoder may publish here: nginx's RTMP module asks, with its ``on_publish``.

    It sends the name of the stream, which is its number, and what follows the question mark in the encoder's
    stream key (https://github.com/arut/nginx-rtmp-module/wiki/Directives#on_publish).
    """
    form = await request.post()
    name, token = str(form.get("name", "")), str(form.get("token", ""))
    try:
        await _allowed(request, name, Protocol.PUSH_RTMP, token)
    except NotFoundError:
        return web.Response(status=403)
    return web.Response(status=204)


async def _allowed(request: web.Request, number: str, kind: Protocol, token: str) -> Stream:
    """The stream that may be sent to. Raises `NotFoundError`."""
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise NotFoundError("there is no such stream")
    async with request.app[SERVICES].database.read() as connection:
        return await streams.may_send(connection, int(number), kind, token)
