"""One take: one ffmpeg that copies a source into files, watched and stopped with patience."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streamarchive.errors import DatabaseUnavailableError, SourceError, StorageError
from streamarchive.media import commands, sandbox
from streamarchive.media.probe import Description, describe
from streamarchive.media.process import FfmpegProcess
from streamarchive.media.source import Way
from streamarchive.models import GapReason

from .folders import MEDIA_NAME, Folders, files_in
from .ledger import Ledger

logger = logging.getLogger(__name__)

_PID_FILE = "ffmpeg.pid"
_SPOOL_FILES = 900
"""A quarter of an hour of sound is kept for a live transcriber that lags behind."""
_LOOK_SECONDS = 1.0
"""How often it is looked whether ffmpeg gets on."""
_AGAIN_SECONDS = 1.0
"""How long to wait while catalogue or store are away."""
_KNOWN_SECONDS = 10.0
"""How much at least of what is known is asked for again after an interruption, to find the place; the list moves
on while ffmpeg starts."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a recorder waits, in seconds."""

    stall: float = 15.0
    """Without a byte from the source; more where it is an HLS source with long segments."""
    stop: float = 1.2
    """Between the signals that end ffmpeg."""
    lease: float = 15.0
    renew: float = 5.0
    first_retry: float = 0.5
    longest_retry: float = 30.0
    hold: float = 20.0
    """With a torn file, for what may come again."""
    quiet: float = 300.0
    """Without media past the scheduled end, before a recording ends by itself."""
    hand_over: float = 15.0
    """For another recorder to get ready."""
    tidy: float = 60.0
    """Between looks for sound that no live transcriber will listen to any more."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a take has ended."""

    reason: GapReason
    sentence: str


@dataclass(slots=True)
class Orders:
    """What a recorder tells its take."""

    halt: asyncio.Event = field(default_factory=asyncio.Event)
    """End now, with the last second committed."""
    until_border: bool = False
    """End with the next finished segment: another recorder has what follows."""


@dataclass(slots=True)
class Manner:
    """How a source wants to be read; found out by trying."""

    mute: bool = False
    """There is no sound to be spooled."""
    thorough: bool = False
    """Its tracks do not show within a second."""
    encode_sound: bool = False
    """Its sound is of a kind that segments cannot carry."""
    unfit: str = ""
    """Why it cannot be recorded at all, in a sentence."""

    def suits(self, found: Description) -> bool:
        """Learn from what the source holds; whether segments can carry it in the manner so far."""
        before = self.encode_sound
        self.unfit = ""
        if found.video is not None and found.video not in commands.COPIED_PICTURE:
            self.unfit = (
                f"the source sends {found.video} pictures, which are not recorded; have it send H.264 or H.265"
            )
        elif found.audio is not None:
            self.encode_sound = found.audio not in commands.COPIED_SOUND
        return not self.unfit and self.encode_sound == before

    def adapt(self, messages: Sequence[str]) -> bool:
        """Learn from what ffmpeg said before it ended; whether there is another way to try."""
        said = "\n".join(messages)
        if not self.mute and "matches no streams" in said:
            self.mute = True
            return True
        if not self.thorough and re.search("dimensions not set|frame size not set|unspecified size", said):
            self.thorough = True
            return True
        return False


STOPPED = Trouble(GapReason.STOPPED, "the recorder was stopped")
_STALLED = Trouble(GapReason.STALLED, "the source sent nothing any more")


