"""Voice activity: how likely each 32 ms of audio is speech, by the Silero model that faster-whisper carries.

The model remembers what it has heard; the memory travels with each call as plain bytes, so that audio can come
in pieces of any length and the process that runs the model can be replaced between two of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamarchive.errors import TranscriptionError
from streamarchive.transcription.windows import FRAME_SAMPLES

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

_CONTEXT = 64
"""Samples of the frame before that the model sees in front of each frame."""
_MEMORY = 128
STATE_BYTES = (_CONTEXT + 2 * _MEMORY) * 4

Score = Callable[["Samples", bytes], Awaitable[tuple[tuple[float, ...], bytes]]]
"""Samples (whole frames) and memory in, a probability a frame and memory out."""


def model_file() -> Path:
    """The model's file, found without importing faster-whisper (which brings in its whole engine)."""
    spec = find_spec("faster_whisper")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        for file in sorted(Path(folder, "assets").glob("silero_vad*.onnx")):
            return file
    raise TranscriptionError(
        "the voice activity model is missing: install the package faster-whisper, which carries it"
    )


class VoiceModel:
    """The model itself; only the engine's process makes one (it imports onnxruntime)."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self._session: Any = onnxruntime.InferenceSession(
            str(model_file()), providers=["CPUExecutionProvider"], sess_options=options
        )

    def score(self, samples: Samples, state: bytes = b"") -> tuple[tuple[float, ...], bytes]:
        """A probability for each whole frame of `samples`, and the memory for the next call."""
        import numpy as np

        memory = np.frombuffer(state or bytes(STATE_BYTES), np.float32)
        context, hidden, cell = np.split(memory, [_CONTEXT, _CONTEXT + _MEMORY])
        frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        if not len(frames):
            return (), state
        before = np.concatenate([context[None, :], frames[:-1, -_CONTEXT:]])
        output, hidden, cell = self._session.run(
            None,
            {
                "input": np.concatenate([before, frames], axis=1),
                "h": hidden.reshape(1, 1, _MEMORY),
                "c": cell.reshape(1, 1, _MEMORY),
            },
        )
        after = np.concatenate([frames[-1, -_CONTEXT:], hidden.reshape(-1), cell.reshape(-1)])
        return tuple(float(p) for p in output.reshape(-1)), after.astype(np.float32).tobytes()


@dataclass(slots=True)
class VoiceStream:
    """Scores audio that comes in pieces of any length; what does not fill a frame waits for the next piece."""

    score: Score
    _state: bytes = b""
    _rest: list[Samples] = field(default_factory=list)

    async def feed(self, samples: Samples) -> tuple[float, ...]:
        """The probabilities of the frames that this piece completes."""
        import numpy as np

        joined = np.concatenate([*self._rest, samples])
        whole = len(joined) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = [joined[whole:]]
        if not whole:
            return ()
        probabilities, self._state = await self.score(joined[:whole], self._state)
        return probabilities

    async def finish(self) -> tuple[float, ...]:
        """The probability of the last, incomplete frame, if there is one."""
        import numpy as np

        rest = sum(len(piece) for piece in self._rest)
        return await self.feed(np.zeros(FRAME_SAMPLES - rest, np.float32)) if rest else ()
