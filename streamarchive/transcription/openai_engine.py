"""Whisper as its authors publish it (package openai-whisper), window by window.

Only the engine's process imports this: torch and whisper take seconds and hundreds of megabytes. Everything
here is synchronous; a window is encoded once, for the language, every decoding and the words alike.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from types import MethodType
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from zipfile import BadZipFile

import torch
import whisper
from whisper.audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.tokenizer import get_tokenizer

from streamarchive.errors import ModelUnavailableError
from streamarchive.models import Word
from streamarchive.protocols import Line, ModelInfo, TranscribeOptions, Window, WindowResult
from streamarchive.transcription import guards
from streamarchive.transcription.alignment import TimedTokens, align
from streamarchive.transcription.languages import choose, line_language
from streamarchive.transcription.tokens import timed_lines

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

_FRAME_MS = 20
_FRAME_SAMPLES = 2 * HOP_LENGTH
_CRUMB_SAMPLES = 8_000
"""Less than half a second left of a window is not decoded again."""

Cancelled = Callable[[], bool]


class DecodingCancelledError(Exception):
    """Nobody waits for this window any more."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What one decoding of (the rest of) a window gave."""

    lines: list[TimedTokens]
    result: Any
    resume: int | None
    """From which frame the rest has to be decoded again; None when nothing is missing."""


