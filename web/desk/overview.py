"""An interview as its producer sees it: what it shows, where that comes from, what is being done to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import ingest, jobs
from streamarchive.catalogue import recordings, streams, uploads
from streamarchive.media.addresses import shown
from streamarchive.models import (
    Interview,
    Job,
    JobState,
    Recording,
    Stream,
    StreamState,
    Upload,
    UploadState,
)

from ..languages import Language
from ..state import job_label, job_note
from ..wording import size

_REMEMBERED = timedelta(days=7)
"""For so long a refused upload and a cancelled job are shown."""


@dataclass(frozen=True, slots=True)
class Step:
    """A job. `progress` is from 0 to 1, `left_ms` None while nobody can tell."""

    id: int
    label: str
    state: JobState
    progress: float
    left_ms: int | None
    note: str
    error: str | None
    is_final: bool = False
    """Once asked for it is done: there is no way back."""

    @property
    def is_open(self) -> bool:
        """It waits or runs."""
        return self.state in (JobState.QUEUED, JobState.RUNNING)

    @property
    def can_cancel(self) -> bool:
        """It waits or runs, and may be left undone."""
        return self.is_open and not self.is_final

    @property
    def can_retry(self) -> bool:
        """It has failed, was cancelled, or waits before it is tried again."""
        return self.state in (JobState.PARKED, JobState.CANCELLED) or (
            self.state is JobState.QUEUED and self.error is not None
        )


@dataclass(frozen=True, slots=True)
class Arriving:
    """A file that a browser is sending."""

    name: str
    progress: float
    arrived: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An upload that is no recording."""

    name: str
    error: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """A stream to record."""

    id: int
    address: str
    state: StreamState
    starts_at: datetime
    ends_at: datetime | None
    stopping: bool
    overrun: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """A recording of the interview; one of them is shown."""

    id: int
    origin: str
    at: datetime
    duration_ms: int
    shown: bool
    damage: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All of that."""

    steps: tuple[Step, ...] = ()
    arriving: tuple[Arriving, ...] = ()
    refused: tuple[Refused, ...] = ()
    sources: tuple[Source, ...] = ()
    versions: tuple[Version, ...] = ()
    busy: bool = False
    """Something is moving: look again soon."""


async def overview(
    connection: AsyncConnection, interview: Interview, language: Language, moment: datetime
) -> Overview:
    """Read it."""
    taken_in = await uploads.of_interview(connection, interview.id)
    attached = await streams.of_interview(connection, interview.id)
    kept = await recordings.of_interview(connection, interview.id)
    steps = [
        *await _looking(connection, taken_in, language, moment),
        *await _processing(connection, interview, language, moment),
    ]
    arriving = [upload for upload in taken_in if upload.state is UploadState.RECEIVING]
    live = [stream for stream in attached if stream.state is not StreamState.ENDED]
    return Overview(
        steps=tuple(steps),
        arriving=tuple(_arriving(upload) for upload in arriving),
        refused=tuple(_refused(upload) for upload in _newest_refused(taken_in, moment)),
        sources=tuple(_source(stream, moment) for stream in live),
        versions=tuple(_version(recording, interview) for recording in kept),
        busy=bool(arriving or live) or any(step.is_open for step in steps),
    )


async def _looking(
    connection: AsyncConnection, taken_in: Sequence[Upload], language: Language, moment: datetime
) -> list[Step]:
    """The jobs that look at uploads."""
    waiting = {str(upload.id): upload for upload in taken_in if upload.state is UploadState.RECEIVED}
    if not waiting:
        return []
    found = await jobs.newest(connection, ingest.JOB, list(waiting))
    return [
        _step(job, f"{job_label(job, language)} · {waiting[key].file_name}", language)
        for key, job in found.items()
        if _is_shown(job, moment)
    ]


async def _processing(
    connection: AsyncConnection, interview: Interview, language: Language, moment: datetime
) -> list[Step]:
    if interview.recording_id is None:
        return []
    found = await jobs.of_recording(connection, interview.recording_id)
    return [_step(job, job_label(job, language), language) for job in found if _is_shown(job, moment)]


def _is_shown(job: Job, moment: datetime) -> bool:
    if job.state is JobState.CANCELLED:
        return moment - job.updated_at < _REMEMBERED
    return job.state is not JobState.DONE


def _step(job: Job, label: str, language: Language) -> Step:
    left = job.left
    return Step(
        id=job.id,
        label=label,
        state=job.state,
        progress=job.progress,
        left_ms=None if left is None else round(left.total_seconds() * 1000),
        note=job_note(job, language),
        error=job.last_error,
        is_final=job.kind == jobs.PURGE,
    )


def _arriving(upload: Upload) -> Arriving:
    whole = upload.size_bytes or 0
    share = min(upload.offset_bytes / whole, 1.0) if whole else 0.0
    arrived = size(upload.offset_bytes) + (f" / {size(whole)}" if whole else "")
    return Arriving(upload.file_name, share, arrived)


def _newest_refused(taken_in: Sequence[Upload], moment: datetime) -> list[Upload]:
    """Refusals that nothing newer has made good."""
    found = []
    for upload in taken_in:
        if upload.state is UploadState.TAKEN or moment - upload.updated_at > _REMEMBERED:
            break
        if upload.state is UploadState.REFUSED:
            found.append(upload)
    return found


def _refused(upload: Upload) -> Refused:
    return Refused(upload.file_name, upload.error or "", upload.updated_at)


def _source(stream: Stream, moment: datetime) -> Source:
    return Source(
        id=stream.id,
        address=shown(stream.url),
        state=stream.state,
        starts_at=stream.starts_at,
        ends_at=stream.ends_at,
        stopping=stream.stop_requested,
        overrun=stream.state is StreamState.RECORDING and stream.overrun(moment),
        error=stream.last_error,
    )


def _version(recording: Recording, interview: Interview) -> Version:
    return Version(
        id=recording.id,
        origin=recording.origin,
        at=recording.started_at,
        duration_ms=recording.duration_ms,
        shown=recording.id == interview.recording_id,
        damage=recording.damage,
    )
