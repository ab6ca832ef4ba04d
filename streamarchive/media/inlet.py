"""Where an encoder's bytes pass from the site to the recorder's ffmpeg: a named pipe, on one host.

The pipe exists exactly while a recorder waits for an encoder. Once something comes, the recorder takes its name
away and gives it to an ffmpeg as stdin; whoever sends next waits for the next pipe, so that two connections of an
encoder never flow into one ffmpeg. When either side ends, the other notices: the pipe is closed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Literal

from streamarchive.errors import SourceError
from streamarchive.media.descriptors import opened

_LOOK_SECONDS = 0.1
"""How often a sender looks whether the recorder is ready for it."""


class Inlet:
    """The place of one stream's pipe."""

    def __init__(self, data_dir: Path, stream_id: int) -> None:
        self._pipe = data_dir.absolute() / "ingest" / str(stream_id)

    # --- the recorder's side

    async def wait_for_encoder(self, halt: asyncio.Event) -> int:
        """Wait until an encoder has sent something; the open pipe, which the caller closes.

        Raises `SourceError` if `halt` is set before.
        """
        halting = asyncio.ensure_future(halt.wait())
        try:
            while True:
                reader = await opened(self._make)
                try:
                    await _readable(reader, halting)
                    if halting.done():
                        raise SourceError("no encoder has sent anything before the recording was stopped")
                    if _holds_data(reader):
                        os.set_blocking(reader, True)
                        kept, reader = reader, -1
                        return kept
                finally:
                    self._pipe.unlink(missing_ok=True)
                    if reader >= 0:
                        os.close(reader)
        finally:
            halting.cancel()

    def _make(self) -> int:
        self._pipe.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        return os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)

    # --- the sender's side

    async def open(self, patience: float) -> int | None:
        """The pipe of a recorder that waits, for writing; None if there is none for `patience` seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            writer = await opened(self._try_open)
            if writer is not None or asyncio.get_running_loop().time() > deadline:
                return writer
            await asyncio.sleep(_LOOK_SECONDS)

    def _try_open(self) -> int | None:
        with suppress(OSError):  # there is no pipe, or nobody reads it, or somebody else writes
            writer = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(writer).st_ino == self._pipe.stat().st_ino:
                    return writer
            except OSError:
                os.close(writer)
                raise
            os.close(writer)
        return None


async def send(pipe: int, data: bytes) -> None:
    """Write all of it, as fast as ffmpeg reads. Raises `BrokenPipeError` when it reads no more."""
    view, loop = memoryview(data), asyncio.get_running_loop()
    while view:
        try:
            view = view[os.write(pipe, view) :]
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_writer(pipe, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(pipe)


async def _readable(descriptor: int, halting: asyncio.Future[Literal[True]]) -> None:
    """Until something can be read, whoever wrote has gone, or `halting` is done."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    noticing = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({noticing, halting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(descriptor)
        noticing.cancel()


def _holds_data(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))
