"""Whisper on CTranslate2, the library behind faster-whisper: 8-bit weights on a CPU.

A checkpoint is converted when it is first used (`streamarchive.transcription.convert`); the folder of a model
that was converted elsewhere is taken as it is, and needs no torch. Where a torch encoder is faster than
CTranslate2's own in 8 bits on this machine, it encodes, and CTranslate2 decodes what it gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import Tokenizer

from streamarchive.errors import ModelUnavailableError
from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription import arithmetic, checkpoints, convert, encoders
from streamarchive.transcription.decoding import (
    REHEARSED_TOKENS,
    WINDOW_SAMPLES,
    Ask,
    Cancelled,
    Decoded,
    DecodingCancelledError,
)
from streamarchive.transcription.tokens import never_said
from streamarchive.transcription.words import TimedTokens, TokenTimes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamarchive.protocols import Samples

_MODEL_FRAMES = 3_000
"""Of 10 ms, in a spectrogram; the encoder halves them."""


class FasterEngine:
    """A loaded model."""

    def __init__(self, model: str, device: str = "auto", threads: int = 1) -> None:
        """Load a Whisper name, a checkpoint or a CTranslate2 folder. Raises `ModelUnavailableError`."""
        folder = Path(model) if (Path(model) / "model.bin").is_file() else convert.converted(model)
        has_gpu = ctranslate2.get_cuda_device_count() > 0
        self._device = device if device != "auto" else "cuda" if has_gpu else "cpu"
        self._model = _load(folder, self._device, threads)
        self._dims = _dims(folder, self._model)
        self._spectrogram = FeatureExtractor(feature_size=self._dims["n_mels"])
        self._tokens = _tokenizer(folder)
        self.tokenizer = lru_cache(maxsize=None)(self._make_tokenizer)
        self._suppressed = never_said(self.tokenizer("en"))
        self._encode = self._encoder(model, threads)
        self.info = checkpoints.describe(model, self._dims, self._device, _language_codes(self._tokens))

    def encode(self, samples: Samples) -> NDArray[np.float32]:
        """Features (1, 1500, width)."""
        padded = np.zeros(WINDOW_SAMPLES, np.float32)
        padded[: len(samples)] = samples
        mel = self._spectrogram(padded, padding=0)[:, :_MODEL_FRAMES]
        features: NDArray[np.float32] = self._encode(np.ascontiguousarray(mel[None], dtype=np.float32))
        return features

    def languages(self, features: NDArray[np.float32]) -> Mapping[str, float]:
        """How likely each language is."""
        (found,) = self._model.detect_language(_view(features))
        return {token.strip("<|>"): probability for token, probability in found}

    def together(self, ask: Ask) -> object:
        """Prompts of one length for a call; languages may differ."""
        return len(ask.prompt)

    def decode(
        self, asks: Sequence[Ask], options: TranscribeOptions, temperature: float, cancelled: Cancelled
    ) -> list[Decoded]:
        """One try at each, in one batch, which cannot be stopped.

        CTranslate2's sampling cannot be made to repeat itself, so a try at a higher temperature is a beam search
        that may not say the same run of tokens twice: five in a row at 0.2, ever fewer up to 1.0.
        """
        if cancelled():
            raise DecodingCancelledError
        results = self._model.generate(
            _view(np.concatenate([ask.features for ask in asks])),
            [self._prompt(ask, options.task) for ask in asks],
            beam_size=options.beam_size,
            length_penalty=1.0,
            no_repeat_ngram_size=0 if temperature == 0 else max(2, 6 - round(5 * temperature)),
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [_decoded(result) for result in results]

    def rehearse(self, features: Sequence[NDArray[np.float32]], beam_size: int) -> None:
        """Decode a fixed number of tokens for each window."""
        tokenizer = self.tokenizer("en")
        self._model.generate(
            _view(np.concatenate(list(features))),
            [[*tokenizer.sot_sequence, tokenizer.no_timestamps]] * len(features),
            beam_size=beam_size,
            max_length=2 * REHEARSED_TOKENS,  # of which CTranslate2 gives half to the text
            suppress_tokens=[*self._suppressed, tokenizer.eot],
        )

    def align(
        self, features: NDArray[np.float32], lines: Sequence[TimedTokens], language: str, task: str
    ) -> list[TokenTimes]:
        """When each token of each line was said: each line by itself, against its own stretch of sound."""
        sequence = list(self.tokenizer(language, task).sot_sequence)
        return [self._token_times(features, line, sequence) for line in lines]

    def _token_times(self, features: NDArray[np.float32], line: TimedTokens, sequence: list[int]) -> TokenTimes:
        stretch = np.ascontiguousarray(features[:, line.start : line.end])
        frames = line.end - line.start
        (found,) = self._model.align(_view(stretch), sequence, [line.tokens], 2 * frames)
        starts = [line.end] * len(line.tokens)
        for token, frame in reversed(found.alignments):
            if token < len(starts):
                starts[token] = min(line.start + frame, line.end)
        return TokenTimes(starts, found.text_token_probs)

    def _prompt(self, ask: Ask, task: str) -> list[int]:
        tokenizer = self.tokenizer(ask.language, task)
        before = [tokenizer.sot_prev, *ask.prompt] if ask.prompt else []
        return [*before, *tokenizer.sot_sequence]

    def _encoder(self, model: str, threads: int) -> Callable[[Any], Any]:
        """In the arithmetic that is fastest here."""

        def own(mel: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.array(self._model.encode(_view(mel), to_cpu=True))

        converted_elsewhere = (Path(model) / "model.bin").is_file()
        if self._device != "cpu" or converted_elsewhere or find_spec("torch") is None:
            return own
        import torch

        torch.set_num_threads(threads)
        mel = np.zeros((1, self._dims["n_mels"], _MODEL_FRAMES), np.float32)
        timings = encoders.torch_timings(self._dims)
        timings[arithmetic.INT8] = lambda: arithmetic.timed(lambda: own(mel))
        subject = {"part": "encoder", "engine": "faster", "model": checkpoints.identity(model)}
        choice = arithmetic.chosen({**subject, "threads": str(threads)}, timings)
        if choice == arithmetic.INT8:
            return own
        encode = encoders.torch_encoder(model, choice)
        return lambda mel: encode(torch.from_numpy(mel)).numpy()

    def _make_tokenizer(self, language: str, task: str = "transcribe") -> Tokenizer:
        return Tokenizer(self._tokens, checkpoints.is_multilingual(self._dims), task, language)


def _view(array: NDArray[np.float32]) -> Any:  # noqa: ANN401 - ctranslate2 has no types
    return ctranslate2.StorageView.from_array(array)


def _decoded(result: Any) -> Decoded:  # noqa: ANN401
    tokens = list(result.sequences_ids[0])
    total = result.scores[0] * len(tokens)  # the score is an average over the text; whisper counts its end too
    return Decoded(tokens, total / (len(tokens) + 1), result.no_speech_prob)


def _load(folder: Path, device: str, threads: int) -> Any:  # noqa: ANN401
    """Raises `ModelUnavailableError`."""
    arithmetic = "int8" if device == "cpu" else "float16"
    try:
        return ctranslate2.models.Whisper(
            str(folder), device=device, compute_type=arithmetic, inter_threads=1, intra_threads=threads
        )
    except (RuntimeError, ValueError) as error:
        message = (
            f"{folder} could not be loaded as a CTranslate2 model ({error}): remove that folder and try again"
        )
        raise ModelUnavailableError(message) from error


def _dims(folder: Path, model: Any) -> Mapping[str, int]:  # noqa: ANN401
    """The shape of the checkpoint; of a model that was converted elsewhere only what can be seen."""
    file = folder / convert.CHECKPOINT
    if file.is_file():
        dims: Mapping[str, int] = json.loads(file.read_text())["dims"]
        return dims
    return {"n_mels": model.n_mels, "n_vocab": 51_865 if model.is_multilingual else 51_864}


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401
    import tokenizers

    file = folder / "tokenizer.json"
    if not file.is_file():
        message = f"{folder} has no tokenizer.json, which belongs to a model for faster-whisper: add it"
        raise ModelUnavailableError(message)
    return tokenizers.Tokenizer.from_file(str(file))


def _language_codes(tokens: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The tokens of languages stand between that of the beginning and that of the first task."""
    begin, end = tokens.token_to_id("<|startoftranscript|>"), tokens.token_to_id("<|translate|>")
    return tuple(tokens.id_to_token(number).strip("<|>") for number in range(begin + 1, end))
