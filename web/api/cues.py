"""Corrections as JSON, for the editor's script. Every change names the revision it was made on, in `If-Match`.

A change answers `{"lines": [cue…], "removed": [key…]}`. If a person has changed the line since, the answer is 412
with `{"error", "current": cue | null}` and nothing is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import corrections, interviews
from streamarchive.catalogue.corrections import Correction, StaleCueError
from streamarchive.catalogue.revisions import RevisionId
from streamarchive.catalogue.suggestions import SuggestionId
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import CueId

from ..access import Asker, open_interview
from ..keys import SERVICES, VISIT
from ..state import cue_json

_Change = Callable[[AsyncConnection, CueId, int, int], Awaitable[Correction]]


async def change(request: web.Request) -> web.StreamResponse:
    """`text`, `speaker`, `read`, or `start_ms` with `end_ms`: one of them a request."""
    body = await _body(request)

    async def apply(tx: AsyncConnection, cue_id: CueId, revision: int, user_id: int) -> Correction:
        match body:
            case {"text": str(text)}:
                return await corrections.edit(tx, cue_id, revision, text, user_id)
            case {"speaker": str() | None as speaker}:
                return await corrections.set_speaker(tx, cue_id, revision, speaker, user_id)
            case {"read": bool(read)}:
                return await corrections.mark_read(tx, cue_id, revision, user_id, read=read)
            case {"start_ms": int(start_ms), "end_ms": int(end_ms)}:
                return await corrections.retime(tx, cue_id, revision, start_ms, end_ms, user_id)
        raise UsageError("a change names text, speaker, read, or start_ms and end_ms")

    return await _corrected(request, apply)


async def split(request: web.Request) -> web.StreamResponse:
    """Cut the line before its character `offset`, counted in code points."""
    body = await _body(request)
    offset = body.get("offset")
    if not isinstance(offset, int):
        raise UsageError("a split needs an offset: the number of characters before the cut")
    return await _corrected(request, lambda tx, cue, rev, user: corrections.split(tx, cue, rev, offset, user))


async def merge(request: web.Request) -> web.StreamResponse:
    """Join the line with its `previous` or `next` one."""
    body = await _body(request)
    side = body.get("neighbour")
    if side not in ("previous", "next"):
        raise UsageError("a merge names its neighbour: previous or next")
    return await _corrected(request, lambda tx, cue, rev, user: corrections.merge(tx, cue, rev, side, user))


async def delete(request: web.Request) -> web.StreamResponse:
    """Take the line out."""
    return await _corrected(request, corrections.delete)


async def restore(request: web.Request) -> web.StreamResponse:
    """Take the step `revision_id` of its history back."""
    body = await _body(request)
    revision_id = body.get("revision_id")
    if not isinstance(revision_id, int):
        raise UsageError("a restore names the revision_id that it takes back")
    return await _corrected(
        request,
        lambda tx, cue, rev, user: corrections.restore(tx, cue, rev, RevisionId(revision_id), user),
    )


async def suggestion(request: web.Request) -> web.StreamResponse:
    """Decide on the suggestion `id`: `follow` it, or not."""
    body = await _body(request)
    match body:
        case {"id": int(number), "follow": bool(follow)}:
            decide = corrections.follow if follow else corrections.dismiss
        case _:
            raise UsageError("a decision names the id of the suggestion, and whether to follow it")
    return await _corrected(request, lambda tx, cue, rev, user: decide(tx, cue, rev, SuggestionId(number), user))


async def insert(request: web.Request) -> web.StreamResponse:
    """A new line: `start_ms`, `end_ms`, `text`, `lang`, perhaps `speaker`, and `track` of a translation."""
    body = await _body(request)
    asker = request[VISIT].asker
    match body:
        case {"start_ms": int(start_ms), "end_ms": int(end_ms), "text": str(text), "lang": str(lang)}:
            pass
        case _:
            raise UsageError("a new line needs start_ms, end_ms, text and lang")
    async with request.app[SERVICES].database.write() as tx:
        interview = await open_interview(tx, asker, request.match_info["id"])
        if interview.recording_id is None:
            raise NotFoundError("this interview has no recording yet, so it has no lines")
        speaker, track = body.get("speaker"), body.get("track")
        done = await corrections.insert(
            tx,
            interview.recording_id,
            start_ms,
            end_ms,
            text,
            lang,
            asker.user.id if asker.user else None,
            speaker if isinstance(speaker, str) else None,
            track if isinstance(track, str) else "",
        )
    return web.json_response(_answer(done), status=201)


async def history(request: web.Request) -> web.StreamResponse:
    """What has happened to the line, newest first."""
    cue_id = CueId(int(request.match_info["cue"]))
    async with request.app[SERVICES].database.read() as connection:
        await require_cue(connection, request[VISIT].asker, cue_id)
        steps = await corrections.history(connection, cue_id)
    return web.json_response(
        {
            "history": [
                {
                    "id": step.id,
                    "kind": step.kind,
                    "user": step.user,
                    "at": step.at.isoformat(),
                    "before": [past.line.text for past in step.before],
                    "after": [past.line.text for past in step.after],
                }
                for step in steps
            ]
        },
        headers={"Cache-Control": "no-store"},
    )


async def require_cue(connection: AsyncConnection, asker: Asker, cue_id: CueId) -> None:
    """Raise `NotFoundError` unless an interview that this person may see shows the cue's recording."""
    cue = await corrections.standing_for(connection, cue_id)
    shown = await interviews.of_recording(connection, cue.recording_id) if cue is not None else []
    if not any(interviews.may_see(interview, asker.role) for interview in shown):
        raise NotFoundError(f"there is no cue {cue_id}")


async def _corrected(request: web.Request, apply: _Change) -> web.Response:
    cue_id, revision = CueId(int(request.match_info["cue"])), _revision(request)
    asker = request[VISIT].asker
    try:
        async with request.app[SERVICES].database.write() as tx:
            await require_cue(tx, asker, cue_id)
            done = await apply(tx, cue_id, revision, asker.user.id if asker.user else 0)
    except StaleCueError as error:
        current = cue_json(error.current) if error.current is not None else None
        return web.json_response({"error": str(error), "current": current}, status=412)
    return web.json_response(_answer(done), headers={"Cache-Control": "no-store"})


def _answer(done: Correction) -> dict[str, Any]:
    return {"lines": [cue_json(cue) for cue in done.cues], "removed": [f"c{cue_id}" for cue_id in done.removed]}


def _revision(request: web.Request) -> int:
    sent = request.headers.get("If-Match", "").strip('"')
    if not sent.isdigit():
        raise web.HTTPPreconditionRequired(text="Say in If-Match which revision of the line you have seen.")
    return int(sent)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise UsageError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise UsageError("the body is not a JSON object")
    return body
