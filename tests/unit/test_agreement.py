"""Captions before the pause: what stands, what may still change, and what it costs."""

from itertools import pairwise

import pytest

from streamarchive.transcription import live
from streamarchive.transcription.live import AgreementPolicy, PausePolicy
from streamarchive.transcription.pace import Pace, PaceRules, Rung
from tests.unit.tape import Clock, Tape, TapeEngine, fed, sentence

SENTENCE = "The smart cockpit listens before it answers."


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(live.time, "monotonic", made.monotonic)
    return made


def texts(steps):
    return [cue.text for step, _ in steps for cue in step.cues]


async def heard(tape, engine, policy):
    steps = await fed(policy, tape.sound())
    steps += [(step, tape.length_ms) for step in await policy.finish()]
    return steps


async def test_a_sentence_stands_while_its_speaker_goes_on(clock):
    tape = Tape.of(f"{SENTENCE} Now we go on and on without a pause.")
    engine = TapeEngine(tape, clock)
    steps = await heard(tape, engine, AgreementPolicy(engine, ("en",), 0))
    assert " ".join(texts(steps)) == f"{SENTENCE} Now we go on and on without a pause."
    first_ms = next(at for step, at in steps if step.cues)
    assert 7 * 320 < first_ms < 7 * 320 + 3_000


@pytest.mark.parametrize("word_ms", [192, 320, 448])
async def test_every_word_is_said_once_and_in_order_however_the_sound_is_cut(clock, word_ms):
    tape = Tape.of(*[f"{sentence(8, n)} {sentence(15, 99 + n)}" for n in range(1, 7)], word_ms=word_ms)
    for piece_ms in (64, 200, 1_000, 7_000):
        engine = TapeEngine(tape, clock)
        policy = AgreementPolicy(engine, ("en",), 0)
        steps = await fed(policy, tape.sound(), piece_ms)
        steps += [(step, 0) for step in await policy.finish()]
        assert " ".join(texts(steps)).split() == [word.text for word in tape.words]
        cues = [cue for step, _ in steps for cue in step.cues]
        assert all(before.end_ms <= after.start_ms for before, after in pairwise(cues))


async def test_provisional_text_grows_and_goes_when_the_line_stands(clock):
    tape = Tape.of(SENTENCE, word_ms=400)
    engine = TapeEngine(tape, clock)
    steps = await heard(tape, engine, AgreementPolicy(engine, ("en",), 0))
    said = [step.said for step, _ in steps if step.said is not None]
    assert said[-1].text == ""
    shown = [one for one in said if one.text]
    assert len(shown) == 2
    assert SENTENCE.startswith(shown[1].text[: shown[1].certain])
    assert shown[1].certain >= len("The smart cockpit")
    assert texts(steps) == [SENTENCE]


async def test_open_speech_is_heard_at_most_once_a_second_and_silence_never(clock):
    tape = Tape.of(SENTENCE, lead_ms=20_000)
    engine = TapeEngine(tape, clock)
    await heard(tape, engine, AgreementPolicy(engine, ("en",), 0))
    assert len(engine.windows) <= 1 + 7 * 320 // 1_000
    assert all(window.start_ms >= 19_000 for window in engine.windows)


async def test_where_nobody_ends_a_sentence_what_is_agreed_upon_stands_after_25_s(clock):
    tape = Tape.of(sentence(200))
    engine = TapeEngine(tape, clock)
    steps = await heard(tape, engine, AgreementPolicy(engine, ("en",), 0))
    assert " ".join(texts(steps)).split() == [word.text for word in tape.words]
    assert max(len(window.samples) for window in engine.windows) <= 29 * 16_000
    first_ms = next(at for step, at in steps if step.cues)
    assert 25_000 <= first_ms < 27_000


async def test_what_follows_in_one_breath_is_prompted_and_what_follows_a_pause_is_not(clock):
    tape = Tape.of(f"{SENTENCE} Now we go on and on without a pause.", "And here is more.")
    engine = TapeEngine(tape, clock)
    await heard(tape, engine, AgreementPolicy(engine, ("en",), 0))
    prompts = {window.prompt for window in engine.windows if window.start_ms > 1_000}
    assert prompts == {SENTENCE, None}
    assert engine.windows[-1].prompt is None


