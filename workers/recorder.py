"""Records streams: claims those that are due, one ffmpeg each, and keeps at it until their end.

A source that breaks off, stalls or refuses is tried again, ever less often, into the same recording; what is
missing stands there as a gap. After a reconnect an HLS source is taken up at its newest segment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from streamarchive.catalogue import streams
from streamarchive.catalogue.watch import watch
from streamarchive.errors import DatabaseError, FencedError, MediaError, NotFoundError, StorageError
from streamarchive.media import source
from streamarchive.models import Stream, StreamId, StreamState
from streamarchive.services import Services

from .capture import Capture, Patience, end_stray
from .ledger import Folders, Ledger
from .runner import pause, until

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
"""How often the recorders of this host are looked after while nothing happens."""
_IDLE_SECONDS = 10.0
"""How often the schedule is looked at while there are none; what changes is noticed at once."""
_CALM_SECONDS = 0.4
"""How often at most it is looked at while much happens."""
_SPOOL_SECONDS = 600.0
"""How long the sound of an ended stream stays for live transcribers."""
_FULL = 0.05
"""With less of the disk free, no recording begins."""


async def run(services: Services, stop: asyncio.Event, patience: Patience | None = None) -> None:
    """Until `stop`; then every recording is brought to a clean pause that another recorder can continue."""
    patience = patience or Patience()
    active: dict[StreamId, StreamRecorder] = {}
    await _tidy(services)
    async with watch(services.database) as changed:
        while not stop.is_set():
            active = {key: recorder for key, recorder in active.items() if not recorder.task.done()}
            seconds = _LOOK_SECONDS
            try:
                seconds = await _look(services, active, patience)
            except DatabaseError as error:
                logger.warning("cannot look for streams to record: %s", error)
            await pause(stop, _CALM_SECONDS)
            await until(stop, changed.wait(seconds))
        for recorder in active.values():
            recorder.pause()
        await asyncio.gather(*(recorder.task for recorder in active.values()))


async def _look(services: Services, active: dict[StreamId, StreamRecorder], patience: Patience) -> float:
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
    for stream in {stream.id: stream for stream in due}.values():
        if stream.id in active:
            continue
        lease = timedelta(seconds=patience.lease)
        claimed = await streams.claim(services.database, stream.id, owner(), lease)
        if claimed is not None:
            active[stream.id] = StreamRecorder(services, claimed, patience)
    if due or leased or active:
        return _LOOK_SECONDS
    until_start = (starts_at - datetime.now(UTC)).total_seconds() if starts_at else _IDLE_SECONDS
    return min(max(until_start, 0.1), _IDLE_SECONDS)


class StreamRecorder:
    """Records one claimed stream until its end, until it is fenced, or until it is told to pause."""

    def __init__(self, services: Services, stream: Stream, patience: Patience) -> None:
        self._services = services
        self._stream = stream
        self._patience = patience
        self._halt = asyncio.Event()
        self._pausing = False
        self._over = False
        self.heed(stream)
        self.task = asyncio.create_task(self._run(), name=f"stream {stream.id}")

    def pause(self) -> None:
        """Stop for now; another recorder will continue."""
        self._pausing = True
        self._halt.set()

    def heed(self, stream: Stream) -> None:
        """Take in what people have changed: a request to stop, another end."""
        if stream.epoch != self._stream.epoch:
            self.pause()  # it is somebody else's
            return
        self._stream = stream
        if stream.stop_requested or (stream.ends_at is not None and stream.ends_at <= datetime.now(UTC)):
            self._over = True
            self._halt.set()

    async def _run(self) -> None:
        keeper = asyncio.create_task(self._keep_lease())
        try:
            await self._record()
        except FencedError as error:
            logger.warning("%s", error)
        except DatabaseError as error:
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
        folders = Folders(self._services.settings.data_dir.absolute(), self._stream)
        await asyncio.to_thread(_end_strays, folders)
        ledger = await Ledger.open(self._services, self._stream, folders)
        await ledger.salvage()
        if ledger.has_media:
            await ledger.note("the recorder was interrupted")
        await self._takes(ledger)
        if self._over:
            await ledger.finish()
        elif self._pausing and ledger.has_media:
            await ledger.note("the recorder was stopped")

    async def _takes(self, ledger: Ledger) -> None:
        """One after the other, until the end or a pause."""
        failures = 0
        while not self._halt.is_set():
            before = ledger.folder
            try:
                problem = await self._take(ledger)
            except MediaError as error:
                problem = str(error)
            failures = 0 if ledger.folder != before else failures + 1
            if problem is None:
                self._over = True
                self._halt.set()
            if self._halt.is_set():
                return
            logger.warning("stream %s: %s", self._stream.id, problem)
            await ledger.note(problem or "")
            await pause(self._halt, self._delay(failures))

    async def _take(self, ledger: Ledger) -> str | None:
        """Record until something happens: what it was, or None if the source has ended for good."""
        await self._require_space()
        networks = self._services.settings.networks
        stream = self._stream
        found = await source.check(stream.url, networks, exact_host_allowed=stream.exact_host_allowed)
        if found.ended and ledger.has_media:
            return None
        await ledger.salvage()
        problem = await Capture(ledger, found, self._patience).run(self._halt)
        return None if found.ended else problem

    async def _require_space(self) -> None:
        free = await self._services.store.free_fraction()
        if free is not None and free < _FULL:
            raise StorageError(f"only {free:.0%} of the media store's disk is free; free some space")

    def _delay(self, failures: int) -> float:
        longest = min(self._patience.first_retry * 2.0**failures, self._patience.longest_retry)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads the load

    async def _keep_lease(self) -> None:
        """Renew in time; a recorder that cannot stops, because another may begin."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._until_next_look())
            try:
                lease = timedelta(seconds=self._patience.lease)
                self.heed(
                    await streams.renew(self._services.database, self._stream.id, self._stream.epoch, lease)
                )
                renewed = time.monotonic()
            except FencedError:
                return self.pause()
            except DatabaseError as error:
                if time.monotonic() - renewed > self._patience.lease * 2 / 3:
                    logger.error("stream %s: the lease is lost: %s", self._stream.id, error)
                    return self.pause()

    def _until_next_look(self) -> float:
        ends_at = self._stream.ends_at
        if ends_at is None or self._over:
            return self._patience.renew
        left = (ends_at - datetime.now(UTC)).total_seconds()
        return min(max(left, 0.05), self._patience.renew)


