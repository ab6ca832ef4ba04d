"""Playlists, segments and files of interviews."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import recordings
from streamarchive.clock import PTS_MODULUS, to_ms
from streamarchive.errors import NotFoundError
from streamarchive.media import playlists
from streamarchive.models import AssetKind, Interview, MediaSegment, RecordingId, RecordingState, Stage

from .access import open_interview
from .keys import SERVICES, VISIT
from .ranges import HEADERS, Stored, send
from .state import load_assets

_SEGMENT_TYPE = "video/mp2t"


async def playlist(request: web.Request) -> web.StreamResponse:
    """The HLS playlist: growing while on air, complete afterwards."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        recording_id = _recording_of(interview)
        recording = await recordings.get(connection, recording_id)
        segments = [
            segment
            for segment in await recordings.segments(connection, recording_id)
            if _in_cut(segment, interview)
        ]
    if not segments:
        raise NotFoundError("nothing has been recorded yet; this address works as soon as there is a segment")
    # A recording may go on for the next interview.
    grows = recording.state is RecordingState.OPEN and interview.stage is Stage.LIVE
    write = playlists.live if grows else playlists.complete
    text = write(segments, _address)
    return web.Response(
        text=text, content_type=playlists.MEDIA_TYPE, headers={"Cache-Control": HEADERS["Cache-Control"]}
    )


def _address(segment: MediaSegment) -> str:
    """Relative; tells a page which time stamp its moment of the media clock has."""
    return f"segments/{segment.sequence}-{to_ms(segment.start_ticks)}-{segment.pts_ticks % PTS_MODULUS}.ts"


async def segment(request: web.Request) -> web.StreamResponse:
    """One media segment."""
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        found = await recordings.segment(
            connection, _recording_of(interview), int(request.match_info["sequence"])
        )
    if found is None or not _in_cut(found, interview):
        raise NotFoundError("there is no such segment")
    return await send(request, Stored(found.key, found.size_bytes, _SEGMENT_TYPE))


async def asset(request: web.Request) -> web.StreamResponse:
    """A file made of the recording: MP4, M4A, poster, or the upload itself."""
    kind = _KINDS[request.match_info["name"]]
    async with request.app[SERVICES].database.read() as connection:
        interview = await _open(request, connection)
        found = (await load_assets(connection, _recording_of(interview))).get(kind)
    if found is None:
        raise NotFoundError("this file has not been made yet")
    return await send(request, Stored(found.key, found.size_bytes, found.media_type))


_KINDS = {
    "media.mp4": AssetKind.MP4,
    "media.m4a": AssetKind.M4A,
    "poster.jpg": AssetKind.POSTER,
    "original": AssetKind.ORIGINAL,
}


async def _open(request: web.Request, connection: AsyncConnection) -> Interview:
    return await open_interview(connection, request[VISIT].asker, request.match_info["id"])


def _recording_of(interview: Interview) -> RecordingId:
    if interview.recording_id is None:
        raise NotFoundError("nothing has been recorded yet")
    return interview.recording_id


def _in_cut(segment: MediaSegment, interview: Interview) -> bool:
    """Whether any of it lies between the interview's in and out point."""
    return interview.shows(to_ms(segment.start_ticks), to_ms(segment.end_ticks))
