"""What two hearings agree on."""

import pytest

from streamarchive.models import Word
from streamarchive.protocols import Line, WindowResult
from streamarchive.transcription.hypotheses import agreed, prompt_from, split, text_of, whole_sentences


def words(*texts):
    return tuple(Word(text, 100 * n, 100 * n + 90) for n, text in enumerate(texts))


def result(*lines):
    """Lines of words separated by bars."""
    made, at = [], 0
    for text in lines:
        said = tuple(Word(word.strip(), at + 10 * n, at + 10 * n + 9) for n, word in enumerate(text.split("|")))
        made.append(Line(at, at + 10 * len(said), text.replace("|", ""), said))
        at += 1000
    return WindowResult(tuple(made), "zh", 1.0, 0.0, -0.1, 1.0, 0.0)


@pytest.mark.parametrize(
    ("before", "now", "count"),
    [
        ((), ("one",), 0),
        (("One,", "two"), ("one", "two", "three"), 2),
        (("one", "two", "four"), ("one", "two", "three"), 2),
        (("今天", "我们来聊"), ("今", "天我们", "来"), 3),
        (("今天我们",), ("今天我们来",), 0),
        (("車載", "系統"), ("车载", "系统", "很"), 2),
        (("今天", "LiDAR", "很"), ("今天", "lidar，", "贵"), 2),
        (("one", "—", "two"), ("one", "two"), 2),
        (("one", "two"), ("one", "—"), 1),
        (("trans",), ("transport",), 0),
    ],
)
def test_words_are_compared_by_what_is_said(before, now, count):
    assert agreed(words(*before), words(*now)) == count


@pytest.mark.parametrize(
    ("texts", "certain", "count"),
    [
        (("It", "works.", "Now", "we"), 4, 2),
        (("It", "works.", "Now", "we"), 3, 2),
        (("It", "works.", "Now", "we"), 2, 0),
        (("It", "works.", "Yes!", "Now"), 4, 3),
        (("今天", "很好。", "我们"), 3, 2),
        (("about", "3.5", "percent"), 3, 0),
        ((), 0, 0),
    ],
)
def test_a_sentence_has_ended_when_something_certain_stands_behind_it(texts, certain, count):
    assert whole_sentences(words(*texts), certain) == count


def test_a_hearing_is_cut_between_two_words_even_inside_a_line():
    heard = result("今天| Stream|很好。", "我们|走。")
    for count in range(6):
        head, tail = split(heard, count)
        assert text_of(head).replace(" ", "") + text_of(tail).replace(" ", "") == "今天Stream很好。我们走。"
    head, tail = split(heard, 1)
    assert [(line.text, line.start_ms, line.end_ms) for line in head.lines] == [("今天", 0, 9)]
    assert [(line.text, line.start_ms) for line in tail.lines] == [("Stream很好。", 10), ("我们走。", 1000)]


def test_lines_without_words_are_taken_whole():
    heard = WindowResult((Line(0, 10, "It works.", ()), Line(10, 20, "Now.", ())), "en", 1.0, 0.0, 0.0, 1.0, 0.0)
    head, tail = split(heard, 1)
    assert (text_of(head), text_of(tail), text_of(heard)) == ("It works.", "Now.", "It works. Now.")


def test_a_prompt_is_the_end_of_a_text_and_never_longer_than_whisper_takes():
    assert prompt_from(" … ") is None
    assert prompt_from("Hello, world.") == "Hello, world."
    assert prompt_from("零" + "一" * 100 + "。") == "一" * 100 + "。"
