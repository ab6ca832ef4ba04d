"""One interview at the desk: its recording, who sees it, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import withholding
from streamarchive.catalogue import interviews, recordings, streams
from streamarchive.catalogue.database import now
from streamarchive.errors import NotFoundError, SourceError, UsageError
from streamarchive.media import source
from streamarchive.media.addresses import shown
from streamarchive.media.incoming import Incoming
from streamarchive.media.loudness import Loudness
from streamarchive.media.loudness import of_details as loudness_of
from streamarchive.models import AssetKind, Interview, RecordingId, Role, Stage, StreamId, StreamState, Visibility

from .. import auth
from .. import state as states
from ..access import open_interview
from ..desk import details, moments, schedules
from ..desk.overview import overview
from ..desk.tasks import cancel_task, retry_task, task_of
from ..desk.withheld import withheld_context
from ..keys import RENDERER, SERVICES, VISIT
from ..languages import Language
from ..views import title_of
from .desk import form_context, private

_SOON = timedelta(minutes=10)
"""A stream that begins within this is looked at before it is taken."""


async def show(request: web.Request) -> web.StreamResponse:
    """The page."""
    return await page(request)


async def page(
    request: web.Request,
    *,
    typed: details.Typed | None = None,
    refused: Mapping[str, str] | None = None,
    stream: Mapping[str, str] | None = None,
    cut: tuple[str, str] | None = None,
    withheld_typed: Mapping[str, str] | None = None,
    found: Mapping[str, object] | None = None,
    status: int = 200,
) -> web.Response:
    """The page; `refused` says by section what was wrong with a form, the others are what was typed.

    `found` is a ``signal`` with its ``picture``, or the ``entrance`` of a stream that an encoder sends.
    """
    visit = request[VISIT]
    async with request.app[SERVICES].database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
        state = await states.load_state(connection, interview)
        context = {
            "id": interview.id,
            "address": interview.address,
            "title": title_of(interview, visit.language.code),
            "stage": interview.stage,
            "held_at": interview.held_at,
            "visibility": interview.visibility,
            "has_recording": interview.recording_id is not None,
            "script": interview.script,
            "person_per_channel": interview.person_per_channel,
            "translations": [visit.language.name_of(track) for track in state.tracks],
            "player": states.player(state),
            "duration_ms": state.recording.duration_ms if state.recording else 0,
            "loudness": _loudness(state),
            "change_id": state.change_id,
            "in_out": cut or (moments.shown(interview.in_ms), moments.shown(interview.out_ms)),
            "stream": stream or {},
            "refused": refused or {},
            "signal": None,
            "entrance": None,
            "takes_rtmp": bool(request.app[SERVICES].settings.rtmp_server),
            **(found or {}),
            "done": done_sentence(request.query.get("done", ""), visit.language),
            **await work_context(connection, request, interview),
            "is_admin": visit.asker.has(Role.ADMIN),
            **await withheld_context(connection, interview.recording_id, withheld_typed or {}),
            "following": [],
            **await next_context(connection, request, interview),
            **await form_context(connection, request, typed or details.from_interview(interview)),
        }
    return private(request.app[RENDERER].page(request, "desk_interview.html", context, status=status))


async def work(request: web.Request) -> web.StreamResponse:
    """What is being done to the interview, as a piece of its page."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await open_interview(connection, request[VISIT].asker, request.match_info["id"])
        context = {"id": interview.id, **await work_context(connection, request, interview)}
    return private(request.app[RENDERER].page(request, "desk_work.html", context))


async def work_context(
    connection: AsyncConnection, request: web.Request, interview: Interview
) -> dict[str, object]:
    """What that piece shows."""
    found = await overview(connection, interview, request[VISIT].language, await now(connection))
    return {"overview": found, "is_live": interview.stage is Stage.LIVE}


def _loudness(state: states.State) -> Loudness | None:
    """How loud the recording is, once somebody has measured it."""
    peaks = state.assets.get(AssetKind.PEAKS)
    return loudness_of(peaks.details) if peaks else None


async def next_context(
    connection: AsyncConnection, request: web.Request, interview: Interview
) -> dict[str, object]:
    """What could go on with the source that is being recorded."""
    running = next(
        (
            stream
            for stream in await streams.of_interview(connection, interview.id)
            if stream.state is StreamState.RECORDING
        ),
        None,
    )
    if running is None:
        return {}
    code = request[VISIT].language.code
    waiting = await interviews.unrecorded(connection, Role.PRODUCER)
    return {"running_stream": running.id, "following": [(one.id, title_of(one, code)) for one in waiting]}