class Capture:
    """Runs ffmpeg for one take and commits what it finishes."""

    def __init__(self, folders: Folders, number: int, way: Way, patience: Patience, manner: Manner) -> None:
        self._folders = folders
        self._number = number
        self._way = way
        self._patience = patience
        self._manner = manner
        self._names: asyncio.Queue[str | None] = asyncio.Queue()
        self._listed = ""
        self._first = asyncio.Event()
        self._written, self._moved = 0, 0.0
        """How much media there was when there was more than before, and when."""
        self._has_stalled = False
        self._ahead = 0.0
        """How many seconds before the newest media of the recording it begins, at most."""
        self._worthless = False
        """Its segments would hold what is neither picture nor sound to others."""

    async def run(self, ledger: Ledger, orders: Orders) -> Trouble:
        """Until the source ends or stalls, or by order; why.

        Everything that ffmpeg has written is committed or held back then, or waits for a store that is away,
        unless an error is raised: `FencedError`, `DatabaseError`, or `SourceError` if nothing came at all.
        """
        while True:
            missing = await asyncio.to_thread(ledger.seconds_missing)
            async with self.running(missing) as process:
                trouble = await self.follow(process, ledger, orders)
            if self._manner.unfit:
                raise SourceError(self._manner.unfit)
            if ledger.has_got(self._number) or orders.halt.is_set():
                return trouble
            if not self._worthless and not self._manner.adapt(process.stderr_tail):
                break
            if self._way.comes_once:
                raise SourceError("the encoder has to be recorded otherwise: that is done once it connects again")
        if trouble.reason in (GapReason.PROCESS_DIED, GapReason.DISK_FULL):
            return trouble
        because = _because(self._way.refusal or process.complaint)
        raise SourceError(f"the source ended or broke off before anything could be recorded{because}")

    @asynccontextmanager
    async def running(self, missing: float | None) -> AsyncIterator[FfmpegProcess]:
        """ffmpeg at work in its folder; ended afterwards. `missing` is how many seconds are to be made good."""
        work, spool = await asyncio.to_thread(self._folders.prepare, self._number)
        back, self._ahead = None, 0.0
        if missing is not None and self._way.listed:
            known = max(_KNOWN_SECONDS, 2 * max(self._way.listed))
            back = self._way.segments_of_last(missing + known)
            self._ahead = sum(self._way.listed[-back:]) - missing
        arguments = commands.record(
            self._way.input(segments_back=back, thorough=self._manner.thorough),
            spool=None if self._manner.mute else spool,
            encode_sound=self._manner.encode_sound,
            lacks_decoding_times=self._way.lacks_decoding_times,
        )
        self._worthless = False
        async with await self._start(arguments, work) as process:
            await asyncio.to_thread(_write_pid, work, process.pid)
            tasks = [asyncio.create_task(self._read(process)), asyncio.create_task(self._judge(process))]
            try:
                yield process
            finally:
                for task in tasks:
                    task.cancel()

    async def _start(self, arguments: Sequence[str], work: Path) -> FfmpegProcess:
        wrapper = await asyncio.to_thread(sandbox.wrapper, sandbox.RECORD)
        with self._way.stdin() as stdin:
            return await FfmpegProcess.start(
                arguments, cwd=work, wrapper=wrapper, stdin=stdin, environ=self._way.environment
            )

    async def _judge(self, process: FfmpegProcess) -> None:
        """End an attempt whose segments cannot carry what the source sends."""
        found = describe(await process.described())
        if not self._manner.suits(found):
            self._worthless = True
            await process.kill()

    async def first_file(self) -> None:
        """Wait until a file is finished."""
        await self._first.wait()

    async def follow(self, process: FfmpegProcess, ledger: Ledger, orders: Orders) -> Trouble:
        """Commit files as they come; ffmpeg has ended then. See `run`."""
        ledger.expect(self._number, self._ahead)
        trouble = await self._follow(process, ledger, orders)
        if trouble is None:
            await process.kill()
            await asyncio.to_thread(self._folders.remove, self._number)
            return STOPPED
        await process.wait()
        if self._worthless:
            await asyncio.to_thread(self._folders.remove, self._number)
        else:
            await self._commit_rest(ledger)
        return trouble

    async def _commit_rest(self, ledger: Ledger) -> None:
        try:
            await ledger.salvage(before=self._number)
            await ledger.commit_rest(self._number, self._listed)
        except StorageError as error:
            logger.error("stream %s: what was recorded waits: %s", ledger.stream.id, error)
            ledger.let_wait(self._number)

    async def _read(self, process: FfmpegProcess) -> None:
        """Names of finished files, in order; None at the end."""
        async for line in process.lines():
            if MEDIA_NAME.fullmatch(name := line.partition(",")[0]):
                self._listed = name
                self._names.put_nowait(name)
                self._first.set()
        self._names.put_nowait(None)

    async def _follow(self, process: FfmpegProcess, ledger: Ledger, orders: Orders) -> Trouble | None:
        """Why there are no more files; None if another recorder has those that follow."""
        halting = asyncio.ensure_future(orders.halt.wait())
        self._written, self._moved = 0, time.monotonic()
        try:
            while True:
                name = asyncio.ensure_future(self._names.get())
                await asyncio.wait({name, halting}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if name.done():
                    if (finished := name.result()) is None:
                        return _STALLED if self._has_stalled else await _why_ended(process)
                    committed = await self._commit_up_to(finished, process, ledger, orders)
                    if orders.until_border and committed:
                        return None
                    continue
                name.cancel()
                stalls = await self._stalls()
                if halting.done():
                    await self._stop(process)
                    return STOPPED
                if stalls:
                    await self._stop(process)
                    return _STALLED
        finally:
            halting.cancel()

    async def _stalls(self) -> bool:
        """Whether nothing has come for too long."""
        written = await asyncio.to_thread(self._folders.written, self._number)
        if written != self._written:
            self._written, self._moved = written, time.monotonic()
        return time.monotonic() - self._moved > self._limit()

    async def _stop(self, process: FfmpegProcess) -> None:
        """End ffmpeg and hear what it has still to say."""
        await process.stop(patience=self._patience.stop)
        while await self._names.get() is not None:
            pass

    async def _commit_up_to(self, name: str, process: FfmpegProcess, ledger: Ledger, orders: Orders) -> bool:
        """Commit; while catalogue or store are away, ffmpeg goes on and its files wait. Whether all is committed.

        Once ffmpeg has ended or has to, nothing waits here for the store.
        """
        for file in await asyncio.to_thread(files_in, self._folders.take(self._number)):
            while file.name <= name:
                try:
                    await ledger.salvage(before=self._number)
                    await ledger.commit(file, self._number)
                    break
                except (DatabaseUnavailableError, StorageError) as error:
                    if process.returncode is not None or orders.halt.is_set():
                        if isinstance(error, StorageError):
                            return False
                        raise
                    logger.error("stream %s: %s waits: %s", ledger.stream.id, file.name, error)
                    await asyncio.sleep(_AGAIN_SECONDS)
                    await asyncio.to_thread(ledger.notice, self._number)
                    if isinstance(error, StorageError) and await self._stalls():
                        self._has_stalled = True
                        await process.stop(patience=self._patience.stop)
        await asyncio.to_thread(self._folders.prune_spool, self._number, keep=_SPOOL_FILES)
        return not ledger.is_undecided

    def _limit(self) -> float:
        if self._way.waits_for_encoder and not self._listed:
            return math.inf
        return max(self._patience.stall, 2 * max(self._way.listed, default=0.0))


_REASONS = (
    (GapReason.DISK_FULL, re.compile(r"No space left|Disk quota")),
    (GapReason.STALLED, re.compile(r"timed out")),
    (GapReason.NETWORK, re.compile(r"refused|unreachable|reset by peer|No route|resolve|Input/output")),
    (GapReason.REFUSED, re.compile(r"HTTP error|Server returned|Invalid data")),
)


async def _why_ended(process: FfmpegProcess) -> Trouble:
    """ffmpeg's status says little, its last words more."""
    status = await process.wait()
    if status < 0:
        return Trouble(GapReason.PROCESS_DIED, f"ffmpeg was ended by signal {-status}")
    said = process.complaint
    reason = next((reason for reason, words in _REASONS if words.search(said)), GapReason.BROKE_OFF)
    return Trouble(reason, f"the source ended or broke off{_because(said)}")


def _because(complaint: str) -> str:
    return f" ({complaint})" if complaint else ""


def _write_pid(work: Path, pid: int) -> None:
    (work / _PID_FILE).write_text(str(pid), encoding="ascii")


def end_stray(work: Path) -> None:
    """Kill an ffmpeg that still writes into this folder though its recorder is gone. Blocks."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((work / _PID_FILE).read_text(encoding="ascii"))
        # Another program may have the number by now; ours works in this very folder.
        if Path(f"/proc/{pid}/cwd").resolve(strict=True) == work.resolve():
            handle = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
