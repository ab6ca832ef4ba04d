"""Who speaks, told by voice: sherpa-onnx with the two ONNX files that an operator supplies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamarchive.errors import ModelUnavailableError, TranscriptionError
from streamarchive.models import Turn

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

_MODULE = "streamarchive.transcription.diarizer_child"


@dataclass(frozen=True, slots=True)
class SherpaDiarizer:
    """A `Diarizer`; each recording is heard by a process of its own, which holds all of its sound."""

    segmentation: Path
    embedding: Path
    channels = 1

    async def check(self) -> None:
        """Load the models. Raises `ModelUnavailableError`, one sentence."""
        self._require()
        await self._run(None, "--check")

    async def turns(self, sound: AsyncIterator[Samples]) -> list[Turn]:
        """Who speaks when, as Speaker 1 and so on. Raises `ModelUnavailableError`, `TranscriptionError`."""
        self._require()
        found = json.loads(await self._run(sound))
        numbers = list(dict.fromkeys(number for _, _, number in found))
        return [Turn(start, end, f"Speaker {numbers.index(number) + 1}") for start, end, number in found]

    def _require(self) -> None:
        if find_spec("sherpa_onnx") is None:
            raise ModelUnavailableError("speakers are told by voice with sherpa-onnx: pip install sherpa-onnx")
        for file in (self.segmentation, self.embedding):
            if not file.is_file():
                raise ModelUnavailableError(
                    f"there is no model {file}: set STREAMARCHIVE_SPEAKER_SEGMENTATION and "
                    "STREAMARCHIVE_SPEAKER_EMBEDDING to ONNX files, or neither of them"
                )

    async def _run(self, sound: AsyncIterator[Samples] | None, *arguments: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            str(self.segmentation),
            str(self.embedding),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            answer, complaint, _ = await asyncio.gather(
                _read(process.stdout), _read(process.stderr), _feed(process.stdin, sound)
            )
            if await process.wait() != 0:
                raise _refusal(self, complaint, checked=bool(arguments))
            return answer
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None  # noqa: S101 - a pipe was asked for
    return await stream.read()


async def _feed(stdin: asyncio.StreamWriter | None, sound: AsyncIterator[Samples] | None) -> None:
    assert stdin is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if sound is not None:
            async for samples in sound:
                stdin.write(samples.astype("<f4", copy=False).tobytes())
                await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


def _refusal(models: SherpaDiarizer, complaint: bytes, *, checked: bool) -> TranscriptionError:
    lines = [line.strip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    why = lines[-1].removeprefix("RuntimeError: ")[:200] if lines else "it ended without a word"
    if checked:
        return ModelUnavailableError(
            f"{models.segmentation} and {models.embedding} cannot tell speakers apart ({why}): "
            "supply the two ONNX files that the operator's guide names"
        )
    return TranscriptionError(f"the speakers could not be told apart: {why}")
