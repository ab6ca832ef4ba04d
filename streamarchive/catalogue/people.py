"""Guests and events of interviews. They are what they are called: the same names are the same guest or event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, and_, delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.models import Event, InterviewId, Person


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest as somebody types them in: names and affiliations per language."""

    names: Mapping[str, str]
    affiliations: Mapping[str, str]


async def events(connection: AsyncConnection) -> list[Event]:
    """The events there are, newest first."""
    event = tables.event
    rows = await connection.execute(select(event).where(event.c.deleted_at.is_(None)).order_by(event.c.id.desc()))
    return [Event(row.id, row.names) for row in rows]


async def event_id(tx: AsyncConnection, names: Mapping[str, str]) -> int:
    """The event of these names; made when it is new."""
    [found] = await _known_as(tx, tables.event, [{"names": dict(names)}])
    return found


async def set_guests(tx: AsyncConnection, interview_id: InterviewId, guests: Sequence[Guest]) -> None:
    """Exactly these, each once, in this order. Whoever has the same names and affiliations is the same person."""
    link, faces = tables.interview_guest, list[dict[str, Any]]()
    for guest in guests:
        face = {"names": dict(guest.names), "affiliations": dict(guest.affiliations)}
        faces += [] if face in faces else [face]
    await tx.execute(delete(link).where(link.c.interview_id == interview_id))
    for position, person_id in enumerate(await _known_as(tx, tables.person, faces)):
        await tx.execute(insert(link).values(interview_id=interview_id, person_id=person_id, position=position))


async def guests_of(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, tuple[Person, ...]]:
    """The guests of each of these interviews that has any, in order."""
    link, person = tables.interview_guest, tables.person
    rows = await connection.execute(
        select(link.c.interview_id, person)
        .join(person, and_(person.c.id == link.c.person_id, person.c.deleted_at.is_(None)))
        .where(link.c.interview_id.in_(ids))
        .order_by(link.c.position)
    )
    guests: dict[str, tuple[Person, ...]] = {}
    for row in rows:
        guests[row.interview_id] = (
            *guests.get(row.interview_id, ()),
            Person(row.id, row.names, row.affiliations),
        )
    return guests


async def _known_as(tx: AsyncConnection, table: Table, faces: Sequence[Mapping[str, Any]]) -> list[int]:
    """The rows that say exactly this, each of it another; made where they are new."""
    found = await _ids_of(tx, table, faces)
    if None in found and tx.dialect.name != "sqlite":  # or two who name it at once would both make it
        await tx.execute(text("LOCK TABLE event, person IN SHARE ROW EXCLUSIVE MODE"))
        found = await _ids_of(tx, table, faces)
    for at, face in enumerate(faces):
        if found[at] is None:
            made = insert(table).values(**face).returning(table.c.id)
            found[at] = (await tx.execute(made)).scalar_one()
    return [row_id for row_id in found if row_id is not None]


async def _ids_of(
    connection: AsyncConnection, table: Table, faces: Sequence[Mapping[str, Any]]
) -> list[int | None]:
    """Compared in Python: JSON equality is not portable."""
    known = (await connection.execute(select(table).where(table.c.deleted_at.is_(None)))).all()
    return [
        next((row.id for row in known if all(row._mapping[name] == face[name] for name in face)), None)
        for face in faces
    ]
