import json
from importlib.resources import files
from random import Random

import pytest

from streamarchive.demo.dialogue import Programme, dialogue
from streamarchive.demo.grammar import LANGUAGES, Template, grammar
from streamarchive.demo.interviews import shipped_interviews
from streamarchive.errors import UsageError


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_can_be_filled_and_is_known_by_its_text(language):
    words = grammar(language)
    for template in (*words.questions, *words.answers):
        sentence = words.fill(words.template(template.text), [words.slots[name][0] for name in template.slots])
        assert "{" not in sentence.text
        assert sentence.lang == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_unheard_templates_use_known_words_only(language):
    words = grammar(language)
    random = Random(5)
    known = words.vocabulary()
    for template in words.unheard:
        text = words.compose(random, [template]).text
        if language == "en":
            assert {word.strip(".,?").lower() for word in text.split()} <= known
        else:
            assert set(text) - set("，。？") <= set("".join(known))


def test_an_article_before_a_vowel_becomes_an():
    sentence = grammar("en").fill(
        Template("Before that, {who} had a {adj} {car}."), ["my father", "expensive", "sedan"]
    )
    assert sentence.text == "Before that, my father had an expensive sedan."


@pytest.mark.parametrize(
    "choices", [["engine", "very"], ["engine", "very", "noisy", "old"], ["engine", "very", "<b>"]], ids=str
)
def test_phrases_that_do_not_belong_in_their_places_are_refused(choices):
    with pytest.raises(UsageError):
        grammar("en").fill(Template("The {part} is {adv} {adj}."), choices)


def test_a_sentence_from_elsewhere_is_refused():
    with pytest.raises(UsageError):
        grammar("en").template("The {part} is on fire.")


def test_the_same_seed_gives_the_same_dialogue():
    one, other = dialogue(7, Programme.draw(7)), dialogue(7, Programme.draw(7))
    assert [next(one) for _ in range(50)] == [next(other) for _ in range(50)]


def test_a_broadcast_speaks_both_languages_and_the_host_begins():
    talk = dialogue(3, Programme.draw(3))
    spoken = [next(talk) for _ in range(60)]
    assert {utterance.sentence.lang for utterance in spoken} == set(LANGUAGES)
    assert spoken[0].speaker == "host"
    assert {utterance.speaker for utterance in spoken} == {"host", "guest"}


def test_the_notice_states_the_vocabulary_of_the_grammar():
    sidecar = json.loads(files("streamarchive.demo").joinpath("data/whisper-demo.json").read_text("utf-8"))
    counted = {language: len(grammar(language).vocabulary()) for language in LANGUAGES}
    assert sidecar["words"] == counted
    assert all(str(count) in sidecar["note"] for count in counted.values())


def test_every_shipped_interview_has_its_sound_and_its_lines():
    shipped = shipped_interviews()
    assert sum("zh" in one.languages for one in shipped) >= 2
    for one in shipped:
        lines = one.lines()
        assert one.file.stat().st_size > 100_000
        assert len(lines) > 20
        assert all(line.words for line in lines)
        assert {line.lang for line in lines} == set(one.languages)
