"""The producers' desk: every interview there is, and new ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import ingest, jobs, text
from streamarchive.catalogue import interviews, people, uploads
from streamarchive.catalogue.database import now
from streamarchive.errors import UsageError
from streamarchive.media import disk
from streamarchive.models import Interview, InterviewId, Role, Stage, Visibility

from .. import auth
from ..desk import details
from ..keys import RENDERER, SERVICES, VISIT
from ..languages import Language
from ..views import Text, guests_of, title_of

PAGE = 50
_LOOKED_AT = 5_000
"""So many of the newest interviews are looked through."""
FILTERS = ("all", "live", "scheduled", "processing", "ready", "draft", "unlisted", "public", "trash")


@dataclass(frozen=True, slots=True)
class Row:
    """An interview in the list."""

    id: str
    title: Text
    guests: tuple[Text, ...]
    held_at: datetime
    stage: Stage
    visibility: Visibility
    trouble: bool
    """Something has stopped and waits for a person."""


async def show(request: web.Request) -> web.StreamResponse:
    """The list."""
    language = request[VISIT].language
    wanted = request.query.get("show", "all")
    wanted = wanted if wanted in FILTERS else "all"
    typed = request.query.get("q", "").strip()[:200]
    offset = _offset(request)
    async with request.app[SERVICES].database.read() as connection:
        found = [interview for interview in await _all(connection, wanted) if _meets(interview, wanted, typed)]
        shown = found[offset : offset + PAGE]
        troubled = await _troubled(connection, shown)
    context = {
        "rows": [_row(interview, language, troubled) for interview in shown],
        "wanted": wanted,
        "typed": typed,
        "filters": _filters(language, typed),
        "room": disk.room(await request.app[SERVICES].store.free_fraction()),
        "next_url": _url(wanted, typed, offset + PAGE) if len(found) > offset + PAGE else None,
    }
    return private(request.app[RENDERER].page(request, "desk.html", context))


def private(response: web.Response) -> web.Response:
    """Pages of the desk are not kept by the browser: whoever signs out leaves nothing behind."""
    response.headers["Cache-Control"] = "no-store"
    return response


async def _all(connection: AsyncConnection, wanted: str) -> list[Interview]:
    if wanted == "trash":
        return await interviews.trashed(connection, limit=_LOOKED_AT)
    return await interviews.latest(connection, Role.PRODUCER, limit=_LOOKED_AT)


def _meets(interview: Interview, wanted: str, typed: str) -> bool:
    if wanted not in ("all", "trash") and wanted not in (interview.stage, interview.visibility):
        return False
    if not typed:
        return True
    names = [*interview.titles.values(), interview.id, interview.slug]
    for guest in interview.guests:
        names += [*guest.names.values(), *guest.affiliations.values()]
    if interview.event is not None:
        names += interview.event.names.values()
    known = "\n".join(names)
    return all(text.spans(known, [word]) or word.casefold() in known.casefold() for word in typed.split())


async def _troubled(connection: AsyncConnection, shown: Sequence[Interview]) -> set[InterviewId]:
    """Those of them with a job that has stopped, or whose last upload was refused."""
    stopped = await jobs.parked(connection, [i.recording_id for i in shown if i.recording_id is not None])
    refused = await uploads.refused(connection, [interview.id for interview in shown])
    return {interview.id for interview in shown if interview.recording_id in stopped} | refused


def _row(interview: Interview, language: Language, troubled: Collection[InterviewId]) -> Row:
    return Row(
        id=interview.id,
        title=title_of(interview, language.code),
        guests=guests_of(interview, language.code),
        held_at=interview.held_at,
        stage=interview.stage,
        visibility=interview.visibility,
        trouble=interview.id in troubled,
    )


def _filters(language: Language, typed: str) -> list[tuple[str, str, str]]:
    """Name, label and address of each."""
    _ = language.gettext
    labels = {
        "all": _("All"),
        "live": _("On air"),
        "scheduled": _("Scheduled"),
        "processing": _("Being processed"),
        "draft": _("Drafts"),
        "unlisted": _("Unlisted"),
        "public": _("Public"),
        "trash": _("Trash"),
    }
    return [(name, label, _url(name, typed, 0)) for name, label in labels.items()]


def _url(wanted: str, typed: str, offset: int) -> str:
    values: Sequence[tuple[str, str | int]] = [
        (name, value)
        for name, value in (("show", wanted if wanted != "all" else ""), ("q", typed), ("from", offset))
        if value
    ]
    return f"/desk?{urlencode(values)}" if values else "/desk"


def _offset(request: web.Request) -> int:
    value = request.query.get("from", "0")
    return min(int(value), _LOOKED_AT) if value.isascii() and value.isdigit() and len(value) < 6 else 0


async def new(request: web.Request) -> web.StreamResponse:
    """The form of a new interview."""
    services = request.app[SERVICES]
    async with services.database.read() as connection:
        moment = await now(connection)
    typed = details.Typed(languages=services.settings.languages, held_at=details.minute(moment))
    return await _new(request, typed)


async def create(request: web.Request) -> web.StreamResponse:
    """A new interview; next comes its recording."""
    typed = details.from_form(await request.post())
    try:
        said = details.read(typed, request[VISIT].language.gettext)
    except UsageError as error:
        return await _new(request, typed, refused=str(error))
    async with request.app[SERVICES].database.write() as tx:
        interview_id = await ingest.create_interview(tx, said)
        about = {"titles": dict(said.titles), "visibility": said.visibility}
        await auth.note(tx, request, "interview created", interview_id, about)
    raise web.HTTPSeeOther(f"/desk/{interview_id}?done=created")


async def _new(request: web.Request, typed: details.Typed, refused: str = "") -> web.Response:
    async with request.app[SERVICES].database.read() as connection:
        context = {"refused": refused, **await form_context(connection, request, typed)}
    return private(request.app[RENDERER].page(request, "desk_new.html", context, status=400 if refused else 200))


async def form_context(
    connection: AsyncConnection, request: web.Request, typed: details.Typed
) -> dict[str, object]:
    """What the form of an interview's details needs."""
    language = request[VISIT].language
    offered = dict.fromkeys((*request.app[SERVICES].settings.languages, *typed.languages))
    return {
        "typed": typed,
        "offered": [(code, language.name_of(code)) for code in offered],
        "events": await people.events(connection),
        "blank": details.TypedGuest(),
    }
