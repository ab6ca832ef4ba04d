"""Terms and names with what they are called in other languages.

A term is never altered: a correction takes its place under a new id. So the newest corrections are the highest
ids, and whoever corrects what somebody else has corrected meanwhile is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import now
from streamarchive.errors import ConflictError, NotFoundError, UsageError
from streamarchive.glossaries import MOST, Entry, flaws

Pair = tuple[str, ...]
"""What means the same, each in its language."""

_t = tables.glossary_term


class TermTakenError(ConflictError):
    """The glossary holds this term already."""


@dataclass(frozen=True, slots=True)
class Term:
    """An entry as the glossary holds it."""

    id: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Plan:
    """What taking a list would do; what is not in the list stays."""

    added: tuple[Entry, ...]
    changed: tuple[tuple[Term, Entry], ...]
    same: int

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {"added": len(self.added), "changed": len(self.changed), "same": self.same}

    def as_json(self) -> dict[str, Any]:
        """For the audit log: what was added, and what is now another than before."""
        return {
            "added": [entry.as_json() for entry in self.added],
            "changed": [[term.entry.as_json(), entry.as_json()] for term, entry in self.changed],
        }


async def pairs(connection: AsyncConnection) -> list[Pair]:
    """The terms that have a counterpart, with it."""
    rows = await connection.execute(select(_t.c.term, _t.c.means).where(_current()).order_by(_t.c.id))
    found = (tuple(dict.fromkeys((row.term, *row.means.values()))) for row in rows)
    return [pair for pair in found if len(pair) > 1]


async def terms(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Every term and counterpart as (language, text)."""
    rows = await connection.execute(select(_t.c.term, _t.c.lang, _t.c.means).where(_current()).order_by(_t.c.id))
    found = [pair for row in rows for pair in ((row.lang, row.term), *row.means.items())]
    return list(dict.fromkeys((lang, term) for lang, term in found if term))


async def current(connection: AsyncConnection) -> list[Term]:
    """All of them, those added or corrected last first."""
    rows = await connection.execute(select(_t).where(_current()).order_by(_t.c.id.desc()))
    return [_term(row) for row in rows]


async def get(connection: AsyncConnection, term_id: int) -> Term:
    """Raises `NotFoundError` where it was removed or corrected meanwhile."""
    row = (await connection.execute(select(_t).where(_t.c.id == term_id, _current()))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no term {term_id} in the glossary any more")
    return _term(row)


async def add(tx: AsyncConnection, entry: Entry) -> int:
    """One more. Raises `TermTakenError` where it is there already, `UsageError` for flaws or too many."""
    await _lock(tx)
    return await _add(tx, entry)


async def change(tx: AsyncConnection, term_id: int, entry: Entry) -> int:
    """Put an entry in the place of another one; its new id. Raises what `add` and `remove` do."""
    await _lock(tx)
    await remove(tx, term_id)
    return await _add(tx, entry)


async def remove(tx: AsyncConnection, term_id: int) -> None:
    """Take it out. Raises `NotFoundError` where it was removed or corrected meanwhile."""
    gone = await tx.execute(update(_t).where(_t.c.id == term_id, _current()).values(deleted_at=await now(tx)))
    if gone.rowcount == 0:
        raise NotFoundError(f"there is no term {term_id} in the glossary any more")


async def plan(connection: AsyncConnection, entries: Iterable[Entry]) -> Plan:
    """What taking these entries would do."""
    known = {term.entry.key: term for term in await current(connection)}
    added, changed, same = [], [], 0
    for entry in entries:
        term = known.get(entry.key)
        if term is None:
            added.append(entry)
        elif term.entry == entry:
            same += 1
        else:
            changed.append((term, entry))
    return Plan(tuple(added), tuple(changed), same)


async def take(tx: AsyncConnection, entries: Sequence[Entry]) -> Plan:
    """Add these entries, of one term each, in the place of what is there of it; once more it does nothing.

    Raises `UsageError` for flaws or too many, and then nothing is taken.
    """
    await _lock(tx)
    for entry in entries:
        _check(entry)
    planned = await plan(tx, entries)
    for term, _ in planned.changed:
        await remove(tx, term.id)
    fresh = (*planned.added, *(entry for _, entry in planned.changed))
    await _check_room(tx, len(fresh))
    if fresh:
        await _insert(tx, fresh)
    return planned


async def _add(tx: AsyncConnection, entry: Entry) -> int:
    _check(entry)
    await _check_room(tx, 1)
    if any(term.entry.key == entry.key for term in await current(tx)):
        raise TermTakenError(f"“{entry.term}” is in the glossary already; correct it there")
    await _insert(tx, [entry])
    return int((await tx.execute(select(func.max(_t.c.id)))).scalar_one())


async def _insert(tx: AsyncConnection, entries: Iterable[Entry]) -> None:
    created_at = await now(tx)
    await tx.execute(insert(_t), [{**entry.as_json(), "created_at": created_at} for entry in entries])


def _check(entry: Entry) -> None:
    for flaw, value in flaws(entry):
        raise UsageError(flaw.value % {"value": value})


async def _check_room(tx: AsyncConnection, more: int) -> None:
    held = (await tx.execute(select(func.count()).select_from(_t).where(_current()))).scalar_one()
    if held + more > MOST:
        raise UsageError(f"a glossary has at most {MOST:,} terms; remove some first")


async def _lock(tx: AsyncConnection) -> None:
    """One writer at a time, or two could add the same term at once; SQLite has no more than one anyway."""
    if tx.dialect.name != "sqlite":
        await tx.execute(text(f"LOCK TABLE {_t.name} IN SHARE ROW EXCLUSIVE MODE"))


def _current() -> ColumnElement[bool]:
    return _t.c.deleted_at.is_(None)


def _term(row: Row[Any]) -> Term:
    return Term(row.id, Entry(row.term, row.lang, row.means, row.is_name))
