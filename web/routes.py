"""Every address of the site in one table, with the role it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from streamarchive.models import Role

from . import auth, media
from .api import archive, cues, searching
from .keys import VISIT
from .pages import (
    account,
    demo,
    desk,
    desk_interview,
    desk_next,
    desk_streams,
    desk_transcript,
    desk_upload,
    desk_withheld,
    events,
    feed,
    glossary,
    glossary_list,
    health,
    home,
    ingest,
    interview,
    language,
    line,
    metrics,
    saved_searches,
    search,
    static,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, what answers, and the least role that may ask. Interviews are checked one by one."""

    method: str
    path: str
    handler: Handler
    role: Role = Role.VIEWER
    has_file: bool = False
    """The form carries a file: its handler checks the form's token itself before it reads that far."""


_INTERVIEW = "/interviews/{id:[0-9a-z]{10}}"
_DESK = "/desk/{id:[0-9a-z]{10}}"

_SAVED = r"/saved-searches/{search:\d{1,15}}"

_TERM = r"/glossary/{term:\d{1,15}}"

_CUE = r"/api/cues/{cue:\d{1,12}}"

ROUTES = (
    Route("GET", "/", home.show),
    Route("GET", "/search", search.show),
    Route("GET", "/search/facets", search.facets),
    Route("GET", "/search.atom", feed.show),
    Route("GET", "/interviews/{reference}", interview.show),
    Route("GET", _INTERVIEW + "/lines.json", interview.current_lines),
    Route("GET", _INTERVIEW + "/captions.{format:vtt|srt|txt|json}", interview.export),
    Route("GET", _INTERVIEW + "/events", events.stream),
    Route("GET", _INTERVIEW + "/playlist.m3u8", media.playlist),
    Route("GET", _INTERVIEW + r"/segments/{sequence:\d{1,9}}-{ms:\d{1,12}}-{pts:\d{1,10}}.ts", media.segment),
    Route("GET", _INTERVIEW + "/{name:media.mp4|media.m4a|original|thumbnails.jpg|peaks.dat}", media.asset),
    Route("GET", _INTERVIEW + "/poster.jpg", media.poster),
    Route("GET", _INTERVIEW + "/thumbnails.vtt", media.thumbnail_map),
    Route("POST", "/language", language.choose),
    Route("GET", "/sign-in", account.show),
    Route("POST", "/sign-in", account.sign_in),
    Route("POST", "/sign-out", account.sign_out, Role.EDITOR),
    Route("GET", "/account", account.mine, Role.EDITOR),
    Route("POST", "/account/password", account.change_password, Role.EDITOR),
    Route("POST", "/account/sessions", account.end_sessions, Role.EDITOR),
    Route("GET", "/saved-searches", saved_searches.show, Role.EDITOR),
    Route("POST", "/saved-searches", saved_searches.add, Role.EDITOR),
    Route("GET", "/saved-searches/told", saved_searches.told, Role.EDITOR),
    Route("POST", "/saved-searches/seen", saved_searches.see, Role.EDITOR),
    Route("POST", _SAVED + "/remove", saved_searches.remove, Role.EDITOR),
    Route("POST", _SAVED + "/again", saved_searches.again, Role.EDITOR),
    Route("GET", "/glossary", glossary.show, Role.EDITOR),
    Route("GET", "/glossary.csv", glossary_list.export, Role.EDITOR),
    Route("GET", "/glossary/new", glossary.new, Role.EDITOR),
    Route("POST", "/glossary/new", glossary.add, Role.EDITOR),
    Route("GET", "/glossary/list", glossary_list.show, Role.EDITOR),
    Route("POST", "/glossary/list", glossary_list.take, Role.EDITOR, has_file=True),
    Route("GET", _TERM, glossary.edit, Role.EDITOR),
    Route("POST", _TERM, glossary.change, Role.EDITOR),
    Route("POST", _TERM + "/remove", glossary.remove, Role.EDITOR),
    Route("GET", "/desk", desk.show, Role.PRODUCER),
    Route("GET", "/desk/new", desk.new, Role.PRODUCER),
    Route("POST", "/desk/new", desk.create, Role.PRODUCER),
    Route("GET", _DESK, desk_interview.show, Role.PRODUCER),
    Route("GET", _DESK + "/work", desk_interview.work, Role.PRODUCER),
    Route("POST", _DESK + "/details", desk_interview.describe, Role.PRODUCER),
    Route("POST", _DESK + "/visibility", desk_interview.show_or_hide, Role.PRODUCER),
    Route("POST", _DESK + "/cut", desk_interview.cut, Role.PRODUCER),
    Route("POST", _DESK + "/transcript", desk_transcript.save, Role.PRODUCER),
    Route("POST", _DESK + "/transcript/pass", desk_transcript.begin, Role.PRODUCER),
    Route("POST", _DESK + "/withheld", desk_withheld.withhold, Role.PRODUCER),
    Route("POST", _DESK + r"/withheld/{range:\d{1,15}}/lift", desk_withheld.lift, Role.PRODUCER),
    Route("POST", _DESK + r"/withheld/{range:\d{1,15}}/purge", desk_withheld.purge, Role.ADMIN),
    Route("POST", _DESK + "/upload", desk_upload.upload, Role.PRODUCER, has_file=True),
    Route("POST", _DESK + "/recording", desk_interview.choose_recording, Role.PRODUCER),
    Route("POST", _DESK + "/streams", desk_interview.add_stream, Role.PRODUCER),
    Route("POST", _DESK + "/streams/sent", desk_streams.send_stream, Role.PRODUCER),
    Route("POST", _DESK + "/streams/signal", desk_streams.show_signal, Role.PRODUCER),
    Route("POST", _DESK + r"/streams/{stream:\d{1,15}}/stop", desk_interview.stop_stream, Role.PRODUCER),
    Route("POST", _DESK + r"/streams/{stream:\d{1,15}}/next", desk_next.begin_next, Role.PRODUCER),
    Route("POST", _DESK + r"/jobs/{job:\d{1,15}}/retry", desk_interview.retry_job, Role.PRODUCER),
    Route("POST", _DESK + r"/jobs/{job:\d{1,15}}/cancel", desk_interview.cancel_job, Role.PRODUCER),
    Route("GET", "/api/search", searching.search),
    Route("GET", "/api/search/facets", searching.facets),
    Route("GET", "/api/suggestions", searching.suggest),
    Route("GET", "/api/interviews", archive.list_interviews),
    Route("GET", "/api/interviews/{id:[0-9a-z]{10}}", archive.interview),
    Route("GET", "/api/interviews/{id:[0-9a-z]{10}}/transcript", archive.transcript),
    Route("GET", _INTERVIEW + r"/cues/{cue:\d{1,12}}", line.show, Role.EDITOR),
    Route("POST", _INTERVIEW + r"/cues/{cue:\d{1,12}}", line.save, Role.EDITOR),
    Route("PATCH", _CUE, cues.change, Role.EDITOR),
    Route("DELETE", _CUE, cues.delete, Role.EDITOR),
    Route("POST", _CUE + "/split", cues.split, Role.EDITOR),
    Route("POST", _CUE + "/merge", cues.merge, Role.EDITOR),
    Route("POST", _CUE + "/restore", cues.restore, Role.EDITOR),
    Route("POST", _CUE + "/suggestion", cues.suggestion, Role.EDITOR),
    Route("GET", _CUE + "/history", cues.history, Role.EDITOR),
    Route("POST", "/api" + _INTERVIEW + "/cues", cues.insert, Role.EDITOR),
    Route("PUT", r"/ingest/{stream:\d{1,15}}", ingest.receive),
    Route("POST", r"/ingest/{stream:\d{1,15}}", ingest.receive),
    Route("POST", "/ingest/rtmp", ingest.may_publish),
    Route("GET", "/static/{version:[0-9a-f]{12}}/{name:.+}", static.send),
    Route("GET", "/healthz", health.live),
    Route("GET", "/readyz", health.ready),
    Route("GET", "/metrics", metrics.show),
)

DEMO_ROUTES = (
    Route("GET", "/demo/say", demo.form),
    Route("POST", "/demo/say", demo.say),
    Route("POST", "/demo/kill-recorder", demo.kill_recorder),
    Route("POST", "/demo/end-broadcast", demo.end_broadcast),
    Route("GET", "/demo/status.json", demo.status),
)
"""Only where `streamarchive demo` serves the site."""


def add_routes(app: web.Application, routes: Sequence[Route] = ROUTES) -> None:
    """Put the table into the application, each handler behind its role."""
    for route in routes:
        handler = _guarded(route)
        if route.method == "GET":
            app.router.add_get(route.path, handler, allow_head=True)
        else:
            app.router.add_route(route.method, route.path, handler)


def _guarded(route: Route) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        asker = request[VISIT].asker
        if not asker.has(route.role):
            if asker.user is None and route.method == "GET":
                raise web.HTTPSeeOther(f"/sign-in?next={quote(request.path_qs)}")
            raise web.HTTPNotFound
        if route.role is not Role.VIEWER and route.method != "GET" and not route.has_file:
            await auth.check_form(request)
        return await route.handler(request)

    return handle
