"""A pass over very long sound: what goes to the engine, what is kept meanwhile."""

import weakref

import numpy as np

from streamarchive.transcription import audio
from streamarchive.transcription.passes import PassSettings, transcribe_sound
from streamarchive.transcription.windows import FRAME_SAMPLES
from tests.unit.tape import Tape, TapeEngine

HOURS = 10


class Deaf(TapeEngine):
    """Whose voice model hears nobody, and takes no time for it."""

    async def voice(self, samples, state=b""):
        return (0.01,) * (len(samples) // FRAME_SAMPLES), state


async def test_ten_hours_of_silence_are_nothing_to_decode_and_nothing_to_keep():
    engine = Deaf(Tape((), 0))
    pieces: list[weakref.ref[np.ndarray]] = []
    held = []

    async def silence():
        for _ in range(HOURS * 3600 * audio.SAMPLE_RATE // audio.PIECE_SAMPLES):
            piece = np.zeros(audio.PIECE_SAMPLES, np.float32)
            pieces.append(weakref.ref(piece))
            yield piece

    covered = []
    async for step in transcribe_sound(silence(), engine, PassSettings(("en",))):
        assert step.cues == ()
        covered.append(step.covered_ms)
        held.append(sum(piece() is not None for piece in pieces[-10:]))
    assert engine.windows == []
    assert covered == sorted(covered)
    assert covered[-1] == HOURS * 3_600_000
    assert max(held) <= 3
    assert sum(piece() is not None for piece in pieces) <= 3
