"""An engine in a process of its own: native crashes, hangs and memory stay there, and a kill always works.

The process starts with the first call and again after it has died. Requests are decoded one at a time, those
that are urgent (somebody watches it live) before those that are not. The windows of a request are decoded
together, which is faster, but while anything is live they come one by one: a live window waits for one at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import streamarchive
from streamarchive import errors
from streamarchive.errors import EngineDiedError, TranscriptionError
from streamarchive.protocols import ModelInfo, TranscribeOptions, Window, WindowResult
from streamarchive.transcription import wire
from streamarchive.transcription.turns import Turns

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 2.0
"""How long a cancelled window may go on before the process is killed."""
_LIVE_SECONDS = 30.0
"""For so long after an urgent request more of them are expected."""
_URGENT, _PATIENT = (0.0,), (1.0,)
"""Ranks of those who wait for the engine."""
_MODULE = "streamarchive.transcription.engine_child"

EngineKind = Literal["openai", "faster"]
"""The package openai-whisper, or CTranslate2 by way of faster-whisper."""


class EngineProcess:
    """A `Transcriber` whose model lives in a child process."""

    def __init__(
        self, model: str, *, engine: EngineKind = "openai", device: str = "auto", threads: int | None = None
    ) -> None:
        """`model` is a Whisper name or a path; nothing starts before the first call."""
        self._engine = engine
        self._model = model
        self._device = device
        self._threads = threads or min(2, os.cpu_count() or 1)
        self._child: _Child | None = None
        self._info: ModelInfo | None = None
        self._starting = asyncio.Lock()
        self._turns = Turns()
        self._abandoned: set[asyncio.Task[None]] = set()
        self._live_until = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process that runs at the moment, if one does."""
        return self._child.pid if self._child is not None and not self._child.dead else None

    async def load(self) -> ModelInfo:
        """Start the process and load the model, if that has not been done."""
        async with self._turns.turn(_URGENT):
            return (await self._loaded())[1]

    async def transcribe(
        self, windows: Sequence[Window], options: TranscribeOptions
    ) -> AsyncIterator[WindowResult]:
        """Results in the order of the windows. Cancelling the task that waits for one ends it within 2 s."""
        waiting = list(windows)
        while waiting:
            if options.urgent:
                self._live_until = time.monotonic() + _LIVE_SECONDS
            async with self._turns.turn(_URGENT if options.urgent else _PATIENT):
                child, info = await self._loaded()
                many = 1 if time.monotonic() < self._live_until else info.batch_size
                batch, waiting = waiting[:many], waiting[many:]
                reply, _payload = await self._ask_cancellable(child, *wire.windows_to_wire(batch, options))
            for result in reply["results"]:
                yield wire.result_from_wire(result)

    async def rehearse(self, *, beam_size: int, windows: int) -> float:
        """Seconds that so many full windows of speech take when they are decoded together."""
        async with self._turns.turn(_URGENT):
            child, _ = await self._loaded()
            question = {"op": "rehearse", "beam_size": beam_size, "windows": windows}
            reply, _payload = await self._ask_cancellable(child, question)
        return float(reply["seconds"])

    async def voice(self, samples: Samples, state: bytes = b"") -> tuple[tuple[float, ...], bytes]:
        """How likely each 32 ms is speech; see `streamarchive.transcription.voice.VoiceStream`."""
        child = await self._running()
        payload = state + wire.samples_to_bytes(samples)
        reply, after = await child.ask({"op": "voice", "state": len(state)}, payload)
        return tuple(reply["probabilities"]), after

    async def close(self) -> None:
        """End the process; nothing can be asked afterwards."""
        self._closed = True
        if self._child is not None:
            await self._child.end()
            self._child = None
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    async def _running(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise TranscriptionError("the recogniser has been closed")
            if self._child is None or self._child.dead:
                self._info = None
                self._child = await _Child.start(self._threads)
            return self._child

    async def _loaded(self) -> tuple[_Child, ModelInfo]:
        child = await self._running()
        if self._info is None:
            question = {
                "op": "load",
                "engine": self._engine,
                "model": self._model,
                "device": self._device,
                "threads": self._threads,
            }
            reply, _payload = await self._ask_cancellable(child, question)
            self._info = wire.info_from_wire(reply["info"])
        return child, self._info

    async def _ask_cancellable(
        self, child: _Child, message: wire.Message, payload: bytes = b""
    ) -> tuple[wire.Message, bytes]:
        """Ask; if the asking task is cancelled, stop the child's work, by force if need be."""
        number = child.next_number()
        message = {"op": "transcribe", **message, "id": number}
        asked = asyncio.ensure_future(child.ask(message, payload))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            stopping = asyncio.create_task(_stop(child, number, asked))
            self._abandoned.add(stopping)
            stopping.add_done_callback(self._abandoned.discard)
            await asyncio.shield(stopping)
            raise


async def _stop(child: _Child, number: int, asked: asyncio.Future[Any]) -> None:
    child.cancel(number)
    await asyncio.wait([asked], timeout=_GRACE_SECONDS)
    if not asked.done():
        await child.kill()
        await asyncio.wait([asked])
    if not asked.cancelled():
        asked.exception()  # whatever it is, nobody waits for it any more


class _Child:
    """One life of the process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[wire.Message, bytes]]] = {}
        self._last_words: deque[str] = deque(maxlen=20)
        self._listening = asyncio.create_task(self._listen(), name="engine replies")
        self._logging = asyncio.create_task(self._read_log(), name="engine log")

    @classmethod
    async def start(cls, threads: int) -> _Child:
        """A fresh process, nothing loaded."""
        package_root = str(Path(streamarchive.__file__).parent.parent)
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            # Threads that spin while they wait made decoding 15 times slower on a busy machine.
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": str(threads),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise TranscriptionError(f"the recogniser's process cannot be started: {error.strerror}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def dead(self) -> bool:
        return self._listening.done() or self._process.returncode is not None

    def next_number(self) -> int:
        return next(self._numbers)

    async def ask(self, message: Mapping[str, Any], payload: bytes = b"") -> tuple[wire.Message, bytes]:
        """Send a request and wait for its reply; an error in it is raised here."""
        number = message.get("id") or self.next_number()
        answer: asyncio.Future[tuple[wire.Message, bytes]] = asyncio.get_running_loop().create_future()
        if self.dead:
            raise self._obituary()
        self._waiting[number] = answer
        try:
            await self._send({**message, "id": number}, payload)
            reply, data = await answer
        finally:
            self._waiting.pop(number, None)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # an obituary that came while the request was still being sent
        if "error" in reply:
            raise getattr(errors, reply["error"])(reply["sentence"])
        return reply, data

    def cancel(self, number: int) -> None:
        """Tell the child that nobody waits for this request; does not wait for a child that reads nothing."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(wire.pack({"op": "cancel", "id": number}))

    async def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Ask it to end, which it does at once; wait for it and for the tasks around it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            await self.kill()
        await asyncio.gather(self._listening, self._logging, return_exceptions=True)

    async def _send(self, message: wire.Message, payload: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            stdin.write(wire.pack(message, payload))
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            await self._process.wait()
            raise self._obituary() from error

    async def _listen(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101
        try:
            while True:
                text, data = wire.HEADER.unpack(await stdout.readexactly(wire.HEADER.size))
                reply, payload = wire.parse(await stdout.readexactly(text)), await stdout.readexactly(data)
                answer = self._waiting.get(reply["id"])
                if answer is not None and not answer.done():
                    answer.set_result((reply, payload))
        except asyncio.IncompleteReadError:
            await self._process.wait()
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._obituary())

    async def _read_log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101
        while chunk := await stderr.read(1 << 16):
            for line in chunk.decode(errors="replace").splitlines():
                if line.strip():
                    self._last_words.append(line.strip())
                    _log.debug("engine: %s", line.strip())

    def _obituary(self) -> EngineDiedError:
        code = self._process.returncode
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        last = f" ({self._last_words[-1][:200]})" if self._last_words else ""
        return EngineDiedError(f"the recogniser's process {how}{last}; it starts again with the next attempt")
