"""Job `purge`: what has been withheld is deleted for good, from media, files and words.

Killed at any point it is taken up again: whatever is without the range already stays as it is, and the files to
be deleted are written down in the transaction that replaces them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from streamarchive import jobs, withholding
from streamarchive.catalogue import assets, media_segments, purging, recordings, withheld
from streamarchive.catalogue.withheld import WithheldRange
from streamarchive.clock import TICKS_PER_MS
from streamarchive.errors import NotFoundError
from streamarchive.media import assembly, disk, recut
from streamarchive.media.probe import probe
from streamarchive.models import Asset, AssetKind, MediaSegment, Recording, RecordingId, Stretch
from streamarchive.protocols import StoredObject

from .runner import JobRun
from .workshop import workshop

_BESIDE_MS = 5_000
"""How far from its picture the sound of a segment is looked for."""


async def purge(job: JobRun) -> None:
    """Delete every range of the recording that an admin has asked for."""
    recording_id = job.job.recording_id
    if recording_id is None:
        raise NotFoundError("a job of kind purge needs a recording")
    services = job.services
    async with services.database.read() as connection:
        recording = await recordings.get(connection, recording_id)
        ranges = await purging.asked(connection, recording_id)
    disk.require_room(await services.store.free_fraction())
    async with workshop(services, jobs.PURGE, recording_id, "") as folder:
        for number, purged in enumerate(ranges):
            job.report(number / len(ranges))
            gone = withheld.in_media(purged.stretch, recording.duration_ms)
            await _purge_segments(job, purged, gone, folder)
            await _purge_files(job, recording, purged, gone, folder)
            async with services.database.write() as tx:
                await purging.forget_words(tx, purged)
            await _delete_doomed(job, purged)
    async with services.database.read() as connection:
        is_quiet = not await recordings.open_recordings(connection)
    await services.database.forget(is_quiet=is_quiet)
    if not await _finish(job, recording_id, ranges):
        await purge(job)


async def _finish(job: JobRun, recording_id: RecordingId, ranges: Sequence[WithheldRange]) -> bool:
    """These are done; and the job is, unless more has been asked for since it began: that found it under way."""
    async with job.services.database.write() as tx:
        await withheld.hold(tx, recording_id)
        for purged in ranges:
            await purging.done(tx, purged)
        if await purging.asked(tx, recording_id):
            await jobs.require_held(tx, job.job)
            return False
        await withholding.make_again(tx, recording_id)
        await job.finish(tx)
    return True


async def _purge_segments(job: JobRun, purged: WithheldRange, gone: Stretch, folder: Path) -> None:
    async with job.services.database.read() as connection:
        segments = await media_segments.of_recording(connection, purged.recording_id)
    for segment in segments:
        start_ms, end_ms = segment.start_ticks // TICKS_PER_MS, segment.end_ticks // TICKS_PER_MS
        if gone.meets(start_ms - _BESIDE_MS, end_ms + _BESIDE_MS):
            await _purge_segment(job, purged, gone, segment, folder)


async def _purge_segment(
    job: JobRun, purged: WithheldRange, gone: Stretch, segment: MediaSegment, folder: Path
) -> None:
    store = job.services.store
    start_ticks = gone.start_ms * TICKS_PER_MS - segment.start_ticks
    length = (gone.end_ms - gone.start_ms) * TICKS_PER_MS
    async with store.local(segment.key) as file:
        data = await asyncio.to_thread(file.read_bytes)
    left = await asyncio.to_thread(recut.without, data, segment.pts_ticks + start_ticks, length)
    if left == data:
        return
    stored: StoredObject | None = None
    if left:
        made = folder / "left.ts"
        await asyncio.to_thread(made.write_bytes, left)
        stored = await store.adopt(made, f"{segment.key.rpartition('/')[0]}/", ".ts")
    async with job.services.database.write() as tx:
        await purging.replace_segment(tx, purged, segment, stored)


async def _purge_files(
    job: JobRun, recording: Recording, purged: WithheldRange, gone: Stretch, folder: Path
) -> None:
    """Files with any of it go; an upload is the only one of its kind, so what is left of it takes its place."""
    async with job.services.database.read() as connection:
        files = await assets.of_recording(connection, recording.id)
    for kind, asset in files.items():
        if asset.shows and not any(purged.stretch.meets(s.start_ms, s.end_ms) for s in asset.shows):
            continue
        if kind is not AssetKind.ORIGINAL:
            async with job.services.database.write() as tx:
                await purging.remove_asset(tx, purged, asset)
            continue
        shown = asset.shows or (Stretch(0, recording.duration_ms),)
        left = withheld.without(shown, purged.stretch)
        made, media_type = await _make_upload_again(job, asset, gone, folder)
        stored = await job.services.store.adopt(made, "original/", made.suffix)
        async with job.services.database.write() as tx:
            await assets.put(tx, recording.id, kind, stored, media_type, stored.sha256, left)
            await purging.doom(tx, purged.id, [asset.key])


async def _make_upload_again(job: JobRun, original: Asset, gone: Stretch, folder: Path) -> tuple[Path, str]:
    """The upload without the range, as a file that browsers play."""
    async with job.services.store.local(original.key) as source:
        found = await probe(source, name="the upload")
        suffix, media_type = (".mp4", "video/mp4") if found.has_video else (".m4a", "audio/mp4")
        made = folder / f"left{suffix}"
        await assembly.make_playable(source, found.tracks, made, found.duration_ms, job.report, [gone])
    return made, media_type


async def _delete_doomed(job: JobRun, purged: WithheldRange) -> None:
    async with job.services.database.read() as connection:
        doomed = (await withheld.get(connection, purged.id)).doomed
        known = await assets.known(connection, doomed)
    for key in doomed:
        if key not in known:
            await job.services.store.delete(key)
