"""Terms and names with what they are called in other languages."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables

Pair = tuple[str, ...]
"""What means the same, each in its language."""


async def pairs(connection: AsyncConnection) -> list[Pair]:
    """The terms that have a counterpart, with it."""
    table = tables.glossary_term
    rows = await connection.execute(
        select(table.c.term, table.c.means).where(table.c.deleted_at.is_(None)).order_by(table.c.id)
    )
    found = (tuple(dict.fromkeys((row.term, *row.means.values()))) for row in rows)
    return [pair for pair in found if len(pair) > 1]
