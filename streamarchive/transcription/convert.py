"""A Whisper checkpoint (``.pt``) as a CTranslate2 model, made here: no hub, no network, no transformers.

The folder holds what CTranslate2 and faster-whisper read: ``model.bin`` and ``config.json``, ``vocabulary.json``,
``tokenizer.json`` (from the byte pairs in the package openai-whisper) and ``preprocessor_config.json``. Weights
keep the precision they were published in. Folders are kept in the user's cache, named by the checkpoint's
SHA-256 and what its card says it was fine-tuned from, and appear there whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamarchive.errors import ModelUnavailableError
from streamarchive.transcription import checkpoints

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMAT = "1"
"""Raised when this module writes other folders from the same checkpoint."""
CHECKPOINT = "checkpoint.json"
"""The shape of the checkpoint it was made from, which CTranslate2 does not keep."""
_EMPTY = 50_256
"""CTranslate2 takes a model for multilingual by the empty token in this place."""

State = Mapping[str, Any]


def converted(model: str) -> Path:
    """The CTranslate2 folder of a Whisper name or checkpoint, made if there is none yet.

    Takes seconds and the size of the weights in memory. Raises `ModelUnavailableError`.
    """
    parts = (checkpoints.identity(model), _FORMAT, checkpoints.fine_tuned_from(model))
    folder = checkpoints.cache_folder() / "ctranslate2" / "-".join(filter(None, parts))
    if (folder / "model.bin").is_file():
        return folder
    try:
        with _made_whole(folder) as unfinished:
            _convert(model, unfinished)
    except OSError as error:
        message = (
            f"the model {model!r} cannot be converted into {folder.parent}: {error.strerror or error}; "
            "make room there, or set XDG_CACHE_HOME to another folder"
        )
        raise ModelUnavailableError(message) from error
    return folder


@contextlib.contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside it that takes its place at the end; another process may have been faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name[:12]}-", dir=folder.parent))
    try:
        yield unfinished
        with contextlib.suppress(OSError):
            unfinished.replace(folder)
        if not (folder / "model.bin").is_file():
            raise FileNotFoundError(None, "the finished folder could not be put in its place", str(folder))
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _convert(model: str, folder: Path) -> None:
    checkpoint = checkpoints.read(model)
    dims, state = checkpoint["dims"], checkpoint["model_state_dict"]
    tokenizer = checkpoints.tokenizer_of(dims)
    spec = _spec(dims, state)
    spec.register_vocabulary(_vocabulary(tokenizer, dims["n_vocab"]))
    heads = checkpoints.alignment_heads(model, dims)
    spec.config.alignment_heads = [list(head) for head in heads]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids = list(tokenizer.all_language_tokens)
    spec.validate()
    spec.optimize(None)
    spec.save(str(folder))
    _write_tokenizer(tokenizer, folder / "tokenizer.json")
    (folder / CHECKPOINT).write_text(json.dumps({"dims": dict(dims)}))
    sizes = {"feature_size": dims["n_mels"], "n_fft": 400, "hop_length": 160, "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps({**sizes, "sampling_rate": 16_000}))


def _spec(dims: Mapping[str, int], state: State) -> Any:  # noqa: ANN401 - ctranslate2 has no types
    """The weights in CTranslate2's places."""
    from ctranslate2.specs import whisper_spec

    spec = whisper_spec.WhisperSpec(
        dims["n_audio_layer"], dims["n_audio_head"], dims["n_text_layer"], dims["n_text_head"]
    )
    encoder, decoder = spec.encoder, spec.decoder
    for name in ("conv1", "conv2"):
        _linear(getattr(encoder, name), state, f"encoder.{name}")
    encoder.position_encodings.encodings = _array(state["encoder.positional_embedding"])
    _norm(encoder.layer_norm, state, "encoder.ln_post")
    for number, layer in enumerate(encoder.layer):
        _block(layer, state, f"encoder.blocks.{number}")
    decoder.embeddings.weight = _array(state["decoder.token_embedding.weight"])
    decoder.projection.weight = decoder.embeddings.weight
    decoder.position_encodings.encodings = _array(state["decoder.positional_embedding"])
    _norm(decoder.layer_norm, state, "decoder.ln")
    for number, layer in enumerate(decoder.layer):
        _block(layer, state, f"decoder.blocks.{number}")
        block = f"decoder.blocks.{number}.cross_attn"
        _linear(layer.attention.linear[0], state, f"{block}.query")
        _fused(layer.attention.linear[1], state, [f"{block}.key", f"{block}.value"])
        _linear(layer.attention.linear[2], state, f"{block}.out")
        _norm(layer.attention.layer_norm, state, f"{block}_ln")
    return spec


