"""What has to be tidied now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from streamarchive import jobs
from streamarchive.catalogue import changes, streams, uploads
from streamarchive.catalogue import workers as registry
from streamarchive.media.incoming import Incoming
from streamarchive.models import UploadId
from streamarchive.services import Services

from . import retention, workshop
from .runner import pause

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0


async def run(services: Services, stop: asyncio.Event) -> None:
    """Once a minute until `stop`."""
    silent: Mapping[UploadId, datetime] = {}
    while not stop.is_set():
        async with services.database.write() as tx:
            await changes.prune(tx)
            await registry.forget_dead(tx)
            if await jobs.clock_set_back(tx) + await streams.clock_set_back(tx):
                logger.warning("the clock has been set back: what waited for its old time goes on now")
            await uploads.forget_abandoned(tx, silent)
            silent = await uploads.silent(tx)
        await tidy_incoming(services, uploads.ABANDONED.total_seconds())
        await workshop.tidy(services)
        await retention.ask(services)
        await pause(stop, _EVERY_SECONDS)


async def tidy_incoming(services: Services, older_than_seconds: float) -> None:
    """Delete the files of uploads that were cancelled, refused or cut off, and were not deleted at once."""
    incoming = Incoming(services.settings.incoming)
    present = await asyncio.to_thread(incoming.present, older_than_seconds)
    if not present:
        return
    async with services.database.read() as connection:
        wanted = await uploads.wanted(connection, present)
    for upload_id in present - wanted:
        await asyncio.to_thread(incoming.remove, upload_id)
