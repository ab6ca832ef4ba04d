"""Job `release_segments`: what a broadcast was recorded in goes, once its verified file has taken its place.

The order is what keeps the only copy safe: the file is read from the store and compared with its hash; then, in
one transaction, the catalogue lets go of the segments and keeps the file as the original; only then are they
deleted. A job that is killed begins again, and what it finds done it does not do twice.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import fixity, jobs
from streamarchive.catalogue import assets, media_segments, withheld
from streamarchive.catalogue import retention as rules
from streamarchive.errors import NotFoundError, UnverifiedError
from streamarchive.models import Asset, AssetKind, RecordingId
from streamarchive.protocols import StoredObject
from streamarchive.services import Services

from .material import Takes
from .runner import JobRun

KIND = "release_segments"


async def ask(services: Services) -> None:
    """Have the segments released that the rule says need not be kept."""
    days = services.settings.keep_segments
    if days is None:
        return
    async with services.database.write() as tx:
        for recording_id in await rules.due(tx, timedelta(days=days), but=KIND):
            await jobs.enqueue(tx, KIND, str(recording_id), recording_id=recording_id, priority=jobs.LATER)


async def release(job: JobRun) -> None:
    """Let go of a recording's segments and delete them. Raises `UnverifiedError` if its file has changed."""
    services, recording_id = job.services, job.job.recording_id
    if recording_id is None:
        raise NotFoundError("a job of kind release_segments needs a recording")
    async with services.database.read() as connection:
        is_due = await rules.is_due(connection, recording_id, but=KIND)
    if is_due:
        file = await _sound_file(services, recording_id)
        async with services.database.write() as tx:
            await withheld.hold(tx, recording_id)
            await jobs.require_held(tx, job.job)
            # Until then somebody may have cut it, or shown it in another interview.
            if file and await rules.is_due(tx, recording_id, but=KIND) and await _has(tx, file):
                await rules.release(tx, recording_id)
                await _make_original(tx, file)
    async with services.database.read() as connection:
        keys = await rules.released_keys(connection, recording_id)
    for number, key in enumerate(keys):
        await services.store.delete(key)
        job.report((number + 1) / len(keys), "deleting segments")


async def _make_original(tx: AsyncConnection, file: Asset) -> None:
    """From now on the file is what others are made from, and nothing replaces it."""
    stored = StoredObject(file.key, file.size_bytes, file.sha256)
    origin = (await assets.made_from(tx, file.recording_id))[file.kind]
    await assets.put(tx, file.recording_id, AssetKind.ORIGINAL, stored, file.media_type, origin, verified=True)


async def _has(tx: AsyncConnection, file: Asset) -> bool:
    current = (await assets.of_recording(tx, file.recording_id)).get(file.kind)
    return current is not None and current.key == file.key


async def _sound_file(services: Services, recording_id: RecordingId) -> Asset | None:
    """The verified file made of exactly these segments, read once more; None if it was made of others."""
    async with services.database.read() as connection:
        files = await assets.of_recording(connection, recording_id)
        origins = await assets.made_from(connection, recording_id)
        origin = Takes(await media_segments.of_recording(connection, recording_id)).origin
    for kind in (AssetKind.MP4, AssetKind.M4A):
        if kind in files and files[kind].verified and origins[kind] == origin:
            if await fixity.sha256(services.store, files[kind].key) != files[kind].sha256:
                raise UnverifiedError(
                    f"the {kind.upper()} of recording {recording_id} is damaged in the store, so its segments "
                    "are kept; look whether the disk is sound, then make the file again"
                )
            return files[kind]
    return None
