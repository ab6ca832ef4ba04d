"""Job `finalise`: the files that an archived interview is played from, made of its takes or of its upload."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from streamarchive.catalogue import recordings
from streamarchive.clock import to_ms
from streamarchive.errors import MediaError, NotFoundError
from streamarchive.media import assembly, disk
from streamarchive.media.commands import Part, Tracks
from streamarchive.media.probe import MediaInfo, probe
from streamarchive.media.segments import read_times
from streamarchive.models import AssetKind, MediaSegment, Recording, RecordingId, RecordingState
from streamarchive.services import Services

from .runner import JobRun, serve_jobs

logger = logging.getLogger(__name__)

TOLERANCE_MS = 40
"""How far a finished file may be off the media clock."""
_POSTER_AT_MS = 10_000
_MEDIA_TYPES = {AssetKind.MP4: "video/mp4", AssetKind.M4A: "audio/mp4", AssetKind.POSTER: "image/jpeg"}
_SUFFIXES = {AssetKind.MP4: ".mp4", AssetKind.M4A: ".m4a", AssetKind.POSTER: ".jpg"}


@dataclass(frozen=True, slots=True)
class Made:
    """A file that is to become an asset."""

    kind: AssetKind
    file: Path


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`."""
    await serve_jobs(services, {"finalise": finalise}, stop)


async def finalise(job: JobRun) -> None:
    """Make MP4 (or M4A), M4A and poster. Nothing is done twice: assets remember what they were made from."""
    recording_id = job.job.recording_id
    if recording_id is None:
        raise NotFoundError("a job of kind finalise needs a recording")
    services = job.services
    async with services.database.read() as connection:
        recording = await recordings.get(connection, recording_id)
        segments = await recordings.segments(connection, recording_id)
        origins = await recordings.made_from(connection, recording_id)
    if recording.state is not RecordingState.FINISHED:
        raise MediaError(f"the recording {recording_id} is still on air")
    origin = _origin(segments) if segments else origins.get(AssetKind.ORIGINAL, "")
    if not origin:
        raise NotFoundError(f"the recording {recording_id} has no media")
    if origin in (origins.get(AssetKind.MP4), origins.get(AssetKind.M4A)):
        return
    disk.require_room(await services.store.free_fraction())
    async with _workshop(services, recording_id) as folder:
        made = await _make(job, recording, segments, folder)
        await _keep(job, recording_id, made, origin)


async def _make(job: JobRun, recording: Recording, segments: Sequence[MediaSegment], folder: Path) -> list[Made]:
    if segments:
        info, main = await _from_takes(job, segments, folder)
    else:
        info, main = await _from_upload(job, recording, folder)
    made = [main]
    if main.kind is AssetKind.MP4:
        if info.has_audio:
            sound = Made(AssetKind.M4A, folder / "sound.m4a")
            await assembly.take_sound(main.file, info.tracks, sound.file)
            made.append(sound)
        poster = Made(AssetKind.POSTER, folder / "poster.jpg")
        try:
            at_ms = min(_POSTER_AT_MS, info.duration_ms // 3)
            await assembly.take_picture(main.file, poster.file, at_ms=at_ms)
            made.append(poster)
        except MediaError as error:
            logger.warning("recording %s has no poster: %s", recording.id, error)
    return made


async def _from_takes(job: JobRun, segments: Sequence[MediaSegment], folder: Path) -> tuple[MediaInfo, Made]:
    """Join the takes of a stream's recording."""
    store, parts, held = job.services.store, [], list[Tracks]()
    takes = [list(group) for _, group in groupby(segments, key=lambda segment: segment.take_id)]
    for number, take in enumerate(takes):
        file = folder / f"take-{number}.ts"
        for segment in take:
            async with store.local(segment.key) as path:
                if segment is take[0]:
                    held.append(await asyncio.to_thread(_tracks, path))
                await asyncio.to_thread(assembly.concatenate, [path], file)
        end = takes[number + 1][0].start_ticks if number + 1 < len(takes) else take[-1].end_ticks
        parts.append(Part(file, end - take[0].start_ticks))
        job.report(0.3 * (number + 1) / len(takes), "putting the takes together")
    tracks = held[0]
    if tracks.audio is None and (number := next((n for n, found in enumerate(held) if found.audio), 0)):
        parts[0] = await assembly.add_silence(parts[0], parts[number].file)
        tracks = replace(tracks, audio=held[number].audio)
    main = _main(folder, tracks)
    await assembly.join(parts, tracks, main.file, lambda done: job.report(0.3 + 0.6 * done, "writing the file"))
    info = await probe(main.file, silent_allowed=True)
    _verify(info, to_ms(segments[-1].end_ticks), segments[0].recording_id)
    return info, main


async def _from_upload(job: JobRun, recording: Recording, folder: Path) -> tuple[MediaInfo, Made]:
    """Remux or encode an upload."""
    services = job.services
    async with AsyncExitStack() as stack:
        async with services.database.read() as connection:
            original = (await recordings.assets(connection, recording.id))[AssetKind.ORIGINAL]
        source = await stack.enter_async_context(services.store.local(original.key))
        found = await probe(source, name="the upload")
        main = _main(folder, found.tracks)

        def report(done: float) -> None:
            job.report(0.9 * done, "making the file that is played")

        await assembly.make_playable(source, found.tracks, main.file, found.duration_ms, report)
    info = await probe(main.file)
    _verify(info, recording.duration_ms, recording.id)
    return info, main


def _tracks(segment: Path) -> Tracks:
    return read_times(segment.read_bytes()).tracks


def _main(folder: Path, tracks: Tracks) -> Made:
    kind = AssetKind.MP4 if tracks.video else AssetKind.M4A
    return Made(kind, folder / f"whole{_SUFFIXES[kind]}")


async def _keep(job: JobRun, recording_id: RecordingId, made: Sequence[Made], origin: str) -> None:
    """Into the store, then into the catalogue together with the end of the job."""
    store, stored = job.services.store, []
    for item in made:
        kept = await store.adopt(item.file, f"recordings/{recording_id}/", _SUFFIXES[item.kind])
        stored.append((item.kind, kept))
    replaced = []
    async with job.services.database.write() as tx:
        for kind, kept in stored:
            media_type = _MEDIA_TYPES[kind]
            replaced.append(await recordings.put_asset(tx, recording_id, kind, kept, media_type, origin))
        await job.finish(tx)
    for key in replaced:
        if key is not None:
            await store.delete(key)


def _origin(segments: Sequence[MediaSegment]) -> str:
    """What the takes are, in one hash."""
    return hashlib.sha256("".join(segment.sha256 for segment in segments).encode()).hexdigest()


def _verify(info: MediaInfo, expected_ms: int, recording_id: RecordingId) -> None:
    off = info.duration_ms - expected_ms
    if abs(off) > TOLERANCE_MS:
        logger.warning("the file of recording %s is %d ms off its media clock", recording_id, off)


@asynccontextmanager
async def _workshop(services: Services, recording_id: RecordingId) -> AsyncIterator[Path]:
    """An empty folder that is gone afterwards."""
    folder = services.settings.data_dir.absolute() / "finalise" / str(recording_id)

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    await asyncio.to_thread(clear)
    await asyncio.to_thread(folder.mkdir, parents=True)
    try:
        yield folder
    finally:
        await asyncio.to_thread(clear)
