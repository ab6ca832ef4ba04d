"""What the demo recogniser is trained to hear, and what is kept from it."""

import json
from collections import Counter

import pytest

from streamarchive.demo.grammar import LANGUAGES, grammar
from tools.demo_model.sentences import TESTS, examination, training


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture(scope="module")
def lines(language):
    return training(language, 3_000, 1)


def test_the_same_seed_gives_the_same_sentences(language, lines):
    assert training(language, 3_000, 1) == lines
    assert training(language, 3_000, 2) != lines


def test_nothing_of_the_examination_or_of_the_tests_is_in_the_training(language, lines):
    trained = {line.text for line in lines}
    known = examination(language, 60, 5, heard_templates=True)
    held_out = examination(language, 60, 5, heard_templates=False)
    assert len({*known, *held_out}) == 120
    listed = json.loads(TESTS.read_text(encoding="utf-8"))[language]
    of_the_tests = [text for texts in listed.values() for text in texts]
    assert len(of_the_tests) > 20
    assert not trained & {*known, *held_out, *of_the_tests}


def test_greetings_are_said_as_often_as_anything_else(language, lines):
    words = grammar(language)
    whole = Counter(line.text for line in lines if line.kind == "whole")
    greeting = next(template.text for template in words.courtesies if not template.slots)
    templates = len(words.questions) + len(words.answers) + len(words.courtesies)
    assert whole[greeting] > 0.5 * whole.total() / templates


def test_some_mandarin_sentences_have_english_words(language, lines):
    switched = [line.text for line in lines if line.kind == "switched"]
    assert bool(switched) == (language == "zh")
    assert all(any(character.isascii() and character.isalpha() for character in text) for text in switched)


def test_words_within_switched_sentences_are_known_in_their_own_language():
    words = grammar("zh")
    known = set("".join(words.vocabulary()))
    english = grammar("en").vocabulary() | {"car", "talk"}
    for template in words.switched:
        for piece in (*template.literals, *(phrase for slot in template.slots for phrase in words.slots[slot])):
            assert {c for c in piece if "\u4e00" <= c <= "\u9fff"} <= known
            assert {w.lower() for w in piece.split() if w.isascii() and w.isalpha()} <= english
