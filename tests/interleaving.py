"""Two writers at once, step by step: the second begins when the first has done all but commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue.database import Database
from tests.waiting import until_async

Work = Callable[[AsyncConnection], Awaitable[Any]]


async def nothing(tx: AsyncConnection) -> None:
    """What a writer does that has no second part."""


async def interleaved(database: Database, first: Work, second: Work, *, rest: Work = nothing) -> list[Any]:
    """What comes of both, exceptions included.

    The first does its `rest` and commits once the second has, or waits for the first: on SQLite it always does.
    """
    ready, proceed = asyncio.Event(), asyncio.Event()

    async def lead() -> Any:
        async with database.write() as tx:
            found = await first(tx)
            ready.set()
            await proceed.wait()
            await rest(tx)
        return found

    async def follow() -> Any:
        await ready.wait()
        async with database.write() as tx:
            return await second(tx)

    leading, following = asyncio.create_task(lead()), asyncio.create_task(follow())

    async def is_done_or_waits() -> bool:
        if leading.done() or following.done():
            return True
        return ready.is_set() and (database.is_sqlite or await waiting(database, 1))

    await until_async(is_done_or_waits, "the second writer to end or to wait")
    proceed.set()
    return await asyncio.gather(leading, following, return_exceptions=True)


async def waiting(database: Database, count: int) -> bool:
    """Whether so many wait for a lock in this database, which is PostgreSQL's."""
    here = "datname = current_database() AND wait_event_type = 'Lock'"
    async with database.read() as connection:
        found = await connection.execute(text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}"))
        return int(found.scalar_one()) >= count
