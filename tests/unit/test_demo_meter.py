from datetime import UTC, datetime

import pytest

from streamarchive.demo.control import Spoken
from streamarchive.demo.meter import _Caption, _ends_with, _units

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def said(text, lang="en"):
    return Spoken(1, text, lang, "guest", requested=False, started_at=NOW, ended_at=NOW)


def shown(text):
    return _Caption(text, 0, 1_000, NOW)


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [
        ("The brakes are very quiet.", "The brakes are very quiet."),
        ("and the brakes are very quite noisy", "The brakes are very noisy."),
        ("Why? The brakes are very quiet. I love it.", "The brakes are very quiet."),
        ("激光雷达越来越便宜。", "其实，激光雷达越来越便宜。"),
    ],
)
def test_a_caption_with_the_words_of_its_end_brings_a_sentence(caption, sentence):
    assert _ends_with(shown(caption), said(sentence))


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [
        ("The brakes are", "The brakes are reliable because I love the dealer."),
        ("", "The brakes are very quiet."),
        ("激光雷达", "激光雷达越来越便宜。"),
    ],
)
def test_a_caption_of_its_beginning_or_of_something_else_does_not(caption, sentence):
    assert not _ends_with(shown(caption), said(sentence))


def test_english_counts_by_words_and_mandarin_by_characters():
    assert _units("I'm at the 智能座舱!") == ["i'm", "at", "the", *"智能座舱"]
