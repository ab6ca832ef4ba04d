"""Editing by example: what an editor sees happen."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamarchive.editing.operations import edit, exchange, insert, merge, retime, split
from streamarchive.editing.overlay import Held, beside, overlay
from streamarchive.editing.transplant import transplant
from streamarchive.editing.units import joined, units
from streamarchive.errors import EditError
from streamarchive.models import CueDraft, Word
from streamarchive.text import tokens
from tests.unit.transcripts import again, compose, runs
from tests.unit.transcripts import timed as random_line


def line(start_ms: int, *words: str, probability: float = 0.5) -> CueDraft:
    """Each word takes 300 ms; they follow one another at once."""
    said = tuple(Word(w, start_ms + 300 * n, start_ms + 300 * n + 300, probability) for n, w in enumerate(words))
    return CueDraft(start_ms, start_ms + 300 * len(words), compose(words), "zh", said)


def marks(draft: CueDraft) -> list[tuple[str, int, int, str]]:
    return [(w.text, w.start_ms, w.end_ms, "L" * w.locked + "e" * w.estimated) for w in draft.words]


def test_a_replaced_word_takes_the_time_of_the_old_one() -> None:
    done = edit(line(0, "我们", "测试", "智能", "做", "舱。"), "我们测试智能座舱。")
    assert marks(done.line)[2:] == [("智能", 600, 900, ""), ("座", 900, 1200, "Le"), ("舱。", 1200, 1500, "")]
    assert [word.text for word in done.struck] == ["做"]


def test_two_words_for_one_share_its_time_and_one_for_two_has_both() -> None:
    assert marks(edit(line(0, "a", "gonna", "b"), "a going to b").line)[1:3] == [
        ("going", 300, 514, "Le"),
        ("to", 514, 600, "Le"),
    ]
    assert marks(edit(line(0, "a", "Bay", "Jing", "b"), "a Beijing b").line)[1] == ("Beijing", 300, 900, "Le")


def test_capitals_and_signs_lock_a_word_and_leave_its_time() -> None:
    done = edit(line(0, "hello", "world"), "Hello world!")
    assert marks(done.line) == [("Hello", 0, 300, "L"), ("world!", 300, 600, "L")]
    assert done.struck == ()


def test_new_words_in_a_pause_stand_next_to_a_word_not_all_over_it() -> None:
    words = (Word("yes", 0, 300), Word("no", 9000, 9300))
    done = edit(CueDraft(0, 9300, "yes no", "en", words), "yes indeed no")
    assert marks(done.line)[1] == ("indeed", 300, 720, "Le")


def test_a_caption_without_word_times_can_be_edited() -> None:
    done = edit(CueDraft(1000, 3000, "the car 智能", "en"), "the bus 智能")
    assert done.line.text == "the bus 智能"
    assert [word.start_ms for word in done.line.words] == sorted(word.start_ms for word in done.line.words)
    assert [word.text for word in done.line.words if word.locked] == ["bus"]


def test_words_in_another_script_than_the_text_keep_their_times() -> None:
    traditional = CueDraft(0, 600, "汽车", "zh", (Word("汽", 0, 300), Word("車", 300, 600)))
    assert [unit.word.start_ms for unit in units(traditional)] == [0, 300]


def test_a_split_inside_a_word_shares_its_time() -> None:
    halves = split(line(0, "自动驾驶"), 1)
    assert [word.text for word in halves.struck] == ["自动驾驶"]
    assert (marks(halves.first), marks(halves.second)) == ([("自", 0, 75, "Le")], [("动驾驶", 75, 300, "Le")])


@pytest.mark.parametrize("offset", [-1, 0, 2, 3, 99])
def test_a_split_that_leaves_nothing_is_refused(offset: int) -> None:
    with pytest.raises(EditError):
        split(CueDraft(0, 100, "ab ", "en"), offset)


def test_merging_puts_a_space_where_one_belongs() -> None:
    assert merge(line(0, "智能"), line(300, "座舱")).text == "智能座舱"
    assert merge(line(0, "smart"), line(300, "cockpit")).text == "smart cockpit"


def test_moving_a_line_moves_its_words_and_moving_an_end_does_not() -> None:
    said = line(1000, "a", "b")
    assert marks(retime(said, 1500, 2100)) == [("a", 1500, 1800, ""), ("b", 1800, 2100, "")]
    assert marks(retime(said, 1000, 1500)) == [("a", 1000, 1300, ""), ("b", 1300, 1500, "e")]
    assert marks(retime(said, 9000, 9400)) == [("a", 9000, 9200, "e"), ("b", 9200, 9400, "e")]


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5)])
def test_impossible_times_are_refused(start: int, end: int) -> None:
    with pytest.raises(EditError):
        insert(start, end, "x", "en")


def test_the_machine_improves_around_and_keeps_out_of_what_is_locked() -> None:
    done = edit(line(0, "我们", "测", "智能", "做", "舱。"), "我们测智能座舱。")
    later = line(40, "我们", "测试", "智能", "作", "苍。", "对。")
    laid = overlay([Held(done.line)], done.struck, [later])
    assert [draft.text for draft in (*laid.held, *laid.machine)] == ["我们测试智能座苍。", "对。"]


def test_an_estimated_time_is_measured_where_the_machine_hears_the_same_word() -> None:
    done = edit(line(0, "in", "Bay", "Jing", "now"), "in Beijing now")
    laid = overlay([Held(done.line)], done.struck, [line(20, "in", "Beijing", "now")])
    assert laid.held[0].text == "in Beijing now"
    assert marks(laid.held[0])[1] == ("Beijing", 320, 620, "L")


def test_a_machine_line_is_cut_where_a_persons_line_stands() -> None:
    inserted = insert(600, 900, "(laughs)", "en")
    words = (*line(0, "a", "b").words, *line(900, "c", "d").words)
    laid = overlay([Held(inserted)], [], [CueDraft(0, 1500, "a b c d", "en", words)])
    assert [(d.text, d.start_ms, d.end_ms) for d in laid.machine] == [("a b", 0, 600), ("c d", 900, 1500)]


def test_a_run_that_hears_nothing_leaves_a_persons_line_whole() -> None:
    done = edit(line(0, "the", "car"), "the bus")
    assert overlay([Held(done.line)], done.struck, [line(60_000, "far", "away")]).held == (done.line,)


def test_words_heard_live_stand_beside_those_of_people() -> None:
    found = beside([insert(600, 900, "(laughs)", "en")], [Word("um", 1200, 1500)], [line(0, *"abcdef")])
    assert [draft.text for draft in found] == ["a b", "d", "f"]


def test_a_suggestion_is_made_only_by_a_sure_machine_with_something_new_to_say() -> None:
    done = edit(line(0, "in", "Bay", "Jing", "now"), "in Beijing now")

    def suggested(*words: str, probability: float) -> list[str]:
        laid = overlay([Held(done.line)], done.struck, [line(0, *words, probability=probability)])
        return [suggestion.heard for suggestion in laid.suggestions]

    assert suggested("in", "Nan", "Jing", "now", probability=0.95) == ["Nan Jing"]
    assert suggested("in", "Nan", "Jing", "now", probability=0.5) == []
    assert suggested("in", "Bay", "Jing", "now", probability=0.95) == []
    assert suggested("in", "Beijing", "now", probability=0.95) == []


def test_what_a_machine_suggests_takes_the_place_of_the_words_spoken_there() -> None:
    twice = line(0, "the", "car", "and", "the", "car")
    assert exchange(twice, 1200, "car", "bus") == "the car and the bus"
    assert exchange(twice, 310, "car", "bus") == "the bus and the car"
    assert exchange(line(0, "我们", "去", "南京。"), 600, "南京", "北京") == "我们去北京。"
    with pytest.raises(EditError, match="by hand"):
        exchange(twice, 0, "cab", "bus")


def test_a_correction_lands_on_the_line_that_now_has_its_words() -> None:
    base = line(0, "我们", "测试", "智能", "做", "舱。", "很", "好")
    now = [Held(line(0, "我们", "测试")), Held(line(600, "智能", "作", "舱。", "真", "好"))]
    assert transplant(base, "我们测试智能座舱。很好", now) == ("我们测试", "智能座舱。真好")
    assert transplant(base, "测试智能做舱。很好", now) == ("测试", "智能作舱。真好")


def test_a_correction_gives_way_to_what_another_person_has_decided() -> None:
    base = line(0, "in", "Bay", "Jing", "now")
    other = edit(line(0, "in", "Bay", "Jing", "now"), "in Nanjing now").line
    assert transplant(base, "in Beijing now", [Held(other)]) is None
    assert transplant(base, "in Bay Jing today", [Held(other)]) == ("in Nanjing today",)
    assert transplant(base, "in Beijing now", [Held(base, read=True)]) is None
    assert transplant(base, "in Beijing now", []) is None


@given(runs(1), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_a_correction_is_carried_over_whole_to_the_same_words_in_other_lines(
    run: list[CueDraft], pace: random.Random
) -> None:
    base = run[0]
    said = [word.text for word in base.words]
    at = pace.randrange(len(said))
    said[at : at + pace.randrange(2)] = [pace.choice(("Tesla", "比亚迪"))]
    now = again(run, pace)
    texts = transplant(base, compose(said), [Held(draft) for draft in now])
    assert texts is not None
    assert [t.text for text in texts for t in tokens(text)] == [t.text for t in tokens(compose(said))]


def test_a_line_of_any_length_is_its_units() -> None:
    pace = random.Random(7)
    long = random_line([pace.choice(("智能", "car,", "“the”", "的。")) for _ in range(400)], 0, pace, "en")
    assert joined(unit.surface for unit in units(long)) == long.text