@cache
def owner() -> str:
    """Who holds a lease: host and process, so that others on this host can tell whether it is still there."""
    pid = os.getpid()
    return f"recorder@{socket.gethostname()}:{pid}:{_started(pid)}:{_namespace()}"


def is_dead(name: str) -> bool:
    """Whether an owner was a process of this host that is gone; False if that cannot be known."""
    host, *rest = name.removeprefix("recorder@").split(":")
    if host != socket.gethostname() or len(rest) != 3:
        return False
    pid, started, namespace = rest
    return namespace == _namespace() and namespace != "" and started != _started(int(pid))


def _started(pid: int) -> str:
    """When a process began, in clock ticks since the start of the machine; empty if there is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = state.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _namespace() -> str:
    """Numbers of processes mean something only within one of these."""
    try:
        return Path("/proc/self/ns/pid").readlink().name.replace(":", "")
    except OSError:
        return ""


def _end_strays(folders: Folders) -> None:
    if folders.takes.is_dir():
        for work in folders.takes.iterdir():
            end_stray(work)


async def _tidy(services: Services) -> None:
    """Forget the sound of streams that have ended; not at once, for a live transcriber may still listen."""
    spools = services.settings.data_dir.absolute() / "spool"
    silent = await asyncio.to_thread(_silent_spools, spools)
    for stream_id, folder in silent.items():
        async with services.database.read() as connection:
            try:
                ended = (await streams.get(connection, stream_id)).state is StreamState.ENDED
            except NotFoundError:
                ended = True
        if ended:
            await asyncio.to_thread(_remove_spool, folder)


def _silent_spools(spools: Path) -> dict[StreamId, Path]:
    found = {}
    for folder in spools.glob("stream-*"):
        newest = max((entry.stat().st_mtime for entry in (folder, *folder.iterdir())), default=0.0)
        if newest < time.time() - _SPOOL_SECONDS and folder.name.removeprefix("stream-").isdigit():
            found[StreamId(int(folder.name.removeprefix("stream-")))] = folder
    return found


def _remove_spool(folder: Path) -> None:
    for link in folder.parent.iterdir():
        if link.is_symlink() and link.readlink().name == folder.name:
            link.unlink()
    shutil.rmtree(folder, ignore_errors=True)
