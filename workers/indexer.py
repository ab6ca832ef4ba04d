"""Keeps the search index up with the catalogue: outbox in, operations out, oldest first."""

from __future__ import annotations

import asyncio
import logging

from streamarchive.catalogue import outbox
from streamarchive.catalogue.watch import watch
from streamarchive.errors import SearchUnavailableError
from streamarchive.search import feed
from streamarchive.services import Services

from .runner import pause, until

logger = logging.getLogger(__name__)

BATCH = 1_000
"""Rows of the outbox at a time, and so all that is ever in memory; what comes meanwhile waits on disk."""
_IDLE_SECONDS = 5.0
_AWAY_SECONDS = (1.0, 2.0, 5.0, 10.0)


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`. While the index is away the outbox waits, and this tries ever less often."""
    failures, prepared = 0, False
    async with watch(services.database) as changed:
        while not stop.is_set():
            try:
                if not prepared:
                    await services.search.prepare()
                    health = await services.search.health()
                    if not health.analyzer_current:
                        logger.warning("%s", health.sentence)
                    prepared = True
                if not await drain(services):
                    await until(stop, changed.wait(_IDLE_SECONDS))
                failures = 0
            except SearchUnavailableError as error:
                if failures == 0:
                    logger.warning("search is away, the outbox waits: %s", error)
                failures, prepared = failures + 1, False
                await pause(stop, _AWAY_SECONDS[min(failures, len(_AWAY_SECONDS)) - 1])


async def catch_up(services: Services) -> None:
    """Bring into the index what waits at this moment, beside all other indexers."""
    async with services.database.read() as connection:
        newest = await outbox.newest_id(connection)
    while await drain(services, newest):
        pass


async def drain(services: Services, newest: int | None = None) -> bool:
    """Bring one batch into the index; False if there was none, or none of rows up to `newest`.

    A row goes only once the index has it. Several indexers may take the same rows: versions make that harmless.
    """
    async with services.database.read() as connection:
        batch = await outbox.oldest(connection, BATCH)
        if not batch.row_ids or (newest is not None and batch.row_ids[0] > newest):
            return False
        found = await feed.operations(connection, batch)
    await services.search.write(found)
    async with services.database.write() as tx:
        await outbox.remove(tx, batch)
    return True
