"""The voices of a recording, by the names editors give them."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import interviews, tables
from streamarchive.errors import EditError
from streamarchive.models import RecordingId

LONGEST_NAME = 200


async def names(connection: AsyncConnection, recording_id: RecordingId, locale: str = "en") -> list[str]:
    """Whom an editor may choose: the guests in their order, in this language, then whoever else speaks."""
    found: list[str] = []
    spellings: set[str] = set()
    for interview in await interviews.of_recording(connection, recording_id):
        for guest in interview.guests:
            shown = guest.names.get(locale) or next((name for name in guest.names.values() if name), "")
            if shown and not spellings.intersection(guest.names.values()):
                found.append(shown)
            spellings.update(guest.names.values())
    return found + [name for name in await _used(connection, recording_id) if name not in spellings]


async def ensure(tx: AsyncConnection, recording_id: RecordingId, name: str | None) -> str | None:
    """The name as it is kept; a new voice is added to the recording's. None for no name."""
    name = " ".join((name or "").split())
    if not name:
        return None
    if len(name) > LONGEST_NAME:
        raise EditError(f"a speaker's name may have {LONGEST_NAME} characters")
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    values = {"recording_id": recording_id, "label": name, "person_id": await _guest(tx, recording_id, name)}
    await tx.execute(make(tables.speaker).values(**values).on_conflict_do_nothing())
    return name


async def _guest(connection: AsyncConnection, recording_id: RecordingId, name: str) -> int | None:
    for interview in await interviews.of_recording(connection, recording_id):
        for guest in interview.guests:
            if name in guest.names.values():
                return guest.id
    return None


async def _used(connection: AsyncConnection, recording_id: RecordingId) -> list[str]:
    """The names on the current lines, whoever says most first, then those given and not in use."""
    cue, transcript, speaker = tables.cue, tables.transcript, tables.speaker
    lines = (
        select(cue.c.speaker)
        .join(transcript)
        .where(transcript.c.recording_id == recording_id, cue.c.deleted_at.is_(None), cue.c.speaker.is_not(None))
        .group_by(cue.c.speaker)
        .order_by(func.count().desc(), cue.c.speaker)
    )
    spoken = [row.speaker for row in await connection.execute(lines)]
    given = select(speaker.c.label).where(speaker.c.recording_id == recording_id).order_by(speaker.c.id)
    return list(dict.fromkeys([*spoken, *(row.label for row in await connection.execute(given))]))
