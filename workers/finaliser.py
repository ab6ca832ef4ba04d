"""Job `finalise`: the files that an archived interview is played from, made of its takes or of its upload."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import recordings, withheld
from streamarchive.clock import to_ms
from streamarchive.errors import MediaError, NotFoundError
from streamarchive.media import assembly, disk
from streamarchive.media.commands import Part, Tracks
from streamarchive.media.probe import MediaInfo, probe
from streamarchive.media.segments import read_times
from streamarchive.models import AssetKind, MediaSegment, Recording, RecordingId, RecordingState, Stretch
from streamarchive.services import Services

from . import purger
from .runner import JobRun, serve_jobs
from .workshop import workshop

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
    shows: tuple[Stretch, ...] = ()


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`."""
    await serve_jobs(services, {"finalise": finalise, "purge": purger.purge}, stop)


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
        shown = await _shown(connection, recording)
        left_out = await _left_out(connection, recording, shown)
    if recording.state is not RecordingState.FINISHED:
        raise MediaError(f"the recording {recording_id} is still on air")
    origin = _origin(segments) if segments else origins.get(AssetKind.ORIGINAL, "")
    if not origin:
        raise NotFoundError(f"the recording {recording_id} has no media")
    origin = "".join([origin, *(f" -{hole.start_ms}-{hole.end_ms}" for hole in left_out)])
    if origin in (origins.get(AssetKind.MP4), origins.get(AssetKind.M4A)):
        return
    disk.require_room(await services.store.free_fraction())
    async with workshop(services, recording_id) as folder:
        made = await _make(job, recording, segments, left_out, folder)
        made = [item if item.shows else replace(item, shows=tuple(shown)) for item in made]
        done = await _keep(job, recording, made, origin, shown)
    if not done:
        await finalise(job)


async def _shown(connection: AsyncConnection, recording: Recording) -> list[Stretch]:
    """What its files show: what any of its interviews does, and all of it where that would be nothing."""
    shown = await withheld.shown_by_all(connection, recording.id)
    return shown or [Stretch(0, recording.duration_ms)]


async def _left_out(connection: AsyncConnection, recording: Recording, shown: list[Stretch]) -> list[Stretch]:
    """What is not shown, and what is gone for good: there is no sound in the place of either."""
    purged = [one.stretch for one in await withheld.of_recording(connection, recording.id) if one.purged_at]
    holes = withheld.merged([*withheld.holes(shown, recording.duration_ms), *purged])
    return [withheld.in_media(hole, recording.duration_ms) for hole in holes]


async def _make(
    job: JobRun, recording: Recording, segments: Sequence[MediaSegment], left_out: list[Stretch], folder: Path
) -> list[Made]:
    if segments:
        info, main = await _from_takes(job, segments, left_out, folder)
    else:
        info, main = await _from_upload(job, recording, left_out, folder)
    made = [main]
    if main.kind is AssetKind.MP4:
        if info.has_audio:
            sound = Made(AssetKind.M4A, folder / "sound.m4a")
            await assembly.take_sound(main.file, info.tracks, sound.file)
            made.append(sound)
        at_ms = _picture_at(left_out, recording.duration_ms)
        poster = Made(AssetKind.POSTER, folder / "poster.jpg", (Stretch(at_ms, at_ms + 1),))
        try:
            await assembly.take_picture(main.file, poster.file, at_ms=at_ms)
            made.append(poster)
        except MediaError as error:
            logger.warning("recording %s has no poster: %s", recording.id, error)
    return made


def _picture_at(left_out: list[Stretch], duration_ms: int) -> int:
    """A moment well inside the longest part that is not left out."""
    kept = withheld.holes(left_out, duration_ms) or [Stretch(0, duration_ms)]
    longest = max(kept, key=lambda span: span.end_ms - span.start_ms)
    return longest.start_ms + min(_POSTER_AT_MS, (longest.end_ms - longest.start_ms) // 3)


async def _from_takes(
    job: JobRun, segments: Sequence[MediaSegment], left_out: Sequence[Stretch], folder: Path
) -> tuple[MediaInfo, Made]:
    """Join the takes of a stream's recording."""
    store, parts, tracks = job.services.store, [], Tracks(None, None)
    takes = [list(group) for _, group in groupby(segments, key=lambda segment: segment.take_id)]
    for number, take in enumerate(takes):
        file = folder / f"take-{number}.ts"
        for segment in take:
            async with store.local(segment.key) as path:
                if segment is segments[0]:
                    tracks = await asyncio.to_thread(_tracks, path)
                await asyncio.to_thread(assembly.concatenate, [path], file)
        end = takes[number + 1][0].start_ticks if number + 1 < len(takes) else take[-1].end_ticks
        parts.append(Part(file, end - take[0].start_ticks))
        job.report(0.3 * (number + 1) / len(takes), "putting the takes together")
    main = _main(folder, tracks)

    def report(done: float) -> None:
        job.report(0.3 + 0.6 * done, "writing the file")

    await assembly.join(parts, tracks, main.file, report, left_out, segments[0].start_ticks)
    info = await probe(main.file, silent_allowed=True)
    _verify(info, to_ms(segments[-1].end_ticks), segments[0].recording_id)
    return info, main


async def _from_upload(
    job: JobRun, recording: Recording, left_out: Sequence[Stretch], folder: Path
) -> tuple[MediaInfo, Made]:
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

        await assembly.make_playable(source, found.tracks, main.file, found.duration_ms, report, left_out)
    info = await probe(main.file)
    _verify(info, recording.duration_ms, recording.id)
    return info, main


def _tracks(segment: Path) -> Tracks:
    return read_times(segment.read_bytes()).tracks


def _main(folder: Path, tracks: Tracks) -> Made:
    kind = AssetKind.MP4 if tracks.video else AssetKind.M4A
    return Made(kind, folder / f"whole{_SUFFIXES[kind]}")


async def _keep(
    job: JobRun, recording: Recording, made: Sequence[Made], origin: str, shown: list[Stretch]
) -> bool:
    """Into the store, then into the catalogue together with the end of the job.

    False, with nothing kept, if what may be shown has changed meanwhile: whoever changed it has found this job
    under way and relies on it.
    """
    store, stored = job.services.store, []
    for item in made:
        kept = await store.adopt(item.file, f"recordings/{recording.id}/", _SUFFIXES[item.kind])
        stored.append((item, kept))
    replaced = []
    async with job.services.database.write() as tx:
        await withheld.hold(tx, recording.id)
        current = await _shown(tx, recording) == shown
        for item, kept in stored if current else ():
            about = (_MEDIA_TYPES[item.kind], origin, item.shows)
            replaced.append(await recordings.put_asset(tx, recording.id, item.kind, kept, *about))
        if current:
            await job.finish(tx)
        unused = [kept.key for _, kept in stored if not await recordings.uses(tx, kept.key)]
    unneeded = replaced if current else unused
    for key in unneeded:
        if key is not None:
            await store.delete(key)
    return current


def _origin(segments: Sequence[MediaSegment]) -> str:
    """What the takes are, in one hash."""
    return hashlib.sha256("".join(segment.sha256 for segment in segments).encode()).hexdigest()


def _verify(info: MediaInfo, expected_ms: int, recording_id: RecordingId) -> None:
    off = info.duration_ms - expected_ms
    if abs(off) > TOLERANCE_MS:
        logger.warning("the file of recording %s is %d ms off its media clock", recording_id, off)
