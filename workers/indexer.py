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
                    prepared = True
                if not await drain(services):
                    await until(stop, changed.wait(_IDLE_SECONDS))
                failures = 0
            except SearchUnavailableError as error:
                if failures == 0:
                    logger.warning("search is away, the outbox waits: %s", error)
                failures, prepared = failures + 1, False
                await pause(stop, _AWAY_SECONDS[min(failures, len(_AWAY_SECONDS)) - 1])


async def drain(services: Services) -> bool:
    """Bring one batch into the index; False if there was none. A row goes only once the index has it."""
    async with services.database.read() as connection:
        batch = await outbox.oldest(connection)
        if not batch.row_ids:
            return False
        found = await feed.operations(connection, batch)
    await services.search.write(found)
    async with services.database.write() as tx:
        await outbox.remove(tx, batch)
    return True
