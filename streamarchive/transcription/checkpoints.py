"""Where a model's weights are: Whisper names, fetched by whisper's own loader, and checkpoints by path.

Only the engine's process calls what reads weights: torch and whisper take seconds and hundreds of megabytes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError
from zipfile import BadZipFile

from streamarchive.errors import ModelUnavailableError
from streamarchive.protocols import ModelInfo

Dimensions = Mapping[str, int]
"""What a checkpoint says of its shape: ``n_mels``, ``n_audio_layer``, … as in `whisper.model.ModelDimensions`."""


def cache_folder() -> Path:
    """For what can be made again: below ``XDG_CACHE_HOME``, as whisper keeps its downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamarchive"


def file_of(model: str) -> Path:
    """The checkpoint's file; a Whisper name is fetched if need be. Raises `ModelUnavailableError`."""
    import whisper

    if model not in whisper.available_models():
        if not Path(model).is_file():
            raise ModelUnavailableError(_missing(model, whisper.available_models()))
        return Path(model)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"
    try:
        return Path(whisper._download(whisper._MODELS[model], str(folder), in_memory=False))
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        message = (
            f"model {model!r} could not be downloaded ({reason}): connect this machine to the network once, "
            "or set STREAMARCHIVE_MODEL to the path of a checkpoint"
        )
        raise ModelUnavailableError(message) from error
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or _first_line(error)
        raise ModelUnavailableError(f"model {model!r} could not be read or stored: {why}") from error


def read(model: str) -> dict[str, Any]:
    """Dimensions (``dims``) and weights (``model_state_dict``). Raises `ModelUnavailableError`."""
    import torch

    file = file_of(model)
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        if not {"dims", "model_state_dict"} <= checkpoint.keys():
            raise KeyError("no weights of Whisper in it")
    except (
        RuntimeError,
        UnpicklingError,
        BadZipFile,
        AttributeError,
        KeyError,
        TypeError,
        EOFError,
        ValueError,
    ) as error:
        raise unreadable(model, error) from error
    except OSError as error:
        message = f"model {model!r} could not be read: {error.strerror or error}"
        raise ModelUnavailableError(message) from error
    return checkpoint  # type: ignore[no-any-return]


def unreadable(model: str, error: Exception) -> ModelUnavailableError:
    """What to say of a file that is no checkpoint."""
    return ModelUnavailableError(
        f"{model} could not be loaded as a Whisper checkpoint ({_first_line(error)}): "
        "set STREAMARCHIVE_MODEL to another"
    )


def _missing(model: str, known: list[str]) -> str:
    todo = "set STREAMARCHIVE_MODEL to the path of a checkpoint or to"
    if os.sep in model or model.endswith(".pt"):
        return f"the model file {model} does not exist: {todo} a Whisper name such as turbo"
    return f"there is no model {model!r}: {todo} one of {', '.join(known)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@lru_cache(maxsize=4)
def identity(model: str) -> str:
    """The SHA-256 of the checkpoint, or of the weights in a CTranslate2 folder."""
    if (Path(model) / "model.bin").is_file():
        weights = Path(model) / "model.bin"
    else:
        import whisper

        if model in whisper.available_models():
            return _published(whisper._MODELS[model])
        weights = file_of(model)
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _published(address: str) -> str:
    """The SHA-256 that a published checkpoint's address carries."""
    return address.split("/")[-2]


def alignment_heads(model: str, dims: Dimensions) -> list[tuple[int, int]]:
    """Layer and number of the attention heads that follow the sound.

    Known for published checkpoints, by name or by what is in the file, and for those that were trained on from
    one, as their cards say; for others all of the later layers. Raises `ModelUnavailableError` for a wrong card.
    """
    import numpy as np
    import whisper

    layers, heads = dims["n_text_layer"], dims["n_text_head"]
    published = {_published(address): name for name, address in whisper._MODELS.items()}
    origin = published.get(identity(model)) or fine_tuned_from(model)
    if not origin:
        return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
    packed = gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[origin]))
    mask = np.frombuffer(packed, dtype=bool)
    if mask.size != layers * heads:
        message = (
            f"{model} has not the shape of {origin}, which its card says it was fine-tuned from: correct the card"
        )
        raise ModelUnavailableError(message)
    return [(int(layer), int(head)) for layer, head in np.argwhere(mask.reshape(layers, heads))]


def fine_tuned_from(model: str) -> str:
    """The published model it was trained on from, if its card says so. Raises `ModelUnavailableError`."""
    import whisper

    origin = str(card(model).get("fine_tuned_from") or "")
    if origin and origin not in whisper._MODELS:
        known = ", ".join(whisper._MODELS)
        message = f"the card of {model} says that it was fine-tuned from {origin!r}: put one of {known}"
        raise ModelUnavailableError(message)
    return origin


def tokenizer_of(dims: Dimensions, language: str | None = None) -> Any:  # noqa: ANN401 - whisper has no types
    """Whisper's own tokenizer for a checkpoint of this shape."""
    from whisper.tokenizer import get_tokenizer

    multilingual = is_multilingual(dims)
    return get_tokenizer(
        multilingual,
        num_languages=dims["n_vocab"] - 51_765 - int(multilingual),
        language=language if multilingual else None,
        task="transcribe",
    )


def is_multilingual(dims: Dimensions) -> bool:
    """Whether the checkpoint knows more than English, which its vocabulary says."""
    return dims["n_vocab"] >= 51_865


def card(model: str) -> dict[str, Any]:
    """What ``NAME.json`` beside ``NAME.pt`` says. Empty without one.

    It may say ``name``, ``note``, ``languages`` (codes), ``fine_tuned_from`` (a Whisper name), and true or false
    of ``translates`` and ``prompts`` (whether it hears better what it has been told to expect).
    """
    path = Path(model).with_suffix(".json")
    if not Path(model).is_file() or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{path}, which describes the model, cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def describe(model: str, dims: Dimensions, device: str, codes: tuple[str, ...]) -> ModelInfo:
    """What users are told of a checkpoint; `codes` are the languages its tokenizer has tokens for."""
    multilingual = is_multilingual(dims)
    about = card(model)
    abilities = {"words", "batch"}
    if multilingual and about.get("translates", _can_translate(dims)):
        abilities.add("translate")
    if about.get("prompts", True):
        abilities.add("prompts")
    return ModelInfo(
        name=str(about.get("name") or Path(model).stem),
        identity=identity(model),
        device=device,
        languages=tuple(about.get("languages") or (codes if multilingual else ("en",))),
        note=str(about.get("note") or ""),
        capabilities=frozenset(abilities),
        batch_size=_BATCH_ON_GPU if device.startswith("cuda") else _batch_on_cpu(dims),
    )


_BATCH_ON_GPU = 16
_BATCH_ON_CPU, _BATCH_OF_SMALL_MODELS = 4, 8
_SMALL_WIDTH = 512
"""Of base: up to it, eight windows at once are decoded in four fifths of the time; larger models gain little."""


def _batch_on_cpu(dims: Dimensions) -> int:
    """A model that was converted elsewhere does not tell its width."""
    return _BATCH_OF_SMALL_MODELS if dims.get("n_text_state", _SMALL_WIDTH + 1) <= _SMALL_WIDTH else _BATCH_ON_CPU


def _can_translate(dims: Dimensions) -> bool:
    """All of the multilingual models but turbo, which answers in the language it heard."""
    return not (dims.get("n_audio_layer") == 32 and dims.get("n_text_layer") == 4)
