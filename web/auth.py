"""Sessions in the browser: cookies, where signing in is allowed at all, and tokens against forged forms."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import accounts
from streamarchive.settings import Settings

from .access import Asker
from .keys import SERVICES, VISIT

CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
_OPEN_COOKIE, _SECURE_COOKIE = "session", "__Host-session"
_FORM_COOKIE = "form"
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


async def who_asks(request: web.Request) -> Asker:
    """The person whose session cookie this is; a viewer without one."""
    token = request.cookies.get(_cookie_name(request))
    if not token or not may_sign_in(request):
        return Asker()
    user = await accounts.user_of(request.app[SERVICES].database, token)
    if user is None:
        return Asker()
    return Asker(user.role, user, form_token=_form_token(token))


def is_https(request: web.Request) -> bool:
    """Whether the browser speaks TLS, with us or with the proxy that BASE_URL describes."""
    settings: Settings = request.app[SERVICES].settings
    return request.secure or settings.base_url.startswith("https://")


def may_sign_in(request: web.Request) -> bool:
    """Passwords travel over https, or inside one machine; never over a network in the clear."""
    if is_https(request):
        return True
    host = (request.url.host or "").strip("[]")
    try:
        near = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        near = False
    return near and host in _LOCAL_NAMES


def start_session(request: web.Request, response: web.StreamResponse, signed_in: accounts.SignedIn) -> None:
    """Give the browser its token: unreadable for scripts, and over https bound to this very host."""
    response.set_cookie(
        _cookie_name(request),
        signed_in.token,
        max_age=int(accounts.LONGEST.total_seconds()),
        httponly=True,
        samesite="Lax",
        secure=is_https(request),
        path="/",
    )


def session_token(request: web.Request) -> str | None:
    """The token that the browser sent."""
    return request.cookies.get(_cookie_name(request))


def end_session(request: web.Request, response: web.StreamResponse) -> None:
    """Let the browser forget its token."""
    response.del_cookie(_cookie_name(request), path="/", secure=is_https(request), httponly=True, samesite="Lax")


def form_cookie(request: web.Request, response: web.StreamResponse) -> str:
    """For the sign-in form, where there is no session yet: a token that the form and a cookie share."""
    value = request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    response.set_cookie(_FORM_COOKIE, value, httponly=True, samesite="Strict", secure=is_https(request))
    return _form_token(value)


def check_form_cookie(request: web.Request, sent: str) -> None:
    """Raises 403 unless the sign-in form came from us to this browser."""
    cookie = request.cookies.get(_FORM_COOKIE)
    if not cookie or not _same(_form_token(cookie), sent):
        raise web.HTTPForbidden(text="This form is too old or was not ours; open the page again.")


async def check_form(request: web.Request) -> None:
    """Raises 403 unless a request that changes something carries the token of the person's session.

    It stands in the header, or in the form's field; a form with a file is read by its handler, which calls
    `check_token` with the first field before it reads the file.
    """
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.content_type == "application/x-www-form-urlencoded":
        sent = str((await request.post()).get(CSRF_FIELD, ""))
    check_token(request, sent or "")


def check_token(request: web.Request, sent: str) -> None:
    """Raises 403 for any other token than that of this session's forms."""
    expected = request[VISIT].asker.form_token
    if not expected or not _same(expected, sent):
        raise web.HTTPForbidden(text="This form is too old: open the page again and send it once more.")


async def note(
    tx: AsyncConnection,
    request: web.Request,
    action: str,
    subject: object,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write into the audit log that the person who sent this request did this, in the transaction of the deed."""
    user = request[VISIT].asker.user
    await accounts.audit(tx, user.id if user else None, action, str(subject), details)


def _same(expected: str, sent: str) -> bool:
    """In constant time; what was sent may be anything."""
    return hmac.compare_digest(expected.encode(), sent.encode("utf-8", "replace"))


def _cookie_name(request: web.Request) -> str:
    return _SECURE_COOKIE if is_https(request) else _OPEN_COOKIE


def _form_token(secret: str) -> str:
    return hmac.new(secret.encode(), b"forms", hashlib.sha256).hexdigest()
