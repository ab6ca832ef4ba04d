from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive.glossaries import Flaw
from streamarchive.models import Cue, CueId, Gap, GapReason, RecordingId, TranscriptId
from web import ranges, views, wording

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_figures_have_a_tenth_and_a_minus_sign():
    assert [wording.decimal(value) for value in (-23.04, 0.0, 7.25)] == ["−23.0", "0.0", "7.2"]


def cue(number, start_ms, speaker=None, text="words"):
    values = {"human": False, "read": False, "words": (), "doubt": None, "revision": 0, "version": 1}
    return Cue(
        id=CueId(number),
        transcript_id=TranscriptId(1),
        recording_id=RecordingId(1),
        start_ms=start_ms,
        end_ms=start_ms + 900,
        text=text,
        lang="en",
        speaker=speaker,
        **values,
    )


@given(st.text(), st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60))))
def test_pieces_lose_no_character_whatever_the_spans(text, spans):
    pieces = views.pieces(text, spans)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)


def test_pieces_mark_what_met_the_query():
    pieces = views.pieces("the smart cockpit", [(4, 9)])
    assert [(piece.text, piece.marked) for piece in pieces] == [
        ("the ", False),
        ("smart", True),
        (" cockpit", False),
    ]


def test_a_speaker_is_named_where_they_begin():
    lines = views.lines([cue(1, 0, "Ann"), cue(2, 1000, "Ann"), cue(3, 2000, "Bob"), cue(4, 3000)], [], "/i")
    assert [line.names_speaker for line in lines] == [True, False, True, False]


def test_a_gap_stands_between_what_was_said_before_and_after_it():
    gap = Gap(RecordingId(1), 2000, AT, AT + timedelta(seconds=7), GapReason.STALLED, "")
    lines = views.lines([cue(1, 0), cue(2, 2000)], [gap], "/i")
    assert [line.key for line in lines] == ["c1", "gap2000", "c2"]
    assert lines[1].end_ms - lines[1].start_ms == 7000


@pytest.mark.parametrize(("at_ms", "key"), [(0, "c1"), (1500, "c1"), (2000, "c2"), (9999, "c2")])
def test_here_is_the_line_of_the_moment_or_the_last_before_it(at_ms, key):
    lines = views.lines([cue(1, 500), cue(2, 2000)], [], "/i", at_ms)
    assert [line.key for line in lines if line.here] == [key]


def test_a_text_is_shown_in_the_readers_language_or_in_any():
    assert views.in_language({"en": "Hello", "zh": "你好"}, "zh") == views.Text("你好", "zh")
    assert views.in_language({"en": "", "zh": "你好"}, "en") == views.Text("你好", "zh")
    assert views.in_language({}, "en") is None


@pytest.mark.parametrize(("ms", "shown"), [(0, "0:00"), (65_999, "1:05"), (3_723_000, "1:02:03"), (-5, "0:00")])
def test_clock(ms, shown):
    assert wording.clock(ms) == shown


@pytest.mark.parametrize(
    ("ms", "shown"), [(40_000, "40 s"), (90_000, "2 min"), (3_600_000, "1 h 0 min"), (3_599_000, "1 h 0 min")]
)
def test_duration(ms, shown):
    assert wording.duration(ms, str) == shown


@given(st.integers(0, 10**9))
def test_the_t_of_an_address_keeps_its_milliseconds(ms):
    assert wording.milliseconds_of(wording.seconds_of(ms)) == ms


@pytest.mark.parametrize("t", [None, "", "soon", "-1", "nan", "inf", "1e99"])
def test_a_t_that_makes_no_sense_is_none(t):
    assert wording.milliseconds_of(t) is None


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-30", (70, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=-", None),
    ],
)
def test_one_range_of_bytes_is_understood_everything_else_means_all(header, span):
    found = ranges.wanted(header, 100)
    assert (None if found is None else (found.start, found.end)) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_met(header):
    with pytest.raises(ValueError, match="range"):
        ranges.wanted(header, 100)


@pytest.mark.parametrize("flaw", list(Flaw))
def test_pages_and_commands_say_the_same_of_a_glossary_list(flaw):
    assert wording.flaw_words(flaw, "x", lambda sentence: sentence) == flaw.value % {"value": "x"}
