"""Whisper as its authors publish it (package openai-whisper).

Only the engine's process imports this: torch and whisper take seconds and hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
import whisper
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.tokenizer import get_tokenizer

from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription import checkpoints, encoders
from streamarchive.transcription.alignment import token_times
from streamarchive.transcription.decoding import (
    REHEARSED_TOKENS,
    Ask,
    Cancelled,
    Decoded,
    DecodingCancelledError,
)
from streamarchive.transcription.words import TimedTokens, TokenTimes

if TYPE_CHECKING:
    from streamarchive.protocols import Samples


class OpenAIEngine:
    """A loaded model."""

    def __init__(self, model: str, device: str = "auto", threads: int = 1) -> None:
        """Load by name (fetched on first use) or path. Raises `ModelUnavailableError`."""
        self._device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(threads)
        self._model = _load(model, self._device)
        for block in self._model.decoder.blocks:
            block.cross_attn.qkv_attention = MethodType(_folded_attention, block.cross_attn)
        self._fp16 = self._device.startswith("cuda")
        self._encode = encoders.encoding(
            self._model.encoder,
            encoders.FLOAT32 if self._fp16 else self._arithmetic(model, threads),
            torch.float16 if self._fp16 else torch.float32,
        )
        self.tokenizer = lru_cache(maxsize=None)(self._make_tokenizer)
        codes = tuple(self.tokenizer("en").all_language_codes)
        self.info = checkpoints.describe(model, vars(self._model.dims), self._device, codes)

    def encode(self, samples: Samples) -> torch.Tensor:
        """Features (1, 1500, width)."""
        audio = pad_or_trim(torch.from_numpy(samples.copy()), N_SAMPLES)
        mel = log_mel_spectrogram(audio, self._model.dims.n_mels, device=self._device)[:, :N_FRAMES]
        return self._encode(mel[None])

    def languages(self, features: torch.Tensor) -> Mapping[str, float]:
        """How likely each language is."""
        _, probabilities = self._model.detect_language(features)
        found: Mapping[str, float] = probabilities[0]
        return found

    def together(self, ask: Ask) -> object:
        """One language and prompt for a call."""
        return ask.language, ask.prompt

    def decode(
        self, asks: Sequence[Ask], options: TranscribeOptions, temperature: float, cancelled: Cancelled
    ) -> list[Decoded]:
        """One try at each, in one batch."""
        torch.manual_seed(asks[0].seed)
        several = options.beam_size if options.beam_size > 1 else None
        how = DecodingOptions(
            task=options.task,
            language=asks[0].language,
            temperature=temperature,
            beam_size=several if temperature == 0 else None,
            best_of=several if temperature > 0 else None,
            prompt=list(asks[0].prompt) or None,
            fp16=self._fp16,
        )
        task = _BatchTask(self._model, how)
        task.logit_filters.append(_StopWhen(cancelled))
        return task.decoded(torch.cat([ask.features for ask in asks]))

    def rehearse(self, features: Sequence[torch.Tensor], beam_size: int) -> None:
        """Decode a fixed number of tokens for each window."""
        how = DecodingOptions(
            language="en",
            beam_size=beam_size,
            sample_len=REHEARSED_TOKENS,
            without_timestamps=True,
            suppress_tokens=[-1, self.tokenizer("en").eot],
            fp16=self._fp16,
        )
        _BatchTask(self._model, how).decoded(torch.cat(list(features)))

    def align(
        self, features: torch.Tensor, lines: Sequence[TimedTokens], language: str, task: str
    ) -> list[TokenTimes]:
        """When each token of each line was said."""
        tokenizer = self.tokenizer(language, task)
        prefix = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        return token_times(self._model, features, prefix, lines, tokenizer.eot)

    def _arithmetic(self, model: str, threads: int) -> str:
        dims = vars(self._model.dims)
        subject = {"engine": "openai", "model": checkpoints.identity(model), "threads": str(threads)}
        return encoders.chosen(subject, encoders.torch_timings(dims))

    def _make_tokenizer(self, language: str, task: str = "transcribe") -> Any:  # noqa: ANN401
        return get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language if self._model.is_multilingual else None,
            task=task,
        )


class _BatchTask(DecodingTask):  # type: ignore[misc]
    """Whisper's decoding of several windows at once, beams included, which its own `run` refuses."""

    def decoded(self, features: torch.Tensor) -> list[Decoded]:
        with torch.no_grad():
            self.decoder.reset()
            count = features.shape[0]
            begin = torch.tensor([self.initial_tokens], device=features.device)
            tokens = begin.repeat(count * self.n_group, 1)
            tokens, sums, silent = self._main_loop(features, tokens)
            groups, group_sums = self.decoder.finalize(
                tokens.reshape(count, self.n_group, -1), sums.reshape(count, self.n_group)
            )
        texts = [[self._text(tokens) for tokens in group] for group in groups]
        best = self.sequence_ranker.rank(texts, group_sums)
        return [
            Decoded(
                tokens=text[at].tolist(),
                average_logprob=float(total[at]) / (len(text[at]) + 1),
                no_speech_probability=float(silence),
            )
            for at, text, total, silence in zip(best, texts, group_sums, silent[:: self.n_group], strict=True)
        ]

    def _text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Between the first token that was sampled and the end of the text."""
        ends = (tokens == self.tokenizer.eot).nonzero()
        return tokens[self.sample_begin : ends[0, 0]]


class _StopWhen:
    """A logit filter that filters nothing: it is called before each token, which is where decoding can stop."""

    def __init__(self, cancelled: Cancelled) -> None:
        self._cancelled = cancelled

    def apply(self, _logits: torch.Tensor, _tokens: torch.Tensor) -> None:
        if self._cancelled():
            raise DecodingCancelledError


def _folded_attention(
    self: Any,  # noqa: ANN401 - a method given to whisper's attention
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Cross-attention of several beams over their windows, without a copy of a window for each of its beams.

    The beams become further positions of one query: the same tokens, 1.4 to 4 times as fast.
    """
    stock = type(self).qkv_attention
    windows, (rows, length, width) = k.shape[0], q.shape
    if mask is not None or rows == windows:
        return stock(self, q, k, v, mask)  # type: ignore[no-any-return]
    out, _ = stock(self, q.reshape(windows, rows // windows * length, width), k, v, None)
    return out.reshape(rows, length, width), None


def _load(name: str, device: str) -> Any:  # noqa: ANN401
    """The model on its device with its alignment heads. Raises `ModelUnavailableError`, one sentence."""
    checkpoint = checkpoints.read(name)
    try:
        model = whisper.model.Whisper(whisper.model.ModelDimensions(**checkpoint["dims"]))
        model.load_state_dict(checkpoint["model_state_dict"])
        model = model.to(device).eval()
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        raise checkpoints.unreadable(name, error) from error
    mask = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoints.alignment_heads(name, checkpoint["dims"]):
        mask[layer, head] = True
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model
