"""The glossary as a list: out as CSV, and in, looked at first and then taken whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web_request import FileField

from streamarchive import glossaries
from streamarchive.catalogue import glossary
from streamarchive.catalogue.glossary import Plan
from streamarchive.errors import UsageError
from streamarchive.glossaries import Reading

from .. import auth
from ..keys import RENDERER, SERVICES, VISIT
from ..wording import flaw_words
from .desk import private

_SHOWN = 50
"""So many faults, new and corrected terms are shown of a list."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A list as it was sent, with the button that was pressed."""

    typed: str
    reading: Reading
    is_to_be_taken: bool


async def export(request: web.Request) -> web.StreamResponse:
    """All terms; the mark at its beginning is by what spreadsheets know UTF-8."""
    async with request.app[SERVICES].database.read() as connection:
        held = await glossary.current(connection)
    written = await asyncio.to_thread(glossaries.to_csv, [term.entry for term in held])
    response = web.Response(text="\ufeff" + written, content_type="text/csv", charset="utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="glossary.csv"'
    return private(response)


async def show(request: web.Request) -> web.StreamResponse:
    """The form for a list."""
    return _page(request)


async def take(request: web.Request) -> web.StreamResponse:
    """Show what the list would do, or do it. A list with a fault does nothing."""
    sent = await _read(request)
    if not sent.reading.entries or sent.reading.faults:
        return _page(request, sent, status=400)
    services = request.app[SERVICES]
    try:
        if not sent.is_to_be_taken:
            async with services.database.read() as connection:
                return _page(request, sent, await glossary.plan(connection, sent.reading.entries))
        async with services.database.write() as tx:
            plan = await glossary.take(tx, sent.reading.entries)
            await auth.note(
                tx, request, "glossary imported", f"{len(sent.reading.entries)} terms", plan.as_json()
            )
    except UsageError as error:
        return _page(request, sent, refused=str(error), status=400)
    raise web.HTTPSeeOther("/glossary?done=taken")


async def _read(request: web.Request) -> _Sent:
    """What was sent. Raises 403 for a wrong token, `UsageError` for a form that is damaged or too large."""
    try:
        form = await request.post()
    except web.HTTPRequestEntityTooLarge as error:
        raise UsageError("the list is larger than 1 MB; send it in parts") from error
    except (ValueError, RuntimeError, AssertionError, BadHttpMessage) as error:
        raise UsageError("the form arrived damaged; send it once more") from error
    auth.check_token(request, str(form.get("csrf", "")))
    file, typed = form.get("file"), str(form.get("list", ""))
    data = await asyncio.to_thread(file.file.read) if isinstance(file, FileField) else b""
    if data:
        reading = await asyncio.to_thread(glossaries.from_bytes, data)
        typed = data.decode("utf-8-sig", "replace")
    else:
        reading = await asyncio.to_thread(glossaries.from_csv, typed)
    return _Sent(typed, reading, form.get("do") == "take")


def _page(
    request: web.Request,
    sent: _Sent | None = None,
    plan: Plan | None = None,
    refused: str = "",
    status: int = 200,
) -> web.Response:
    gettext = request[VISIT].language.gettext
    faults = sent.reading.faults if sent else ()
    context = {
        "typed": sent.typed if sent else "",
        "looked_at": sent is not None,
        "faults": [(fault.line, flaw_words(fault.flaw, fault.value, gettext)) for fault in faults[:_SHOWN]],
        "more_faults": max(len(faults) - _SHOWN, 0),
        "plan": plan,
        "most": _SHOWN,
        "refused": refused,
    }
    return private(request.app[RENDERER].page(request, "glossary_list.html", context, status=status))
