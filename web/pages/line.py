"""A line by itself, as a plain form: everything the editor's script does, without it."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import corrections, speakers, suggestions
from streamarchive.catalogue.corrections import Correction, StaleCueError
from streamarchive.catalogue.revisions import Past, Revision, RevisionId
from streamarchive.catalogue.suggestions import Suggestion, SuggestionId
from streamarchive.editing.replaced import put_in
from streamarchive.errors import EditError, NotFoundError, UsageError
from streamarchive.glossaries import LONGEST
from streamarchive.models import Cue, CueId, Interview

from ..access import open_interview
from ..keys import RENDERER, SERVICES, VISIT
from ..views import moment_url, title_of

_MOST_DIGITS = 15
_CUT = "\n\n"
"""An empty line in the text is where the line is to be split."""


async def show(request: web.Request) -> web.StreamResponse:
    """The form. A line that a machine has replaced leads to the one that holds its time now."""
    return await _page(request)


async def save(request: web.Request) -> web.StreamResponse:
    """What the pressed button says; then back to the line in its interview, or to the form with the reason."""
    form = await request.post()
    cue_id = CueId(int(request.match_info["cue"]))
    asker = request[VISIT].asker
    typed = str(form["text"]).replace("\r\n", "\n") if "text" in form else None
    try:
        revision = int(str(form.get("revision", "")))
    except ValueError as error:
        raise UsageError("the form has lost the number of its revision; open the page again") from error
    try:
        async with request.app[SERVICES].database.write() as tx:
            interview = await open_interview(tx, asker, request.match_info["id"])
            await _cue_of(tx, interview, cue_id)
            user_id = asker.user.id if asker.user else None
            done = await _apply(tx, cue_id, revision, user_id, str(form.get("do", "save")), typed or "", form)
    except StaleCueError as error:
        theirs = error.current if typed is not None else None
        return await _page(request, problem=str(error), typed=typed, theirs=theirs, status=412)
    except EditError as error:
        return await _page(request, problem=str(error), typed=typed, status=400)
    at_ms = done.cues[0].start_ms if done.cues else 0
    raise web.HTTPSeeOther(moment_url(interview.address, at_ms, done.cues[0].track if done.cues else ""))


async def _apply(
    tx: AsyncConnection,
    cue_id: CueId,
    revision: int,
    user_id: int | None,
    wanted: str,
    typed: str,
    form: MultiMapping[object],
) -> Correction:
    if wanted == "delete":
        return await corrections.delete(tx, cue_id, revision, user_id)
    if wanted == "merge-previous":
        return await corrections.merge(tx, cue_id, revision, "previous", user_id)
    if wanted == "merge-next":
        return await corrections.merge(tx, cue_id, revision, "next", user_id)
    what, _, number = wanted.partition("-")
    if number.isdecimal() and len(number) <= _MOST_DIGITS:
        if what == "restore":
            return await corrections.restore(tx, cue_id, revision, RevisionId(int(number)), user_id)
        if what == "follow":
            return await corrections.follow(tx, cue_id, revision, SuggestionId(int(number)), user_id)
        if what == "dismiss":
            return await corrections.dismiss(tx, cue_id, revision, SuggestionId(int(number)), user_id)
    if wanted != "save":
        raise UsageError("the form has no such button; open the page again")
    return await _save_all(tx, cue_id, revision, user_id, typed, form)


async def _save_all(
    tx: AsyncConnection, cue_id: CueId, revision: int, user_id: int | None, typed: str, form: MultiMapping[object]
) -> Correction:
    """Text, speaker and the mark in one go; an empty line in the text splits it there."""
    halves = [" ".join(half.split()) for half in typed.strip().split(_CUT, 1)]
    done = await corrections.edit(tx, cue_id, revision, " ".join(halves), user_id)
    if not done.cues:
        return done
    cue = done.cues[0]
    if len(done.cues) == 1:
        done = await corrections.set_speaker(tx, cue.id, cue.revision, str(form.get("speaker", "")), user_id)
        cue = done.cues[0]
        done = await corrections.mark_read(tx, cue.id, cue.revision, user_id, read=form.get("read") == "1")
        cue = done.cues[0]
        if len(halves) > 1 and all(halves):
            done = await corrections.split(tx, cue.id, cue.revision, len(halves[0]), user_id)
    return done


async def _cue_of(connection: AsyncConnection, interview: Interview, cue_id: CueId) -> Cue:
    cue = await corrections.standing_for(connection, cue_id)
    if cue is None or cue.recording_id != interview.recording_id:
        raise NotFoundError(f"there is no cue {cue_id} in this interview")
    return cue


def _when(step: Revision | Suggestion) -> datetime:
    """When it was done, or decided."""
    assert step.at is not None  # noqa: S101 - open suggestions are no steps
    return step.at


def _term(request: web.Request, cue: Cue, steps: list[Revision]) -> tuple[str, str]:
    """What the last correction put in, and the address where it becomes a term of the glossary."""
    words = next((put_in(_text(step.before), _text(step.after)) for step in steps if step.user), "")
    filled = {"term": words if len(words) <= LONGEST else "", "lang": cue.lang, "next": request.path}
    return filled["term"], f"/glossary/new?{urlencode({name: said for name, said in filled.items() if said})}"


def _text(lines: tuple[Past, ...]) -> str:
    return " ".join(past.line.text for past in lines)


async def _page(
    request: web.Request,
    *,
    problem: str = "",
    typed: str | None = None,
    theirs: Cue | None = None,
    status: int = 200,
) -> web.Response:
    visit = request[VISIT]
    async with request.app[SERVICES].database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
        cue = await _cue_of(connection, interview, CueId(int(request.match_info["cue"])))
        steps = await corrections.history(connection, cue.id)
        suggested = await suggestions.of_cue(connection, cue.id)
        past: list[Revision | Suggestion] = [*steps, *(one for one in suggested if one.at is not None)]
        names = await speakers.names(connection, cue.recording_id, visit.language.code)
    words, address = _term(request, cue, steps)
    context = {
        "interview": interview,
        "title": title_of(interview, visit.language.code),
        "cue": cue,
        "text": cue.text if typed is None else typed,
        "theirs": theirs,
        "problem": problem,
        "names": names,
        "suggestions": [one for one in suggested if one.at is None],
        "steps": sorted(past, key=_when, reverse=True),
        "back": moment_url(interview.address, cue.start_ms, cue.track),
        "new_term": words,
        "new_term_url": address,
    }
    return request.app[RENDERER].page(request, "line.html", context, status=status)
