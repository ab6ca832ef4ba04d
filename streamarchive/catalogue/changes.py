"""What open pages must learn of: a bounded table with rising ids, and its tail.

Nobody may see id 7 before id 6 is there, else a tail that has passed 7 never finds 6. SQLite has one writer at
a time; on PostgreSQL writers take an advisory lock, held to the end of the transaction, before they draw the
id. That is done last of all, whenever `publish` was called: a writer that waited for a row with the lock in
hand could deadlock with one that has the row and waits for the lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import at_the_end, now
from streamarchive.catalogue.watch import wake
from streamarchive.models import Change, InterviewId

_LOCK = 0x5354524D  # any number that nothing else in this database uses
KEEP = 5_000
"""How many changes stay; a page that was away for longer starts anew."""


async def publish(
    tx: AsyncConnection, kind: str, interview_id: InterviewId | None, payload: Mapping[str, Any] | None = None
) -> None:
    """Tell open pages, once `tx` is committed. The same thing said twice in a transaction is said once."""
    at_the_end(tx, _insert, {"interview_id": interview_id, "kind": kind, "payload": dict(payload or {})})
    await wake(tx)


async def _insert(tx: AsyncConnection, said: Sequence[dict[str, Any]]) -> None:
    if tx.dialect.name != "sqlite":
        await tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    moment = await now(tx)
    once = [change for place, change in enumerate(said) if change not in said[:place]]
    await tx.execute(insert(tables.change), [{"at": moment, **change} for change in once])


async def newest_id(connection: AsyncConnection) -> int:
    """The id of the newest change that was ever kept here; 0 before the first."""
    return (await connection.execute(select(func.max(tables.change.c.id)))).scalar() or 0


async def oldest_id(connection: AsyncConnection) -> int:
    """The id of the oldest change still there; 0 if there is none."""
    return (await connection.execute(select(func.min(tables.change.c.id)))).scalar() or 0


async def after(
    connection: AsyncConnection, last_id: int, limit: int = 500, *, interview_id: InterviewId | None = None
) -> list[Change]:
    """The changes behind `last_id`, oldest first; only those of an interview if one is named."""
    table = tables.change
    statement = select(table).where(table.c.id > last_id).order_by(table.c.id).limit(limit)
    if interview_id is not None:
        statement = statement.where(table.c.interview_id == interview_id)
    rows = await connection.execute(statement)
    return [Change(row.id, row.interview_id, row.kind, row.payload) for row in rows]


async def knows(connection: AsyncConnection, last_id: int) -> bool:
    """Whether a page that has seen `last_id` can go on from there without missing anything."""
    oldest, newest = await oldest_id(connection), await newest_id(connection)
    return oldest - 1 <= last_id <= newest


async def prune(tx: AsyncConnection, keep: int = KEEP) -> int:
    """Drop all but the newest `keep`; the number dropped."""
    table = tables.change
    newest = await newest_id(tx)
    return (await tx.execute(delete(table).where(table.c.id <= newest - keep))).rowcount
