"""When each word of a line was said, from the model's cross-attention.

A line's own times come from the model's timestamp tokens, which are exact to some hundredths of a second where
word alignment over a whole window is off by tenths and drags them along. So the times of the lines stand, and
the words of each are aligned within them: no word can lie outside its line or before the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from whisper.model import disable_sdpa
from whisper.timing import median_filter, merge_punctuations

from streamarchive.models import Word
from streamarchive.transcription.languages import UNSPACED
from streamarchive.transcription.tokens import token_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FRAME_MS = 20
"""An audio frame of the encoder's output."""
_OPENING = "\"'“‘¿([{-（「《"
_CLOSING = "\"'.。,，!！?？:：”’)]}、）」》；;…"


@dataclass(frozen=True, slots=True)
class TimedTokens:
    """A line as decoded: its text tokens and its bounds in frames of the window."""

    tokens: list[int]
    start: int
    end: int
    lang: str


@dataclass(slots=True)
class _Timed:
    """One word while punctuation is merged; the names are those `whisper.timing` works on."""

    word: str
    tokens: list[int]
    start: int
    end: int
    probability: float


def align(
    model: Any,  # noqa: ANN401 - whisper has no types
    features: torch.Tensor,
    tokenizers: Any,  # noqa: ANN401
    lines: list[TimedTokens],
) -> list[tuple[Word, ...]]:
    """The words of each line, in milliseconds from the window's start.

    `features` is the encoder's output for the window; `tokenizers(lang)` gives the tokenizer of a language.
    """
    if not any(line.tokens for line in lines):
        return [() for _ in lines]
    prefix = [*tokenizers(lines[0].lang).sot_sequence, tokenizers(lines[0].lang).no_timestamps]
    text = [token for line in lines for token in line.tokens]
    attention, probabilities = _attention(model, features, prefix, text, tokenizers(lines[0].lang).eot)
    words: list[tuple[Word, ...]] = []
    row = 0
    for line in lines:
        rows = slice(row, row + len(line.tokens))
        row += len(line.tokens)
        tokenizer = tokenizers(line.lang)
        timed = _line_words(attention[rows, line.start : line.end], probabilities[rows], line, tokenizer)
        words.append(tuple(_finished(timed, line)))
    return words


def _attention(
    model: Any,  # noqa: ANN401
    features: torch.Tensor,
    prefix: list[int],
    text: list[int],
    eot: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each text token looked (tokens by frames, normalised) and how likely it was."""
    seen: dict[int, torch.Tensor] = {}

    def keep(index: int) -> Any:  # noqa: ANN401
        return lambda _module, _inputs, outputs: seen.__setitem__(index, outputs[-1][0])

    hooks = [b.cross_attn.register_forward_hook(keep(i)) for i, b in enumerate(model.decoder.blocks)]
    tokens = torch.tensor([[*prefix, *text, eot]], device=model.device)
    try:
        with torch.no_grad(), disable_sdpa():
            logits = model.decoder(tokens, features)[0]
    finally:
        for hook in hooks:
            hook.remove()
    weights = torch.stack([seen[layer][head] for layer, head in model.alignment_heads.indices().T.tolist()])
    weights = weights.float().softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    weights = median_filter((weights - mean) / std.clamp(min=1e-6), 7).mean(dim=0)
    begin = len(prefix)
    spoken = logits[begin - 1 : begin - 1 + len(text), :eot].float().softmax(dim=-1)
    likely = spoken[torch.arange(len(text)), torch.tensor(text, device=spoken.device)]
    # A token is predicted one position before it stands; that position is where the model looks for it.
    looked = weights[begin - 1 : begin - 1 + len(text)]
    return looked.cpu().numpy(), likely.cpu().numpy()


def _line_words(
    matrix: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    line: TimedTokens,
    tokenizer: Any,  # noqa: ANN401
) -> list[_Timed]:
    starts = [*(token_starts(matrix) + line.start).tolist(), line.end]
    timed: list[_Timed] = []
    at = 0
    for text, group in _words(tokenizer, line):
        until = at + len(group)
        sure = float(probabilities[at:until].mean())
        timed.append(_Timed(text, group, starts[at], starts[until], sure))
        at = until
    merge_punctuations(timed, _OPENING, _CLOSING)
    return timed


def _words(tokenizer: Any, line: TimedTokens) -> list[tuple[str, list[int]]]:  # noqa: ANN401
    """Text and tokens of each word; in Chinese each token that is text by itself, Latin words whole."""
    if line.lang not in UNSPACED:
        return list(zip(*tokenizer.split_tokens_on_spaces(line.tokens), strict=True))
    words: list[tuple[str, list[int]]] = []
    for text, group in zip(*tokenizer.split_tokens_on_unicode(line.tokens), strict=True):
        if words and _is_latin(words[-1][0][-1:]) and _is_latin(text[:1]):
            words[-1] = (words[-1][0] + text, words[-1][1] + group)
        else:
            words.append((text, group))
    return words


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _finished(timed: list[_Timed], line: TimedTokens) -> list[Word]:
    """Without blanks, in milliseconds; punctuation that was merged keeps its word's times."""
    words: list[Word] = []
    for word in timed:
        text = word.word.replace("\ufffd", "").strip()
        if not text:
            continue
        start = max(word.start, line.start, words[-1].end_ms // _FRAME_MS if words else 0)
        end = min(max(word.end, start), line.end)
        words.append(Word(text, start * _FRAME_MS, end * _FRAME_MS, round(word.probability, 3)))
    return words
