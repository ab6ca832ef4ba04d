"""Signing in and out."""

from __future__ import annotations

from aiohttp import web

from streamarchive.catalogue import accounts
from streamarchive.errors import SignInRefusedError

from .. import auth
from ..keys import RENDERER, SERVICES, VISIT
from .language import on_this_site


async def show(request: web.Request) -> web.StreamResponse:
    """The form, or why signing in is not possible here."""
    return _form(request, wanted=on_this_site(request.query.get("next", "/")))


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Begin a session and go on to where the person wanted to go."""
    if not auth.may_sign_in(request):
        return _form(request, status=403)
    form = await request.post()
    auth.check_form_cookie(request, str(form.get(auth.CSRF_FIELD, "")))
    name, wanted = str(form.get("name", "")), on_this_site(str(form.get("next", "/")))
    try:
        signed_in = await accounts.sign_in(
            request.app[SERVICES].database, name, str(form.get("password", "")), request.remote or ""
        )
    except SignInRefusedError as error:
        return _form(request, wanted=wanted, name=name, refused=str(error), status=403)
    response = web.HTTPSeeOther(wanted)
    auth.start_session(request, response, signed_in)
    raise response


async def sign_out(request: web.Request) -> web.StreamResponse:
    """End the session, in the catalogue and in the browser."""
    token = auth.session_token(request)
    asker = request[VISIT].asker
    async with request.app[SERVICES].database.write() as tx:
        if token is not None and asker.user is not None:
            await accounts.sign_out(tx, token)
            await accounts.audit(tx, asker.user.id, "signed out", asker.user.name)
    response = web.HTTPSeeOther("/")
    auth.end_session(request, response)
    raise response


def _form(
    request: web.Request, *, wanted: str = "/", name: str = "", refused: str = "", status: int = 200
) -> web.Response:
    allowed = auth.may_sign_in(request)
    response = web.Response()
    token = auth.form_cookie(request, response) if allowed else ""
    page = request.app[RENDERER].page(
        request,
        "sign_in.html",
        {"allowed": allowed, "wanted": wanted, "name": name, "refused": refused, "form_token": token},
        status=status,
    )
    page.headers["Cache-Control"] = "no-store"
    page.cookies.update(response.cookies)
    return page
