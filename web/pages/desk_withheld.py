"""What nobody gets of a recording: producers withhold and lift it, an admin deletes it for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from multidict import MultiMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import withholding
from streamarchive.catalogue import cuts, recordings, withheld
from streamarchive.catalogue.withheld import WithheldRange
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import RecordingId, RecordingState, Stretch

from .. import auth
from ..access import open_interview
from ..desk import moments
from ..keys import SERVICES, VISIT
from ..languages import Language
from . import desk_interview

_LAST_MS = 30_000
_LONGEST_REASON = 500


async def withhold(request: web.Request) -> web.StreamResponse:
    """The last 30 s of what is on air, or from … to …"""
    visit, form = request[VISIT], await request.post()
    typed = {name: str(form.get(name, "")).strip() for name in ("from", "to", "reason")}
    try:
        async with request.app[SERVICES].database.write() as tx:
            interview = await open_interview(tx, visit.asker, request.match_info["id"])
            if interview.recording_id is None:
                raise UsageError(visit.language.gettext("There is no recording yet."))
            wanted = await _wanted(tx, interview.recording_id, form, visit.language)
            reason = typed["reason"][:_LONGEST_REASON]
            user_id = visit.asker.user.id if visit.asker.user else None
            await withholding.withhold(
                tx, interview.recording_id, wanted.start_ms, wanted.end_ms, reason=reason, user_id=user_id
            )
            about = {"from_ms": wanted.start_ms, "to_ms": wanted.end_ms, "reason": reason}
            await auth.note(tx, request, "range withheld", interview.id, about)
    except UsageError as error:
        refused = {"withheld": str(error)}
        return await desk_interview.page(request, refused=refused, withheld_typed=typed, status=400)
    raise _back(request, "withheld")


async def _wanted(
    tx: AsyncConnection, recording_id: RecordingId, form: MultiMapping[object], language: Language
) -> Stretch:
    """What the form means. Raises `UsageError`."""
    _ = language.gettext
    recording = await recordings.get(tx, recording_id)
    on_air = recording.state is RecordingState.OPEN
    edge_ms = await cuts.edge(tx, recording_id) if on_air else recording.duration_ms
    if "last" in form:
        if not on_air:
            raise UsageError(_("It is not on air any more: name the part by its beginning and its end."))
        return Stretch(max(0, edge_ms - _LAST_MS), max(edge_ms, 1))
    try:
        start_ms, end_ms = (moments.typed_ms(str(form.get(name, ""))) for name in ("from", "to"))
    except ValueError as error:
        raise UsageError(_("Write a moment of the recording such as 1:05, 62:30 or 1:02:30.5.")) from error
    if start_ms is None or end_ms is None:
        raise UsageError(_("Write where the part begins and where it ends."))
    if end_ms <= start_ms:
        raise UsageError(_("The end has to come after the beginning."))
    if start_ms >= edge_ms:
        raise UsageError(_("The recording does not reach so far."))
    return Stretch(start_ms, end_ms)


async def lift(request: web.Request) -> web.StreamResponse:
    """Show it again."""
    return await _change(request, withholding.lift, "range lifted", "lifted")


async def purge(request: web.Request) -> web.StreamResponse:
    """Delete it for good."""
    form = await request.post()
    if form.get("sure") != "1":
        sentence = request[VISIT].language.gettext("Confirm that it is to be deleted: there is no way back.")
        return await desk_interview.page(request, refused={"withheld": sentence}, status=400)
    return await _change(request, withholding.purge, "range purged", "purged")


async def _change(
    request: web.Request, do: Callable[[AsyncConnection, int], Awaitable[WithheldRange]], action: str, done: str
) -> web.StreamResponse:
    range_id = int(request.match_info["range"])
    try:
        async with request.app[SERVICES].database.write() as tx:
            interview = await open_interview(tx, request[VISIT].asker, request.match_info["id"])
            found = await withheld.get(tx, range_id)
            if found.recording_id != interview.recording_id:
                raise NotFoundError("nothing of this interview is withheld under this number")
            await do(tx, range_id)
            about = {"from_ms": found.stretch.start_ms, "to_ms": found.stretch.end_ms, "range": range_id}
            await auth.note(tx, request, action, interview.id, about)
    except UsageError as error:
        return await desk_interview.page(request, refused={"withheld": str(error)}, status=400)
    raise _back(request, done)


def _back(request: web.Request, done: str) -> web.HTTPSeeOther:
    return web.HTTPSeeOther(f"/desk/{request.match_info['id']}?done={done}#withheld")
