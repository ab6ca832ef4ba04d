"""What has to be tidied now and then."""

from __future__ import annotations

import asyncio

from streamarchive.catalogue import changes
from streamarchive.catalogue import workers as registry
from streamarchive.services import Services

from .runner import pause

_EVERY_SECONDS = 60.0


async def run(services: Services, stop: asyncio.Event) -> None:
    """Once a minute until `stop`."""
    while not stop.is_set():
        async with services.database.write() as tx:
            await changes.prune(tx)
            await registry.forget_dead(tx)
        await pause(stop, _EVERY_SECONDS)
