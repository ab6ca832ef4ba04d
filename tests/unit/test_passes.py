"""A pass over very long sound: what goes to the engine and when, what is kept meanwhile."""

import asyncio
import weakref

import numpy as np

from streamarchive.transcription import audio
from streamarchive.transcription.passes import PassSettings, transcribe_sound
from streamarchive.transcription.windows import FRAME_SAMPLES
from tests.unit.tape import Tape, TapeEngine, sentence

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


class Slow(TapeEngine):
    """Which decodes nothing before all of the sound has been listened to."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape)
        self.listened = asyncio.Event()
        self.frames = 0

    async def voice(self, samples, state=b""):
        self.frames += len(samples) // FRAME_SAMPLES
        if self.frames * FRAME_SAMPLES == len(self.tape.sound()):
            self.listened.set()
        return await super().voice(samples, state)

    async def transcribe(self, windows, options):
        await asyncio.wait_for(self.listened.wait(), 20)
        async for result in super().transcribe(windows, options):
            yield result


async def test_listening_goes_on_while_the_engine_decodes():
    tape = Tape.of(*(sentence(40, seed) for seed in range(3)))
    engine = Slow(tape)

    async def sound():
        samples = tape.sound()
        for start in range(0, len(samples), audio.PIECE_SAMPLES):
            yield samples[start : start + audio.PIECE_SAMPLES]

    found = [cue async for step in transcribe_sound(sound(), engine, PassSettings(("en",))) for cue in step.cues]
    assert len(engine.windows) > 1
    assert sum(len(cue.text.split()) for cue in found) == len(tape.words)
