from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from streamarchive.transcription.windows import CuttingRules, Span, SpeechTracker, WindowPlanner

RULES = CuttingRules(pause=10, shortest=3, padding=7, longest=100, widest_pause=40)
PROBABILITIES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.6, 1.0]), st.integers(1, 60)), max_size=30
).map(lambda runs: [p for p, count in runs for _ in range(count)])


def plan(probabilities, rules=RULES, pieces=(7,)):
    """Spans and windows when the probabilities come in pieces of these sizes, over and over."""
    tracker, planner = SpeechTracker(rules), WindowPlanner(rules)
    spans, windows, at, turn = [], [], 0, 0
    while at < len(probabilities):
        size = pieces[turn % len(pieces)]
        found = tracker.feed(probabilities[at : at + size])
        spans += found
        windows += planner.feed(found, tracker.earliest_needed)
        at, turn = at + size, turn + 1
    found = tracker.finish()
    spans += found
    windows += [*planner.feed(found, tracker.frames), *planner.finish()]
    return spans, windows


@given(PROBABILITIES)
def test_spans_and_windows_are_in_order_and_never_overlap(probabilities):
    for found in plan(probabilities):
        assert all(span.start < span.end for span in found)
        assert all(before.end <= after.start for before, after in pairwise(found))


@given(PROBABILITIES)
def test_no_window_is_longer_than_the_recogniser_takes_or_leaves_the_audio(probabilities):
    spans, windows = plan(probabilities)
    assert all(span.end - span.start <= RULES.longest + RULES.padding for span in spans)
    assert all(w.start >= 0 and w.end - w.start <= RULES.longest + RULES.padding for w in windows)
    assert all(w.end <= len(probabilities) for w in windows)


@given(PROBABILITIES)
def test_every_span_of_speech_lies_in_exactly_one_window(probabilities):
    spans, windows = plan(probabilities)
    for span in spans:
        assert sum(w.start <= span.start and span.end <= w.end for w in windows) == 1


@example([1.0] * (RULES.longest + 1) + [0.0] * 20)  # what is left behind a cut is shorter than noise may be
@given(PROBABILITIES)
def test_certain_speech_of_some_length_is_never_lost(probabilities):
    _, windows = plan(probabilities)
    run = 0
    for frame, probability in enumerate([*probabilities, 0.0]):
        if probability == 1.0:
            run += 1
            continue
        if run >= RULES.shortest:
            covered = {f for w in windows for f in range(w.start, w.end)}
            assert set(range(frame - run, frame)) <= covered
        run = 0


@example([0.6] * 3 + [0.0] * 46 + [0.6] * 3, [1])  # a pause that only the padding makes short enough
@given(PROBABILITIES, st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_the_result_does_not_depend_on_how_the_audio_is_cut_into_pieces(probabilities, pieces):
    assert plan(probabilities, pieces=tuple(pieces)) == plan(probabilities, pieces=(10_000,))


@given(PROBABILITIES)
def test_what_may_be_forgotten_is_never_needed_again(probabilities):
    tracker = SpeechTracker(RULES)
    needed = 0
    for probability in probabilities:
        for span in tracker.feed([probability]):
            assert span.start >= needed
        needed = tracker.earliest_needed
    assert all(span.start >= needed for span in tracker.finish())


def test_silence_has_no_windows():
    assert plan([0.01] * 500) == ([], [])


def test_a_click_is_not_speech():
    assert plan([0.0] * 20 + [0.9] * 2 + [0.0] * 40) == ([], [])


def test_speech_gets_air_on_both_sides():
    spans, _ = plan([0.0] * 50 + [1.0] * 30 + [0.0] * 50)
    assert spans[0].start == 43
    assert 80 < spans[0].end <= 87


def test_a_long_speech_is_cut_where_the_voice_was_weakest():
    spans, _ = plan([0.0] * 10 + [1.0] * 70 + [0.6] + [1.0] * 60 + [0.0] * 20)
    assert spans[0].end == 80
    assert spans[1].start == 80


def test_a_long_pause_begins_a_new_window():
    spans, windows = plan([1.0] * 10 + [0.0] * 60 + [1.0] * 10 + [0.0] * 20)
    assert windows == spans
    assert len(windows) == 2


def test_short_pauses_stay_inside_a_window():
    spans, windows = plan([1.0] * 10 + [0.0] * 20 + [1.0] * 10 + [0.0] * 20)
    assert windows == [Span(spans[0].start, spans[1].end)]


def test_a_speaker_who_does_not_pause_can_be_cut_short():
    tracker = SpeechTracker(RULES)
    assert tracker.cut() is None
    assert tracker.feed([1.0] * 40) == []
    assert tracker.cut() == Span(0, 40)
    assert tracker.feed([1.0] * 20 + [0.0] * 12)[0].start == 40
