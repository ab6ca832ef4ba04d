import pytest

from streamarchive.models import Word
from streamarchive.transcription import guards


def words(text, probability):
    return tuple(Word(part, i * 100, i * 100 + 90, probability) for i, part in enumerate(text.split()))


@pytest.mark.parametrize(
    "text",
    [
        "谢谢观看。谢谢观看。谢谢观看。",
        "I think so, I think so, I think so.",
        "no no no no no no no",
        "对对对对对对对",
    ],
)
def test_loops_are_seen_even_when_they_are_short(text):
    assert guards.loops(text, 10)


@pytest.mark.parametrize(
    "text",
    ["", "No, no, no.", "我觉得数据安全比价格更重要。", "It took five minutes, and five minutes are not much."],
)
def test_ordinary_repetition_is_no_loop(text):
    assert not guards.loops(text, 10)


def test_more_than_can_be_said_is_a_loop():
    assert guards.loops(" ".join(f"word{n}" for n in range(60)), 3)
    assert not guards.loops(" ".join(f"word{n}" for n in range(60)), 20)


def test_a_sure_result_is_not_decoded_again():
    assert not guards.must_retry("I like the quiet car.", -0.2, 0.01, 3)


@pytest.mark.parametrize(
    ("text", "logprob"), [("Hm.", -1.4), ("la " * 40, -0.1), ("谢谢观看。谢谢观看。谢谢观看。", -0.2)]
)
def test_an_unsure_or_looping_result_is_decoded_again(text, logprob):
    assert guards.must_retry(text, logprob, 0.01, 5)


def test_silence_is_not_decoded_again():
    assert guards.is_silence(0.9, -1.5)
    assert not guards.must_retry("Thank you.", -1.5, 0.9, 5)


@pytest.mark.parametrize(
    ("text", "probability", "logprob", "expected"),
    [
        ("I like the quiet car.", 0.9, -0.2, None),
        ("I like the quiet car.", 0.2, -0.2, guards.UNSURE),
        ("I like the quiet car.", 0.9, -1.2, guards.UNSURE),
        ("Thank you for watching!", 0.9, -0.2, None),
        ("Thank you for watching!", 0.3, -0.8, guards.STOCK_PHRASE),
        ("字幕由 Amara.org 社群提供", 0.3, -0.8, guards.STOCK_PHRASE),
        ("我们我们我们我们我们我们", 0.9, -0.2, guards.REPEATS),
    ],
)
def test_doubt_names_its_reason(text, probability, logprob, expected):
    assert guards.doubt(text, words(text, probability), logprob, 5) == expected
