"""What a whole pass makes of sentences that were not in the training, in voices that were not either."""

import json
import re
from statistics import median

import pytest
import pytest_asyncio
from rapidfuzz.distance import Levenshtein

from streamarchive.demo.voices import UNHEARD, save_wave
from streamarchive.transcription.engine_process import EngineProcess
from streamarchive.transcription.passes import PassSettings, transcribe_file
from tests.archive import MODEL, ROOT
from tests.voices import speeches

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine():
    """Started once for all tests here."""
    made = EngineProcess(str(MODEL), device="cpu")
    yield made
    await made.close()


def units(text):
    """Words, or single Chinese characters."""
    return re.findall(r"[\u4e00-\u9fff]|[a-z0-9']+", text.lower())


@pytest.mark.parametrize("languages", [("en",), ("zh",), ("zh", "en")], ids="-".join)
async def test_few_words_are_wrong_and_lines_are_where_they_were_said(languages, tmp_path, engine):
    unheard = json.loads((ROOT / "tests" / "data" / "unheard.json").read_text(encoding="utf-8"))
    of_each = [unheard[language]["known_templates"][:10] for language in languages]
    sentences = [
        (code, s) for alike in zip(*of_each, strict=True) for code, s in zip(languages, alike, strict=True)
    ]
    spoken = speeches([(UNHEARD[code][1], sentence) for code, sentence in sentences])
    times = save_wave(tmp_path / "talk.wav", spoken)
    done = []
    found = await transcribe_file(tmp_path / "talk.wav", engine, PassSettings(languages), done.append)

    said = [unit for _, sentence in sentences for unit in units(sentence)]
    heard = [unit for cue in found.cues for unit in units(cue.text)]
    assert Levenshtein.distance(said, heard) / len(said) < 0.1
    right = {sentence: times[index] for index, (_, sentence) in enumerate(sentences)}
    exact = [(cue, right[cue.text]) for cue in found.cues if cue.text in right]
    assert len(exact) >= len(sentences) * 0.6
    assert median(abs(cue.start_ms - start) for cue, (start, _) in exact) < 50
    assert median(abs(cue.end_ms - end) for cue, (_, end) in exact) < 50
    assert {cue.lang for cue in found.cues} == set(languages)
    assert done == sorted(done)
    assert done[-1] == found.duration_ms
