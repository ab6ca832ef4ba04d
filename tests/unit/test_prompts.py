"""What the recogniser is told before it listens, and what of it it only repeats."""

from datetime import UTC, datetime

import pytest

from streamarchive.glossaries import Entry
from streamarchive.models import Event, Interview, InterviewId, Person, Stage, Visibility, Word
from streamarchive.protocols import Expectation, Line, WindowResult
from streamarchive.transcription import cues, guards, prompts, vocabulary


def interview(guests=(), event=None):
    moment = datetime(2026, 11, 25, tzinfo=UTC)
    return Interview(
        id=InterviewId("0123456789"),
        slug="",
        titles={},
        descriptions={},
        languages=("zh", "en"),
        visibility=Visibility.DRAFT,
        stage=Stage.READY,
        held_at=moment,
        event=event,
        guests=tuple(guests),
        recording_id=None,
        in_ms=None,
        out_ms=None,
        created_at=moment,
        updated_at=moment,
    )


def test_guests_come_first_then_the_event_then_names_then_terms():
    guest = Person(1, {"en": "Zhang Wei", "zh": "张伟"}, {"en": "Blue River"})
    event = Event(1, {"en": "Car Summit", "zh": "汽车峰会"})
    terms = [
        Entry("lidar", "en", {"zh": "激光雷达"}),
        Entry("Sparkle 7", "en", {}, is_name=True),
        Entry("智能座舱", "zh", {"en": "smart cockpit"}),
    ]
    found = vocabulary.expected([interview([guest], event)], terms, ("zh", "en"))
    assert found["en"].words == ("Zhang Wei", "Blue River", "Car Summit", "Sparkle 7", "lidar", "smart cockpit")
    assert found["zh"].words == ("张伟", "Blue River", "汽车峰会", "Sparkle 7", "激光雷达", "智能座舱")


def test_only_chinese_is_opened_with_a_sentence():
    assert vocabulary.expected([], [], ("zh", "en")) == {"zh": Expectation("以下是普通话的句子。")}


def characters(text):
    return [ord(character) for character in text]


def written(tokens):
    return "".join(map(chr, tokens))


def test_what_matters_most_stands_next_to_what_was_said():
    told = prompts.prompt(characters, "en", Expectation("", ("Zhang Wei", "lidar")), "So we began.")
    assert written(told.tokens) == " lidar, Zhang Wei. So we began."
    assert told.words == ("Zhang Wei", "lidar")


def test_chinese_is_listed_as_it_is_written():
    told = prompts.prompt(characters, "zh", Expectation("以下是普通话的句子。", ("张伟", "激光雷达")))
    assert written(told.tokens) == " 以下是普通话的句子。激光雷达、张伟。"


def test_words_that_do_not_fit_are_left_out_and_what_was_said_keeps_its_room():
    words = ("first", "x" * 150, *(f"word{n:02}" for n in range(50)))
    told = prompts.prompt(characters, "en", Expectation("", words), "said before " * 40)
    assert told.words[:2] == ("first", "word00")
    assert "x" * 150 not in told.words
    listed = written(told.tokens).split("first.")[0] + "first."
    assert prompts.EXPECTED_TOKENS - 10 < len(listed) <= prompts.EXPECTED_TOKENS
    assert len(told.tokens) == prompts.LONGEST


def test_nothing_expected_and_nothing_said_is_no_prompt():
    assert prompts.prompt(characters, "en", Expectation(), "  ") == prompts.Prompt()


TOLD = ("张伟", "智能座舱", "Zhang Wei", "Blue River")


@pytest.mark.parametrize("text", ["Zhang Wei.", "Blue River, Zhang Wei.", "智能座舱、张伟。"])
@pytest.mark.parametrize(("no_speech", "logprob", "sure"), [(0.9, -0.2, 0.9), (0.1, -1.4, 0.9), (0.1, -0.2, 0.1)])
def test_an_echo_is_nothing_but_the_told_and_unsure(text, no_speech, logprob, sure):
    words = (Word("Zhang", 0, 100, sure),)
    assert guards.is_echo(text, words, TOLD, no_speech, logprob)
    assert not guards.is_echo(text, words, (), no_speech, logprob)
    assert not guards.is_echo(f"{text} 你好", words, TOLD, no_speech, logprob)


def heard(text, *, no_speech=0.01, logprob=-0.2, prompted=TOLD):
    line = Line(0, 2_000, text, (Word(text, 0, 2_000, 0.9),))
    return WindowResult((line,), "en", 1.0, no_speech, logprob, 1.0, 0.0, prompted)


def test_a_name_that_was_heard_stays():
    assert [cue.doubt for cue in cues.drafts(heard("Zhang Wei."), ("en",))] == [None]


def test_a_list_of_names_stays_and_is_marked():
    assert [cue.doubt for cue in cues.drafts(heard("Blue River, Zhang Wei."), ("en",))] == [guards.ECHO]


def test_an_echo_is_no_line():
    assert cues.drafts(heard("Blue River, Zhang Wei.", no_speech=0.8), ("en",)) == []
