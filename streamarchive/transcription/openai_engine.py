"""Whisper as its authors publish it (package openai-whisper).

Only the engine's process imports this: torch and whisper take seconds and hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
import whisper
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
from whisper.tokenizer import get_tokenizer

from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription import beams, checkpoints, encoders, text_decoder
from streamarchive.transcription.alignment import token_times
from streamarchive.transcription.arithmetic import BFLOAT16, FLOAT16, FLOAT32, chosen
from streamarchive.transcription.checkpoints import Dimensions
from streamarchive.transcription.decoding import REHEARSED_TOKENS, Ask, Cancelled, Decoded
from streamarchive.transcription.text_decoder import TextDecoder
from streamarchive.transcription.tokens import never_said
from streamarchive.transcription.words import TimedTokens, TokenTimes

if TYPE_CHECKING:
    from streamarchive.protocols import Samples


@dataclass(frozen=True, slots=True)
class Arithmetics:
    """What a model computes in; see `streamarchive.transcription.arithmetic`."""

    encoder: str
    decoder: str

    @property
    def sound(self) -> torch.dtype:
        """The type in which a decoder keeps what it hears."""
        if FLOAT16 in (self.encoder, self.decoder):
            return torch.float16
        return torch.bfloat16 if BFLOAT16 in (self.encoder, self.decoder) else torch.float32


class OpenAIEngine:
    """A loaded model."""

    def __init__(
        self, model: str, device: str = "auto", threads: int = 1, arithmetics: Arithmetics | None = None
    ) -> None:
        """Load by name (fetched on first use) or path. Raises `ModelUnavailableError`.

        By itself it computes in 16 bits on a GPU, and on a CPU in what is fastest there.
        """
        self._device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(threads)
        self._model = _load(model, self._device)
        if self._device.startswith("cuda"):
            # cuDNN's attention is compiled anew for each number of tokens: 65 ms for each on an H100, which torch
            # prefers it on, and decoding has hundreds.
            torch.backends.cuda.enable_cudnn_sdp(enabled=False)
            arithmetics = arithmetics or Arithmetics(FLOAT16, FLOAT16)
        arithmetics = arithmetics or _fastest(model, vars(self._model.dims), threads)
        self._listening = checkpoints.alignment_heads(model, vars(self._model.dims))
        self._decoder = TextDecoder(self._model.decoder, arithmetics.decoder, arithmetics.sound)
        self._encode = encoders.encoding(self._model.encoder, arithmetics.encoder, self._decoder.dtype)
        self.tokenizer = lru_cache(maxsize=None)(self._make_tokenizer)
        words = self.tokenizer("en")
        self._rules = beams.Rules(words, self._decoder.vocabulary, never_said(words), self._model.device)
        codes = tuple(self.tokenizer("en").all_language_codes)
        self.info = checkpoints.describe(model, vars(self._model.dims), self._device, codes)

    def encode(self, samples: Samples) -> torch.Tensor:
        """Features (1, 1500, width)."""
        audio = pad_or_trim(torch.from_numpy(samples.copy()), N_SAMPLES)
        mel = log_mel_spectrogram(audio, self._model.dims.n_mels, device=self._device)[:, :N_FRAMES]
        return self._encode(mel[None])

    def languages(self, features: torch.Tensor) -> Mapping[str, float]:
        """How likely each language is."""
        tokenizer = self.tokenizer("en")
        begin = torch.tensor([[tokenizer.sot]], device=features.device)
        with torch.inference_mode():
            logits = self._decoder.batch(features).begin(begin, [0])[0, 0]
        chances = logits[list(tokenizer.all_language_tokens)].softmax(dim=-1).tolist()
        return dict(zip(tokenizer.all_language_codes, chances, strict=True))

    def together(self, ask: Ask) -> object:
        """One language and prompt for a call."""
        return ask.language, ask.prompt

    def decode(
        self, asks: Sequence[Ask], options: TranscribeOptions, temperature: float, cancelled: Cancelled
    ) -> list[Decoded]:
        """One try at each, in one batch."""
        language, prompt = asks[0].language, asks[0].prompt
        tokenizer = self.tokenizer(language, options.task)
        before = [tokenizer.sot_prev, *prompt] if prompt else []
        tokens = [*before, *tokenizer.sot_sequence]
        steps = min(self._decoder.context // 2, self._decoder.context + 1 - len(tokens))
        return beams.decode(
            self._decoder,
            torch.cat([ask.features for ask in asks]),
            beams.Beginning(tokens, len(before), tokenizer.no_speech),
            self._rules,
            self._search(len(asks), options.beam_size, steps, temperature, asks[0].seed),
            steps,
            cancelled,
        )

    def rehearse(self, features: Sequence[torch.Tensor], beam_size: int) -> None:
        """Decode a fixed number of tokens for each window."""
        tokenizer = self.tokenizer("en")
        never = [*never_said(tokenizer), tokenizer.eot]
        beams.decode(
            self._decoder,
            torch.cat(list(features)),
            beams.Beginning([*tokenizer.sot_sequence, tokenizer.no_timestamps], 0, tokenizer.no_speech),
            beams.Rules(tokenizer, self._decoder.vocabulary, never, self._model.device, timestamps=False),
            self._search(len(features), beam_size, REHEARSED_TOKENS, 0.0, seed=0),
            REHEARSED_TOKENS,
            lambda: False,
        )

    def align(
        self, features: torch.Tensor, lines: Sequence[TimedTokens], language: str, task: str
    ) -> list[TokenTimes]:
        """When each token of each line was said."""
        tokenizer = self.tokenizer(language, task)
        prefix = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        return token_times(self._decoder, self._listening, features, prefix, lines, tokenizer.eot)

    def _search(self, windows: int, beam_size: int, steps: int, temperature: float, seed: int) -> beams.Search:
        eot, device = self.tokenizer("en").eot, self._model.device
        if temperature > 0:
            words = self._model.dims.n_vocab
            return beams.Sampling((windows, beam_size), words, temperature, eot, seed, device)
        return beams.BeamSearch(windows, beam_size, steps, eot, device)

    def _make_tokenizer(self, language: str, task: str = "transcribe") -> Any:  # noqa: ANN401
        return get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language if self._model.is_multilingual else None,
            task=task,
        )


def _fastest(model: str, dims: Dimensions, threads: int) -> Arithmetics:
    subject = {"engine": "openai", "model": checkpoints.identity(model), "threads": str(threads)}
    encoder = chosen({"part": "encoder", **subject}, encoders.torch_timings(dims))
    sound = Arithmetics(encoder, FLOAT32).sound
    return Arithmetics(encoder, chosen({"part": "decoder", **subject}, text_decoder.timings(dims, sound)))


def _load(name: str, device: str) -> Any:  # noqa: ANN401
    """The model on its device. Raises `ModelUnavailableError`, one sentence."""
    checkpoint = checkpoints.read(name)
    try:
        model = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint["dims"]))
        model.load_state_dict(checkpoint["model_state_dict"])
        model = model.to(device).eval()
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        raise checkpoints.unreadable(name, error) from error
    return model
