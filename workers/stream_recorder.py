"""One stream, from its claim to its end: take after take, with what is missing written down as gaps.

A source that breaks off, stalls or refuses is tried again, ever less often, into the same recording, for as
long as the stream is scheduled. What an HLS server still lists of what was missed is fetched, too.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from streamarchive.catalogue import recordings, streams
from streamarchive.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    FencedError,
    MediaError,
    NotFoundError,
    SourceUnreachableError,
    StorageError,
)
from streamarchive.media import disk, source
from streamarchive.media.inlet import Inlet
from streamarchive.media.process import FfmpegProcess
from streamarchive.media.source import Way
from streamarchive.models import GapReason, Stream
from streamarchive.services import Services

from .capture import STOPPED, Capture, Manner, Orders, Patience, Trouble, end_stray
from .folders import Folders
from .ledger import Ledger
from .ownership import is_dead, owner
from .runner import pause

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.3


class StreamRecorder:
    """Records one stream until its end, until it is fenced, or until it is told to pause."""

    def __init__(
        self,
        services: Services,
        stream: Stream,
        patience: Patience,
        *,
        before: str | None = None,
        claimed: bool = True,
    ) -> None:
        """For a stream that is `claimed`, and was that owner's `before`.

        If it is not, another recorder offers it: get ready, and go on when that one hands over.
        """
        self._services = services
        self._stream = stream
        self._patience = patience
        self._before = before
        self._claimed = claimed
        self._folders = Folders(services.settings.data_dir.absolute(), stream.id)
        self._orders = Orders()
        self._manner = Manner()
        self._over = False
        self._ledger: Ledger | None = None
        self._newest: int | None = None
        """Its newest take; one that comes after it is that of a recorder that stands by."""
        self.heed(stream)
        work = self._run(self._record) if claimed else self._stand_by()
        self.task = asyncio.create_task(work, name=f"stream {stream.id}")

    @property
    def is_offered(self) -> bool:
        """It goes on until another recorder is ready."""
        return self._stream.offered and not self.task.done()

    async def offer(self) -> None:
        """Look for a recorder to hand over to."""
        if self._ledger is None or not self._ledger.has_media or self.task.done() or self._stream.is_sent:
            return  # what an encoder sends comes to one of us only
        lease = timedelta(seconds=self._patience.lease)
        with suppress(FencedError):
            await streams.offer(self._services.database, self._stream.id, self._stream.epoch, lease)
            self._stream = replace(self._stream, offered=True)

    def pause(self) -> None:
        """Stop for now; another recorder will continue."""
        self._orders.halt.set()

    def heed(self, stream: Stream) -> None:
        """Take in what people and other recorders have changed: a request to stop, another end, an offer."""
        if not self._claimed:
            return
        if stream.epoch != self._stream.epoch:
            self.pause()  # it is somebody else's
            return
        self._stream = stream
        if self._ledger is not None:
            self._ledger.stream = stream
        if stream.successor is not None:
            self._orders.until_border = True
        if self._is_over(datetime.now(UTC)):
            self._over = True
            self._orders.halt.set()

    def _is_over(self, moment: datetime) -> bool:
        stream = self._stream
        if stream.stop_requested:
            return True
        if stream.ends_at is None or stream.ends_at > moment:
            return False
        return not stream.overruns or self._has_been_quiet(stream.ends_at, moment)

    def _has_been_quiet(self, ends_at: datetime, moment: datetime) -> bool:
        """Past its end without media for long, by both clocks.

        That on the wall leaps ahead when it is set, and when the machine was suspended; the other begins with
        this process.
        """
        ledger, quiet = self._ledger, self._patience.quiet
        came = ledger.last_arrival if ledger is not None else None
        since = max(ends_at, came or ends_at)
        leaps = ledger is not None and ledger.seconds_quiet < quiet
        return moment - since >= timedelta(seconds=quiet) and not leaps

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        keeper = asyncio.create_task(self._keep_lease())
        try:
            await work()
        except FencedError as error:
            logger.warning("%s", error)
        except (DatabaseError, MediaError) as error:
            logger.error("stream %s: %s", self._stream.id, error)
        except Exception:
            logger.exception("stream %s: the recorder failed", self._stream.id)
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError, DatabaseError):
                await keeper
            with suppress(DatabaseError):
                await streams.release(self._services.database, self._stream.id, self._stream.epoch)

    async def _record(self) -> None:
        await asyncio.to_thread(_end_strays, self._folders)
        ledger = self._ledger = await Ledger.open(self._services, self._stream, self._folders)
        await self._salvage(ledger)
        if ledger.has_media:
            await self._note(ledger, self._interruption())
        await self._takes(ledger)
        await self._close(ledger)

    async def _salvage(self, ledger: Ledger, *, before: int | None = None) -> None:
        """Commit what is left behind; what the store does not take waits, and recording goes on."""
        try:
            with _full_disks():
                await ledger.salvage(before=before)
        except StorageError as error:
            logger.error("stream %s: what was left behind waits: %s", self._stream.id, error)

    def _interruption(self) -> Trouble:
        """What has become of the recorder before; where it stopped in good order, a gap says so already."""
        if self._before is not None and not is_dead(self._before):
            return Trouble(GapReason.FENCED, "the recorder did not renew its lease")
        return Trouble(GapReason.PROCESS_DIED, "the recorder was interrupted")

    async def _close(self, ledger: Ledger) -> None:
        if self._over:
            await self._finish(ledger)
        elif self._orders.until_border and self._stream.successor is not None:
            lease = timedelta(seconds=self._patience.lease)
            await streams.hand_over(self._services.database, self._stream, lease)
        else:
            await ledger.settle()
            if ledger.has_media:
                await ledger.note(STOPPED.reason, STOPPED.sentence)

    async def _finish(self, ledger: Ledger) -> None:
        """End the recording if the store has all of it; else give up, and whoever claims it next tries again."""
        try:
            await ledger.salvage(before=None if self._newest is None else self._newest + 1)
        except StorageError as error:
            await self._note(ledger, Trouble(STOPPED.reason, f"what was recorded waits: {error}"))
            raise
        await ledger.finish()

    async def _takes(self, ledger: Ledger) -> None:
        """One after the other, until the end or a pause."""
        failures = 0
        while not self._orders.halt.is_set():
            number = await asyncio.to_thread(ledger.next_folder)
            trouble = await self._take(ledger)
            failures = 0 if ledger.has_got(number) else failures + 1
            if trouble is None:
                self._over = True
                self._orders.halt.set()
            if trouble is None or self._orders.halt.is_set() or self._orders.until_border:
                return
            logger.warning("stream %s: %s", self._stream.id, trouble.sentence)
            await self._note(ledger, trouble)
            await pause(self._orders.halt, self._delay(failures))

    async def _take(self, ledger: Ledger) -> Trouble | None:
        """Record until something happens: what it was, or None if the source has ended for good."""
        try:
            with _full_disks():
                if not ledger.has_media:
                    disk.require_room(await self._services.store.free_fraction())
                async with self._reach() as way:
                    if way.ended and ledger.has_media:
                        return None
                    await self._salvage(ledger)
                    self._newest = number = await asyncio.to_thread(ledger.next_folder)
                    capture = Capture(self._folders, number, way, self._patience, self._manner)
                    trouble = await capture.run(ledger, self._orders)
                    return None if way.ended and trouble.reason is GapReason.BROKE_OFF else trouble
        except MediaError as error:
            return Trouble(_reason(error), str(error))

    @asynccontextmanager
    async def _reach(self) -> AsyncIterator[Way]:
        settings, stream = self._services.settings, self._stream
        url, rules = source.plan(stream, settings)
        inlet = Inlet(settings.data_dir, stream.id)
        async with source.reach(url, rules, inlet=inlet, halt=self._orders.halt) as way:
            yield way

    async def _note(self, ledger: Ledger, trouble: Trouble) -> None:
        """Write a trouble down, and commit what has been held back for long enough."""
        with suppress(DatabaseUnavailableError):
            await ledger.note(trouble.reason, trouble.sentence)
        with suppress(StorageError, DatabaseUnavailableError):
            await ledger.settle(older_than=self._patience.hold)

    def _delay(self, failures: int) -> float:
        if self._stream.is_sent:
            failures = 0  # asking again costs nobody anything, and the encoder may begin at any moment
        longest = min(self._patience.first_retry * 2.0 ** min(failures, 10), self._patience.longest_retry)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads the load

    # --- the lease ----------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        """Renew in time. While the catalogue is away nobody else can claim: recording goes on."""
        lease = timedelta(seconds=self._patience.lease)
        while True:
            await asyncio.sleep(self._until_next_look())
            try:
                self.heed(
                    await streams.renew(self._services.database, self._stream.id, self._stream.epoch, lease)
                )
            except FencedError:
                return self.pause()
            except DatabaseError as error:
                logger.error("stream %s: the lease is not renewed: %s", self._stream.id, error)

    def _until_next_look(self) -> float:
        ends_at = self._stream.ends_at
        if ends_at is None or self._over or self._stream.overruns:
            return self._patience.renew
        left = (ends_at - datetime.now(UTC)).total_seconds()
        return min(max(left, 0.05), self._patience.renew)

    async def _stand_by(self) -> None:
        """Have the source before the stream is ours, so that nothing is missed in between."""
        try:
            number = await self._next_number()
            async with self._reach() as way:
                capture = Capture(self._folders, number, way, self._patience, self._manner)
                async with capture.running(None) as process:
                    if await self._take_over(capture):
                        await self._run(lambda: self._go_on(capture, process, number))
            if not self._claimed:
                await asyncio.to_thread(self._folders.remove, number)
        except (MediaError, DatabaseError, NotFoundError, OSError) as error:
            logger.warning("stream %s cannot be taken over: %s", self._stream.id, error)
        except Exception:
            logger.exception("stream %s: standing by failed", self._stream.id)

    async def _take_over(self, capture: Capture) -> bool:
        """Whether the stream is ours: once there is a file to go on with, its recorder may let go.

        From then on it relies on us, and it may take its time: until its segment is finished, or it has to end.
        """
        try:
            async with asyncio.timeout(self._patience.hand_over):
                await capture.first_file()
            if await streams.stand_by(self._services.database, self._stream.id, owner()):
                async with asyncio.timeout(self._patience.hand_over + self._patience.lease):
                    self._stream = await self._until_ours()
                    self._claimed = True
        except TimeoutError:
            logger.warning("stream %s: nobody hands it over", self._stream.id)
        return self._claimed

    async def _next_number(self) -> int:
        """A folder that the one that hands over does not use."""
        if self._stream.recording_id is None:
            raise NotFoundError(f"stream {self._stream.id} has no recording yet")
        async with self._services.database.read() as connection:
            takes = await recordings.takes(connection, self._stream.recording_id)
        here = await asyncio.to_thread(self._folders.left_behind)  # takes may wait here for the store
        return max([*(take.number for take in takes), *here], default=-1) + 1

    async def _until_ours(self) -> Stream:
        """Wait for the stream. If its recorder lets go without handing over, or is gone, claim it."""
        while True:
            async with self._services.database.read() as connection:
                stream = await streams.get(connection, self._stream.id)
            if stream.owner == owner():
                return stream
            if stream.owner and is_dead(stream.owner):
                await streams.release(self._services.database, stream.id, stream.epoch)
            elif stream.lease_until is None or stream.lease_until < datetime.now(UTC):
                lease = timedelta(seconds=self._patience.lease)
                claimed = await streams.claim(self._services.database, stream.id, owner(), lease)
                if claimed is not None:
                    return claimed
            await pause(self._orders.halt, _POLL_SECONDS)
            if self._orders.halt.is_set():
                raise NotFoundError(f"stream {stream.id} is not wanted any more")

    async def _go_on(self, capture: Capture, process: FfmpegProcess, number: int) -> None:
        """Record what another recorder has handed over."""
        ledger = self._ledger = await Ledger.open(self._services, self._stream, self._folders)
        self._newest = number
        await self._salvage(ledger, before=number)
        trouble = await capture.follow(process, ledger, self._orders)
        if not self._orders.halt.is_set() and not self._orders.until_border:
            await self._note(ledger, trouble)
            await self._takes(ledger)
        await self._close(ledger)


def _reason(error: MediaError) -> GapReason:
    match error:
        case StorageError():
            return GapReason.DISK_FULL
        case SourceUnreachableError():
            return GapReason.NETWORK
    return GapReason.REFUSED


@contextmanager
def _full_disks() -> Iterator[None]:
    """What the recorder's own folder has no room for as a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot record: {error.strerror or error}; check the data folder's disk and rights"
        ) from error


def _end_strays(folders: Folders) -> None:
    if folders.takes.is_dir():
        for work in folders.takes.iterdir():
            end_stray(work)