def done_sentence(what: str, language: Language) -> str:
    """What has just been done, for the head of the page."""
    _ = language.gettext
    return {
        "created": _("The interview is there. Now give it a recording: upload a file, or name a stream."),
        "saved": _("Saved."),
        "draft": _("It is a draft now: only people who are signed in see it."),
        "unlisted": _(
            "It is unlisted now: whoever has the address can watch it; no list and no search shows it."
        ),
        "public": _("It is public now."),
        "trashed": _("It is in the trash now. Nobody but producers sees it."),
        "restored": _("It is back, as a draft."),
        "cut": _("The in and out points are set."),
        "withheld": _("Nobody gets this part any more. Files are made again without it."),
        "lifted": _("It is shown again. Files are made again with it."),
        "purged": _("It is being deleted for good."),
        "stream": _("The stream is set."),
        "stopping": _("Recording ends in a moment."),
        "next": _("The next interview has begun; this one ends here. The cut can be moved by its in point."),
        "uploaded": _("The file has arrived and is being checked."),
        "chosen": _("The page shows this recording now."),
        "transcribe": _("The recording is transcribed again. Until that is done the text stays as it is."),
        "translate": _("The recording is translated into English. The text appears beside the one as spoken."),
        "retried": _("It is tried again."),
        "cancelled": _("It is cancelled."),
    }.get(what, "")


async def describe(request: web.Request) -> web.StreamResponse:
    """What people say about it."""
    _ = request[VISIT].language.gettext
    typed = details.from_form(await request.post())
    async with request.app[SERVICES].database.write() as tx:
        await interviews.hold(tx, request.match_info["id"])  # or two at once would both find nothing changed
        interview = await _open(tx, request)
        fresh = details.fingerprint(interview)
        sentence = ""
        try:
            said = details.read(replace(typed, visibility=Visibility.DRAFT), _, before=interview)
        except UsageError as error:
            sentence = str(error)
        if not sentence and typed.seen != fresh:
            sentence = _(
                "Somebody else has changed this meanwhile. What you typed is still here, saved is theirs; "
                "save again to replace it with yours."
            )
        if not sentence:
            await interviews.describe(
                tx,
                interview.id,
                titles=said.titles,
                descriptions=said.descriptions,
                languages=said.languages,
                held_at=said.held_at or interview.held_at,
                event=said.event,
                guests=said.guests,
            )
            about = details.differences(interview, said)
            await auth.note(tx, request, "interview described", interview.id, about)
    if sentence:
        kept = replace(typed, seen=fresh)
        status = 400 if typed.seen == fresh else 409
        return await page(request, typed=kept, refused={"details": sentence}, status=status)
    raise _back(request, "saved", "details")


async def show_or_hide(request: web.Request) -> web.StreamResponse:
    """Draft, unlisted, public, or the trash."""
    form = await request.post()
    try:
        wanted = Visibility(str(form.get("visibility", "")))
    except ValueError as error:
        raise UsageError("an interview is a draft, unlisted, public or in the trash") from error
    async with request.app[SERVICES].database.write() as tx:
        interview = await _open(tx, request)
        if interview.visibility is not wanted:
            await interviews.set_visibility(tx, interview.id, wanted)
            about = {"from": interview.visibility, "to": wanted}
            await auth.note(tx, request, "visibility set", interview.id, about)
    restored = interview.visibility is Visibility.TRASHED and wanted is Visibility.DRAFT
    raise _back(request, "restored" if restored else wanted.value)


async def cut(request: web.Request) -> web.StreamResponse:
    """Where the recording begins and ends for viewers."""
    _ = request[VISIT].language.gettext
    form = await request.post()
    typed = (str(form.get("in", "")).strip(), str(form.get("out", "")).strip())
    try:
        in_ms, out_ms = (moments.typed_ms(text) for text in typed)
    except ValueError:
        sentence = _("Write a moment of the recording such as 1:05, 62:30 or 1:02:30.5.")
        return await page(request, cut=typed, refused={"cut": sentence}, status=400)
    async with request.app[SERVICES].database.write() as tx:
        interview = await _open(tx, request)
        sentence = await _cut_problem(tx, interview, in_ms, out_ms, request[VISIT].language)
        if not sentence:
            await withholding.cut(tx, interview.id, in_ms, out_ms)
            about = {"from": [interview.in_ms, interview.out_ms], "to": [in_ms, out_ms]}
            await auth.note(tx, request, "interview cut", interview.id, about)
    if sentence:
        return await page(request, cut=typed, refused={"cut": sentence}, status=400)
    raise _back(request, "cut", "recording")


