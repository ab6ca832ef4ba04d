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


async def terms(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Every term and counterpart as (language, text)."""
    table = tables.glossary_term
    rows = await connection.execute(
        select(table.c.term, table.c.lang, table.c.means).where(table.c.deleted_at.is_(None)).order_by(table.c.id)
    )
    found = [pair for row in rows for pair in ((row.lang, row.term), *row.means.items())]
    return list(dict.fromkeys((lang, term) for lang, term in found if term))
