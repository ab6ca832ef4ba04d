"""The interview: player and transcript, at the same address before, during and after the broadcast."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import captions
from streamarchive.catalogue import speakers, suggestions
from streamarchive.catalogue.suggestions import Suggestion
from streamarchive.models import AssetKind, Cue, CueId, Interview, Role, Stage, Visibility

from .. import state as states
from ..access import open_interview
from ..keys import RENDERER, SERVICES, VISIT
from ..languages import Language
from ..render import COMPRESS_ASIDE_BYTES
from ..views import Download, Line, Text, card, in_language, lines
from ..wording import html_lang, milliseconds_of, seconds_of

_REFERENCE = re.compile(r"([0-9a-z]{10})(?:-.*)?$")


async def show(request: web.Request) -> web.StreamResponse:
    """The page. An old or missing slug leads to the current address."""
    visit, services = request[VISIT], request.app[SERVICES]
    interview_id = _id_of(request.match_info["reference"])
    async with services.database.read() as connection:
        interview = await open_interview(connection, visit.asker, interview_id)
        if request.path != interview.address:
            raise web.HTTPMovedPermanently(
                _with_query(interview.address, request), headers={"Cache-Control": "no-cache"}
            )
        state = await states.load_state(connection, interview)
        track = states.track_of(request, state)
        editor = visit.asker.has(Role.EDITOR)
        cues, gaps = await states.load_lines(connection, interview, track, words=editor, withheld_too=editor)
        skips = await states.load_skips(connection, interview)
        holes = await states.load_holes(connection, interview)
        names = await _speakers(connection, interview, visit.language) if editor else []
        suggested = await _suggestions(connection, interview, cues) if editor else {}
    at_ms = milliseconds_of(request.query.get("t"))
    shown = lines(cues, gaps, interview.address, at_ms, skips, holes=holes, gettext=visit.language.gettext)
    player = states.player(state)
    has_poster = states.has_picture(interview, state.recording, state.assets)
    context = {
        "id": interview.id,
        "site": services.settings.site,
        "card": card(interview, visit.language.code, duration_ms=_duration(state), has_picture=has_poster),
        "persons": _persons(interview, visit.language),
        "description": in_language(interview.descriptions, visit.language.code),
        "unlisted": interview.visibility is not Visibility.PUBLIC,
        "hidden_because": interview.visibility.value,
        "player": player,
        "seek": states.seek_bar(state),
        "fragment": f"#t={seconds_of(at_ms)}" if at_ms is not None else _cut(interview),
        "start_ms": at_ms,
        "change_id": state.change_id,
        "lines": shown,
        "here_line": next((line for line in shown if line.here), None),
        "track": track,
        "tracks": _tracks(state, track, at_ms, visit.language),
        "downloads": _downloads(state, shown, track, visit.language),
        "problems": states.problems(state, visit),
        "work": states.work(state, visit.language),
        "model_note": states.model_note(state),
        "captions": states.captions(state, visit),
        "editor": editor,
        "speakers": names,
        "suggestions": suggested,
        "languages_spoken": " ".join(interview.languages),
    }
    return await request.app[RENDERER].long_page(request, "interview.html", context)


async def _speakers(connection: AsyncConnection, interview: Interview, language: Language) -> list[str]:
    if interview.recording_id is None:
        return []
    return await speakers.names(connection, interview.recording_id, language.code)


async def _suggestions(
    connection: AsyncConnection, interview: Interview, cues: Sequence[Cue]
) -> dict[CueId, list[Suggestion]]:
    """What nobody has decided on, by line; only of lines that are shown."""
    found: dict[CueId, list[Suggestion]] = {}
    shown = {cue.id for cue in cues}
    if interview.recording_id is not None:
        for one in await suggestions.of_recording(connection, interview.recording_id):
            if one.cue_id in shown:
                found.setdefault(one.cue_id, []).append(one)
    return found


def _id_of(reference: str) -> str:
    match = _REFERENCE.match(reference)
    if match is None:
        raise web.HTTPNotFound
    return match[1]


def _with_query(address: str, request: web.Request) -> str:
    return f"{address}?{request.query_string}" if request.query_string else address


def _cut(interview: Interview) -> str:
    return f"#t={seconds_of(interview.in_ms)}" if interview.in_ms else ""


def _duration(state: states.State) -> int | None:
    if state.recording is None or state.interview.stage is Stage.LIVE:
        return None
    end = state.interview.out_ms if state.interview.out_ms is not None else state.recording.duration_ms
    return max(end - (state.interview.in_ms or 0), 0)


def _persons(interview: Interview, language: Language) -> list[dict[str, Text | None]]:
    return [
        {
            "name": in_language(person.names, language.code) or Text("", ""),
            "affiliation": in_language(person.affiliations, language.code),
        }
        for person in interview.guests
    ]


@dataclass(frozen=True, slots=True)
class Track:
    """A language that the text can be read in. `url` is its page, `captions` its WebVTT."""

    label: str
    lang: str
    url: str
    captions: str
    current: bool


def _tracks(state: states.State, chosen: str, at_ms: int | None, language: Language) -> list[Track]:
    """As spoken first, then the translations."""
    _ = language.gettext
    spoken = state.interview.languages
    found = []
    for track in ("", *state.tracks):
        query = {key: value for key, value in (("track", track), ("t", seconds_of(at_ms or 0))) if value}
        if at_ms is None:
            query.pop("t")
        found.append(
            Track(
                label=language.name_of(track) if track else _("Original"),
                lang=html_lang(track or (spoken[0] if spoken else "")),
                url=f"{state.interview.address}{'?' if query else ''}{urlencode(query)}#transcript",
                captions=f"{state.base}/captions.vtt{f'?track={track}' if track else ''}",
                current=track == chosen,
            )
        )
    return found


def _downloads(state: states.State, shown: list[Line], track: str, language: Language) -> list[Download]:
    """The text of the track that is shown, and the media."""
    _ = language.gettext
    stem = state.interview.slug or state.interview.id
    query, suffix_of_track = (f"?track={track}", f".{track}") if track else ("", "")
    found = []
    if any(not line.gap for line in shown):
        names = {"vtt": "WebVTT", "srt": "SRT", "txt": _("Text"), "json": "JSON"}
        found = [
            Download(label, f"{state.base}/captions.{suffix}{query}", f"{stem}{suffix_of_track}.{suffix}")
            for suffix, label in names.items()
        ]
    if state.interview.stage is not Stage.LIVE:
        for kind, suffix in ((AssetKind.MP4, "mp4"), (AssetKind.M4A, "m4a")):
            if kind in state.assets:
                found.append(Download(suffix.upper(), f"{state.base}/media.{suffix}", f"{stem}.{suffix}"))
    return found


async def current_lines(request: web.Request) -> web.StreamResponse:
    """Lines and state as JSON, for a page that has missed too much."""
    visit, services = request[VISIT], request.app[SERVICES]
    async with services.database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
        state = await states.load_state(connection, interview)
        track = states.track_of(request, state)
        editor = visit.asker.has(Role.EDITOR)
        cues, gaps = await states.load_lines(connection, interview, track, words=editor, withheld_too=editor)
        skips = await states.load_skips(connection, interview)
        holes = await states.load_holes(connection, interview)
    values = states.cues_json(cues, interview) + [states.gap_json(gap, visit) for gap in gaps]
    values += [states.hole_json(hole, visit) for hole in holes]
    values += [states.skip_json(skip) for skip in skips]
    answer = {
        "change_id": state.change_id,
        "state": states.state_json(state, visit),
        "lines": sorted(values, key=lambda line: (line["start_ms"], not line.get("gap"))),
    }
    return web.Response(
        text=await asyncio.to_thread(json.dumps, answer, ensure_ascii=False),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
        zlib_executor_size=COMPRESS_ASIDE_BYTES,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """The transcript in one of the formats of `streamarchive.captions`."""
    visit, services = request[VISIT], request.app[SERVICES]
    written = captions.FORMATS[request.match_info["format"]]
    async with services.database.read() as connection:
        interview = await open_interview(connection, visit.asker, request.match_info["id"])
        state = await states.load_state(connection, interview)
        track = states.track_of(request, state)
        cues, _ = await states.load_lines(connection, interview, track, words=written.has_words)
    duration_ms = state.recording.duration_ms if state.recording else 0
    return web.Response(
        text=await asyncio.to_thread(written.write, cues, duration_ms),
        zlib_executor_size=COMPRESS_ASIDE_BYTES,
        content_type=written.media_type,
        charset="utf-8",
        headers={"Cache-Control": "private, no-cache"},
    )
