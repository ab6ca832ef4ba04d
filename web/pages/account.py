"""Signing in and out."""

from __future__ import annotations

from aiohttp import web

from streamarchive.catalogue import accounts, passwords
from streamarchive.errors import SignInRefusedError, UsageError

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
            request.app[SERVICES].database, name, str(form.get("password", "")), auth.client_address(request)
        )
    except SignInRefusedError as error:
        return _form(request, wanted=wanted, name=name, refused=str(error), status=403)
    await _end_former(request)
    response = web.HTTPSeeOther(wanted)
    auth.start_session(request, response, signed_in)
    raise response


async def _end_former(request: web.Request) -> None:
    """Whoever signs in anew in the same browser leaves no session behind."""
    former = auth.session_token(request)
    if former:
        async with request.app[SERVICES].database.write() as tx:
            await accounts.sign_out(tx, former)


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


async def mine(request: web.Request) -> web.StreamResponse:
    """One's own account: where one is signed in, and a new password."""
    return await _mine(request)


async def change_password(request: web.Request) -> web.StreamResponse:
    """A new password, for whoever knows the old one; every other session of the person ends."""
    asker, form = request[VISIT].asker, await request.post()
    database, new = request.app[SERVICES].database, str(form.get("new", ""))
    user = asker.user
    assert user is not None  # noqa: S101 - the route takes a role
    try:
        former = await accounts.check_password(database, user, str(form.get("password", "")))
        password_hash = await passwords.hash_password(new)
    except (SignInRefusedError, UsageError) as error:
        return await _mine(request, refused=str(error))
    async with database.write() as tx:
        await accounts.set_password(tx, user, password_hash, instead_of=former)
        await accounts.sign_out_elsewhere(tx, user.id, asker.session_token)
        await auth.note(tx, request, "password changed", user.name)
    raise web.HTTPSeeOther("/account?done=password")


async def end_sessions(request: web.Request) -> web.StreamResponse:
    """End one other session of one's own, or all."""
    asker, form = request[VISIT].asker, await request.post()
    user, named = asker.user, str(form.get("session", ""))
    assert user is not None  # noqa: S101 - the route takes a role
    async with request.app[SERVICES].database.write() as tx:
        ended = await accounts.sign_out_elsewhere(tx, user.id, asker.session_token, session_id=named)
        await auth.note(tx, request, "sessions ended", user.name, {"count": ended})
    raise web.HTTPSeeOther("/account?done=sessions")


async def _mine(request: web.Request, refused: str = "") -> web.Response:
    visit = request[VISIT]
    user, _ = visit.asker.user, visit.language.gettext
    assert user is not None  # noqa: S101 - the route takes a role
    async with request.app[SERVICES].database.read() as connection:
        sessions = await accounts.sessions(connection, user.id, visit.asker.session_token)
    done = {
        "password": _("Your password is changed. Wherever else you were signed in, you are not any more."),
        "sessions": _("Those sessions have ended."),
    }
    context = {
        "user": user,
        "role": {"editor": _("Editor"), "producer": _("Producer"), "admin": _("Admin")}[user.role],
        "sessions": sessions,
        "refused": refused,
        "done": done.get(request.query.get("done", ""), ""),
    }
    status = 400 if refused else 200
    page = request.app[RENDERER].page(request, "account.html", context, status=status)
    page.headers["Cache-Control"] = "no-store"
    return page


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
