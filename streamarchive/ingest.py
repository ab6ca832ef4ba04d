"""Taking a finished file into the archive: judged, stored, catalogued and queued for processing."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import captions, jobs
from streamarchive.catalogue import assets, interviews, recordings, transcripts, uploads
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.people import Guest
from streamarchive.errors import MediaError, UnreadableCaptionsError, UnreadableMediaError
from streamarchive.media import probe
from streamarchive.media.incoming import Incoming, display_name
from streamarchive.media.probe import MediaInfo
from streamarchive.models import (
    AssetKind,
    CueDraft,
    InterviewId,
    RecordingId,
    RunStage,
    Upload,
    UploadId,
    Visibility,
)
from streamarchive.protocols import MediaStore, StoredObject

JOB = "ingest"
"""The job that looks at an upload; its key is the upload's number."""

_SUFFIXES = {
    "mov": ".mp4",
    "matroska": ".mkv",
    "mpegts": ".ts",
    "flv": ".flv",
    "avi": ".avi",
    "mp3": ".mp3",
    "aac": ".aac",
    "wav": ".wav",
    "flac": ".flac",
    "ogg": ".ogg",
}
_MEDIA_TYPES = {"mov": "mp4", "matroska": "webm", "mp3": "mpeg", "wav": "wav", "flac": "flac", "ogg": "ogg"}
_BROWSERS_KNOW = {"h264", "vp8", "vp9", "av1", "aac", "mp3", "opus", "vorbis", "flac", "pcm_s16le", None}
"""Codecs that browsers play in the containers of `_MEDIA_TYPES`."""

_PIECE_BYTES = 1 << 22

LastStep = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Details:
    """What people say about an interview when they hand it in."""

    titles: Mapping[str, str]
    languages: tuple[str, ...] = ()
    visibility: Visibility = Visibility.DRAFT
    descriptions: Mapping[str, str] = field(default_factory=dict)
    guests: Sequence[Guest] = ()
    event: Mapping[str, str] | None = None
    held_at: datetime | None = None


async def create_interview(tx: AsyncConnection, details: Details) -> InterviewId:
    """An interview without media yet."""
    return await interviews.create(
        tx,
        titles=details.titles,
        descriptions=details.descriptions,
        languages=details.languages,
        visibility=details.visibility,
        held_at=details.held_at,
        event=details.event,
        guests=details.guests,
    )


async def import_file(
    database: Database,
    store: MediaStore,
    file: Path,
    details: Details,
    *,
    incoming: Path,
    lines: Sequence[CueDraft] | None = None,
) -> InterviewId:
    """Copy a media file into the archive as a new interview; the jobs that process it are queued.

    `incoming` is a folder for the copy on its way in. With `lines` (from a caption file) nothing is
    transcribed. Raises `MediaError` with a sentence; then nothing is left in the archive.
    """
    info = await probe.probe(file)
    copy = await _copy(file, incoming)
    stored = await _adopt(store, copy, secrets.token_hex(4), info)
    try:
        async with database.write() as tx:
            interview_id = await create_interview(tx, details)
            recording_id = await _catalogue(tx, interview_id, info, stored, lines)
            await uploads.imported(tx, interview_id, display_name(file.name), info.size_bytes, recording_id)
    except BaseException:
        await _drop_unless_kept(database, store, stored.key)
        raise
    return interview_id


async def _copy(file: Path, incoming: Path) -> Path:
    """The user's file stays theirs: a copy goes into the store. Whoever gives up leaves none behind."""
    path, given_up = incoming / f"import-{secrets.token_hex(8)}", threading.Event()

    def copy() -> None:
        incoming.mkdir(parents=True, exist_ok=True)
        path.touch(0o600, exist_ok=False)
        with file.open("rb") as source, path.open("wb") as target:
            while not given_up.is_set() and (piece := source.read(_PIECE_BYTES)):
                target.write(piece)
        if given_up.is_set():
            path.unlink(missing_ok=True)

    try:
        await asyncio.to_thread(copy)
    except BaseException as error:
        given_up.set()
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise MediaError(f"cannot copy {file.name} into the archive: {error.strerror}") from error
        raise
    return path


