"""One take: one ffmpeg that copies a source into files, watched and stopped with patience."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from streamarchive.clock import TICKS_PER_SECOND
from streamarchive.errors import SourceError
from streamarchive.media import commands
from streamarchive.media.process import FfmpegProcess
from streamarchive.media.source import Source

from .ledger import Ledger, files_in

_LISTED = re.compile(r"s\d{8}\.ts")
_PID_FILE = "ffmpeg.pid"
_SPOOL_FILES = 900
"""A quarter of an hour of sound is kept for a live transcriber that lags behind."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a recorder waits, in seconds."""

    stall: float = 20.0
    """Without a finished segment; more where key frames are rare."""
    stop: float = 1.2
    """Between the signals that end ffmpeg."""
    lease: float = 15.0
    renew: float = 5.0
    first_retry: float = 0.5
    longest_retry: float = 30.0


class Capture:
    """Runs ffmpeg for one take and commits what it finishes."""

    def __init__(self, ledger: Ledger, source: Source, patience: Patience) -> None:
        self._ledger = ledger
        self._source = source
        self._patience = patience
        self._number = ledger.next_folder
        self._names: asyncio.Queue[str | None] = asyncio.Queue()
        self._listed = ""

    async def run(self, halt: asyncio.Event) -> str:
        """Until the source ends, stalls or `halt` is set; why it ended, for people.

        Everything that ffmpeg has written is committed then, unless an error is raised: `FencedError`,
        `StorageError`, `DatabaseError`, or `SourceError` if nothing came at all.
        """
        reason, process = await self._attempt(halt, with_sound=True)
        if not self._delivered() and any("matches no streams" in line for line in process.stderr_tail):
            reason, process = await self._attempt(halt, with_sound=False)
        if self._delivered() or halt.is_set():
            return reason
        raise SourceError(f"{reason} before anything could be recorded{_because(process.complaint)}")

    def _delivered(self) -> bool:
        return self._ledger.folder == self._number

    async def _attempt(self, halt: asyncio.Event, *, with_sound: bool) -> tuple[str, FfmpegProcess]:
        """One ffmpeg, which has ended then, and why it has."""
        work, spool = await asyncio.to_thread(self._ledger.folders.prepare, self._number)
        source = commands.source_input(self._source.url, hls=self._source.hls, from_edge=self._ledger.has_media)
        arguments = commands.record(source, spool=spool if with_sound else None)
        async with await FfmpegProcess.start(arguments, cwd=work) as process:
            await asyncio.to_thread(_write_pid, work, process.pid)
            reader = asyncio.create_task(self._read(process))
            try:
                reason = await self._follow(process, halt)
                await reader
                await process.wait()
            finally:
                reader.cancel()
        await self._ledger.commit_rest(self._number, self._listed)
        return reason, process

    async def _read(self, process: FfmpegProcess) -> None:
        """Names of finished files, in order; None at the end."""
        async for line in process.lines():
            if _LISTED.fullmatch(name := line.partition(",")[0]):
                self._listed = name
                self._names.put_nowait(name)
        self._names.put_nowait(None)

    async def _follow(self, process: FfmpegProcess, halt: asyncio.Event) -> str:
        """Commit files as they come; ends ffmpeg, and says why there are no more."""
        halting = asyncio.ensure_future(halt.wait())
        try:
            while True:
                name = asyncio.ensure_future(self._names.get())
                await asyncio.wait({name, halting}, timeout=self._limit(), return_when=asyncio.FIRST_COMPLETED)
                if not name.done():
                    name.cancel()
                    await process.stop(patience=self._patience.stop)
                    return "the recording was stopped" if halting.done() else "the source sent nothing any more"
                if (finished := name.result()) is None:
                    return "the source ended or broke off"
                await self._commit_up_to(finished)
        finally:
            halting.cancel()

    async def _commit_up_to(self, name: str) -> None:
        folders = self._ledger.folders
        for file in await asyncio.to_thread(files_in, folders.take(self._number)):
            if file.name <= name:
                await self._ledger.commit(file, self._number)
        await asyncio.to_thread(folders.prune_spool, self._number, keep=_SPOOL_FILES)

    def _limit(self) -> float:
        return max(self._patience.stall, 3 * self._ledger.longest_ticks / TICKS_PER_SECOND)


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
