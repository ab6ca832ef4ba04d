from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive.clock import PTS_MODULUS, Span, TakeClock, to_ms, to_seconds, to_ticks, unwrap

ticks = st.integers(min_value=0, max_value=1 << 40)
segment_lengths = st.lists(st.integers(min_value=1, max_value=20 * 90_000), min_size=1, max_size=60)


@given(ticks)
def test_milliseconds_are_within_half_of_one(value):
    assert abs(Fraction(value, 90) - to_ms(value)) <= Fraction(1, 2)


@given(ticks)
def test_milliseconds_survive_the_way_through_ticks(ms):
    assert to_ms(to_ticks(ms)) == ms


@given(ticks)
def test_seconds_are_written_to_the_microsecond(value):
    assert abs(Fraction(to_seconds(value)) - Fraction(value, 90_000)) <= Fraction(1, 1_000_000)


def test_seconds_keep_their_sign():
    assert to_seconds(-45_000) == "-0.500000"


@given(pts=st.integers(min_value=0, max_value=PTS_MODULUS - 1), near=ticks)
def test_unwrapped_is_the_same_pts_and_nearest(pts, near):
    value = unwrap(pts, near)
    assert value % PTS_MODULUS == pts
    assert abs(value - near) <= PTS_MODULUS // 2


@given(
    origin=st.integers(min_value=0, max_value=PTS_MODULUS - 1),
    base=ticks,
    lengths=segment_lengths,
)
def test_segments_stand_end_to_end_across_the_wrap(origin, base, lengths):
    clock, pts, expected = TakeClock(base=base), origin, base
    for length in lengths:
        clock, span = clock.place(pts % PTS_MODULUS, length)
        assert span == Span(expected, expected + length)
        pts += length
        expected += length


@given(first=segment_lengths, second=segment_lengths, origins=st.tuples(ticks, ticks))
def test_takes_stand_end_to_end_whatever_their_source_counts(first, second, origins):
    clock, end = TakeClock(), 0
    for lengths, origin in zip((first, second), origins, strict=True):
        pts = origin
        for length in lengths:
            clock, span = clock.place(pts % PTS_MODULUS, length)
            assert span.start == end
            end, pts = span.end, pts + length
        clock = TakeClock(base=end)
    assert end == sum(first) + sum(second)


def test_a_packet_before_the_last_one_is_placed_before_it():
    clock, _ = TakeClock().place(900_000, 90_000)
    clock, later = clock.place(990_000, 90_000)
    _, earlier = clock.place(950_000, 90_000)
    assert earlier.start < later.start
    assert (earlier.start_ms, earlier.end_ms) == (556, 1556)


def test_a_take_without_segments_has_no_clock():
    with pytest.raises(ValueError, match="first segment"):
        TakeClock().at(0)
