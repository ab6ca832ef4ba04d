"""A checkpoint as converted here is the same model, and whole or absent in the cache."""

import asyncio
import json
import os
import sys
import warnings
from pathlib import Path

import ctranslate2
import pytest
import tokenizers
import torch
from whisper.model import ModelDimensions, Whisper

import streamarchive
from streamarchive.demo.voices import UNHEARD
from streamarchive.errors import ModelUnavailableError
from streamarchive.transcription import checkpoints, convert
from tests.archive import MODEL
from tests.voices import speech

TEXTS = ("Hello, world! 以下是普通话的句子。", " StreamArchive 直播字幕 42%", "繁體字幕 café 😀")


@pytest.fixture(scope="module", autouse=True)
def _vocabulary_is_read():
    """Whisper leaves the file of its vocabulary to be closed by the garbage collector, and reads it once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        checkpoints.tokenizer_of({"n_vocab": 51_865})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folder(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return convert.converted(str(MODEL))


def test_a_model_is_converted_once_and_nothing_unfinished_stays(folder, cache):
    made = (folder / "model.bin").stat().st_mtime_ns
    assert convert.converted(str(MODEL)) == folder
    assert (folder / "model.bin").stat().st_mtime_ns == made
    assert list(folder.parent.iterdir()) == [folder]
    assert folder.is_relative_to(cache)


def test_the_tokens_are_whispers(folder):
    dims = json.loads((folder / convert.CHECKPOINT).read_text())["dims"]
    whispers = checkpoints.tokenizer_of(dims, "en")
    ours = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        tokens = ours.encode(text, add_special_tokens=False).ids
        assert tokens == whispers.encoding.encode(text)
        assert ours.decode(tokens) == text
    for name, number in whispers.special_tokens.items():
        assert ours.token_to_id(name) == number


def test_it_is_multilingual_as_the_checkpoint_is(folder):
    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8")
    assert model.is_multilingual
    assert model.n_mels == 80


def test_what_is_no_checkpoint_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bad.pt").write_bytes(b"not a model")
    with pytest.raises(ModelUnavailableError, match="could not be loaded as a Whisper checkpoint"):
        convert.converted(str(tmp_path / "bad.pt"))
    assert list((tmp_path / "cache").rglob("*.*")) == []


BASE = {"n_text_layer": 6, "n_text_head": 8}


def tuned(folder, origin):
    """A checkpoint, as far as its card is concerned."""
    file = folder / "tuned.pt"
    file.write_bytes(b"weights of its own")
    file.with_suffix(".json").write_text(json.dumps({"fine_tuned_from": origin}))
    return str(file)


def test_a_fine_tuned_model_has_the_heads_of_the_one_its_card_names(tmp_path):
    """Those of base, as its publisher lists them."""
    heads = [(3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)]
    assert checkpoints.alignment_heads(tuned(tmp_path, "base"), BASE) == heads


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [("base-chinese", "'base-chinese': put one of tiny.en, tiny"), ("small", "has not the shape of small")],
)
def test_a_card_that_names_no_origin_or_another_shape_is_refused(tmp_path, origin, sentence):
    with pytest.raises(ModelUnavailableError, match=sentence):
        checkpoints.alignment_heads(tuned(tmp_path, origin), BASE)


def test_a_card_that_comes_later_makes_another_conversion(tmp_path, monkeypatch):
    """Of a narrow model with as many layers and heads as tiny has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "narrow.pt"
    model = Whisper(ModelDimensions(80, 1500, 24, 6, 1, 51_865, 448, 24, 6, 4))
    torch.save({"dims": vars(model.dims), "model_state_dict": model.half().state_dict()}, file)
    before = convert.converted(str(file))
    file.with_suffix(".json").write_text(json.dumps({"fine_tuned_from": "tiny"}))
    after = convert.converted(str(file))
    assert heads_in(before) == [[layer, head] for layer in (2, 3) for head in range(6)]
    assert heads_in(after) == [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]


def heads_in(folder):
    return json.loads((folder / "config.json").read_text())["alignment_heads"]


@pytest.mark.parametrize(
    ("dims", "device", "windows"),
    [
        ({"n_vocab": 51_865, "n_text_state": 512}, "cpu", 8),
        ({"n_vocab": 51_865, "n_text_state": 768}, "cpu", 4),
        ({"n_vocab": 51_865}, "cpu", 4),
        ({"n_vocab": 51_865, "n_text_state": 512}, "cuda", 16),
    ],
)
def test_how_many_windows_a_model_takes_at_once(dims, device, windows):
    assert checkpoints.describe(str(MODEL), dims, device, ("en",)).batch_size == windows


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
from streamarchive.protocols import TranscribeOptions, Window
from streamarchive.transcription.decoding import transcribe
from streamarchive.transcription.faster_engine import FasterEngine

engine = FasterEngine(sys.argv[1], "cpu", 1)
samples = np.frombuffer(sys.stdin.buffer.read(), "<f4")
(result,) = transcribe(engine, [Window(samples, 0, ("en",))], TranscribeOptions(), lambda: False)
print(" ".join(line.text for line in result.lines))
"""


async def test_a_converted_folder_needs_no_torch(folder):
    spoken = speech(UNHEARD["en"][0], "Our team in London has six engineers.")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WITHOUT_TORCH,
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(streamarchive.__file__).parents[1])},
    )
    printed, _ = await process.communicate(spoken.samples.astype("<f4").tobytes())
    assert printed.decode().strip() == "Our team in London has six engineers."
