"""Whisper's encoder in torch, by itself and in the arithmetic that is fastest here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamarchive.transcription import checkpoints
from streamarchive.transcription.arithmetic import BFLOAT16, DYNAMIC_INT8, FLOAT16, FLOAT32, Timing, timed
from streamarchive.transcription.checkpoints import Dimensions

if TYPE_CHECKING:
    import torch


def torch_timings(dims: Dimensions) -> dict[str, Timing]:
    """Of every arithmetic in which torch can encode here."""
    able = [FLOAT32, BFLOAT16]
    if _has_dynamic_int8():
        able.append(DYNAMIC_INT8)
    return {name: torch_timing(dims, name) for name in able}


def _has_dynamic_int8() -> bool:
    """Whether this torch still quantises; it means to leave that to another package."""
    import torch

    backends = getattr(torch.backends, "quantized", None)
    quantises = hasattr(getattr(torch.ao, "quantization", None), "quantize_dynamic")
    return quantises and _INT8_BACKEND in getattr(backends, "supported_engines", ())


def torch_timing(dims: Dimensions, arithmetic: str) -> Timing:
    """Times one block of this shape in torch, and counts it as often as the encoder has blocks."""

    def measure() -> float:
        import torch
        from whisper.model import ResidualAttentionBlock

        block = ResidualAttentionBlock(dims["n_audio_state"], dims["n_audio_head"])
        sound = torch.zeros(1, dims["n_audio_ctx"], dims["n_audio_state"])
        if arithmetic == BFLOAT16:
            block, sound = in_half(block, torch.bfloat16), sound.bfloat16()
        elif arithmetic == DYNAMIC_INT8:
            block = in_dynamic_int8(block)
        with torch.no_grad():
            return timed(lambda: block(sound), _TIMES) * dims["n_audio_layer"]

    return measure


def in_half(module: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - whisper has no types
    """Its linear layers and convolutions in half precision.

    Whisper's own keep 32 bits and round their weights anew in each call, to the same numbers. Norms compute in 32
    bits and round: whisper's by turning all of what they are given into 32 bits and back, torch's as they go,
    which it can on a CPU alone.
    """
    import torch
    from whisper.model import Conv1d, LayerNorm, Linear

    for part in module.modules():
        if isinstance(part, Linear | Conv1d):
            part.to(dtype)
        elif isinstance(part, LayerNorm) and part.weight.device.type == "cpu":
            part.__class__ = torch.nn.LayerNorm
    return module


_INT8_BACKEND = "onednn"
_TIMES = 5
"""A block is timed so often: it takes a moment, and the best of few is left to chance."""


def in_dynamic_int8(module: Any) -> Any:  # noqa: ANN401
    """Its linear layers with weights of 8 bits; all else computes in 32."""
    import torch
    from whisper.model import Linear

    quantize: Any = torch.ao.quantization.quantize_dynamic
    torch.backends.quantized.engine = _INT8_BACKEND
    for part in module.modules():
        if isinstance(part, Linear):
            part.__class__ = torch.nn.Linear  # whisper's only differs in casting, and torch quantises its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, in several words
        return quantize(module, {torch.nn.Linear}, torch.qint8, inplace=True)


def torch_encoder(model: str, arithmetic: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The encoder of a checkpoint by itself: spectrogram (1, mels, 3000) in, features (1, 1500, width) out."""
    import torch
    from whisper.model import AudioEncoder

    checkpoint = checkpoints.read(model)
    dims, state = checkpoint["dims"], checkpoint["model_state_dict"]
    shape = [dims[f"n_{name}"] for name in ("mels", "audio_ctx", "audio_state", "audio_head", "audio_layer")]
    encoder = AudioEncoder(*shape)
    prefix = "encoder."
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    encoder.load_state_dict(own)
    return encoding(encoder.eval(), arithmetic, torch.float32)


def encoding(encoder: Any, arithmetic: str, result: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:  # noqa: ANN401
    """The call that encodes in this arithmetic and gives features of this type; changes the encoder."""
    import torch

    computed = {BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}.get(arithmetic, torch.float32)
    if computed != torch.float32:
        encoder = in_half(encoder, computed)
    elif arithmetic == DYNAMIC_INT8:
        encoder = in_dynamic_int8(encoder)

    def encode(mel: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features: torch.Tensor = encoder(mel.to(computed))
            return features.to(result)

    return encode
