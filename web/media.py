"""Playlists, segments, pictures and files of interviews."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import assets, media_segments, recordings, retention, withheld
from streamarchive.errors import ConflictError, GoneError, NotFoundError
from streamarchive.media import playlists as hls
from streamarchive.media import thumbnails
from streamarchive.models import Asset, AssetKind, Interview, RecordingId, Stage

from .access import open_interview
from .keys import LIVE_PICTURES, PLAYLISTS, SERVICES, VISIT
from .playlists import shows
from .ranges import HEADERS, Stored, send, send_bytes, send_text
from .state import short_tag

_SEGMENT_TYPE = "video/mp2t"


async def playlist(request: web.Request) -> web.StreamResponse:
    """The HLS playlist: growing while on air, complete afterwards."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        recording_id = _recording_of(interview)
        extent = await media_segments.extent(connection, recording_id)
    # A recording may go on for the next interview; this one is complete then.
    grows = interview.stage is Stage.LIVE
    found = await request.app[PLAYLISTS].playlist(interview, recording_id, extent, grows=grows)
    if found is None:
        raise await _why_none(request, recording_id)
    return send_text(request, found.text, found.gzipped, hls.MEDIA_TYPE, found.etag)


async def _why_none(request: web.Request, recording_id: RecordingId) -> NotFoundError:
    async with request.app[SERVICES].database.read() as connection:
        is_kept = await media_segments.has_any(connection, recording_id)
        if not is_kept and await retention.were_released(connection, recording_id):
            return GoneError(
                "its stream is not kept any more; it is played from its file, media.mp4 or media.m4a"
            )
    return NotFoundError("there is nothing to play yet; this address works as soon as there is a segment")


async def segment(request: web.Request) -> web.StreamResponse:
    """One media segment."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        found = await media_segments.get(
            connection, _recording_of(interview), int(request.match_info["sequence"])
        )
    if found is None or not shows(interview, found):
        raise NotFoundError("there is no such segment")
    return await send(request, Stored(found.key, found.size_bytes, _SEGMENT_TYPE))


async def asset(request: web.Request) -> web.StreamResponse:
    """A file made of the recording: MP4, M4A, thumbnails, peaks, or the upload itself."""
    async with request.app[SERVICES].database.read() as connection:
        found = await _asset(connection, await _open(request, connection), _KINDS[request.match_info["name"]])
    return await send(request, Stored(found.key, found.size_bytes, found.media_type))


async def poster(request: web.Request) -> web.StreamResponse:
    """What the interview looks like: just now while it is on air, else the picture made of its file."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        if interview.stage is not Stage.LIVE:
            found = await _asset(connection, interview, AssetKind.POSTER)
        else:
            extent = await media_segments.extent(connection, _recording_of(interview))
    if interview.stage is not Stage.LIVE:
        return await send(request, Stored(found.key, found.size_bytes, found.media_type))
    recorded = await request.app[PLAYLISTS].recorded(_recording_of(interview), extent)
    picture = await request.app[LIVE_PICTURES].of(interview, recorded)
    if picture is None:
        raise NotFoundError("there is no picture yet; this address works as soon as there is one")
    key, jpeg = picture
    return send_bytes(request, Stored(key, len(jpeg), "image/jpeg"), jpeg)


async def thumbnail_map(request: web.Request) -> web.StreamResponse:
    """Where in the strip of thumbnails the picture of each moment lies, as WebVTT."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        found = await _asset(connection, interview, AssetKind.THUMBNAILS)
        recording = await recordings.get(connection, found.recording_id)
    strip = thumbnails.of_details(found.details)
    if strip is None:
        raise NotFoundError("this file has not been made yet")
    text = thumbnails.webvtt(strip, f"thumbnails.jpg?v={short_tag(found.key)}", recording.duration_ms)
    headers = {"Cache-Control": HEADERS["Cache-Control"]}
    return web.Response(text=text, content_type="text/vtt", charset="utf-8", headers=headers)


async def _asset(connection: AsyncConnection, interview: Interview, kind: AssetKind) -> Asset:
    """The one way to a file of a recording: what an interview may not show has not been made for it."""
    made = await assets.of_recording(connection, _recording_of(interview))
    found = withheld.given(interview, made).get(kind)
    if found is None and kind in made and interview.withheld:
        raise ConflictError(
            "This file is being made again without what has been withheld; the page of the interview plays "
            "what there is meanwhile."
        )
    if found is None:
        raise NotFoundError("this file has not been made yet")
    return found


_KINDS = {
    "media.mp4": AssetKind.MP4,
    "media.m4a": AssetKind.M4A,
    "thumbnails.jpg": AssetKind.THUMBNAILS,
    "peaks.dat": AssetKind.PEAKS,
    "original": AssetKind.ORIGINAL,
}


async def _open(request: web.Request, connection: AsyncConnection) -> Interview:
    return await open_interview(connection, request[VISIT].asker, request.match_info["id"])


def _recording_of(interview: Interview) -> RecordingId:
    if interview.recording_id is None:
        raise NotFoundError("nothing has been recorded yet")
    return interview.recording_id
