import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamarchive.transcription.tokens import timed_lines, token_starts

TS = 1_000
"""The token that stands for 0.00 s; those above it are frames."""


def at(frame):
    return TS + frame


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], ([], None)),
        ([at(0), at(0)], ([], 0)),
        ([at(10), 1, 2, at(90)], ([([1, 2], 10, 90)], None)),
        ([at(10), 1, at(40), at(50), 2, at(90)], ([([1], 10, 40), ([2], 50, 90)], None)),
        ([at(10), 1, at(40), at(50)], ([([1], 10, 40)], 50)),
        ([at(10), 1, at(40), at(50), 2, 3], ([([1], 10, 40)], 50)),
        ([at(10), 1, 2], ([([1, 2], 10, 100)], None)),
        ([1, 2], ([([1, 2], 0, 100)], None)),
        ([at(10), 1, at(400)], ([([1], 10, 100)], None)),
    ],
)
def test_tokens_become_lines_within_the_window(tokens, expected):
    assert timed_lines(tokens, TS, 100) == expected


@given(st.lists(st.one_of(st.integers(0, TS - 1), st.integers(TS, TS + 1500))), st.integers(1, 1500))
def test_whatever_comes_no_text_is_invented_and_no_time_lies_outside(tokens, frames):
    lines, resume = timed_lines(tokens, TS, frames)
    text = [token for token in tokens if token < TS]
    assert [token for line in lines for token in line[0]] == text[: sum(len(line[0]) for line in lines)]
    assert all(0 <= start <= frames and 0 <= end <= frames for _, start, end in lines)
    assert resume is None or 0 <= resume <= frames


MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.integers(-8, 8).map(np.float32),
)


def score(matrix, starts):
    ends = [*starts[1:], matrix.shape[1]]
    return sum(matrix[i, a:b].sum() for i, (a, b) in enumerate(zip(starts, ends, strict=True)))


@given(MATRICES)
def test_the_path_is_monotone_and_no_other_is_better(matrix):
    tokens, frames = matrix.shape
    starts = token_starts(matrix).tolist()
    assert len(starts) == tokens
    assert starts[0] == 0
    assert starts == sorted(starts)
    if frames > tokens:
        best = max(score(matrix, (0, *rest)) for rest in itertools.combinations(range(1, frames), tokens - 1))
        assert len(set(starts)) == tokens
        assert score(matrix, starts) == pytest.approx(best)


def test_no_tokens_have_no_starts():
    assert token_starts(np.zeros((0, 5), np.float32)).tolist() == []
