"""What happens around every request: who asks, in which language, errors as pages, safe headers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import web

from streamarchive.errors import (
    ConflictError,
    DatabaseError,
    GoneError,
    MediaError,
    NotFoundError,
    SearchError,
    SearchUnavailableError,
    SignInRefusedError,
    StorageError,
    StreamArchiveError,
    TranscriptionError,
    UsageError,
)
from streamarchive.models import Role

from . import auth
from .access import Asker, Visit
from .keys import RENDERER, VISIT
from .languages import COOKIE, choose_language

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "object-src 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATUS: tuple[tuple[type[StreamArchiveError], int], ...] = (
    (GoneError, 410),
    (NotFoundError, 404),
    (UsageError, 400),
    (SignInRefusedError, 403),
    (ConflictError, 409),
    (SearchUnavailableError, 503),
    (StorageError, 503),
)
_INTERNAL = (DatabaseError, MediaError, SearchError, TranscriptionError)
"""What failed inside: its sentence names servers, folders and files, so it is for people with an account."""
_COMPRESSED_TYPES = {"text/html", "application/json", "text/vtt", "text/plain", "application/x-subrip"}
_COMPRESS_FROM_BYTES = 1024
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Safe headers on every response; a signal, so that streams have them too."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if auth.is_https(request):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    response.headers["Server"] = "StreamArchive"  # aiohttp has already put its versions there
    if _is_worth_compressing(response):
        response.headers["Vary"] = ", ".join(filter(None, (response.headers.get("Vary"), "Accept-Encoding")))
        response.enable_compression()


def _is_worth_compressing(response: web.StreamResponse) -> bool:
    body = response.body if isinstance(response, web.Response) else None
    return (
        isinstance(body, bytes)
        and len(body) >= _COMPRESS_FROM_BYTES
        and response.content_type in _COMPRESSED_TYPES
        and "Content-Encoding" not in response.headers
    )


@web.middleware
async def greet(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put a `Visit` in the visitor's language on the request, so that whatever happens can be told."""
    language = choose_language(
        request.cookies.get(COOKIE),
        request.headers.get("Accept-Language", ""),
        request.app[RENDERER].languages,
    )
    request[VISIT] = Visit(Asker(), language)
    return await handler(request)


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who asks."""
    request[VISIT] = replace(request[VISIT], asker=await auth.who_asks(request))
    return await handler(request)


@web.middleware
async def refuse_foreign_forms(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only our own pages may send what changes something."""
    if request.method not in _SAFE_METHODS:
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        foreign = origin not in (None, "null") and urlsplit(origin).netloc != request.host
        if site not in (None, "same-origin", "none") or foreign or origin == "null":
            raise web.HTTPForbidden(text="This form was sent from another site.")
    return await handler(request)


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes a page, or JSON below `/api/`, with one sentence."""
    try:
        return await handler(request)
    except StreamArchiveError as error:
        status = next(
            (code for kind, code in _STATUS if isinstance(error, kind)), 503 if error.retryable else 500
        )
        if status >= 500:
            log.error("%s %s failed: %s", request.method, request.path, error)
        told = not isinstance(error, _INTERNAL) or request[VISIT].asker.has(Role.EDITOR)
        return error_response(request, status, str(error) if told else "")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_response(request, error.status, error.text or error.reason, error.headers.get("Allow"))
    except ConnectionResetError:
        raise  # the browser has left; there is nobody to explain anything to
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return error_response(request, 500, "")


def error_response(request: web.Request, status: int, sentence: str, allow: str | None = None) -> web.Response:
    """The sentence in the form that suits the address."""
    response = (
        web.json_response({"error": sentence or "Something went wrong here."}, status=status)
        if request.path.startswith("/api/")
        else request.app[RENDERER].page(
            request, "error.html", {"status": status, "sentence": sentence}, status=status
        )
    )
    response.headers["Cache-Control"] = "no-store"
    if allow:
        response.headers["Allow"] = allow
    return response
