from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive import captions
from streamarchive.errors import UnreadableCaptionsError
from streamarchive.models import CueDraft, Word

SPACED = st.text(min_size=1).map(lambda text: " ".join(text.replace("\0", "").split())).filter(bool)
NAMES = st.none() | SPACED
TIMES = st.integers(0, 400 * 3_600_000)


@st.composite
def drafts(draw, langs=("en", "zh", "de-CH")):
    start = draw(TIMES)
    return CueDraft(
        start_ms=start,
        end_ms=start + draw(st.integers(1, 60_000)),
        text=draw(SPACED),
        lang=draw(st.sampled_from(langs)),
        speaker=draw(NAMES),
    )


def in_order(lines):
    return sorted(lines, key=lambda line: (line.start_ms, line.end_ms))


@given(st.lists(drafts(), min_size=1))
def test_vtt_keeps_times_text_languages_and_speakers(lines):
    assert captions.from_vtt(captions.to_vtt(lines, "en"), "en") == in_order(lines)


@given(st.lists(drafts(), min_size=1))
def test_vtt_starts_never_fall_ids_are_unique_and_only_ranges_hold_an_arrow(lines):
    blocks = captions.to_vtt(lines).rstrip("\n").split("\n\n")
    assert blocks[0] == "WEBVTT"
    assert len(blocks) == len(lines) + 1
    ids = [block.split("\n")[0] for block in blocks[1:]]
    assert ids == [str(number) for number in range(1, len(ids) + 1)]
    assert all("".join(block).count("-->") == 1 for block in blocks[1:])


@given(st.lists(drafts(), min_size=1))
def test_json_keeps_everything(lines):
    text = json.dumps(captions.to_json(lines, 1000), ensure_ascii=False)
    assert captions.from_json(text) == in_order(lines)


@given(st.lists(drafts(langs=("en",)), min_size=1))
def test_srt_keeps_times_and_plain_text(lines):
    plain = [
        CueDraft(d.start_ms, d.end_ms, text, "en")
        for d in lines
        if (text := "".join(c for c in d.text if c not in "<>{}-").strip()) and not text.isdigit()
    ]
    if plain:
        assert captions.from_srt(captions.to_srt(plain), "en") == in_order(plain)


@given(st.binary())
def test_any_file_is_captions_or_refused(data):
    try:
        found = captions.read_captions(data)
    except UnreadableCaptionsError:
        return
    assert found


def test_vtt_escapes_what_would_be_markup_and_removes_blank_lines():
    line = CueDraft(1_000, 2_500, "a < b && c --> d\n\n\nsecond", "en", speaker="R&D > <QA>\n")
    assert captions.to_vtt([line]) == (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.500\n"
        "<v R&amp;D &gt; &lt;QA&gt;>a &lt; b &amp;&amp; c --&gt; d\nsecond</v>\n"
    )


def test_vtt_gives_a_line_of_no_length_one_millisecond():
    assert "00:00:01.000 --> 00:00:01.001" in captions.to_vtt([CueDraft(1_000, 1_000, "x", "en")])


def test_vtt_of_no_lines_is_an_empty_track():
    assert captions.to_vtt([]) == "WEBVTT\n"


def test_vtt_from_elsewhere_with_notes_styles_settings_and_ids():
    text = (
        "\ufeffWEBVTT - a title\r\nKind: captions\r\n\r\nNOTE a remark\r\nwith --> an arrow\r\n\r\n"
        "STYLE\r\n::cue { color: red }\r\n\r\n"
        "first\r\n00:01.000 --> 00:02.000 line:0 align:start\r\n"
        "<b>Good</b> <00:00:01.500>morning &amp; hello\r\n\r\n"
        "01:00:03.250 --> 01:00:04.000\r\n<v.loud Ann>Hi</v> <v Bob>Yo\r\n"
    )
    assert captions.from_vtt(text, "en") == [
        CueDraft(1_000, 2_000, "Good morning & hello", "en"),
        CueDraft(3_603_250, 3_604_000, "Hi", "en", speaker="Ann"),
        CueDraft(3_603_250, 3_604_000, "Yo", "en", speaker="Bob"),
    ]


def test_line_breaks_of_captions_are_layout():
    text = "1\n00:00:01,000 --> 00:00:02,000\n智能座舱\n的未来\n\n\n00:00:03,000 --> 00:00:04,000\nthe\nfuture"
    assert [draft.text for draft in captions.from_srt(text)] == ["智能座舱的未来", "the future"]


def test_srt_with_markup_missing_numbers_and_blank_lines_in_a_cue():
    text = "00:00:01,000 --> 00:00:02,000\n<i>one</i>\n\nstill one\n\n00:00:03,000 --> 00:00:04,000\n{\\an8}two"
    assert [draft.text for draft in captions.from_srt(text)] == ["one still one", "two"]


def test_srt_names_the_speaker_and_holds_no_arrow_but_in_ranges():
    text = captions.to_srt([CueDraft(0, 1_000, "a --> b", "en", speaker="Ann")])
    assert text == "1\n00:00:00,000 --> 00:00:01,000\nAnn: a → b\n"


def test_txt_is_a_row_a_line_with_the_name_where_it_changes():
    lines = [
        CueDraft(0, 1, "one", "en", speaker="Ann"),
        CueDraft(1, 2, "two", "en", speaker="Ann"),
        CueDraft(2, 3, "three", "en", speaker="Bob"),
    ]
    assert captions.to_txt(lines) == "Ann: one\ntwo\nBob: three\n"


def test_json_has_the_documented_shape():
    line = CueDraft(0, 900, "hello", "en", (Word("hello", 100, 800, 0.5),))
    assert captions.to_json([line], 1_000) == {
        "language": "en",
        "duration_ms": 1_000,
        "cues": [
            {
                "start_ms": 0,
                "end_ms": 900,
                "text": "hello",
                "lang": "en",
                "words": [{"text": "hello", "start_ms": 100, "end_ms": 800, "probability": 0.5}],
            }
        ],
    }


def test_the_main_language_is_that_of_most_text():
    lines = [CueDraft(0, 1, "hi", "en"), CueDraft(1, 2, "你好欢迎来到北京", "zh"), CueDraft(2, 3, "ok", "en")]
    assert captions.main_language(lines) == "zh"
    assert "<lang en>hi</lang>" in captions.to_vtt(lines)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "no caption"),
        (b"WEBVTT\n", "no caption"),
        (b"hello", "no caption"),
        (b"1\n00:00:01 --> soon\nx\n", "Line 2"),
        (b"1\n00:00:02,000 --> 00:00:01,000\nx\n", "ends before"),
        (b"\xff\xff\xff", "UTF-8"),
        (b'{"cues": [{"text": "x"}]}', "not a transcript"),
        (b"{", "not a transcript"),
    ],
)
def test_what_is_no_captions_is_refused_saying_why(data, part):
    with pytest.raises(UnreadableCaptionsError, match=part):
        captions.read_captions(data)


def test_utf16_captions_are_read():
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\n你好\n"
    assert captions.read_captions(text.encode("utf-16"), "zh") == [CueDraft(1_000, 2_000, "你好", "zh")]


@pytest.mark.parametrize("name", captions.FORMATS)
def test_every_format_writes_text(name):
    assert "hello" in captions.FORMATS[name].write([CueDraft(0, 1_000, "hello", "en")], 1_000)
