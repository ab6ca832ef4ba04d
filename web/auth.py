"""Sessions in the browser: cookies, where signing in is allowed at all, and tokens against forged forms."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import accounts
from streamarchive.settings import Settings

from .access import Asker
from .keys import SERVICES, VISIT

CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
_OPEN_COOKIE, _SECURE_COOKIE = "session", "__Host-session"
_OPEN_FORM_COOKIE, _SECURE_FORM_COOKIE = "form", "__Host-form"
_PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


async def who_asks(request: web.Request) -> Asker:
    """The person whose session cookie this is; a viewer without one."""
    token = request.cookies.get(_cookie_name(request))
    if not token or not may_sign_in(request):
        return Asker()
    user = await accounts.user_of(request.app[SERVICES].database, token)
    if user is None:
        return Asker()
    return Asker(user.role, user, form_token=_form_token(token), session_token=token)


def is_https(request: web.Request) -> bool:
    """Whether the browser speaks TLS: with us, or with a proxy that says so or stands where BASE_URL is.

    Without a word from the proxy the request has to be for BASE_URL's own host: who reaches our port by another
    name has passed no proxy.
    """
    if request.secure:
        return True
    said = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
    if said:
        return said == "https" and _is_trusted(request, request.remote)
    base = urlsplit(_settings(request).base_url)
    return base.scheme == "https" and request.host.lower() == base.netloc.lower()


def may_sign_in(request: web.Request) -> bool:
    """Passwords travel over https, or inside one machine; never over a network in the clear.

    A proxy on this machine looks like a browser on it, unless it says whom it speaks for.
    """
    if is_https(request):
        return True
    host = (request.url.host or "").strip("[]")
    return not _passed_on(request) and host in _LOCAL_NAMES and _is_loopback(request.remote)


def asks_directly(request: web.Request) -> bool:
    """Whether this process itself is asked, from a private network: by monitoring, not by a visitor."""
    address = _ip(request.remote)
    return not _passed_on(request) and address is not None and not address.is_global


def _passed_on(request: web.Request) -> bool:
    return any(name in request.headers for name in _PROXY_HEADERS)


def client_address(request: web.Request) -> str:
    """Where the browser is: the last address in front of the proxies that we trust."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    address = request.remote or ""
    while hops and _is_trusted(request, address):
        address = hops.pop()
    return address[:100]


def _is_trusted(request: web.Request, address: str | None) -> bool:
    found = _ip(address)
    return found is not None and any(
        found in ipaddress.ip_network(network) for network in _settings(request).trusted_proxies
    )


def _is_loopback(address: str | None) -> bool:
    found = _ip(address)
    return found is not None and found.is_loopback


def _ip(address: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address or "")
    except ValueError:
        return None


def _settings(request: web.Request) -> Settings:
    return request.app[SERVICES].settings


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
    name = _form_cookie_name(request)
    value = request.cookies.get(name) or secrets.token_urlsafe(24)
    response.set_cookie(name, value, httponly=True, samesite="Strict", secure=is_https(request), path="/")
    return _form_token(value)


def check_form_cookie(request: web.Request, sent: str) -> None:
    """Raises 403 unless the sign-in form came from us to this browser."""
    cookie = request.cookies.get(_form_cookie_name(request))
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


def _form_cookie_name(request: web.Request) -> str:
    return _SECURE_FORM_COOKIE if is_https(request) else _OPEN_FORM_COOKIE


def _form_token(secret: str) -> str:
    return hmac.new(secret.encode(), b"forms", hashlib.sha256).hexdigest()
