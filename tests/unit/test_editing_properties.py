"""What holds for any machine run, any edits in any order, and any later runs."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from streamarchive.editing.operations import clean, edit, merge, restore, split
from streamarchive.editing.overlay import Held, overlay
from streamarchive.editing.units import joined, sealed, units
from streamarchive.models import CueDraft, Word
from streamarchive.text import tokens
from tests.unit.transcripts import NEW, Transcript, act, again, compose, retyped, runs

paces = st.randoms(use_true_random=False)
LONG = settings(max_examples=100)


def in_order(line: CueDraft) -> bool:
    marks = [line.start_ms, *(ms for word in line.words for ms in (word.start_ms, word.end_ms)), line.end_ms]
    return marks == sorted(marks)


def times(line: CueDraft) -> list[tuple[int, int]]:
    return [(word.start_ms, word.end_ms) for word in line.words]


def distinct(line: CueDraft) -> CueDraft:
    """Its words, each once: then it is plain which of them an edit has left alone."""
    said = {token.text: word for word in line.words for token in tokens(word.text)[:1]}
    words = sorted(set(said.values()), key=lambda word: word.start_ms)
    return replace(line, text=compose([word.text for word in words]), words=tuple(words))


def retyped_by_word(line: CueDraft, pace: random.Random) -> list[str | Word]:
    """Words taken out and others put in; those left alone are the line's own."""
    typed: list[str | Word] = list(line.words)
    for _ in range(pace.randrange(1, 4)):
        at = pace.randrange(len(typed) + 1)
        if pace.random() < 0.5 and at < len(typed) and len(typed) > 1:
            del typed[at]
        else:
            typed.insert(at, pace.choice(NEW))
    return typed


def bare(text: str) -> str:
    return "".join(text.split())


@given(runs(1))
def test_a_line_is_its_units_and_these_have_its_words(run: list[CueDraft]) -> None:
    line = run[0]
    assert "".join(unit.surface for unit in units(line)) == line.text
    assert joined(unit.surface for unit in sealed(units(line))) == line.text
    assert tuple(unit.word for unit in units(line)) == line.words


@given(runs(1), paces)
@LONG
def test_an_edited_line_has_the_typed_text_and_words_in_order(run: list[CueDraft], pace: random.Random) -> None:
    text = retyped(run[0].text, pace)
    line = edit(run[0], text).line
    assert line.text == clean(text)
    assert in_order(line)
    assert joined(unit.surface for unit in units(line)) == line.text
    assert [unit.word for unit in units(line)] == list(line.words)


@given(runs(1), paces)
@LONG
def test_words_left_alone_keep_their_times_to_the_millisecond(run: list[CueDraft], pace: random.Random) -> None:
    line = distinct(run[0])
    typed = retyped_by_word(line, pace)
    alone = [word for word in typed if isinstance(word, Word)]
    new = compose([word.text if isinstance(word, Word) else word for word in typed])
    assert [word for word in edit(line, new).line.words if word in line.words] == alone


@given(runs(1), paces)
@LONG
def test_typing_the_old_text_again_gives_its_words_their_old_times(
    run: list[CueDraft], pace: random.Random
) -> None:
    line = distinct(run[0])
    typed = retyped_by_word(line, pace)
    new = compose([word.text if isinstance(word, Word) else word for word in typed])
    done = edit(line, new)
    again = edit(done.line, line.text, done.struck)
    assert again.line.text == line.text
    assert times(again.line) == times(line)
    assert set(again.lifted) == set(done.struck)


@given(runs(1), paces)
@LONG
def test_restoring_a_line_gives_back_all_of_it_locked_where_it_differs(
    run: list[CueDraft], pace: random.Random
) -> None:
    line = run[0]
    done = edit(line, retyped(line.text, pace))
    back = restore(done.line, line, done.struck)
    assert back.line.text == line.text
    assert times(back.line) == times(line)
    assert [word.text for word in back.line.words] == [word.text for word in line.words]
    assert all(word.locked for word in back.line.words if word not in done.line.words)
    assert set(back.lifted) == set(done.struck)


