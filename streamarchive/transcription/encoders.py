"""Which arithmetic encodes sound fastest on this machine: measured once, then remembered.

Half precision is twice as fast as 32 bits where a processor has instructions for it and six times as slow where
it has not; 8 bits in torch and in CTranslate2 depend on the processor's maker. No list of names says which, so
one block of the encoder's true shape is timed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamarchive.transcription import checkpoints
from streamarchive.transcription.checkpoints import Dimensions

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

FLOAT32, FLOAT16, BFLOAT16 = "float32", "float16", "bfloat16"
"""`FLOAT16` is for GPUs."""
DYNAMIC_INT8, INT8 = "dynamic int8", "int8"
"""`DYNAMIC_INT8` are torch's 8 bits, scaled by what each window holds; `INT8` are CTranslate2's own."""
_MARGIN = 0.95
"""A coarser arithmetic has to take less than this share of a finer one's time to be worth it."""
_ORDER = (FLOAT32, BFLOAT16, DYNAMIC_INT8, INT8)
"""From fine to coarse."""

Timing = Callable[[], float]
"""Processor seconds for one window of 30 s."""


def chosen(subject: Mapping[str, str], candidates: Mapping[str, Timing]) -> str:
    """The fastest of these arithmetics for this subject on this machine, from memory or by measurement.

    `subject` is what the choice depends on beside the machine: engine, model, threads.
    """
    key = {**subject, **_machine(), "candidates": ", ".join(candidates)}
    note = _note_of(key)
    remembered = _read(note)
    if remembered in candidates:
        return remembered
    seconds = {name: candidates[name]() for name in _ORDER if name in candidates}
    choice, *others = seconds
    for name in others:
        if seconds[name] < seconds[choice] * _MARGIN:
            choice = name
    _log.info("encoding in %s: %s", choice, ", ".join(f"{name} {s:.2f} s" for name, s in seconds.items()))
    _write(note, {**key, "choice": choice, "seconds_a_window": seconds})
    return choice


def timed(encode: Callable[[], object]) -> float:
    """Processor seconds that a call takes, the better of two: the first also warms up."""
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        encode()
        best = min(best, time.process_time() - began)
    return best


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
            return timed(lambda: block(sound)) * dims["n_audio_layer"]

    return measure


def in_half(module: Any, dtype: torch.dtype) -> Any:  # noqa: ANN401 - whisper has no types
    """Its linear layers and convolutions in half precision; the others compute in 32 bits and round.

    Whisper's own modules keep 32 bits and round their weights anew in each call, to the same numbers.
    """
    from whisper.model import Conv1d, Linear

    for part in module.modules():
        if isinstance(part, Linear | Conv1d):
            part.to(dtype)
    return module


_INT8_BACKEND = "onednn"


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


def _machine() -> dict[str, str]:
    """What a measurement is no longer true without."""
    versions = {}
    for package in ("torch", "ctranslate2"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {"processor": processor(), **versions}


def processor() -> str:
    """Its name and the instructions that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = [line.partition(":") for line in lines]
    found = {name.strip(): value.strip() for name, _, value in reversed(entries)}
    telling = (
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "avx_vnni",
        "amx_bf16",
        "amx_int8",
        "bf16",
        "i8mm",
    )
    flags = set((found.get("flags") or found.get("Features") or "").split())
    name = found.get("model name") or platform.machine()
    return " ".join([name, *(flag for flag in telling if flag in flags)])


def _note_of(key: Mapping[str, str]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return checkpoints.cache_folder() / "measured" / f"{name}.json"


def _read(note: Path) -> str:
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["choice"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write(note: Path, content: Mapping[str, object]) -> None:
    """Where the cache cannot be written, the next start measures again."""
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        unfinished = note.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(content, indent=2), encoding="utf-8")
        unfinished.replace(note)
