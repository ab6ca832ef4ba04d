"""When speech becomes a caption; the engine is scripted, what it is asked is what matters."""

from itertools import pairwise

import numpy as np
import pytest

from streamarchive.protocols import Line, ModelInfo, WindowResult
from streamarchive.transcription.live import LIVE_RULES, PausePolicy
from streamarchive.transcription.windows import FRAME_MS, FRAME_SAMPLES


class LoudIsSpeech:
    """Hears a voice in every frame that is not silent, and answers each window with one line."""

    def __init__(self):
        self.windows = []

    async def load(self):
        return ModelInfo("scripted", "0", "cpu", ("en",))

    async def voice(self, samples, state=b""):
        frames = samples.reshape(-1, FRAME_SAMPLES)
        return tuple(float(np.abs(frame).max()) for frame in frames), state

    async def transcribe(self, windows, options):
        assert options.urgent
        for window in windows:
            self.windows.append(window)
            end_ms = window.start_ms + len(window.samples) // 16
            line = Line(window.start_ms, end_ms, f"line {len(self.windows)}", ())
            yield WindowResult((line,), "en", 1.0, 0.0, -0.1, 1.0, 0.0)

    async def close(self):
        """Nothing to end."""


def sound(*parts):
    """Frames of speech (positive counts) and silence (negative)."""
    return np.concatenate([np.full(abs(n) * FRAME_SAMPLES, 1.0 if n > 0 else 0.0, np.float32) for n in parts])


@pytest.fixture
def engine():
    return LoudIsSpeech()


@pytest.fixture
def policy(engine):
    return PausePolicy(engine, ("en",), 60_000)


async def fed(policy, samples, piece=2_000):
    """Steps of sound that comes in small pieces."""
    steps = []
    for start in range(0, len(samples), piece):
        steps += await policy.feed(samples[start : start + piece])
    return steps


def lines(steps):
    return [(cue.text, cue.start_ms, cue.end_ms) for step in steps for cue in step.cues]


async def test_a_caption_comes_with_the_pause_behind_it(policy):
    assert lines(await fed(policy, sound(-20, 50, -(LIVE_RULES.pause - 2)))) == []
    found = lines(await fed(policy, sound(-5)))
    assert [text for text, _, _ in found] == ["line 1"]
    _, start_ms, end_ms = found[0]
    assert 0 <= 60_000 + 20 * FRAME_MS - start_ms <= LIVE_RULES.padding * FRAME_MS
    assert 0 <= end_ms - (60_000 + 70 * FRAME_MS) <= LIVE_RULES.pause * FRAME_MS


async def test_silence_never_reaches_the_engine(policy, engine):
    steps = await fed(policy, sound(-2_000))
    assert engine.windows == []
    assert steps[-1].covered_ms > 60_000 + 1_900 * FRAME_MS


async def test_somebody_who_does_not_pause_is_cut_in_time(policy, engine):
    steps = await fed(policy, sound(2_000))
    assert len(lines(steps)) >= 2
    assert all(len(w.samples) <= LIVE_RULES.longest * FRAME_SAMPLES for w in engine.windows)


async def test_what_was_said_while_the_engine_was_busy_goes_to_it_in_one_window(policy, engine):
    steps = await policy.feed(sound(30, -20, 30, -20, 30, -20))
    assert len(engine.windows) == 1
    assert len(lines(steps)) == 1


async def test_nothing_is_given_to_the_engine_twice_and_covered_only_grows(policy, engine):
    steps = await fed(policy, sound(-10, 40, -30, 60, -15, 900, -40, 5))
    steps += await policy.finish()
    covered = [step.covered_ms for step in steps]
    assert covered == sorted(covered)
    bounds = [(w.start_ms, w.start_ms + len(w.samples) // 16) for w in engine.windows]
    assert all(before[1] <= after[0] for before, after in pairwise(bounds))
    said = sum(end - start for start, end in bounds)
    assert said >= (40 + 60 + 900 + 5) * FRAME_MS


async def test_a_stall_turns_what_was_said_into_a_caption(policy):
    assert lines(await fed(policy, sound(-5, 40))) == []
    assert len(lines(await policy.flush())) == 1
    assert lines(await policy.flush()) == []


async def test_the_end_gives_what_is_left(policy):
    assert lines(await fed(policy, sound(-5, 40))) == []
    assert len(lines(await policy.finish())) == 1
