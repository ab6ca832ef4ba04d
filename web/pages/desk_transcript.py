"""How an interview's recording is transcribed, and passes over it that somebody asks for."""

from __future__ import annotations

from aiohttp import web

from streamarchive import jobs
from streamarchive.catalogue import interviews
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import Script, Stage

from .. import auth
from ..access import open_interview
from ..keys import SERVICES, VISIT

_PASSES = {"again": jobs.TRANSCRIBE, "translate": jobs.TRANSLATE}
"""What the buttons ask for, and the kind of job that does it."""


async def save(request: web.Request) -> web.StreamResponse:
    """The script of its Chinese, and whether each channel is a person; for the passes to come."""
    form = await request.post()
    apart = form.get("person_per_channel") == "1"
    try:
        script = Script(str(form.get("script", "")))
    except ValueError as error:
        raise UsageError("Chinese is written simplified, traditional, or as it is heard") from error
    async with request.app[SERVICES].database.write() as tx:
        interview = await open_interview(tx, request[VISIT].asker, request.match_info["id"])
        if (interview.script, interview.person_per_channel) != (script, apart):
            await interviews.set_transcribing(tx, interview.id, script, person_per_channel=apart)
            about = {"script": [interview.script, script], "channels": [interview.person_per_channel, apart]}
            await auth.note(tx, request, "transcribing set", interview.id, about)
    raise web.HTTPSeeOther(f"/desk/{interview.id}?done=saved#transcript")


async def begin(request: web.Request) -> web.StreamResponse:
    """One more pass over the whole recording: transcribe it again, or translate it."""
    kind = _PASSES.get(str((await request.post()).get("pass", "")))
    if kind is None:
        raise UsageError("a recording is transcribed again, or translated")
    async with request.app[SERVICES].database.write() as tx:
        interview = await open_interview(tx, request[VISIT].asker, request.match_info["id"])
        recording_id = interview.recording_id
        if recording_id is None or interview.stage is Stage.LIVE:
            raise NotFoundError("there is no finished recording yet")
        await jobs.enqueue(tx, kind, str(recording_id), recording_id=recording_id, priority=jobs.LATER)
        await auth.note(tx, request, f"{kind} asked for", interview.id, {"recording": recording_id})
    raise web.HTTPSeeOther(f"/desk/{interview.id}?done={kind}#work")
