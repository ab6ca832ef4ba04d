"""Small parts of search: expansion by the glossary, cursors, numbers, spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive.search import cursors, numbering, spelling
from streamarchive.search.expansion import expanded
from streamarchive.search.query import parse

PAIRS = [("smart cockpit", "智能座舱"), ("range", "续航", "reach")]


@pytest.mark.parametrize(
    ("typed", "alternatives"),
    [
        ("smart cockpit", [("智能座舱",), ("智能座舱",)]),
        ("the Smart cockpit range", [(), ("智能座舱",), ("智能座舱",), ("续航", "reach")]),
        ("智能座舱", [("smart cockpit",)]),
        ("續航", [("range", "reach")]),
        ('"smart cockpit"', [()]),
        ("smart -cockpit", [(), ()]),
        ("cockpit smart", [(), ()]),
    ],
)
def test_pairs_become_alternatives(typed: str, alternatives: list[tuple[str, ...]]) -> None:
    assert [clause.alternatives for clause in expanded(parse(typed), PAIRS).clauses] == alternatives


@given(st.lists(st.one_of(st.integers(-(2**62), 2**62), st.none(), st.text(max_size=9)), max_size=5))
def test_a_cursor_says_what_was_put_into_it(values: list[object]) -> None:
    assert cursors.decode(cursors.encode(values), [(int, str, type(None))] * len(values)) == (values or [])


@given(st.text(max_size=60))
def test_any_cursor_can_be_read(cursor: str) -> None:
    assert cursors.decode(cursor, [int, int, int]) is None


@given(
    minutes=st.integers(0, 10_000_000),
    start_ms=st.integers(0, 5 * 24 * 3600 * 1000),
    lang=st.integers(0, numbering.MAX_LANGUAGES),
    doubtful=st.booleans(),
)
def test_a_number_tells_what_it_is_made_of(minutes: int, start_ms: int, lang: int, *, doubtful: bool) -> None:
    held = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    interview = numbering.first_of_minute(numbering.minute(held))
    number = numbering.base(interview) | numbering.place(start_ms) | numbering.features(lang, doubtful=doubtful)
    assert 0 < number < 1 << 63
    assert numbering.interview_of(number) == interview
    assert numbering.window_of(number) == start_ms // 30_000
    assert (numbering.lang_of(number), numbering.is_doubtful(number)) == (lang, doubtful)
    assert numbering.is_cue(number)
    assert not numbering.is_cue(numbering.base(interview))
    assert numbering.base(interview) < number <= numbering.last(interview)


def test_the_nearest_words_come_first() -> None:
    known = [("battery", 5), ("batter", 9), ("batters", 1), ("pattern", 50), ("battle", 2)]
    assert spelling.nearest("battary", known, 5) == ("battery",)
    assert spelling.nearest("batterys", known, 5) == ("battery", "batters", "batter")
    assert [spelling.comparable(word) for word in ("Battery", "two words", "L4x9", "cat", "座舱")] == [
        "battery", "", "", "", "",
    ]  # fmt: skip
