"""Handing in a recording: one form with a file, of any size."""

from __future__ import annotations

from aiohttp import web

from streamarchive.catalogue import recordings
from streamarchive.errors import MediaError, StorageError, UsageError
from streamarchive.models import Interview, RecordingState

from ..access import open_interview
from ..desk.receiving import receive
from ..keys import SERVICES, VISIT
from .desk_interview import page


async def upload(request: web.Request) -> web.StreamResponse:
    """Take the file in; what it is worth is found out afterwards, by a job. Scripts ask for JSON."""
    scripted = "application/json" in request.headers.get("Accept", "")
    address = f"/desk/{request.match_info['id']}"
    try:
        interview = await _open(request)
        await receive(request, interview.id)
    except (UsageError, MediaError) as error:
        status = 507 if isinstance(error, StorageError) else 400
        if scripted:
            return web.json_response({"error": str(error)}, status=status)
        return await page(request, refused={"upload": str(error)}, status=status)
    if scripted:
        return web.json_response({"url": f"{address}?done=uploaded"}, status=201)
    raise web.HTTPSeeOther(f"{address}?done=uploaded#recording")


async def _open(request: web.Request) -> Interview:
    async with request.app[SERVICES].database.read() as connection:
        interview = await open_interview(connection, request[VISIT].asker, request.match_info["id"])
        kept = await recordings.of_interview(connection, interview.id)
    if any(recording.state is RecordingState.OPEN for recording in kept):
        raise UsageError(
            request[VISIT].language.gettext("This interview is on air; a file can be uploaded when it has ended.")
        )
    return interview