def _block(layer: Any, state: State, name: str) -> None:  # noqa: ANN401
    """Self-attention and the two linear layers, which encoder and decoder have alike."""
    projections = [f"{name}.attn.{part}" for part in ("query", "key", "value")]
    _fused(layer.self_attention.linear[0], state, projections)
    _linear(layer.self_attention.linear[1], state, f"{name}.attn.out")
    _norm(layer.self_attention.layer_norm, state, f"{name}.attn_ln")
    _linear(layer.ffn.linear_0, state, f"{name}.mlp.0")
    _linear(layer.ffn.linear_1, state, f"{name}.mlp.2")
    _norm(layer.ffn.layer_norm, state, f"{name}.mlp_ln")


def _array(tensor: Any) -> NDArray[Any]:  # noqa: ANN401 - a torch tensor
    array: NDArray[Any] = np.ascontiguousarray(tensor.numpy())
    return array


def _linear(spec: Any, state: State, name: str) -> None:  # noqa: ANN401
    spec.weight = _array(state[f"{name}.weight"])
    if f"{name}.bias" in state:
        spec.bias = _array(state[f"{name}.bias"])


def _norm(spec: Any, state: State, name: str) -> None:  # noqa: ANN401
    spec.gamma = _array(state[f"{name}.weight"])
    spec.beta = _array(state[f"{name}.bias"])


def _fused(spec: Any, state: State, names: Sequence[str]) -> None:  # noqa: ANN401
    """Several projections as one; those without a bias (Whisper's keys) get one of zeros."""
    weights = [_array(state[f"{name}.weight"]) for name in names]
    biases = [
        _array(state[f"{name}.bias"]) if f"{name}.bias" in state else np.zeros(len(weight), weight.dtype)
        for name, weight in zip(names, weights, strict=True)
    ]
    spec.weight, spec.bias = np.concatenate(weights), np.concatenate(biases)


def _vocabulary(tokenizer: Any, size: int) -> list[str]:  # noqa: ANN401
    """A name for each token; only those of special tokens and their number are ever looked at."""
    special = {number: name for name, number in tokenizer.special_tokens.items()}
    names = [special.get(number, f"token{number}") for number in range(size)]
    if size > tokenizer.eot > _EMPTY:
        names[_EMPTY] = ""
    return names


def _write_tokenizer(tokenizer: Any, path: Path) -> None:  # noqa: ANN401
    """The same tokens for the package `tokenizers`, which faster-whisper reads."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    ranks: dict[bytes, int] = tokenizer.encoding._mergeable_ranks
    names = _byte_names()

    def text(token: bytes) -> str:
        return "".join(names[byte] for byte in token)

    vocabulary = {text(token): rank for token, rank in ranks.items()}
    merges = [(text(first), text(second)) for first, second in _merges(ranks)]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = sorted(tokenizer.special_tokens.items(), key=lambda entry: entry[1])
    made.add_special_tokens([AddedToken(name, special=True) for name, _ in special])
    made.save(str(path))


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The pair that each token of several bytes was merged from, in the order of learning."""
    for token, rank in sorted(ranks.items(), key=lambda entry: entry[1]):
        parts = _parts_before(token, rank, ranks)
        if len(parts) == 2:
            yield parts[0], parts[1]


def _parts_before(token: bytes, rank: int, ranks: Mapping[bytes, int]) -> list[bytes]:
    """What byte pair encoding makes of a token with the merges learnt before it."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 1:
        pairs = [ranks.get(parts[at] + parts[at + 1], rank) for at in range(len(parts) - 1)]
        best = min(range(len(pairs)), key=pairs.__getitem__)
        if pairs[best] >= rank:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts


def _byte_names() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (as GPT-2 defined it)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]