async def test_at_pauses_both_policies_hear_the_same(clock):
    tape = Tape.of(*["Short it is."] * 5, pause_ms=800)
    answers = []
    for kind in (PausePolicy, AgreementPolicy):
        engine = TapeEngine(tape, clock)
        steps = await heard(tape, engine, kind(engine, ("en",), 0))
        answers.append([(cue.start_ms, cue.end_ms, cue.text) for step, _ in steps for cue in step.cues])
    assert answers[0] == answers[1]


# --- falling behind -----------------------------------------------------------------------------------------


async def on_air(tape, engine, pace):
    """A broadcast in real time; what is left out. As the live transcriber does it."""
    sound, policy, skipped, steps = tape.sound(), AgreementPolicy(engine, ("en",), 0, pace), [], []
    fed_ms, clock, worst = 0, engine.clock, Rung.FULL
    while fed_ms < len(sound) // 16:
        clock.seconds = max(clock.seconds, fed_ms / 1000 + 0.2)
        newest = min(int(clock.seconds * 1000), len(sound) // 16)
        piece = sound[fed_ms * 16 : min(newest, fed_ms + 25_000) * 16]
        fed_ms += len(piece) // 16
        steps += [(step, clock.seconds) for step in await policy.feed(piece)]
        pace.arrived(min(int(clock.seconds * 1000), len(sound) // 16))
        worst = max(worst, pace.rung)
        if pace.is_hopeless:
            skipped.append((fed_ms, pace.newest_ms))
            fed_ms = pace.newest_ms
            pace.skipped_to(fed_ms)
            policy = AgreementPolicy(engine, ("en",), fed_ms, pace)
    steps += [(step, clock.seconds) for step in await policy.finish()]
    return steps, skipped, worst


@pytest.mark.parametrize(
    ("slowness", "worst", "skips"),
    [(0.05, Rung.FULL, False), (0.5, Rung.PLAIN, False), (0.9, Rung.NARROW, False), (1.5, Rung.SKIPPING, True)],
)
async def test_the_slower_the_engine_the_more_is_left_out_and_captions_stay_near(clock, slowness, worst, skips):
    tape = Tape.of(*[f"{sentence(7, n)} {sentence(7, 99 + n)}" for n in range(1, 81)], pause_ms=1_500)
    engine = TapeEngine(tape, clock, slowness=slowness)
    pace = Pace()
    steps, skipped, reached = await on_air(tape, engine, pace)
    assert reached <= worst
    assert bool(skipped) is skips
    for step, at in steps:
        for cue in step.cues:
            assert at - cue.end_ms / 1000 < 100
    told = [word for text in texts(steps) for word in text.split()]
    if not skips:
        assert told == [word.text for word in tape.words]
    else:
        left_out = sum(end - start for start, end in skipped)
        assert 0.2 < left_out / tape.length_ms < 0.6
        assert {options.beam_size for options in engine.options} == {2, 1}


async def test_a_backlog_that_a_fast_engine_can_work_off_is_not_left_out(clock):
    tape = Tape.of(*[sentence(7, n) for n in range(100)])
    clock.seconds = tape.length_ms / 1000
    engine = TapeEngine(tape, clock, slowness=0.2)
    steps, skipped, _ = await on_air(tape, engine, Pace())
    assert skipped == []
    assert len(" ".join(texts(steps)).split()) == len(tape.words)


async def test_the_step_grows_with_what_a_hearing_costs_until_there_is_no_provisional_text(clock):
    tape = Tape.of(" ".join(sentence(7, n) for n in range(30)))
    starts = []
    for fixed_s in (0.1, 1.0, 5.0):
        engine = TapeEngine(tape, clock, fixed_s=fixed_s)
        pace = Pace()
        clock.seconds = 0
        await on_air(tape, engine, pace)
        starts.append(len(engine.windows))
    assert pace.step_ms is None
    assert starts[0] > 1.5 * starts[1] > 2 * starts[2]


def test_it_climbs_one_rung_at_a_time_and_only_when_it_has_been_calm():
    pace = Pace(PaceRules(calm_after_ms=10_000))
    pace.arrived(20_000)
    pace.took(1_000)
    assert pace.rung is Rung.NARROW
    pace.took(20_000)
    rungs = []
    for at_ms in range(21_000, 45_000, 1_000):
        pace.took(at_ms)
        rungs.append(pace.rung)
    assert rungs == sorted(rungs, reverse=True)
    assert set(rungs) == {Rung.NARROW, Rung.PLAIN, Rung.FULL}
    assert rungs.index(Rung.PLAIN) >= 9