@given(runs(1), st.data())
@LONG
def test_split_and_merge_lose_no_character_and_no_time(run: list[CueDraft], data: st.DataObject) -> None:
    line = run[0]
    places = [at for at in range(len(line.text)) if line.text[:at].strip() and line.text[at:].strip()]
    if not places:
        return
    offset = data.draw(st.sampled_from(places))
    halves = split(line, offset)
    first, second = halves.first, halves.second
    assert bare(first.text) + bare(second.text) == bare(line.text)
    assert in_order(first)
    assert in_order(second)
    assert first.end_ms <= second.start_ms
    whole = merge(first, second)
    assert bare(whole.text) == bare(line.text)
    assert (whole.start_ms, whole.end_ms) == (line.start_ms, line.end_ms)
    assert in_order(whole)
    assert sum(word not in whole.words for word in line.words) <= 1


@given(runs(), paces, st.integers(1, 8), st.lists(runs(), min_size=1, max_size=3))
@LONG
def test_human_words_outlive_every_later_run(
    run: list[CueDraft], pace: random.Random, edits: int, later: list[list[CueDraft]]
) -> None:
    """Runs that hear something else entirely, with edits in between."""
    transcript = Transcript.of(run)
    for heard in later:
        for _ in range(edits):
            act(transcript, pace)
        adopt_keeping_what_people_did(transcript, heard)


def adopt_keeping_what_people_did(transcript: Transcript, heard: list[CueDraft]) -> None:
    """Locked words, lines that were read, times and speakers of human lines are after a run what they were."""
    locked = transcript.locked()
    read = [line.draft for line in transcript.lines if line.read]
    borders = [(x.draft.start_ms, x.draft.end_ms, x.draft.speaker) for x in transcript.lines if x.human]
    transcript.adopt(heard)
    assert transcript.locked() == locked
    assert [line.draft for line in transcript.lines if line.read] == read
    now = [(x.draft.start_ms, x.draft.end_ms, x.draft.speaker) for x in transcript.lines if x.human]
    assert now == borders
    assert all(in_order(line.draft) for line in transcript.lines)
    assert all(line.draft.text.strip() for line in transcript.lines)


@given(runs(), paces, st.lists(runs(), min_size=6, max_size=12))
@settings(max_examples=20)
def test_long_histories_of_runs_and_edits_lose_nothing_that_people_did(
    run: list[CueDraft], pace: random.Random, later: list[list[CueDraft]]
) -> None:
    """Models that hear something else, and the same words again a little earlier or later."""
    transcript, heard = Transcript.of(run), run
    for other in later:
        for _ in range(pace.randrange(4)):
            act(transcript, pace)
        heard = pace.choice((other, again(heard, pace)))
        adopt_keeping_what_people_did(transcript, heard)


def test_a_line_of_which_a_person_has_left_a_sign_alone_stays_when_something_is_heard_in_it() -> None:
    transcript = Transcript.of([CueDraft(0, 900, "好，", "zh", (Word("好，", 0, 900, 0.9),))])
    transcript.edit(0, "，")
    transcript.retime(0, 0, 3_000)
    for word in ("大家", "我们"):
        adopt_keeping_what_people_did(
            transcript, [CueDraft(1_500, 2_500, word, "zh", (Word(word, 1_500, 2_500),))]
        )
        assert transcript.said == [*word]


@given(runs(), paces, st.integers(1, 8))
@LONG
def test_the_same_words_heard_again_change_nothing_that_people_did(
    run: list[CueDraft], pace: random.Random, edits: int
) -> None:
    """So a word that was taken out stays out, and nothing is said twice at the borders of lines."""
    transcript = Transcript.of(run)
    for _ in range(edits):
        act(transcript, pace, times=False)
    said = transcript.said
    transcript.adopt(again(run, pace))
    assert transcript.said == said
    transcript.adopt(again(run, pace))
    assert transcript.said == said


@given(runs(), paces)
def test_nothing_of_the_machine_is_lost_where_nobody_has_been(run: list[CueDraft], pace: random.Random) -> None:
    heard = again(run, pace)
    far = Held(CueDraft(90_000, 91_000, "Tesla", "en", (Word("Tesla", 90_000, 91_000, None, True),)))
    laid = overlay([far], [], heard, run)
    assert laid.held == (far.line,)
    assert list(laid.machine) == heard
