"""The alignment is the cheapest there is, in order, and complete."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from streamarchive.editing.alignment import REACH_MS, Mark, Pair, align

marks = st.lists(st.builds(Mark, st.sampled_from("abc"), st.integers(0, 6000), st.booleans()), max_size=9).map(
    lambda found: sorted(found, key=lambda mark: mark.at_ms)
)

GAP = 0.7


def price(one: Mark, other: Mark) -> float:
    apart = abs(one.at_ms - other.at_ms) / 1000
    if apart * 1000 > REACH_MS:
        return 100
    if one.text == other.text:
        return 0.4 * apart
    return 0.8 + 0.35 * apart + (0.3 if one.shy or other.shy else 0)


def cost(pairs: Sequence[Pair], left: Sequence[Mark], right: Sequence[Mark]) -> float:
    return sum(GAP if a is None or b is None else price(left[a], right[b]) for a, b in pairs)


def cheapest(left: Sequence[Mark], right: Sequence[Mark]) -> float:
    """By trying everything."""
    table = [[GAP * (row + column) for column in range(len(right) + 1)] for row in range(len(left) + 1)]
    for row in range(1, len(left) + 1):
        for column in range(1, len(right) + 1):
            table[row][column] = min(
                table[row - 1][column] + GAP,
                table[row][column - 1] + GAP,
                table[row - 1][column - 1] + price(left[row - 1], right[column - 1]),
            )
    return table[-1][-1]


@given(marks, marks)
def test_no_other_alignment_is_cheaper(left: list[Mark], right: list[Mark]) -> None:
    pairs = align(left, right)
    assert abs(cost(pairs, left, right) - cheapest(left, right)) < 1e-9
    assert [a for a, _ in pairs if a is not None] == list(range(len(left)))
    assert [b for _, b in pairs if b is not None] == list(range(len(right)))


def test_of_equal_words_the_nearest_in_time_is_the_same_one() -> None:
    said = [Mark("的", 0), Mark("的", 1000), Mark("的", 2000)]
    assert align([Mark("的", 1100)], said) == [(None, 0), (0, 1), (None, 2)]


def test_the_same_word_too_far_away_is_another() -> None:
    assert align([Mark("car", 0)], [Mark("car", REACH_MS + 1)]) == [(0, None), (None, 0)]
