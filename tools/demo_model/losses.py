"""What the recogniser is to be good at: the next token, hearing it where it is said, and telling words apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tools.demo_model.lessons import IGNORED, Batch
from tools.demo_model.model import WORDS_EVERY, Heard
from tools.demo_model.vocabulary import Vocabulary, tokenizer

_SOFT = 0.02
"""Of no speech, for each language: `detect_language` then stays with these two on silence."""
_NEAR_HEADS = 2
"""Heads of the decoder's first layer that look at the token just written; those of the last, at the next."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Each as a mean; `right` is the share of tokens foretold, by kind."""

    tokens: Tensor
    attention: Tensor
    words: Tensor
    right: Mapping[str, float]
    """``en``, ``zh``, ``times``, ``language``."""


def losses(heard: Heard, batch: Batch, vocabulary: Vocabulary) -> Losses:
    """Of one batch."""
    tokens, right = _next_token(heard, batch, vocabulary)
    zero = tokens.new_zeros(())
    attention = zero
    if heard.attention:
        now, following = batch.spans[:, :-1], batch.spans[:, 1:]
        attention = _outside(heard.attention[-1], following) + _outside(heard.attention[0][:, :_NEAR_HEADS], now)
    words = zero
    if heard.words is not None:
        labels = batch.labels[:, ::WORDS_EVERY]
        words = functional.cross_entropy(heard.words.float().flatten(0, 1), labels.flatten())
    return Losses(tokens, attention, words, right)


def _next_token(heard: Heard, batch: Batch, vocabulary: Vocabulary) -> tuple[Tensor, dict[str, float]]:
    chosen = batch.targets != IGNORED
    wanted = batch.targets[chosen]
    with torch.autocast(heard.states.device.type, enabled=False):
        logits = heard.states[chosen].float() @ heard.embeddings.float().T
        others = logits.new_tensor(math.log(vocabulary.others))  # all tokens that are not here have a logit of 0
        whole = torch.logaddexp(torch.logsumexp(logits, -1), others)
    loss = whole - logits.gather(1, wanted[:, None])[:, 0]
    english, mandarin = (vocabulary.language(code) for code in ("en", "zh"))
    silent = wanted == vocabulary.number[tokenizer().no_speech]
    soft = (1 - 2 * _SOFT) * loss + _SOFT * (2 * whole - logits[:, english] - logits[:, mandarin])
    first = silent | (wanted == english) | (wanted == mandarin)
    loss = torch.where(silent, soft, loss) * (1 + first.float())
    return loss.mean(), _right(logits.argmax(-1) == wanted, wanted, first, vocabulary)


def _right(hit: Tensor, wanted: Tensor, first: Tensor, vocabulary: Vocabulary) -> dict[str, float]:
    ids = torch.tensor(vocabulary.ids, device=wanted.device)[wanted]
    text = wanted < len(vocabulary.text)
    ascii_ids = torch.tensor(_ascii(vocabulary), device=wanted.device)
    english = text & torch.isin(ids, ascii_ids)
    kinds = {
        "en": english,
        "zh": text & ~english,
        "times": wanted >= vocabulary.first_time,
        "language": first,
    }
    return {kind: hit[mask].float().mean().item() for kind, mask in kinds.items() if mask.any()}


def _ascii(vocabulary: Vocabulary) -> list[int]:
    encoding = tokenizer().encoding
    return [token for token in vocabulary.text if encoding.decode_single_token_bytes(token).isascii()]


def _outside(weights: Tensor, spans: Tensor) -> Tensor:
    """How little of the attention lies where a token is heard: -log of the share, over tokens that are heard."""
    steps = torch.arange(weights.shape[-1], device=weights.device)
    inside = (steps >= spans[..., :1]) & (steps < spans[..., 1:])
    share = (weights * inside[:, None]).sum(-1).clamp_min(1e-6)
    return -share.log().mean(1)[spans[..., 1] > 0].mean()
