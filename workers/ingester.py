"""Job `ingest`: an upload that is complete becomes a recording, or is refused with a sentence.

It reads files of any size from end to end, so it happens here and not while somebody waits for a page.
"""

from __future__ import annotations

import asyncio

from streamarchive import ingest
from streamarchive.catalogue import uploads
from streamarchive.errors import ConflictError
from streamarchive.media.incoming import Incoming
from streamarchive.models import UploadId, UploadState
from streamarchive.services import Services

from .runner import JobRun, serve_jobs


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`."""
    await serve_jobs(services, {ingest.JOB: take}, stop)


async def take(job: JobRun) -> None:
    """Judge one upload. Raises `StorageError`, `FencedError`."""
    services = job.services
    async with services.database.read() as connection:
        upload = await uploads.get(connection, UploadId(int(job.job.key)))
    if upload.state is not UploadState.RECEIVED:
        return
    job.report(0.0, "looking at the file")
    incoming = Incoming(services.settings.incoming)
    try:
        await ingest.take_upload(services.database, services.store, incoming, upload, job.job.epoch, job.finish)
    except ConflictError:
        async with services.database.read() as connection:
            if (await uploads.get(connection, upload.id)).state is UploadState.RECEIVED:
                raise  # somebody else has the job
