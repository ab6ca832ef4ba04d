"""What surrounds an engine, asked of one that says what it is told to."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from streamarchive.errors import TranscriptionError
from streamarchive.protocols import ModelInfo, TranscribeOptions, Window
from streamarchive.transcription.decoding import Decoded, DecodingCancelledError, transcribe
from streamarchive.transcription.words import TokenTimes

EOT, BEGIN = 50_257, 50_364
WORDS = [" good", " car", " thank", " you", " 谢", " 谢", " 观", " 看", "\ufffd"]


class Tokenizer:
    eot = EOT
    timestamp_begin = BEGIN

    def encode(self, text):
        return [WORDS.index(f" {word}") for word in text.split()]

    def decode(self, tokens):
        return "".join(WORDS[token] for token in tokens)

    def split_tokens_on_spaces(self, tokens):
        return [WORDS[token] for token in tokens], [[token] for token in tokens]

    split_tokens_on_unicode = split_tokens_on_spaces


def said(text, start=0.0, end=2.0, logprob=-0.2, no_speech=0.0):
    """A try: this text between timestamps in seconds."""
    tokens = [BEGIN + round(start * 50), *Tokenizer().encode(text), BEGIN + round(end * 50)]
    return Decoded(tokens, logprob, no_speech)


@dataclass
class Scripted:
    """Answers by temperature; remembers how many windows were asked about at once, and how."""

    by_temperature: dict[float, list[Decoded]]
    info: ModelInfo = field(default_factory=lambda: ModelInfo("scripted", "", "cpu", ("en", "zh")))
    likely: dict[str, float] = field(default_factory=lambda: {"en": 0.6, "zh": 0.4})
    asked: list[tuple[float, int]] = field(default_factory=list)

    def tokenizer(self, language, task="transcribe"):
        return Tokenizer()

    def encode(self, samples):
        return len(samples)

    def languages(self, features):
        return self.likely

    def together(self, ask):
        return len(ask.prompt)

    def decode(self, asks, options, temperature, cancelled):
        self.asked.append((temperature, len(asks)))
        return [self.by_temperature[temperature].pop(0) for _ in asks]

    def align(self, features, lines, language, task):
        return [TokenTimes([line.start] * len(line.tokens), [0.9] * len(line.tokens)) for line in lines]

    def rehearse(self, features, beam_size):
        raise NotImplementedError


def window(seconds=5.0, languages=(), **more):
    return Window(np.zeros(round(seconds * 16_000), np.float32), 60_000, languages, **more)


def lines_of(engine, *windows, temperatures=(0.0, 0.5, 1.0)):
    options = TranscribeOptions(temperatures=temperatures)
    return [
        [(line.start_ms, line.end_ms, line.text) for line in result.lines]
        for result in transcribe(engine, windows, options, lambda: False)
    ]


LOOP = " ".join(["thank you"] * 30)


def test_a_sure_try_is_the_last():
    engine = Scripted({0.0: [said("good car")]})
    assert lines_of(engine, window()) == [[(60_000, 62_000, "good car")]]
    assert engine.asked == [(0.0, 1)]


def test_only_the_window_that_fails_is_tried_again():
    engine = Scripted({0.0: [said("good car"), said(LOOP)], 0.5: [said("you")]})
    assert [line[0][2] for line in lines_of(engine, window(), window())] == ["good car", "you"]
    assert engine.asked == [(0.0, 2), (0.5, 1)]


@pytest.mark.parametrize("tries", [(-1.2, -1.9, -3.0), (-3.0, -1.2, -1.9), (-1.9, -3.0, -1.2)])
def test_where_every_try_fails_the_surest_stands(tries):
    words = dict(zip((0.0, 0.5, 1.0), ("good", "car", "you"), strict=True))
    engine = Scripted({t: [said(words[t], logprob=p)] for t, p in zip(words, tries, strict=True)})
    best = words[(0.0, 0.5, 1.0)[tries.index(-1.2)]]
    assert lines_of(engine, window())[0][0][2] == best
    assert len(engine.asked) == 3


def test_an_unsure_try_is_better_than_a_sure_loop():
    engine = Scripted({0.0: [said(LOOP, logprob=-0.1)], 0.5: [said("good", logprob=-1.5)], 1.0: [said(LOOP)]})
    assert lines_of(engine, window())[0][0][2] == "good"


def test_a_short_chinese_loop_that_compresses_little_is_tried_again():
    engine = Scripted({0.0: [said(" ".join(["谢 谢 观 看"] * 3))], 0.5: [said("谢")]})
    assert lines_of(engine, window(languages=("zh",)))[0][0][2] == "谢"


def test_silence_by_the_models_own_word_has_no_lines_and_no_further_try():
    engine = Scripted({0.0: [said("thank you", logprob=-1.4, no_speech=0.9)]})
    assert lines_of(engine, window()) == [[]]
    assert engine.asked == [(0.0, 1)]


@pytest.mark.parametrize(("tokens", "texts"), [([6, 7, 8], ["观 看"]), ([8], [])])
def test_a_character_that_was_not_decoded_whole_is_left_out(tokens, texts):
    """Captions on air end wherever the sound ends; viewers are not shown what stands for half a character."""
    engine = Scripted({0.0: [Decoded([BEGIN, *tokens, BEGIN + 100], -0.2, 0.0)]})
    (result,) = transcribe(engine, [window(languages=("zh",))], TranscribeOptions(), lambda: False)
    assert [line.text for line in result.lines] == texts
    assert "\ufffd" not in "".join(word.text for line in result.lines for word in line.words)


def test_times_beyond_the_end_are_cut_to_it():
    engine = Scripted({0.0: [said("good car", end=29.0)]})
    assert lines_of(engine, window(seconds=3.0)) == [[(60_000, 63_000, "good car")]]


def test_what_the_model_had_no_room_for_is_decoded_from_where_it_began():
    first = Decoded([BEGIN, 0, BEGIN + 100, BEGIN + 100, 1], -0.2, 0.0)
    engine = Scripted({0.0: [first, said("you", start=0.0, end=1.0)]})
    assert lines_of(engine, window()) == [[(60_000, 62_000, "good"), (62_000, 63_000, "you")]]


def test_a_language_outside_the_allowed_is_not_found():
    engine = Scripted({0.0: [said("good")]}, likely={"en": 0.2, "zh": 0.1, "cy": 0.7})
    (result,) = transcribe(engine, [window(languages=("zh", "en"))], TranscribeOptions(), lambda: False)
    assert (result.language, result.language_probability) == ("en", 0.667)


def test_prompts_of_different_lengths_are_decoded_apart():
    engine = Scripted({0.0: [said("good"), said("good"), said("good")]})
    lines_of(engine, window(), window(prompt="car"), window())
    assert engine.asked == [(0.0, 2), (0.0, 1)]


def test_nothing_is_decoded_for_nobody():
    engine = Scripted({})
    with pytest.raises(DecodingCancelledError):
        transcribe(engine, [window()], TranscribeOptions(), lambda: True)


def test_a_task_the_model_cannot_do_is_refused_before_anything_is_decoded():
    engine = Scripted({})
    with pytest.raises(TranscriptionError, match="scripted cannot translate"):
        transcribe(engine, [window()], TranscribeOptions(task="translate"), lambda: False)
    assert engine.asked == []