class OpenAIEngine:
    """A loaded model."""

    def __init__(self, model: str, device: str = "auto") -> None:
        """Load by name (fetched on first use) or path. Raises `ModelUnavailableError`."""
        self._device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self._model = _load(model, self._device)
        for block in self._model.decoder.blocks:
            block.cross_attn.qkv_attention = MethodType(_folded_attention, block.cross_attn)
        self._fp16 = self._device.startswith("cuda")
        self._tokenizer = lru_cache(maxsize=None)(self._make_tokenizer)
        self.info = self._describe(model)

    def transcribe(self, window: Window, options: TranscribeOptions, cancelled: Cancelled) -> WindowResult:
        """The lines of one window. Raises `DecodingCancelledError` soon after `cancelled()` holds."""
        samples = window.samples[:N_SAMPLES]
        allowed = [code for code in window.languages if code in self.info.languages] or list(self.info.languages)
        lines: list[Line] = []
        numbers: list[Any] = []
        language, sure = "", 0.0
        with torch.no_grad():
            start: int | None = 0
            while start is not None:
                rest = samples[start * _FRAME_SAMPLES :]
                features = self._encode(rest)
                if not numbers:
                    language, sure = self._language(features, allowed)
                decoded = self._decode(features, rest, language, window, options, cancelled)
                numbers.append(decoded.result)
                lines += self._lines(decoded, features, allowed, window.start_ms + start * _FRAME_MS, options)
                start = self._next_start(start, decoded.resume, len(samples))
        return WindowResult(
            lines=tuple(lines),
            language=language,
            language_probability=round(sure, 3),
            no_speech_probability=max(result.no_speech_prob for result in numbers),
            average_logprob=min(result.avg_logprob for result in numbers),
            compression_ratio=max(result.compression_ratio for result in numbers),
            temperature=max(result.temperature for result in numbers),
        )

    @staticmethod
    def _next_start(start: int, resume: int | None, samples: int) -> int | None:
        if not resume or samples - (start + resume) * _FRAME_SAMPLES < _CRUMB_SAMPLES:
            return None
        return start + resume

    def _encode(self, samples: Samples) -> torch.Tensor:
        audio = pad_or_trim(torch.from_numpy(samples.copy()), N_SAMPLES)
        mel = log_mel_spectrogram(audio, self._model.dims.n_mels, device=self._device)[:, :N_FRAMES]
        return self._model.encoder(mel[None].to(torch.float16 if self._fp16 else torch.float32))  # type: ignore[no-any-return]

    def _language(self, features: torch.Tensor, allowed: list[str]) -> tuple[str, float]:
        if len(allowed) == 1 or not self._model.is_multilingual:
            return allowed[0], 1.0
        _, probabilities = self._model.detect_language(features)
        return choose(probabilities[0], allowed)

    def _decode(
        self,
        features: torch.Tensor,
        samples: Samples,
        language: str,
        window: Window,
        options: TranscribeOptions,
        cancelled: Cancelled,
    ) -> _Decoded:
        """Decode at rising temperatures until the guards are content; the last try stands."""
        frames = min(-(-len(samples) // _FRAME_SAMPLES), N_FRAMES // 2)
        torch.manual_seed(window.start_ms)  # an interrupted run that is repeated gives the same text
        result: Any = None
        for temperature in options.temperatures or (0.0,):
            result = self._decode_once(features, language, window.prompt, options, temperature, cancelled)
            if not guards.must_retry(
                result.text, result.avg_logprob, result.no_speech_prob, len(samples) / 16_000
            ):
                break
        if guards.is_silence(result.no_speech_prob, result.avg_logprob):
            return _Decoded([], result, None)
        lines, resume = timed_lines(result.tokens, self._tokenizer(language).timestamp_begin, frames)
        return _Decoded([TimedTokens(t, s, e, language) for t, s, e in lines], result, resume)

    def _decode_once(
        self,
        features: torch.Tensor,
        language: str,
        prompt: str | None,
        options: TranscribeOptions,
        temperature: float,
        cancelled: Cancelled,
    ) -> Any:  # noqa: ANN401
        how = DecodingOptions(
            task=options.task,
            language=language,
            temperature=temperature,
            beam_size=options.beam_size if options.beam_size > 1 and temperature == 0 else None,
            best_of=options.beam_size if options.beam_size > 1 and temperature > 0 else None,
            prompt=prompt,
            fp16=self._fp16,
        )
        task = DecodingTask(self._model, how)
        task.logit_filters.append(_StopWhen(cancelled))
        return task.run(features)[0]

    def _lines(
        self,
        decoded: _Decoded,
        features: torch.Tensor,
        allowed: list[str],
        offset_ms: int,
        options: TranscribeOptions,
    ) -> Iterator[Line]:
        """Lines on the media clock, words inside their line."""
        lines, texts = [], []
        for line in decoded.lines:
            text = self._tokenizer(line.lang).decode(line.tokens).strip()
            if text and line.end > line.start:
                lang = line_language(text, line.lang, allowed)
                lines.append(TimedTokens(line.tokens, line.start, line.end, lang))
                texts.append(text)
        words: list[tuple[Word, ...]] = [()] * len(lines)
        if options.words:
            words = align(self._model, features, self._tokenizer, lines)
        for line, text, spoken in zip(lines, texts, words, strict=True):
            moved = tuple(
                Word(w.text, w.start_ms + offset_ms, w.end_ms + offset_ms, w.probability) for w in spoken
            )
            yield Line(offset_ms + line.start * _FRAME_MS, offset_ms + line.end * _FRAME_MS, text, moved)

    def _make_tokenizer(self, language: str) -> Any:  # noqa: ANN401
        return get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language if self._model.is_multilingual else None,
            task="transcribe",
        )

    def _describe(self, model: str) -> ModelInfo:
        known: tuple[str, ...] = ("en",)
        if self._model.is_multilingual:
            known = tuple(self._tokenizer("en").all_language_codes)
        card = _card(model)
        abilities = {"words", "translate"} if self._model.is_multilingual else {"words"}
        return ModelInfo(
            name=str(card.get("name") or Path(model).stem),
            identity=_identity(model),
            device=self._device,
            languages=tuple(card.get("languages") or known),
            note=str(card.get("note") or ""),
            capabilities=frozenset(abilities),
        )


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
    """Cross-attention of several beams over one window, without a copy of the window for each.

    The beams become further positions of one query: the same tokens, 1.4 to 4 times as fast.
    """
    stock = type(self).qkv_attention
    if mask is not None or k.shape[0] != 1 or q.shape[0] == 1:
        return stock(self, q, k, v, mask)  # type: ignore[no-any-return]
    beams, length, width = q.shape
    out, _ = stock(self, q.reshape(1, beams * length, width), k, v, None)
    return out.reshape(beams, length, width), None


def _load(name: str, device: str) -> Any:  # noqa: ANN401
    """The model on its device, alignment heads restored. Raises `ModelUnavailableError`, one sentence."""
    official = name in whisper.available_models()
    if not official and not Path(name).is_file():
        raise ModelUnavailableError(_missing(name))
    try:
        model = whisper.load_model(name, device=device)
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        message = (
            f"model {name!r} could not be downloaded ({reason}): connect this machine to the network once, "
            "or set STREAMARCHIVE_MODEL to the path of a checkpoint"
        )
        raise ModelUnavailableError(message) from error
    except (RuntimeError, UnpicklingError, BadZipFile, KeyError, TypeError, EOFError, ValueError) as error:
        why = _first_line(error)
        message = (
            f"{name} could not be loaded as a Whisper checkpoint ({why}): set STREAMARCHIVE_MODEL to another"
        )
        raise ModelUnavailableError(message) from error
    except OSError as error:
        message = f"model {name!r} could not be read or stored: {error.strerror or error}"
        raise ModelUnavailableError(message) from error
    if not official:
        _restore_alignment_heads(model, _identity(name))
    return model.eval()


def _missing(name: str) -> str:
    todo = "set STREAMARCHIVE_MODEL to the path of a checkpoint or to"
    if os.sep in name or name.endswith(".pt"):
        return f"the model file {name} does not exist: {todo} a Whisper name such as turbo"
    return f"there is no model {name!r}: {todo} one of {', '.join(whisper.available_models())}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@lru_cache(maxsize=4)
def _identity(name: str) -> str:
    """The SHA-256 of the checkpoint."""
    if name in whisper.available_models():
        return str(whisper._MODELS[name].split("/")[-2])
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _restore_alignment_heads(model: Any, identity: str) -> None:  # noqa: ANN401
    """An official checkpoint that is loaded by path comes without them; other models keep the default."""
    for name, address in whisper._MODELS.items():
        if address.split("/")[-2] == identity:
            model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])


def _card(model: str) -> dict[str, Any]:
    """What ``NAME.json`` beside ``NAME.pt`` says: ``name``, ``note``, ``languages``. Empty without one."""
    path = Path(model).with_suffix(".json")
    if model in whisper.available_models() or not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{path}, which describes the model, cannot be read: {error}") from error
    return card if isinstance(card, dict) else {}
