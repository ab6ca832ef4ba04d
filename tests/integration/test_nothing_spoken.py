"""Sound without speech becomes no text, on both engines, the real voice model and recogniser at work."""

import wave

import numpy as np
import pytest
import pytest_asyncio

from streamarchive.demo.voices import SAMPLE_RATE, UNHEARD, pcm
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file
from tests.archive import MODEL
from tests.voices import speeches

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
MELODY = np.repeat([262, 330, 392, 523, 440, 349, 294, 247], SAMPLE_RATE)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["openai", "faster"])
async def engine(request):
    made = EngineProcess(str(MODEL), engine=request.param, device="cpu", threads=1)
    yield made
    await made.close()


def save(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm(np.asarray(samples, np.float32)))
    return path


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(8 * SAMPLE_RATE), id="silence"),
        pytest.param(np.random.default_rng(3).normal(0, 0.02, 8 * SAMPLE_RATE), id="noise"),
        pytest.param(0.2 * np.sin(2 * np.pi * 50 * SECONDS) + 0.1 * np.sin(2 * np.pi * 150 * SECONDS), id="hum"),
        pytest.param(sum(0.1 * np.sin(2 * np.pi * MELODY * n * SECONDS) for n in (1, 2, 3)), id="music"),
        pytest.param(np.array([0.5]), id="one sample"),
    ],
)
async def test_no_text_is_made_up(engine, tmp_path, samples):
    found = await transcribe_file(save(tmp_path / "sound.wav", samples), engine, PassSettings(("zh", "en")))
    assert found.cues == ()
    assert found.language is None


async def test_two_languages_in_one_window_are_each_written_as_heard(engine, tmp_path):
    """One after the other without a pause that would part them: the border is found by the recogniser alone."""
    spoken = speeches(
        [
            (UNHEARD["en"][0], "Our team in London has six engineers."),
            (UNHEARD["zh"][0], "未来五年会有更多的电动车吗？"),
        ]
    )
    pause = np.zeros(SAMPLE_RATE * 3 // 10, np.float32)
    sound = np.concatenate([part for speech in spoken for part in (pause, speech.samples)] + [pause])
    found = await transcribe_file(save(tmp_path / "both.wav", sound), engine, PassSettings(("zh", "en")))
    assert "engineers" in " ".join(cue.text for cue in found.cues)
    assert {cue.lang for cue in found.cues} <= {"zh", "en"}
    assert all(cue.end_ms <= found.duration_ms for cue in found.cues)