async def _cut_problem(
    tx: AsyncConnection, interview: Interview, in_ms: int | None, out_ms: int | None, language: Language
) -> str:
    _ = language.gettext
    if interview.recording_id is None:
        return _("There is no recording yet.")
    if in_ms is not None and out_ms is not None and out_ms <= in_ms:
        return _("The out point has to come after the in point.")
    recording = await recordings.get(tx, interview.recording_id)
    if interview.stage is not Stage.LIVE and (in_ms or 0) >= max(recording.duration_ms, 1):
        return _("The in point lies behind the end of the recording.")
    return ""


async def choose_recording(request: web.Request) -> web.StreamResponse:
    """Show another of the interview's recordings."""
    form = await request.post()
    async with request.app[SERVICES].database.write() as tx:
        interview = await _open(tx, request)
        own = {str(recording.id): recording.id for recording in await recordings.of_interview(tx, interview.id)}
        wanted = own.get(str(form.get("recording", "")))
        if wanted is None:
            raise NotFoundError("this interview has no such recording")
        if wanted != interview.recording_id:
            await withholding.choose(tx, interview.id, RecordingId(wanted))
            about = {"from": interview.recording_id, "to": wanted}
            await auth.note(tx, request, "recording chosen", interview.id, about)
    raise _back(request, "chosen", "recording")


async def add_stream(request: web.Request) -> web.StreamResponse:
    """Record from an address, now or later."""
    visit, services = request[VISIT], request.app[SERVICES]
    form = await request.post()
    typed = {name: str(form.get(name, "")).strip() for name in ("address", "starts", "ends", "anyway")}
    async with services.database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
        moment = await now(connection)
    try:
        schedule = schedules.read(form, moment, visit.language.gettext)
        rules = source.rules_for(typed["address"], services.settings)
        await source.vet(typed["address"], rules)
    except (UsageError, SourceError) as error:
        return await page(request, stream=typed, refused={"stream": str(error)}, status=400)
    if not typed["anyway"] and (schedule.starts_at or moment) < moment + _SOON:
        try:
            await source.check(typed["address"], rules)
        except SourceError as error:
            unsure = {**typed, "unsure": "1"}
            return await page(request, stream=unsure, refused={"stream": str(error)}, status=400)
    async with services.database.write() as tx:
        await _open(tx, request)
        await schedules.add(tx, interview.id, typed["address"], schedule)
        times = {"starts": str(schedule.starts_at or ""), "ends": str(schedule.ends_at or "")}
        about = {"address": shown(typed["address"]), **times}
        await auth.note(tx, request, "stream added", interview.id, about)
    raise _back(request, "stream", "recording")


async def stop_stream(request: web.Request) -> web.StreamResponse:
    """End a recording, or never begin it."""
    stream_id = StreamId(int(request.match_info["stream"]))
    async with request.app[SERVICES].database.write() as tx:
        interview = await _open(tx, request)
        if all(stream.id != stream_id for stream in await streams.of_interview(tx, interview.id)):
            raise NotFoundError("this interview has no such stream")
        await streams.request_stop(tx, stream_id)
        await auth.note(tx, request, "stream stopped", interview.id, {"stream": stream_id})
    raise _back(request, "stopping", "recording")


async def retry_job(request: web.Request) -> web.StreamResponse:
    """Try again now."""
    async with request.app[SERVICES].database.write() as tx:
        interview, job = await task_of(tx, request)
        await retry_task(tx, job)
        await auth.note(tx, request, "job retried", interview.id, {"kind": job.kind, "job": job.id})
    raise _back(request, "retried", "work")


async def cancel_job(request: web.Request) -> web.StreamResponse:
    """Never mind."""
    async with request.app[SERVICES].database.write() as tx:
        interview, job = await task_of(tx, request)
        unneeded = await cancel_task(tx, job)
        await auth.note(tx, request, "job cancelled", interview.id, {"kind": job.kind, "job": job.id})
    if unneeded is not None:
        incoming = Incoming(request.app[SERVICES].settings.incoming)
        await asyncio.to_thread(incoming.remove, unneeded)
    raise _back(request, "cancelled", "work")


async def _open(tx: AsyncConnection, request: web.Request) -> Interview:
    return await open_interview(tx, request[VISIT].asker, request.match_info["id"])


def _back(request: web.Request, done: str, section: str = "") -> web.HTTPSeeOther:
    address = f"/desk/{request.match_info['id']}?done={done}"
    return web.HTTPSeeOther(f"{address}#{section}" if section else address)
