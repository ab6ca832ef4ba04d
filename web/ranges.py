"""Sending stored bytes, whole or one range of them, as RFC 9110 has it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from aiohttp import web

from streamarchive.errors import StreamArchiveError

from .keys import SERVICES

log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*$", re.IGNORECASE)
HEADERS = {"Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
"""Browsers ask again before they use a copy, so that hiding an interview takes its media away, too."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is to be sent. Keys end in the hash of their content and never change: they make strong ETags."""

    key: str
    size_bytes: int
    media_type: str

    @property
    def etag(self) -> str:
        """Its entity tag, quoted."""
        return '"' + self.key.rsplit("/", 1)[-1].split(".")[0][-32:] + '"'


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` to before `end`."""

    start: int
    end: int


def wanted(header: str | None, size: int) -> Span | None:
    """The one range asked for; None means everything. Raises `ValueError` if it lies beyond the end.

    Several ranges, other units and nonsense are answered with everything, which is always allowed.
    """
    match = _RANGE.match(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise ValueError("an empty range")
        return Span(size - length, size)
    start, end = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    if start >= size:
        raise ValueError("a range beyond the end")
    return Span(start, end)


def send_bytes(request: web.Request, stored: Stored, body: bytes) -> web.Response:
    """What is small and at hand, whole, or 304."""
    headers = {"Cache-Control": HEADERS["Cache-Control"], "ETag": stored.etag}
    if _is_known(request, stored.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=stored.media_type, headers=headers)


def send_text(request: web.Request, text: bytes, gzipped: bytes, media_type: str, tag: str) -> web.Response:
    """A text that has been compressed once for everybody, in the form that is asked for, or 304."""
    compressed = "gzip" in request.headers.get("Accept-Encoding", "")
    etag = f'"{tag}-gzip"' if compressed else f'"{tag}"'
    headers = {"Cache-Control": HEADERS["Cache-Control"], "ETag": etag, "Vary": "Accept-Encoding"}
    if _is_known(request, etag):
        return web.Response(status=304, headers=headers)
    if compressed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=gzipped if compressed else text, content_type=media_type, headers=headers)


def _is_known(request: web.Request, etag: str) -> bool:
    """Whether the browser has it already."""
    return etag in [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]


async def send(request: web.Request, stored: Stored) -> web.StreamResponse:
    """The bytes, the range asked for, 304 or 416."""
    headers = {**HEADERS, "ETag": stored.etag}
    if _is_known(request, stored.etag):
        return web.Response(status=304, headers=headers)
    condition = request.headers.get("If-Range")
    header = request.headers.get("Range") if condition in (None, stored.etag) else None
    try:
        span = wanted(header, stored.size_bytes) if request.method == "GET" else None
    except ValueError:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{stored.size_bytes}"})
    part = span or Span(0, stored.size_bytes)
    response = web.StreamResponse(status=206 if span else 200, headers=headers)
    response.content_type = stored.media_type
    response.content_length = part.end - part.start
    if span:
        response.headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{stored.size_bytes}"
    await response.prepare(request)
    if request.method != "HEAD":
        try:
            async for chunk in request.app[SERVICES].store.read(stored.key, part.start, part.end):
                await response.write(chunk)
        except ConnectionResetError:
            return response  # the browser has heard enough, as players do when somebody seeks
        except StreamArchiveError as error:
            # Half of the answer is out: cut the connection, so that nobody takes it for the whole.
            log.error("sending %s broke off: %s", stored.key, error)
            if request.transport is not None:
                request.transport.abort()
            return response
    await response.write_eof()
    return response
