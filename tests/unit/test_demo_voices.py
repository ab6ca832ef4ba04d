import subprocess
import sys
import time
import wave

import numpy as np
import pytest

from streamarchive.demo.voices import CAST, SAMPLE_RATE, UNHEARD, Synthesiser, Voice, save_wave
from streamarchive.errors import TranscriptionError
from tests.waiting import until


@pytest.fixture(scope="module")
def synthesiser():
    return Synthesiser()


@pytest.mark.parametrize("voice", [*CAST["en"].values(), *UNHEARD["en"]], ids=lambda voice: voice.name)
def test_english_is_spoken_word_by_word(synthesiser, voice):
    speech = synthesiser.speak(voice, "Tell me more about the battery.")
    assert [word.text for word in speech.words] == ["Tell", "me", "more", "about", "the", "battery."]
    times = [time for word in speech.words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert times[-1] <= speech.duration_ms
    assert 1_000 < speech.duration_ms < 4_000
    assert 0.02 < np.sqrt(np.mean(speech.samples**2)) < 0.1


@pytest.mark.parametrize("voice", [*CAST["zh"].values(), *UNHEARD["zh"]], ids=lambda voice: voice.name)
def test_mandarin_is_spoken_character_by_character(synthesiser, voice):
    speech = synthesiser.speak(voice, "是的，自动泊车更加舒服。")
    assert [word.text for word in speech.words] == list("是的自动泊车更加舒服")
    assert all(word.end_ms > word.start_ms for word in speech.words)


def test_an_unknown_voice_is_named_in_the_error(synthesiser):
    with pytest.raises(TranscriptionError, match="nobody"):
        synthesiser.speak(Voice("nobody"), "Yes.")


def test_a_wave_file_holds_the_sentences_where_the_times_say(synthesiser, tmp_path):
    speeches = [synthesiser.speak(CAST["en"]["host"], text) for text in ("The brakes are quiet.", "Why not?")]
    times = save_wave(tmp_path / "talk.wav", speeches, pause_ms=500)
    with wave.open(str(tmp_path / "talk.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert file.getframerate() == SAMPLE_RATE
    assert [end - start for start, end in times] == [speech.duration_ms for speech in speeches]
    between = samples[times[0][1] * 16 + 32 : times[1][0] * 16 - 32]
    assert not between.any()
    assert np.abs(samples[times[1][0] * 16 : times[1][1] * 16]).max() > 1_000


def test_several_synthesisers_speak_in_turn(synthesiser):
    other = Synthesiser()
    said = [each.speak(CAST["en"]["host"], "Why not?") for each in (synthesiser, other, synthesiser)]
    del other
    said.append(synthesiser.speak(CAST["en"]["host"], "Why not?"))
    assert [[word.text for word in speech.words] for speech in said] == [["Why", "not?"]] * 4
    assert max(speech.duration_ms for speech in said) - min(speech.duration_ms for speech in said) < 20


def test_a_breathy_voice_sounds_the_same_in_another_process_at_another_time():
    """By itself espeak-ng takes the time in seconds for the seed of its noise."""
    began = int(time.time())
    once = spoken_by_another_process()
    until(lambda: int(time.time()) > began + 1, "another second")
    assert spoken_by_another_process() == once


def spoken_by_another_process():
    program = (
        "import sys\nfrom streamarchive.demo.voices import UNHEARD, Synthesiser\n"
        "speech = Synthesiser().speak(UNHEARD['en'][1], 'She said it is expensive.')\n"
        "sys.stdout.buffer.write(speech.samples.tobytes())"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
