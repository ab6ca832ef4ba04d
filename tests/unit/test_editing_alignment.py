"""The alignment is the cheapest there is, in order, and complete."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from streamarchive.editing.alignment import REACH_MS, Mark, Pair, Standing, align, cost

marks = st.lists(
    st.builds(
        lambda text, start, length, standing, spare: Mark(text, start, start + length, standing, spare),
        st.sampled_from("abc"),
        st.integers(0, 6000),
        st.sampled_from((0, 300, 900)),
        st.sampled_from(Standing),
        st.booleans(),
    ),
    max_size=9,
).map(lambda found: sorted(found, key=lambda mark: mark.at_ms))


def total(pairs: Sequence[Pair], left: Sequence[Mark], right: Sequence[Mark]) -> float:
    price = 0.0
    for one, other in pairs:
        if one is not None and other is not None:
            price += cost(left[one], right[other])
        elif one is not None:
            price += left[one].absence
        elif other is not None:
            price += right[other].absence
    return price


def cheapest(left: Sequence[Mark], right: Sequence[Mark]) -> float:
    """By trying everything."""
    table = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for row in range(len(left) + 1):
        for column in range(len(right) + 1):
            ways = [0.0] if row == column == 0 else []
            if row:
                ways.append(table[row - 1][column] + left[row - 1].absence)
            if column:
                ways.append(table[row][column - 1] + right[column - 1].absence)
            if row and column:
                ways.append(table[row - 1][column - 1] + cost(left[row - 1], right[column - 1]))
            table[row][column] = min(ways)
    return table[-1][-1]


@given(marks, marks)
def test_no_other_alignment_is_cheaper(left: list[Mark], right: list[Mark]) -> None:
    pairs = align(left, right)
    assert abs(total(pairs, left, right) - cheapest(left, right)) < 1e-9
    assert [a for a, _ in pairs if a is not None] == list(range(len(left)))
    assert [b for _, b in pairs if b is not None] == list(range(len(right)))


def said(text: str, at_ms: int, standing: Standing = Standing.OPEN) -> Mark:
    return Mark(text, at_ms - 100, at_ms + 100, standing)


def test_of_equal_words_the_nearest_in_time_is_the_same_one() -> None:
    heard = [said("的", 0), said("的", 1000), said("的", 2000)]
    assert align([said("的", 1100)], heard) == [(None, 0), (0, 1), (None, 2)]


def test_the_same_word_too_far_away_is_another() -> None:
    assert align([said("car", 0)], [said("car", REACH_MS + 1)]) == [(0, None), (None, 0)]


def test_what_a_person_wrote_stands_for_another_word_only_at_its_own_time() -> None:
    assert align([said("car", 0, Standing.FIRM)], [said("bar", 300)]) == [(0, 0)]
    assert align([said("car", 0, Standing.FIRM)], [said("bar", 500)]) == [(0, None), (None, 0)]
    assert align([said("car", 0, Standing.ALONE)], [said("bar", 0)]) == [(0, None), (None, 0)]
