"""Job `finalise`: the files that an archived interview is played from, made of its takes or of its upload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs
from streamarchive.catalogue import assets, media_segments, recordings, withheld
from streamarchive.errors import MediaError, NotFoundError, UnverifiedError
from streamarchive.media import assembly, disk, packets, thumbnails, waveform
from streamarchive.media.probe import MediaInfo, probe
from streamarchive.media.survey import Survey, survey
from streamarchive.media.verification import verify
from streamarchive.models import AssetKind, Recording, RecordingId, RecordingState, Stretch
from streamarchive.services import Services

from . import purger, retention
from .material import Material, Takes, Upload
from .runner import JobRun, serve_jobs
from .workshop import finished, workshop

logger = logging.getLogger(__name__)

_POSTER_AT_MS = 10_000
_MAKING, _LOOKING = 0.6, 0.35
"""Shares of the work, for its progress."""
_MEDIA_TYPES = {
    AssetKind.MP4: "video/mp4",
    AssetKind.M4A: "audio/mp4",
    AssetKind.POSTER: "image/jpeg",
    AssetKind.THUMBNAILS: thumbnails.MEDIA_TYPE,
    AssetKind.PEAKS: waveform.MEDIA_TYPE,
}
_SUFFIXES = {
    AssetKind.MP4: ".mp4",
    AssetKind.M4A: ".m4a",
    AssetKind.POSTER: ".jpg",
    AssetKind.THUMBNAILS: ".jpg",
    AssetKind.PEAKS: ".dat",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A file that is to become an asset."""

    kind: AssetKind
    file: Path
    details: Mapping[str, Any] = field(default_factory=dict)
    shows: tuple[Stretch, ...] = ()


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`."""
    handlers = {jobs.FINALISE: finalise, retention.KIND: retention.release, jobs.PURGE: purger.purge}
    await serve_jobs(services, handlers, stop)


async def finalise(job: JobRun) -> None:
    """Make MP4 (or M4A), verify it, and make of it M4A, poster, thumbnails and peaks.

    Nothing is done twice: assets remember what they were made from. Raises `UnverifiedError` for a file that does
    not hold what it was made from; then none of them is used.
    """
    recording_id = job.job.recording_id
    if recording_id is None:
        raise NotFoundError("a job of kind finalise needs a recording")
    async with job.services.database.read() as connection:
        recording = await recordings.get(connection, recording_id)
        shown = await _shown(connection, recording)
        material = await _material(connection, recording, shown)
        is_made = await _is_made(connection, material, recording_id)
    if is_made:
        done = await _keep(job, recording, (), material.origin, shown)
    else:
        done = await _make(job, recording, material, shown)
    if not done:
        await finalise(job)


async def _make(job: JobRun, recording: Recording, material: Material, shown: list[Stretch]) -> bool:
    """Make them all and keep them; False as `_keep` says."""
    disk.require_room(await job.services.store.free_fraction())
    async with workshop(job.services, jobs.FINALISE, recording.id, material.origin) as folder:
        main, info = await _main(job, material, folder)
        found = await _verified(job, material, main, info, folder)
        picture_at_ms = _picture_at(material.left_out, recording.duration_ms)
        made = [main, *await _more(main, info, found, picture_at_ms, folder)]
        made = [item if item.shows else replace(item, shows=tuple(shown)) for item in made]
        return await _keep(job, recording, made, material.origin, shown)


async def _shown(connection: AsyncConnection, recording: Recording) -> list[Stretch]:
    """What its files show: what any of its interviews does, and all of it where that would be nothing."""
    shown = await withheld.shown_by_all(connection, recording.id)
    return shown or [Stretch(0, recording.duration_ms)]


async def _left_out(connection: AsyncConnection, recording: Recording, shown: list[Stretch]) -> list[Stretch]:
    """What is not shown, and what is gone for good: there is no sound in the place of either."""
    purged = [one.stretch for one in await withheld.of_recording(connection, recording.id) if one.purged_at]
    holes = withheld.merged([*withheld.holes(shown, recording.duration_ms), *purged])
    return [withheld.in_media(hole, recording.duration_ms) for hole in holes]


def _picture_at(left_out: Sequence[Stretch], duration_ms: int) -> int:
    """A moment well inside the longest part that is not left out."""
    kept = withheld.holes(list(left_out), duration_ms) or [Stretch(0, duration_ms)]
    longest = max(kept, key=lambda span: span.end_ms - span.start_ms)
    return longest.start_ms + min(_POSTER_AT_MS, (longest.end_ms - longest.start_ms) // 3)


async def _material(connection: AsyncConnection, recording: Recording, shown: list[Stretch]) -> Material:
    """What there is to make files of. Raises `MediaError`, `NotFoundError`."""
    if recording.state is not RecordingState.FINISHED:
        raise MediaError(f"the recording {recording.id} is still on air")
    left_out = await _left_out(connection, recording, shown)
    segments = await media_segments.of_recording(connection, recording.id)
    if segments:
        return Takes(segments, left_out)
    files = await assets.of_recording(connection, recording.id)
    if AssetKind.ORIGINAL not in files:
        raise NotFoundError(f"the recording {recording.id} has no media")
    # An upload, or what the segments of a broadcast have gone for.
    origins = await assets.made_from(connection, recording.id)
    return Upload(recording, files[AssetKind.ORIGINAL], origins[AssetKind.ORIGINAL], left_out)


async def _is_made(connection: AsyncConnection, material: Material, recording_id: RecordingId) -> bool:
    """Whether its files have been made of it."""
    files = await assets.of_recording(connection, recording_id)
    origins = await assets.made_from(connection, recording_id)
    main = files.get(AssetKind.MP4) or files.get(AssetKind.M4A)
    return main is not None and main.verified and origins[main.kind] == material.origin


async def _main(job: JobRun, material: Material, folder: Path) -> tuple[Made, MediaInfo]:
    """The whole in one file, unless an earlier attempt has made it."""
    store = job.services.store
    kind = AssetKind.MP4 if (await material.tracks(store)).video else AssetKind.M4A
    file = finished(folder, material.origin, _SUFFIXES[kind])
    if not await asyncio.to_thread(file.exists):
        target = folder / f"unfinished{_SUFFIXES[kind]}"
        await material.make(store, folder, target, lambda done, note: job.report(_MAKING * done, note))
        await asyncio.to_thread(target.rename, file)
    return Made(kind, file), await probe(file, name="the file that was made", silent_allowed=True)


async def _verified(job: JobRun, material: Material, main: Made, info: MediaInfo, folder: Path) -> Survey:
    """What is in the file. Raises `UnverifiedError`."""
    expected = await material.expected(job.services.store, folder)

    def report(done: float) -> None:
        job.report(_MAKING + _LOOKING * done, "looking whether it is whole")

    found = await survey(main.file, info, folder, report)
    name = f"the {main.kind.upper()} made of recording {job.job.recording_id}"
    verify(expected, info.duration_ms, found.reading, name)
    return found


async def _more(main: Made, info: MediaInfo, found: Survey, picture_at_ms: int, folder: Path) -> list[Made]:
    """What else is made of a verified file."""
    made = []
    if main.kind is AssetKind.MP4:
        if info.has_audio:
            made.append(await _sound(main, info, found, folder))
        made += await _poster(main, picture_at_ms, folder)
    if found.thumbnails and found.strip:
        made.append(Made(AssetKind.THUMBNAILS, found.thumbnails, found.strip.details()))
    if found.peaks:
        loud = found.loudness.details() if found.loudness else {}
        made.append(Made(AssetKind.PEAKS, found.peaks, loud))
    return made


async def _sound(main: Made, info: MediaInfo, found: Survey, folder: Path) -> Made:
    sound = Made(AssetKind.M4A, folder / "sound.m4a")
    await assembly.take_sound(main.file, info.tracks, sound.file)
    copied = await packets.count(sound.file)
    if copied.audio != found.reading.audio:
        raise UnverifiedError(
            f"the M4A has {copied.audio or 0} packets of sound instead of {found.reading.audio}; it is not used. "
            "Try again"
        )
    return sound


async def _poster(main: Made, at_ms: int, folder: Path) -> list[Made]:
    poster = Made(AssetKind.POSTER, folder / "poster.jpg", shows=(Stretch(at_ms, at_ms + 1),))
    try:
        await assembly.take_picture(main.file, poster.file, at_ms=at_ms)
    except MediaError as error:
        logger.warning("%s has no poster: %s", main.file.name, error)
        return []
    return [poster]


def _folder(recording_id: RecordingId) -> str:
    """Where in the store its files are, and nothing that others put there."""
    return f"recordings/{recording_id}/"


async def _leftovers(services: Services, recording_id: RecordingId) -> list[str]:
    """What an attempt has put into the store that was killed before it could tell the catalogue."""
    listed = [each.key async for page in services.store.listing(_folder(recording_id)) for each in page]
    async with services.database.read() as connection:
        known = await assets.known(connection, listed)
    return [key for key in listed if key not in known]


async def _keep(
    job: JobRun, recording: Recording, made: Sequence[Made], origin: str, shown: list[Stretch]
) -> bool:
    """Into the store, then into the catalogue together with the end of the job; then leftovers go.

    False, with nothing kept, if what may be shown or what it is made of has changed meanwhile: whoever changed it
    has found this job under way and relies on it.
    """
    store, folder = job.services.store, _folder(recording.id)
    leftovers = await _leftovers(job.services, recording.id) if made else []
    stored = [(item, await store.adopt(item.file, folder, _SUFFIXES[item.kind])) for item in made]
    replaced: list[str | None] = []
    async with job.services.database.write() as tx:
        await withheld.hold(tx, recording.id)
        await jobs.require_held(tx, job.job)
        current = await _is_current(tx, recording, origin, shown, made)
        for item, kept in stored if current else ():
            old = await assets.put(
                tx,
                recording.id,
                item.kind,
                kept,
                _MEDIA_TYPES[item.kind],
                origin,
                item.shows,
                details=item.details,
                verified=item.kind in (AssetKind.MP4, AssetKind.M4A),
            )
            replaced.append(old)
        if current:
            await job.finish(tx)
        spare = [*leftovers, *(key for key in replaced if key)] if current else [kept.key for _, kept in stored]
        known = await assets.known(tx, spare)
    for key in spare:
        if key not in known:
            await store.delete(key)
    return current


async def _is_current(
    connection: AsyncConnection, recording: Recording, origin: str, shown: list[Stretch], made: Sequence[Made]
) -> bool:
    """Whether what may be shown is as it was, and what files are made of: some of it may be gone for good.

    Where nothing was made, because it had been, that has to be so still: a file may have been found damaged.
    """
    if await _shown(connection, recording) != shown:
        return False
    material = await _material(connection, recording, shown)
    return material.origin == origin and (bool(made) or await _is_made(connection, material, recording.id))
