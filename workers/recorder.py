"""Records streams: claims those that are due, one ffmpeg each, and keeps at it until their end.

What one recorder does for one stream is in `stream_recorder`. One that is told to stop offers its streams to
other recorders first and goes on until they have them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from datetime import UTC, datetime, timedelta

from streamarchive.catalogue import cuts, streams
from streamarchive.catalogue import workers as registry
from streamarchive.catalogue.database import now
from streamarchive.catalogue.watch import Watch, watch
from streamarchive.errors import DatabaseError, FencedError, NotFoundError, UsageError
from streamarchive.models import Stream, StreamId
from streamarchive.services import Services

from . import spools
from .capture import Patience
from .ownership import is_dead, owner
from .runner import owner_name, pause, until
from .stream_recorder import StreamRecorder

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
"""How often the recorders of this host are looked after while nothing happens."""
_IDLE_SECONDS = 10.0
"""How often the schedule is looked at while there are none; what changes is noticed at once."""
_CALM_SECONDS = 0.4
"""How often at most it is looked at while much happens."""

_Active = dict[StreamId, StreamRecorder]


async def run(services: Services, stop: asyncio.Event, patience: Patience | None = None) -> None:
    """Until `stop`; then every recording is handed over, or brought to a clean pause to be continued later."""
    patience = patience or Patience()
    active: _Active = {}
    tidied = -math.inf
    async with watch(services.database) as changed:
        while not stop.is_set():
            active = {key: recorder for key, recorder in active.items() if not recorder.task.done()}
            seconds = _LOOK_SECONDS
            try:
                if time.monotonic() - tidied >= patience.tidy:
                    await spools.tidy(services)
                    tidied = time.monotonic()
                seconds = await _look(services, active, patience)
            except DatabaseError as error:
                logger.warning("cannot look for streams to record: %s", error)
            except Exception:  # whoever began again would not know what is being recorded
                logger.exception("cannot look for streams to record")
            await pause(stop, _CALM_SECONDS)
            await until(stop, changed.wait(seconds))
        try:
            await _hand_over(services, active, patience, changed)
        except DatabaseError as error:
            logger.warning("cannot hand the streams over: %s", error)
        for recorder in active.values():
            recorder.pause()
        await asyncio.gather(*(recorder.task for recorder in active.values()))


async def _look(services: Services, active: _Active, patience: Patience) -> float:
    """Begin what is due, and pass on requests to stop. When to look again, in seconds."""
    async with services.database.read() as connection:
        due, leased = await streams.due(connection), await streams.leased(connection)
        starts_at = await streams.next_start(connection)
    for stream in leased:
        if stream.id in active:
            active[stream.id].heed(stream)
        elif stream.owner and is_dead(stream.owner):
            await streams.release(services.database, stream.id, stream.epoch)
            due.append(stream)
        elif stream.offered and stream.successor is None and stream.owner != owner():
            active[stream.id] = StreamRecorder(services, stream, patience, claimed=False)
    for stream in {stream.id: stream for stream in due}.values():
        if stream.id not in active:
            await _begin(services, stream, active, patience)
    if due or leased or active:
        return _LOOK_SECONDS
    until_start = (starts_at - datetime.now(UTC)).total_seconds() if starts_at else _IDLE_SECONDS
    return min(max(until_start, 0.1), _IDLE_SECONDS)


async def _begin(services: Services, stream: Stream, active: _Active, patience: Patience) -> None:
    """Claim what is due, unless it goes on with what is being recorded."""
    if await _continues(services, stream):
        return
    lease = timedelta(seconds=patience.lease)
    claimed = await streams.claim(services.database, stream.id, owner(), lease)
    if claimed is not None:
        active[stream.id] = StreamRecorder(services, claimed, patience, before=stream.owner)


async def _continues(services: Services, stream: Stream) -> bool:
    """Whether its source is being recorded already, for an interview that this one follows on a schedule."""
    if not stream.overruns or stream.recording_id is not None:
        return False
    async with services.database.read() as connection:
        before, moment = await streams.before(connection, stream), await now(connection)
    if before is None:
        return False
    if moment >= stream.starts_at and before.recording_id is not None:
        try:
            async with services.database.write() as tx:
                await cuts.take_up(tx, before.id, stream.id)
        except FencedError:
            return True  # another recorder goes on with that one: so will this, once it is looked at again
        except (UsageError, NotFoundError) as error:
            logger.warning("stream %s is recorded by itself, beside stream %s: %s", stream.id, before.id, error)
            return False
    return True


async def _hand_over(services: Services, active: _Active, patience: Patience, changed: Watch) -> None:
    """Offer what is being recorded, if there is another recorder, and go on until it is taken over."""
    own = owner_name("recorder").partition("@")[2]
    async with services.database.read() as connection:
        others = [
            process
            for process in await registry.alive(connection)
            if "recorder" in process.kinds and process.address != own
        ]
    if not others:
        return
    for recorder in active.values():
        await recorder.offer()
    deadline = time.monotonic() + patience.hand_over
    while time.monotonic() < deadline and any(recorder.is_offered for recorder in active.values()):
        await changed.wait(_CALM_SECONDS)
        async with services.database.read() as connection:
            for stream in await streams.leased(connection):
                if stream.id in active:
                    active[stream.id].heed(stream)
