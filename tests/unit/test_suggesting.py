from __future__ import annotations

import pytest

from streamarchive.models import InterviewId
from streamarchive.search.suggesting import Kind, Suggestion, Suggestions, phrases

ONE, TWO = InterviewId("1" * 10), InterviewId("2" * 10)


def named(kind: Kind, text: str, *shown_by: InterviewId, lang: str = "en") -> Suggestion:
    return Suggestion(kind, text, lang, frozenset(shown_by) or None)


OFFERED = Suggestions(
    [
        named(Kind.TITLE, "Teaching cars to listen", ONE),
        named(Kind.TITLE, "让汽车学会倾听", ONE, lang="zh"),
        named(Kind.GUEST, "Zhang Wei", ONE),
        named(Kind.GUEST, "张伟", ONE, lang="zh"),
        named(Kind.GUEST, "张伟", TWO, lang="zh"),
        named(Kind.GUEST, "Ann Carter", TWO),
        named(Kind.TERM, "智能座舱", lang="zh"),
        named(Kind.PHRASE, "battery prices", ONE, TWO),
    ]
)


def texts(typed: str, *hidden: InterviewId) -> list[str]:
    return [one.text for one in OFFERED.matching(typed, hidden)]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("teach", ["Teaching cars to listen"]),
        ("cars to li", ["Teaching cars to listen"]),
        ("car", ["Teaching cars to listen", "Ann Carter"]),
        ("ars", []),
        ("ZHANG w", ["张伟", "Zhang Wei"]),
        ("zhangw", ["张伟"]),
        ("张", ["张伟"]),
        ("汽車", ["让汽车学会倾听"]),
        ("座舱", ["智能座舱"]),
        ("batt", ["battery prices"]),
        ("", []),
        ("!?", []),
    ],
)
def test_what_is_typed_stands_at_the_beginning_of_a_word(typed: str, expected: list[str]) -> None:
    assert texts(typed) == expected


def test_nothing_is_suggested_that_only_hidden_interviews_know() -> None:
    assert texts("zhangw", ONE) == ["张伟"]
    assert texts("zhangw", ONE, TWO) == []
    assert texts("batt", ONE) == ["battery prices"]
    assert texts("teach", ONE) == []
    assert texts("智能", ONE, TWO) == ["智能座舱"]


def test_what_is_said_again_and_again_is_a_phrase() -> None:
    said = [
        (ONE, "The smart cockpit listens before it answers."),
        (ONE, "A smart cockpit is what we want; the smart one."),
        (TWO, "In the smart cockpit, everything is quiet."),
        (ONE, "我们的智能座舱可以理解。"),
        (TWO, "他说，智能座舱很好。"),
        (TWO, "智能座舱，智能。"),
    ]
    found = phrases(said)
    assert [(one.text, one.lang) for one in found] == [("智能座舱", "zh"), ("smart cockpit", "en")]
    assert all(one.interviews == {ONE, TWO} for one in found)


def test_phrases_do_not_cross_punctuation_or_begin_with_common_words() -> None:
    said = [(ONE, "of the car. Door opens, 的车门") for _ in range(5)]
    assert [one.text for one in phrases(said)] == ["Door opens", "车门"]
