"""One supervised ffmpeg: it cannot outlive its parent, is read line by line and stopped with patience."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import threading
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType

from streamarchive.errors import MediaError
from streamarchive.media import commands
from streamarchive.media.addresses import without_secrets

PATIENCE = 5.0
"""Seconds between the signals of `FfmpegProcess.stop`."""
HEAD_LINES = 200
"""What ffmpeg says of its input stands at the beginning; a damaged file has thousands of lines behind it."""
TAIL_LINES = 40
_LINE_LIMIT = 1 << 20
_NOISE = (
    "Last message repeated",
    "Exiting normally",
    "Conversion failed",
    "Error opening output",
    "Input #",
    "Output ",
    "Stream ",
    "video:",
    "size=",
    "frame=",
    "(Re-)",
    "Skip ('#",  # a line of a playlist that it does not know
)
"""How lines begin that explain nothing."""
_ORIGIN = re.compile(r"^\[[^\]]*\] ")
"""Which part of ffmpeg says it."""
_CHATTER = ("] Opening '",)
"""What is said with every file; the addresses in it may hold secrets."""
_DESCRIBED = ("Output #0", "Stream mapping:")
"""How the lines begin that follow the description of the input."""


@cache
def leash() -> tuple[str, ...]:
    """The prefix that ends ffmpeg when the thread that started it ends; empty where there is no setpriv.

    With KILL: the kernel sends the signal each time that a thread of a dying process hands its children to the
    next one, and ffmpeg, at the fourth TERM, calls `exit` in its signal handler. One in twenty then waited for
    ever for the lock of an allocator that the signal had interrupted. What it writes is flushed by packets.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--no-new-privs", "--pdeathsig", "KILL") if setpriv else ()


def environment() -> dict[str, str]:
    """What ffmpeg gets of the environment: no proxies, no reports, plain English."""
    kept = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C"}


class FfmpegProcess:
    """A running ffmpeg. Use it as an async context manager: leaving ends the process, whatever happened.

    Its exit status says little (a stalled source and a full disk both exit 0), so callers judge by what it
    has written; the status and the last lines of stderr are there for messages.
    """

    def __init__(self, process: asyncio.subprocess.Process, keep_lines: int = TAIL_LINES) -> None:
        """Take charge of a process; use `start`."""
        self._process = process
        self._head: list[str] = []
        self._tail: deque[str] = deque(maxlen=keep_lines)
        self._described = asyncio.Event()
        self._reader = asyncio.create_task(self._read_stderr())

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        wrapper: Sequence[str] | None = None,
        keep_lines: int = TAIL_LINES,
        pass_fds: Collection[int] = (),
        feed: bool = False,
        stdin: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> FfmpegProcess:
        """Start ffmpeg with these arguments behind `wrapper` (default: `leash`). It inherits `pass_fds`, has a
        stdin if `feed` (or the open file `stdin`), and `environ` besides its plain `environment`.

        Raises `MediaError` if it cannot be started. Has to be called in the process's main thread: the
        kernel sends the parent-death signal when the *starting thread* ends.
        """
        if threading.current_thread() is not threading.main_thread():
            message = "ffmpeg has to be started from the main thread"
            raise RuntimeError(message)
        prefix = leash() if wrapper is None else tuple(wrapper)
        command = [*prefix, *commands.program(), *arguments]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd,
                env=environment() | dict(environ or {}),
                stdin=stdin if stdin is not None else PIPE if feed else DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                limit=_LINE_LIMIT,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            raise MediaError(f"cannot start {command[0]}: {error.strerror}; is it installed?") from error
        return cls(process, keep_lines)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.returncode

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What it writes, for callers that read bytes."""
        assert self._process.stdout is not None  # noqa: S101 - we asked for a pipe
        return self._process.stdout

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """What it reads, if it was started with `feed`."""
        assert self._process.stdin is not None  # noqa: S101 - the caller asked for a pipe
        return self._process.stdin

    @property
    def stderr_tail(self) -> tuple[str, ...]:
        """Its last messages; complete after `wait`."""
        return self.messages[-(self._tail.maxlen or 1) :]

    @property
    def messages(self) -> tuple[str, ...]:
        """Its first and its last messages, without those between; complete after `wait`."""
        return (*self._head, *self._tail)

    @property
    def complaint(self) -> str:
        """The last message that means something, for an error, without what addresses hide; else empty."""
        # Descriptions of inputs and outputs are indented.
        lines = (line.rstrip() for line in reversed(self.stderr_tail) if not line[:1].isspace())
        found = next((line for line in lines if line and not _ORIGIN.sub("", line).startswith(_NOISE)), "")
        return without_secrets(found)

    async def described(self) -> tuple[str, ...]:
        """What it says of its input (with ``-v info``), once that is open; all it has said, if it ends before."""
        await self._described.wait()
        return self.messages

    async def lines(self) -> AsyncIterator[str]:
        """Lines of stdout until it ends."""
        async for line in self.stdout:
            yield line.decode("utf-8", "replace").rstrip("\r\n")

    async def wait(self) -> int:
        """Wait until it has ended and its messages are read; its exit status."""
        status = await self._process.wait()
        await self._reader
        return status

    async def stop(self, *, patience: float = PATIENCE) -> int:
        """Ask it to end, ask again, then kill; `patience` seconds between. Its exit status.

        While ffmpeg is blocked in a read it notes the first TERM only; the second ends it at once, with its
        last file written but not listed. Read stdout to its end besides, or it may block there.
        """
        for request in (signal.SIGTERM, signal.SIGTERM):
            self._signal(request)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self.wait()), patience)
        return await self.kill()

    async def kill(self) -> int:
        """End it at once and throw away what it had still to say. Its exit status."""
        self._signal(signal.SIGKILL)
        # A pipe that nobody reads would keep the process object from noticing the end.
        with contextlib.suppress(RuntimeError):
            while await self.stdout.read(1 << 20):
                pass
        return await self.wait()

    def _signal(self, request: signal.Signals) -> None:
        if self.returncode is not None:
            return
        # Not `send_signal`: that reaps a process which has just ended, and asyncio then loses its status.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, request)

    async def _read_stderr(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101 - we asked for a pipe
        rest = b""
        while chunk := await stream.read(65536):
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            self._keep(lines)
            rest = rest[-4096:]
        self._keep([rest])
        self._described.set()

    def _keep(self, lines: Sequence[bytes]) -> None:
        said = [line.decode("utf-8", "replace") for line in lines if line.strip()]
        said = [line for line in said if not any(chatter in line for chatter in _CHATTER)]
        if any(line.startswith(_DESCRIBED) for line in said):
            self._described.set()
        room = HEAD_LINES - len(self._head)
        self._head.extend(said[:room])
        self._tail.extend(said[room:])

    async def __aenter__(self) -> FfmpegProcess:
        """Nothing more to do: it runs."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it if it still runs and let go of its pipes."""
        await asyncio.shield(self.kill())
