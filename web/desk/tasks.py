"""The jobs of an interview, for those who may retry and cancel them."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import ingest, jobs
from streamarchive.catalogue import recordings, uploads
from streamarchive.errors import ConflictError, NotFoundError
from streamarchive.models import Interview, Job, JobId, UploadId, UploadState

from ..access import open_interview
from ..keys import VISIT


async def task_of(tx: AsyncConnection, request: web.Request) -> tuple[Interview, Job]:
    """The interview and job that an address names. Raises `NotFoundError` if one is not the other's."""
    interview = await open_interview(tx, request[VISIT].asker, request.match_info["id"])
    job = await jobs.get(tx, JobId(int(request.match_info["job"])))
    if not await _is_of(tx, interview, job):
        raise NotFoundError("this interview has no such job")
    return interview, job


async def _is_of(tx: AsyncConnection, interview: Interview, job: Job) -> bool:
    if job.recording_id is not None:
        return any(
            recording.id == job.recording_id for recording in await recordings.of_interview(tx, interview.id)
        )
    if job.kind == ingest.JOB:
        upload = await uploads.get(tx, UploadId(int(job.key)))
        return upload.interview_id == interview.id
    return False


async def retry_task(tx: AsyncConnection, job: Job) -> None:
    """Try again now. Raises `ConflictError` if that makes no sense any more."""
    if job.kind == ingest.JOB:
        upload = await uploads.get(tx, UploadId(int(job.key)))
        if upload.state is not UploadState.RECEIVED:
            raise ConflictError("this file is not there any more: send it once more")
    await jobs.retry(tx, job.id)


async def cancel_task(tx: AsyncConnection, job: Job) -> UploadId | None:
    """Never mind; the upload whose file nobody needs any more once `tx` is committed.

    Raises `ConflictError` for what an admin has confirmed that there is no way back from.
    """
    if job.kind == jobs.PURGE:
        raise ConflictError("an admin has had this part deleted for good; that cannot be cancelled")
    if job.kind != ingest.JOB:
        await jobs.cancel(tx, job.id)
        return None
    upload_id = UploadId(int(job.key))
    # Before the job, as whoever takes it does: or both could wait for the other.
    await uploads.cancel(tx, upload_id)
    await jobs.cancel(tx, job.id)
    return upload_id
