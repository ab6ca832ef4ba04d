"""Taking a finished file into the archive: judged, stored, catalogued and queued for processing."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import captions, jobs
from streamarchive.catalogue import interviews, recordings, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.interviews import Guest
from streamarchive.errors import DatabaseError, MediaError, UnreadableMediaError
from streamarchive.media import probe
from streamarchive.models import AssetKind, CueDraft, InterviewId, RecordingId, RunStage, Visibility
from streamarchive.protocols import MediaStore, StoredObject


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
    stored = await _store_copy(store, file, incoming)
    try:
        async with database.write() as tx:
            interview_id = await create_interview(tx, details)
            recording_id = await recordings.create_uploaded(
                tx, interview_id, duration_ms=info.duration_ms, has_video=info.has_video, damage=info.damage
            )
            await recordings.put_asset(
                tx, recording_id, AssetKind.ORIGINAL, stored, "application/octet-stream", stored.sha256
            )
            await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
            if lines is None:
                await jobs.enqueue(tx, "transcribe", str(recording_id), recording_id=recording_id)
            else:
                await _adopt_lines(tx, recording_id, lines)
    except BaseException:
        await _forget_unused(database, store, stored.key)
        raise
    return interview_id


async def _forget_unused(database: Database, store: MediaStore, key: str) -> None:
    """Delete a file that no recording has: whoever is cancelled while it commits may have committed."""
    with suppress(DatabaseError):
        async with database.read() as connection:
            used = await recordings.uses(connection, key)
        if not used:
            await store.delete(key)


async def _store_copy(store: MediaStore, file: Path, incoming: Path) -> StoredObject:
    """The user's file stays theirs: a copy goes into the store."""

    def copy() -> Path:
        incoming.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=incoming, prefix="import-", delete=False) as target:
            path = Path(target.name)
        try:
            shutil.copyfile(file, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    try:
        path = await asyncio.to_thread(copy)
    except OSError as error:
        raise MediaError(f"cannot copy {file.name} into the archive: {error.strerror}") from error
    try:
        # Two imports of one file must not share a key: deleting it for one would take it from the other.
        prefix = f"original/{secrets.token_hex(5)}-"
        return await store.adopt(path, prefix, file.suffix.lower() if file.suffix.isascii() else "")
    finally:
        path.unlink(missing_ok=True)


async def _adopt_lines(tx: AsyncConnection, recording_id: RecordingId, lines: Sequence[CueDraft]) -> None:
    run = await transcripts.begin_run(
        tx, recording_id, RunStage.IMPORTED, engine="captions", model="captions", model_identity="captions"
    )
    await transcripts.append(tx, run, lines, max((line.end_ms for line in lines), default=0))
    await transcripts.adopt(tx, run)


def read_captions(file: Path, language: str) -> list[CueDraft]:
    """The lines of a WebVTT or SRT file. Raises `UnreadableMediaError`."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableMediaError(f"cannot read the captions {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableMediaError(f"the captions {file.name} are not UTF-8 text; save them as UTF-8") from error
    if text.lstrip().startswith("WEBVTT"):
        return captions.from_vtt(text, language)
    return captions.from_srt(text, language)
