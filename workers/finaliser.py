"""Job `finalise`: the files that an archived interview is played from, made of its takes or of its upload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamarchive.catalogue import recordings
from streamarchive.errors import MediaError, NotFoundError, UnverifiedError
from streamarchive.media import assembly, disk, packets, thumbnails, waveform
from streamarchive.media.probe import MediaInfo, probe
from streamarchive.media.survey import Survey, survey
from streamarchive.media.verification import verify
from streamarchive.models import AssetKind, RecordingId, RecordingState
from streamarchive.services import Services

from . import retention
from .material import Material, Takes, Upload
from .runner import JobRun, serve_jobs
from .workshop import finished, workshop

logger = logging.getLogger(__name__)

KIND = "finalise"
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


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`."""
    await serve_jobs(services, {KIND: finalise, retention.KIND: retention.release}, stop)


async def finalise(job: JobRun) -> None:
    """Make MP4 (or M4A), verify it, and make of it M4A, poster, thumbnails and peaks.

    Nothing is done twice: assets remember what they were made from. Raises `UnverifiedError` for a file that does
    not hold what it was made from; then none of them is used.
    """
    recording_id = job.job.recording_id
    if recording_id is None:
        raise NotFoundError("a job of kind finalise needs a recording")
    material = await _material(job.services, recording_id)
    if material is None:
        return
    disk.require_room(await job.services.store.free_fraction())
    async with workshop(job.services, recording_id, material.origin) as folder:
        main, info = await _main(job, material, folder)
        found = await _verified(job, material, main, info, folder)
        made = [main, *await _more(main, info, found, folder)]
        await _keep(job, recording_id, made, material.origin)


async def _material(services: Services, recording_id: RecordingId) -> Material | None:
    """What there is to make files of; None if they have been made of it."""
    async with services.database.read() as connection:
        recording = await recordings.get(connection, recording_id)
        segments = await recordings.segments(connection, recording_id)
        origins = await recordings.made_from(connection, recording_id)
        files = await recordings.assets(connection, recording_id)
    if recording.state is not RecordingState.FINISHED:
        raise MediaError(f"the recording {recording_id} is still on air")
    main = files.get(AssetKind.MP4) or files.get(AssetKind.M4A)
    if segments:
        material: Material = Takes(segments)
    elif AssetKind.ORIGINAL in files:  # an upload, or what the segments of a broadcast have gone for
        material = Upload(recording, files[AssetKind.ORIGINAL], origins[AssetKind.ORIGINAL])
    else:
        raise NotFoundError(f"the recording {recording_id} has no media")
    is_made = main is not None and main.verified and origins[main.kind] == material.origin
    return None if is_made else material


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


async def _more(main: Made, info: MediaInfo, found: Survey, folder: Path) -> list[Made]:
    """What else is made of a verified file."""
    made = []
    if main.kind is AssetKind.MP4:
        if info.has_audio:
            made.append(await _sound(main, info, found, folder))
        made += await _poster(main, info, folder)
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


async def _poster(main: Made, info: MediaInfo, folder: Path) -> list[Made]:
    poster = Made(AssetKind.POSTER, folder / "poster.jpg")
    try:
        await assembly.take_picture(main.file, poster.file, at_ms=min(_POSTER_AT_MS, info.duration_ms // 3))
    except MediaError as error:
        logger.warning("%s has no poster: %s", main.file.name, error)
        return []
    return [poster]


async def _keep(job: JobRun, recording_id: RecordingId, made: Sequence[Made], origin: str) -> None:
    """Into the store, then into the catalogue together with the end of the job."""
    store, prefix = job.services.store, f"recordings/{recording_id}/"
    stored = [(item, await store.adopt(item.file, prefix, _SUFFIXES[item.kind])) for item in made]
    replaced = []
    async with job.services.database.write() as tx:
        for item, kept in stored:
            old = await recordings.put_asset(
                tx,
                recording_id,
                item.kind,
                kept,
                _MEDIA_TYPES[item.kind],
                origin,
                details=item.details,
                verified=item.kind in (AssetKind.MP4, AssetKind.M4A),
            )
            replaced.append(old)
        await job.finish(tx)
    for key in replaced:
        if key is not None:
            await store.delete(key)
