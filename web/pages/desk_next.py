"""One source, several interviews: the next one begins while the recording goes on."""

from __future__ import annotations

from aiohttp import web

from streamarchive.catalogue import cuts, interviews, streams
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import Role, StreamId

from .. import auth
from ..access import open_interview
from ..keys import SERVICES, VISIT
from . import desk_interview


async def begin_next(request: web.Request) -> web.StreamResponse:
    """From now on what is recorded belongs to another interview, whose page comes next."""
    stream_id = StreamId(int(request.match_info["stream"]))
    wanted = str((await request.post()).get("next", ""))
    visit, services = request[VISIT], request.app[SERVICES]
    try:
        async with services.database.write() as tx:
            interview = await open_interview(tx, visit.asker, request.match_info["id"])
            if all(stream.id != stream_id for stream in await streams.of_interview(tx, interview.id)):
                raise NotFoundError("this interview has no such stream")
            if all(one.id != wanted for one in await interviews.unrecorded(tx, Role.PRODUCER)):
                raise UsageError(visit.language.gettext("Choose the interview that comes next."))
            following = await interviews.get(tx, wanted)
            at_ms = await cuts.next_interview(tx, stream_id, following.id)
            about = {"stream": stream_id, "next": following.id, "at_ms": at_ms}
            await auth.note(tx, request, "next interview", interview.id, about)
    except UsageError as error:
        return await desk_interview.page(request, refused={"next": str(error)}, status=400)
    raise web.HTTPSeeOther(f"/desk/{following.id}?done=next#recording")
