"""What recognisers are known to fail on, on both engines, the real voice model and recogniser at work.

What this small recogniser cannot be brought to do (loops, languages nobody speaks) is in
`tests/unit/test_decoding.py` and `tests/unit/test_transcription_guards.py`; ten hours of silence are in
`tests/unit/test_passes.py`.
"""

import wave

import numpy as np
import pytest
import pytest_asyncio
from rapidfuzz.distance import Levenshtein

from streamarchive.demo.voices import SAMPLE_RATE, UNHEARD, pcm
from streamarchive.errors import UnreadableMediaError
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file
from tests.archive import MODEL
from tests.recorded import ENGLISH, run_ffmpeg
from tests.voices import speech, speeches

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


async def test_samples_that_are_no_numbers_cost_nothing_but_themselves(engine, tmp_path):
    """One of them in a window would make its whole spectrum NaN and its text exclamation marks."""
    spoken = speech(UNHEARD["en"][0], ENGLISH[0]).samples
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    sound = np.concatenate([pause, spoken, pause])
    sound[SAMPLE_RATE] = np.nan
    (tmp_path / "raw.f32").write_bytes(sound.astype("<f4").tobytes())
    floats = ["-f", "f32le", "-ar", SAMPLE_RATE, "-i", tmp_path / "raw.f32", "-c", "copy", tmp_path / "nan.wav"]
    run_ffmpeg(*floats)
    found = await transcribe_file(tmp_path / "nan.wav", engine, PassSettings(("en",)))
    assert [cue.text for cue in found.cues] == [ENGLISH[0]]


async def test_an_empty_file_is_named(engine, tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(UnreadableMediaError, match=r"empty\.wav is not media that can be read"):
        await transcribe_file(tmp_path / "empty.wav", engine)


async def test_what_is_said_across_the_border_of_windows_is_written_once(engine, tmp_path):
    """Nearly a minute without a pause that would end a window: no word is lost or doubled where one is cut."""
    said, breath = ENGLISH * 3, np.zeros(SAMPLE_RATE // 5, np.float32)
    spoken = speeches([(UNHEARD["en"][1], sentence) for sentence in said])
    sound = np.concatenate([part for each in spoken for part in (breath, each.samples)])
    found = await transcribe_file(save(tmp_path / "breath.wav", sound), engine, PassSettings(("en",)))
    words, heard = " ".join(said).split(), " ".join(cue.text for cue in found.cues).split()
    assert Levenshtein.distance(words, heard) / len(words) < 0.15
    assert abs(len(heard) - len(words)) <= 3
    bounds = [time for cue in found.cues for time in (cue.start_ms, cue.end_ms)]
    assert bounds == sorted(bounds)
