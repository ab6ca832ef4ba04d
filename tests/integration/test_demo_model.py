"""The demo recogniser's making, in small: sound, windows, training, export; real codecs, Whisper's own code."""

import itertools
import re
import warnings
from random import Random

import numpy as np
import pytest
import torch
import whisper
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim

from streamarchive.transcription import checkpoints
from tools.demo_model import sentences, sound, synthesis
from tools.demo_model.card import Card
from tools.demo_model.corpus import Corpus
from tools.demo_model.evaluation import Figure
from tools.demo_model.export import export
from tools.demo_model.lessons import collate
from tools.demo_model.losses import losses
from tools.demo_model.model import Recogniser, Size, Ways
from tools.demo_model.optimiser import Muon
from tools.demo_model.training import Stage, Training
from tools.demo_model.vocabulary import Vocabulary, tokenizer
from tools.demo_model.windows import Recipe, WindowMaker

SMALL = Size(width=32, heads=2, encoder_layers=1, decoder_layers=2)
SLICES = Recipe(seconds=6)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Threads that wait for each other are slow where other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A folder with one small shard for each language, and their names."""
    folder = tmp_path_factory.mktemp("speech")
    made = [shard for code in ("en", "zh") for shard in synthesis.shards(sentences.training(code, 8, 3), 3)]
    assert len(list(synthesis.synthesise(made, folder, 2))) == 2
    return folder, [shard.name for shard in made]


@pytest.fixture(scope="module")
def corpus(speech):
    return Corpus(*speech)


@pytest.fixture(scope="module")
def vocabulary(corpus):
    with warnings.catch_warnings():  # whisper leaves the file of its vocabulary open
        warnings.simplefilter("ignore", ResourceWarning)
        return Vocabulary.of(corpus.sentences)


@pytest.fixture(scope="module")
def maker(corpus, vocabulary):
    return WindowMaker(corpus, vocabulary, Recipe())


@pytest.fixture
def recogniser(vocabulary):
    torch.manual_seed(1)
    return Recogniser(SMALL, vocabulary)


def written(example, vocabulary):
    return tokenizer().decode_with_timestamps([vocabulary.ids[token] for token in example.tokens])


def test_a_shard_sounds_the_same_whenever_it_is_spoken(speech, tmp_path):
    folder, names = speech
    [shard] = synthesis.shards(sentences.training("zh", 8, 3), 3)
    list(synthesis.synthesise([shard], tmp_path, 1))
    before, again = synthesis.read(names[1], folder), synthesis.read(names[1], tmp_path)
    assert before[1] == again[1]
    assert np.array_equal(before[0], again[0])


def test_a_shard_that_is_there_is_not_spoken_again(speech):
    [shard] = synthesis.shards(sentences.training("en", 8, 3), 3)
    assert list(synthesis.synthesise([shard], speech[0], 1)) == []


@pytest.mark.parametrize("codec", sound.CODECS)
def test_codecs_keep_the_place_and_the_length(codec):
    samples = np.zeros(sound.SAMPLE_RATE * 2, np.float32)
    burst = np.sin(np.arange(4_000) * 0.3) * np.hanning(4_000)
    samples[12_000:16_000] = 0.3 * burst.astype(np.float32)
    heard = sound.coded(samples, codec)
    assert heard.shape == samples.shape
    places = np.correlate(heard, samples[12_000:16_000], "valid")
    assert abs(int(np.argmax(places)) - 12_000) < 32
    assert 0.8 < np.sqrt(np.mean(heard**2)) / np.sqrt(np.mean(samples**2)) < 1.2


def test_noise_is_the_same_each_time_and_of_one_level():
    for kind in ("white", "pink", "brown", "hum50"):
        piece = sound.noise(kind, sound.SAMPLE_RATE * 70, 5)
        assert len(piece) == sound.SAMPLE_RATE * 70
        assert np.sqrt(np.mean(sound.noises()[kind] ** 2)) == pytest.approx(1, abs=1e-3)


def test_features_are_whispers_own(corpus):
    samples = corpus.draw("en", corpus.draw_voice("en", Random(1)), Random(1)).samples
    whispers = log_mel_spectrogram(pad_or_trim(samples, N_SAMPLES)).numpy()
    np.testing.assert_allclose(sound.features(samples), whispers, atol=1e-5)
    padded = np.pad(samples, (0, N_SAMPLES - len(samples)))
    last = log_mel_spectrogram(samples, padding=N_SAMPLES)[:, : len(samples) // 160]
    whispers = pad_or_trim(last, N_FRAMES).numpy()
    np.testing.assert_allclose(sound.features(padded, end=len(samples)), whispers, atol=1e-5)


def test_a_window_depends_on_its_seed_alone(maker, corpus, vocabulary):
    again = WindowMaker(corpus, vocabulary, Recipe())
    one, other = maker.example("a", 20), again.example("a", 20)
    assert one.tokens == other.tokens
    np.testing.assert_array_equal(one.mel, other.mel)
    assert maker.example("b", 20).tokens != one.tokens


def test_tokens_are_heard_in_order_within_the_window(maker, vocabulary):
    for seed in range(20):
        example = maker.example(str(seed), 0)
        heard = [span for token, span in zip(example.tokens, example.spans, strict=True) if span[1]]
        text = [s for t, s in zip(example.tokens, example.spans, strict=True) if t < len(vocabulary.text)]
        assert all(0 <= start < end <= 1_500 for start, end in heard)
        assert all(before[0] <= after[0] + 8 for before, after in itertools.pairwise(text))
        assert len(example.labels) == 1_500


def test_where_nobody_speaks_nothing_is_written(corpus, vocabulary):
    quiet = WindowMaker(corpus, vocabulary, Recipe(no_speech=1.0))
    for seed in range(6):
        example = quiet.example(str(seed), 0)
        assert written(example, vocabulary).endswith("<|transcribe|><|0.00|><|endoftext|>")
        assert vocabulary.ids[example.first] == tokenizer().no_speech
        assert not example.labels.any()


def test_of_a_sentence_cut_off_by_silence_the_words_heard_are_written(corpus, vocabulary):
    cutting = WindowMaker(corpus, vocabulary, Recipe(ending=1.0, no_speech=0.0, mixed=0.0, without_times=0.0))
    said = {text for text, _ in corpus.sentences}
    cut = 0
    for seed in range(120):
        lines = re.findall(r"<\|[\d.]+\|>([^<]*)<\|[\d.]+\|>", written(cutting.example(str(seed), 0), vocabulary))
        assert lines
        for text in map(str.strip, lines):
            assert text
            assert any(text in whole for whole in said)
            assert text not in {whole[:-1] for whole in said}  # all of a sentence, but its mark
        cut += lines[-1].strip() not in said
    assert cut > 2


def test_what_is_exported_is_what_was_trained(recogniser, vocabulary, maker, tmp_path):
    file = tmp_path / "small.pt"
    export(recogniser, file)
    loaded = whisper.load_model(str(file), device="cpu")
    assert loaded.is_multilingual
    batch = collate([maker.example("a", 0)], vocabulary)
    with torch.no_grad():
        heard = recogniser(batch.mel, batch.offset, batch.tokens, 0, Ways())
        ours = heard.states @ heard.embeddings.T
        ids = torch.tensor(vocabulary.ids)
        whispers = loaded(batch.mel, ids[batch.tokens])
    torch.testing.assert_close(whispers[..., ids], ours, atol=0.05, rtol=0.05)
    others = torch.ones(whispers.shape[-1], dtype=torch.bool)
    others[ids] = False
    assert not whispers[..., others].any()
    first = file.read_bytes()
    export(recogniser, file)
    assert file.read_bytes() == first


def test_training_goes_on_from_a_checkpoint(recogniser, vocabulary, tmp_path):
    export(recogniser, tmp_path / "small.pt")
    other = Recogniser(SMALL, vocabulary)
    other.go_on_from(tmp_path / "small.pt")
    torch.testing.assert_close(other.embeddings(), recogniser.embeddings(), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(other.place(), recogniser.place(), atol=2e-3, rtol=2e-3)
    with pytest.raises(ValueError, match="another shape"):
        Recogniser(Size(width=64, heads=2, encoder_layers=1, decoder_layers=2), vocabulary).go_on_from(
            tmp_path / "small.pt"
        )


def test_attention_in_blocks_is_attention_to_everything_where_blocks_are_whole(recogniser, vocabulary, corpus):
    batch = collate([WindowMaker(corpus, vocabulary, SLICES).example("a", 0)], vocabulary)
    with torch.no_grad():
        whole = recogniser.encode(batch.mel, batch.offset, Ways())
        blocks = recogniser.encode(batch.mel, batch.offset, Ways(block=300))
    torch.testing.assert_close(blocks, whole, atol=1e-4, rtol=1e-4)


def test_a_sentence_is_learned(recogniser, vocabulary, corpus):
    batch = collate([WindowMaker(corpus, vocabulary, SLICES).example("a", 0)], vocabulary)
    optimiser = torch.optim.AdamW(recogniser.parameters(), lr=1e-2)
    found = []
    for _ in range(20):
        heard = recogniser(*batch[:3], batch.prompt, Ways(guided=True, words=True))
        each = losses(heard, batch, vocabulary)
        found.append([each.tokens.item(), each.attention.item(), each.words.item()])
        optimiser.zero_grad()
        (each.tokens + each.attention + each.words).backward()
        optimiser.step()
    assert found[-1][0] < 0.7 * found[0][0]
    assert all(last < first for first, last in zip(found[0], found[-1], strict=True))


def test_training_that_was_interrupted_ends_as_if_it_had_not_been(vocabulary, speech, tmp_path):
    stages = [Stage("one", 3, 1, SLICES, 1e-3, 1e-3), Stage("two", 3, 1, SLICES, 1e-3, 1e-3)]

    def training(name):
        torch.manual_seed(1)
        return Training(Recogniser(SMALL, vocabulary), stages, speech, tmp_path / name, 1, keep_every=2)

    undisturbed = training("undisturbed")
    list(undisturbed.run())
    killed = training("killed")
    for number, batch in killed._batches(stages[0]):
        killed._learn(stages[0], number, batch)
        killed._step = number + 1
        if killed._step == 2:
            killed._keep()
            break
    resumed = training("killed")
    assert resumed._step == 2
    list(resumed.run())
    assert resumed.done
    for name, value in undisturbed.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, msg=name)


def test_steps_of_muon_are_orthogonal():
    torch.manual_seed(1)
    wide, tall = torch.nn.Parameter(torch.zeros(8, 24)), torch.nn.Parameter(torch.zeros(24, 8))
    wide.grad, tall.grad = torch.randn(8, 24), torch.randn(24, 8)
    Muon([wide, tall], lr=1.0).step()
    for parameter in (wide, tall):
        values = torch.linalg.svdvals(parameter.detach()) / (0.2 * 24**0.5)
        assert 0.6 < values.min() <= values.max() < 1.3


def test_the_card_is_read_by_the_engines(tmp_path):
    file = tmp_path / "whisper-demo.pt"
    file.touch()
    figures = (Figure("English word errors", 1.5, at_most=5), Figure("file", 9.0, "MB", at_most=6))
    Card(figures, None, 1).write(file)
    told = checkpoints.card(str(file))
    assert told["languages"] == ["en", "zh"]
    assert (told["translates"], told["prompts"]) == (False, False)
    assert told["figures"] == {"English word errors": 1.5, "file": 9.0}
    page = file.with_suffix(".md").read_text(encoding="utf-8")
    assert "| English word errors | 1.5 % | ≤ 5 % | yes |" in page
    assert "| file | 9 MB | ≤ 6 MB | **no** |" in page
