from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive import text
from streamarchive.protocols import Clause
from streamarchive.search.query import MAX_CLAUSES, MAX_LENGTH, parse, write


@pytest.mark.parametrize(
    ("typed", "clauses"),
    [
        ("battery range", [Clause("battery"), Clause("range")]),
        ('"battery range" fast', [Clause("battery range", quoted=True), Clause("fast")]),
        ("“电池 续航” 快", [Clause("电池 续航", quoted=True), Clause("快")]),
        ("「智能座舱」很好", [Clause("智能座舱", quoted=True), Clause("很好")]),
        ("battery -fire", [Clause("battery"), Clause("fire", negated=True)]),
        ('battery -"on fire"', [Clause("battery"), Clause("on fire", negated=True, quoted=True)]),
        ("电池 －起火", [Clause("电池"), Clause("起火", negated=True)]),
        ("电池、续航，快充", [Clause("电池"), Clause("续航"), Clause("快充")]),
        ("battery,range", [Clause("battery"), Clause("range")]),
        ("2,000 km", [Clause("2,000"), Clause("km")]),
        ("lane-keeping", [Clause("lane-keeping")]),
        ("at 12:30 http://x", [Clause("at"), Clause("12:30"), Clause("http://x")]),
        ("same same", [Clause("same")]),
        ('unclosed "two words', [Clause("unclosed"), Clause("two words", quoted=True)]),
        ("", []),
        ("   ", []),
    ],
)
def test_words_phrases_and_exclusions(typed: str, clauses: list[Clause]) -> None:
    query = parse(typed)
    assert list(query.clauses) == clauses
    assert query.ignored == ()


def test_filters() -> None:
    query = parse(
        'lang:zh-CN LANG：en speaker:"Zhang Wei" speaker:李 in:0123456789-a-slug in:/interviews/abc-x car'
    )
    assert query.langs == ("zh", "en")
    assert query.speakers == ("Zhang Wei", "李")
    assert query.interviews == ("0123456789", "abc")
    assert query.clauses == (Clause("car"),)
    assert query.ignored == ()


def test_filters_on_events_and_dates() -> None:
    query = parse('event:"Auto China" year:2024 年份：2025 after:2024-03 before:2026/05/02 活动：车展 car')
    assert query.events == ("Auto China", "车展")
    assert query.years == (2024, 2025)
    assert query.after == date(2024, 3, 1)
    assert query.before == date(2026, 5, 2)
    assert query.clauses == (Clause("car"),)
    assert query.ignored == ()
    assert parse("发言人：李明 语言：zh 访谈：abc x").speakers == ("李明",)


@pytest.mark.parametrize(
    "part",
    [
        "year:26",
        "year:2024-05",
        "after:tomorrow",
        "before:2026-13",
        "after:2026-02-30",
        "event:!",
        "lang:",
        "lang:中文",
        "-lang:zh",
        "speaker:!",
        "in:?",
        "!!!",
        '""',
        "-—",
        "-「」",
    ],
)
def test_what_is_not_understood_is_reported(part: str) -> None:
    query = parse(f"car {part} road")
    assert query.clauses == (Clause("car"), Clause("road"))
    assert query.ignored == (part,)


def test_too_many_words_are_reported() -> None:
    query = parse(" ".join(f"w{n}" for n in range(MAX_CLAUSES + 2)))
    assert len(query.clauses) == MAX_CLAUSES
    assert query.ignored == ("w16", "w17")


def test_too_long_a_query_is_cut_and_the_rest_reported() -> None:
    query = parse("a" * (MAX_LENGTH - 2) + " b" + " rest")
    assert len(query.text) == MAX_LENGTH
    assert query.clauses[-1] == Clause("b")
    assert query.ignored == (" rest",)


@given(
    st.text(
        alphabet=st.one_of(st.sampled_from('"“”「」-－:： lang speaker in，,a舱'), st.characters()), max_size=300
    )
)
def test_anything_typed_is_a_query(typed: str) -> None:
    query = parse(typed)
    assert len(query.clauses) <= MAX_CLAUSES
    assert all(text.phrase(clause.text) for clause in query.clauses)
    assert len(query.text) <= MAX_LENGTH


@pytest.mark.parametrize(
    "typed",
    [
        'smart "lane keeping" -fire -"on fire" 智能座舱',
        'car lang:zh speaker:"Zhang Wei" speaker:李 event:"Auto China" year:2024 after:2024-01-01 in:abc',
        '"in:abc" "-x" event:车展 before:2026-05-02 car',
    ],
)
def test_a_query_can_be_written_as_it_was_typed(typed: str) -> None:
    query = parse(typed)
    assert replace(parse(write(query)), text="") == replace(query, text="")