async def take_upload(
    database: Database,
    store: MediaStore,
    incoming: Incoming,
    upload: Upload,
    attempt: int,
    last_step: LastStep,
) -> None:
    """Judge an upload that is complete, and make it the recording that its interview shows, or refuse it.

    `last_step` is the last thing done in the transaction that writes the result. `attempt` rises with every
    call for this upload: each keeps its file under a key of its own, so that one that comes too late cannot
    take away what another has written. May be cut off at any point. Raises `ConflictError` if the upload was
    cancelled, `StorageError`.
    """
    try:
        info = await probe.probe(incoming.media(upload.id), name=upload.file_name)
        lines = await _lines_beside(database, incoming, upload)
    except (UnreadableMediaError, UnreadableCaptionsError) as error:
        async with database.write() as tx:
            await uploads.refuse(tx, upload.id, str(error))
            await last_step(tx)
    else:
        second = await asyncio.to_thread(incoming.second_name, upload.id, attempt)
        stored = await _adopt(store, second, f"u{upload.id}-{attempt}", info)
        try:
            async with database.write() as tx:
                recording_id = await _catalogue(tx, upload.interview_id, info, stored, lines)
                await uploads.take(tx, upload.id, recording_id)
                await last_step(tx)
        except BaseException:
            await _drop_unless_kept(database, store, stored.key)
            raise
        for earlier in range(1, attempt):  # those that were killed in between
            await store.delete(stored.key.replace(f"/u{upload.id}-{attempt}-", f"/u{upload.id}-{earlier}-"))
    await asyncio.to_thread(incoming.remove, upload.id)


async def _drop_unless_kept(database: Database, store: MediaStore, key: str) -> None:
    """Nothing half-made stays; but a commit whose answer was lost is a commit."""
    async with database.read() as connection:
        kept = await assets.known(connection, [key])
    if not kept:
        await store.delete(key)


async def _lines_beside(database: Database, incoming: Incoming, upload: Upload) -> list[CueDraft] | None:
    beside = incoming.captions(upload.id)
    if not await asyncio.to_thread(beside.exists):
        return None
    async with database.read() as connection:
        languages = (await interviews.get(connection, upload.interview_id)).languages
    return await asyncio.to_thread(read_captions, beside, languages, name=f"of {upload.file_name}")


def _container(info: MediaInfo) -> str:
    return info.format.split(",")[0]


def _media_type(info: MediaInfo) -> str:
    """What a browser is told; it may play the file as it came until a better one is made."""
    kind = _MEDIA_TYPES.get(_container(info))
    if kind is None or not {info.tracks.video, info.tracks.audio} <= _BROWSERS_KNOW:
        return "application/octet-stream"
    return f"{'video' if info.has_video else 'audio'}/{kind}"


async def _adopt(store: MediaStore, file: Path, owner: str, info: MediaInfo) -> StoredObject:
    """Into the store, under a key of its own: bytes handed in twice are two files, each deleted alone."""
    try:
        return await store.adopt(file, f"original/{owner}-", _SUFFIXES.get(_container(info), ""))
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)


async def _catalogue(
    tx: AsyncConnection,
    interview_id: InterviewId,
    info: MediaInfo,
    stored: StoredObject,
    lines: Sequence[CueDraft] | None,
) -> RecordingId:
    """The recording, its file, its lines if they came with it, and the jobs that do the rest."""
    recording_id = await recordings.create_uploaded(
        tx, interview_id, duration_ms=info.duration_ms, has_video=info.has_video, damage=info.damage
    )
    await assets.put(tx, recording_id, AssetKind.ORIGINAL, stored, _media_type(info), stored.sha256)
    await jobs.enqueue(tx, jobs.FINALISE, str(recording_id), recording_id=recording_id)
    if lines is None:
        await jobs.enqueue(tx, jobs.TRANSCRIBE, str(recording_id), recording_id=recording_id)
    else:
        await _adopt_lines(tx, recording_id, lines)
    return recording_id


async def _adopt_lines(tx: AsyncConnection, recording_id: RecordingId, lines: Sequence[CueDraft]) -> None:
    run = await transcripts.begin_run(
        tx, recording_id, RunStage.IMPORTED, engine="captions", model="captions", model_identity="captions"
    )
    await transcripts.append(tx, run, lines, max((line.end_ms for line in lines), default=0))
    await transcripts.adopt(tx, run)


async def enqueue_upload(tx: AsyncConnection, upload_id: UploadId) -> None:
    """Have somebody look at it."""
    await jobs.enqueue(tx, JOB, str(upload_id))


def read_captions(file: Path, languages: Sequence[str], *, name: str = "") -> list[CueDraft]:
    """The lines of a caption file, which people call `name`. Raises `UnreadableCaptionsError`.

    A line that does not say its language is in the one of `languages` that fits its script.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableCaptionsError(f"cannot read the captions {name or file}: {error.strerror}") from error
    lines = captions.read_captions(data)
    return [line if line.lang else replace(line, lang=_language_of(line.text, languages)) for line in lines]


def _language_of(text: str, languages: Sequence[str]) -> str:
    han = any("\u4e00" <= letter <= "\u9fff" for letter in text)
    fitting = (code for code in languages if (code == "zh") is han)
    return next(fitting, languages[0] if languages else "zh" if han else "en")
