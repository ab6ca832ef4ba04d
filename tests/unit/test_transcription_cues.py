import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive.models import Word
from streamarchive.protocols import Line, WindowResult
from streamarchive.transcription import cues
from streamarchive.transcription.languages import choose, line_language


def result(*lines, language="en"):
    return WindowResult(lines, language, 1.0, 0.01, -0.2, 1.2, 0.0)


def spoken(text, start_ms=0, word_ms=400):
    """A line whose words follow each other without a pause."""
    parts = text.split() if " " in text else list(text)
    words = tuple(
        Word(part, start_ms + i * word_ms, start_ms + (i + 1) * word_ms, 0.9) for i, part in enumerate(parts)
    )
    return Line(start_ms, start_ms + len(parts) * word_ms, text, words)


LETTERS = st.text("abcdefg ,.?!，。？0123456789我们今天讨论", max_size=200)


@given(LETTERS, st.integers(0, 10_000), st.integers(20, 900))
def test_no_character_is_lost_and_times_stay_inside_the_line(text, start_ms, word_ms):
    line = spoken(text, start_ms, word_ms)
    found = cues.drafts(result(line), ("en", "zh"))
    if any(character.isalnum() for character in text):
        assert "".join("".join(cue.text for cue in found).split()) == "".join(text.split())
    else:
        assert found == []
    times = [time for cue in found for time in (cue.start_ms, cue.end_ms)]
    assert times == sorted(times)
    assert all(line.start_ms <= time <= line.end_ms for time in times)
    assert all(cue.start_ms < cue.end_ms and cue.text for cue in found)


@given(LETTERS, st.integers(200, 900))
def test_every_word_keeps_its_times_in_the_cue_that_shows_it(text, word_ms):
    line = spoken(text, 0, word_ms)
    found = cues.drafts(result(line), ("en", "zh"))
    kept = [word for cue in found for word in cue.words]
    assert all(cue.start_ms <= w.start_ms and w.end_ms <= cue.end_ms for cue in found for w in cue.words)
    assert kept == [word for word in line.words if word in kept]
    if found:
        assert len(kept) == len(line.words)


def test_each_sentence_is_a_line():
    found = cues.drafts(result(spoken("I like the quiet car. Why do you like it?")), ("en",))
    assert [cue.text for cue in found] == ["I like the quiet car.", "Why do you like it?"]
    assert [(cue.start_ms, cue.end_ms) for cue in found] == [(0, 2000), (2000, 4000)]


def test_a_short_answer_stays_with_its_neighbour():
    found = cues.drafts(result(spoken("Yes. It is very quiet today.")), ("en",))
    assert [cue.text for cue in found] == ["Yes. It is very quiet today."]


def test_a_long_sentence_is_cut_behind_a_comma():
    text = "When it rains in the city I take the train to work, and when it is dry I drive the old car home."
    found = cues.drafts(result(spoken(text)), ("en",))
    assert [cue.text[-1] for cue in found] == [",", "."]


def test_chinese_is_cut_to_lines_that_fit():
    text = "我们今天讨论智能座舱和自动驾驶的安全问题，大家都觉得数据安全比价格更重要，所以我们还要继续测试。"
    found = cues.drafts(result(spoken(text, word_ms=200), language="zh"), ("zh", "en"))
    assert len(found) > 1
    assert all(cues.width(cue.text) <= cues.WIDEST for cue in found)


def test_a_number_is_not_torn():
    found = cues.drafts(result(spoken("The battery of this car holds 3.5 times more than the old one did.")), ())
    assert len(found) == 1


@pytest.mark.parametrize("text", ["", " ", "...", "。", "\ufffd"])
def test_lines_without_a_word_are_dropped(text):
    assert cues.drafts(result(Line(0, 1000, text, ())), ("en",)) == []


def test_lines_of_a_mixed_window_have_their_own_language():
    lines = (spoken("I like the quiet car."), spoken("我觉得智能座舱很有趣。", 3000))
    assert [cue.lang for cue in cues.drafts(result(*lines, language="en"), ("zh", "en"))] == ["en", "zh"]
    assert [cue.lang for cue in cues.drafts(result(*lines, language="zh"), ("zh", "en"))] == ["en", "zh"]


def test_chinese_with_an_english_name_stays_chinese():
    assert line_language("我们用 StreamArchive 录音。", "en", ("zh", "en")) == "zh"


def test_characters_in_a_japanese_window_are_japanese():
    assert line_language("日本語", "ja", ("ja", "en")) == "ja"


def test_digits_say_nothing_about_the_language():
    assert line_language("2028", "zh", ("zh", "en")) == "zh"


def test_the_language_is_chosen_among_the_allowed():
    assert choose({"fr": 0.6, "en": 0.3, "zh": 0.1}, ("zh", "en")) == ("en", pytest.approx(0.75))
    assert choose({"fr": 0.6, "en": 0.4}, ()) == ("fr", pytest.approx(0.6))
