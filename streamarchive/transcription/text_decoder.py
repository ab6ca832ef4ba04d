"""Whisper's text decoder for several windows with several beams each, one token at a time.

The beams of a window are positions of one query. They share one copy of what the window sounds like, and a mask
shows each of them those columns of the window's past that lead to it. So where beams are dropped and doubled,
some bits of the mask change and no keys and values are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import whisper
from torch.nn.functional import pad, scaled_dot_product_attention

from streamarchive.transcription import eight_bits
from streamarchive.transcription.arithmetic import BFLOAT16, FLOAT16, FLOAT32, ROW_INT8, Timing, timed
from streamarchive.transcription.checkpoints import Dimensions
from streamarchive.transcription.eight_bits import RowInt8Linear, in_eight_bits
from streamarchive.transcription.encoders import in_half

_ALIGNED = 128
"""The vocabulary is filled up to a multiple of this, which processors like and `beams.highest` needs."""
_ROOM = 32
"""Steps for which room is made at a time."""
_TIMED_STEPS = 8
_HALVES = {BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}

Watch = Callable[[torch.Tensor, torch.Tensor], None]
"""Is called for each block, the first one first, with what it asks of the sound: queries (windows, heads,
positions, width of a head) and the keys (windows, heads, width of a head, frames) they are compared with."""


class TextDecoder:
    """The weights of a decoder, changed to what it computes in."""

    def __init__(self, decoder: Any, arithmetic: str, sound: torch.dtype) -> None:  # noqa: ANN401 - no types
        """Changes whisper's `decoder`.

        `arithmetic` is that of its linear layers and of what passes between them, which is 32 bits around layers
        of 8; `sound` the type in which keys and values are kept, those of what is heard above all.
        """
        hearing = [layer for b in decoder.blocks for layer in (b.cross_attn.key, b.cross_attn.value)]
        for layer in hearing:
            layer.to(sound)
        embedding = decoder.token_embedding.weight.detach()
        padded = pad(embedding, (0, 0, 0, -len(embedding) % _ALIGNED))
        self.dtype = _HALVES.get(arithmetic, torch.float32)
        if padded.dtype == self.dtype:
            decoder.token_embedding.weight = torch.nn.Parameter(padded, requires_grad=False)  # one copy for both
        self.words = _product(padded.to(self.dtype), arithmetic)
        """How like each token's vector, and each of what fills them up, something is."""
        if arithmetic == ROW_INT8:
            in_eight_bits(decoder, but=hearing)
        elif arithmetic in _HALVES:
            in_half(decoder, self.dtype)
        self.sound = sound
        self.vocabulary = len(padded)
        self.context = len(decoder.positional_embedding)
        """How many tokens it can look back on."""
        self.whole = decoder

    def batch(self, features: torch.Tensor) -> Batch:
        """Windows to decode, as encoded: features (windows, frames, width)."""
        return Batch(self, features.to(self.sound))


def _product(weight: torch.Tensor, arithmetic: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return RowInt8Linear(weight) if arithmetic == ROW_INT8 else lambda x: x.matmul(weight.T)


class Batch:
    """Windows on their way through the decoder, with all that has been said in each."""

    def __init__(self, decoder: TextDecoder, features: torch.Tensor) -> None:
        """Use `TextDecoder.batch`."""
        self._decoder = decoder.whole
        self._words = decoder.words
        self._dtype = decoder.dtype
        blocks = self._decoder.blocks
        self._heads: int = blocks[0].attn.n_head
        self._sound = [self._heard(block.cross_attn, features) for block in blocks]
        nothing = self._sound[0][1][:, :, :0]
        self._past = [(nothing, nothing) for _ in blocks]
        self._visible = torch.zeros((len(features), 1, 0), dtype=torch.bool, device=features.device)
        self._position = 0

    def begin(self, tokens: torch.Tensor, wanted: Sequence[int], watch: Watch | None = None) -> torch.Tensor:
        """Take the tokens (windows, positions) before the text; logits (windows, wanted, words) behind some."""
        windows, count = tokens.shape
        self._visible = self._visible.new_ones((windows, 1, count))
        x = self._forward(tokens, count, 0, self._visible.new_ones((count, count)).tril(), watch)
        return self._logits(x[:, list(wanted)])

    def say(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Logits (windows, beams, words) behind the next token of each beam.

        `tokens` are (windows, beams), and `parents`, of the same shape, the beams that these continue.
        """
        windows, beams = tokens.shape
        columns = self._visible.shape[2]
        seen = self._visible.gather(1, parents[:, :, None].expand(-1, -1, columns))
        itself = torch.eye(beams, dtype=torch.bool, device=tokens.device).expand(windows, -1, -1)
        self._visible = torch.cat([seen, itself], dim=2)
        return self._logits(self._forward(tokens, 1, columns, self._visible[:, None]))

    def keep(self, windows: torch.Tensor) -> None:
        """Go on with these windows alone."""
        self._visible = self._visible[windows]
        self._sound = [(keys[windows], values[windows]) for keys, values in self._sound]
        self._past = [(keys[windows], values[windows]) for keys, values in self._past]

    def _forward(
        self,
        tokens: torch.Tensor,
        positions: int,
        column: int,
        mask: torch.Tensor,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Through all blocks: tokens that follow each other, or are alternatives at one position."""
        decoder = self._decoder
        places = decoder.positional_embedding[self._position : self._position + positions]
        self._position += positions
        end = column + tokens.shape[1]
        if end > self._past[0][0].shape[2]:
            self._make_room(end + _ROOM * tokens.shape[1])
        x: torch.Tensor = (decoder.token_embedding(tokens) + places).to(self._dtype)
        for block, sound, (keys, values) in zip(decoder.blocks, self._sound, self._past, strict=True):
            y = block.attn_ln(x)
            keys[:, :, column:end] = self._by_head(block.attn.key(y))
            values[:, :, column:end] = self._by_head(block.attn.value(y))
            queries = self._by_head(block.attn.query(y)).to(keys.dtype)
            found = attention(queries, keys[:, :, :end].mT, values[:, :, :end], mask)
            x = x + block.attn.out(_side_by_side(found).to(x.dtype))
            queries = self._by_head(block.cross_attn.query(block.cross_attn_ln(x))).to(keys.dtype)
            if watch:
                watch(queries, sound[0])
            found = attention(queries, *sound, None)
            x = x + block.cross_attn.out(_side_by_side(found).to(x.dtype))
            x = x + block.mlp(block.mlp_ln(x))
        return x

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        return self._words(self._decoder.ln(x)).float()

    def _make_room(self, columns: int) -> None:
        more = columns - self._past[0][0].shape[2]
        self._past = [(pad(keys, (0, 0, 0, more)), pad(values, (0, 0, 0, more))) for keys, values in self._past]

    def _heard(self, layer: Any, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
        """Keys (windows, heads, width of a head, frames) and values (windows, heads, frames, width of a head)."""
        values = self._by_head(layer.value(features)).contiguous()
        if features.is_cuda:
            return self._by_head(layer.key(features)).contiguous().mT, values
        return layer.key.weight.matmul(features.mT).unflatten(1, (self._heads, -1)), values

    def _by_head(self, x: torch.Tensor) -> torch.Tensor:
        """(windows, positions, width) as (windows, heads, positions, width of a head)."""
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)


def _side_by_side(found: torch.Tensor) -> torch.Tensor:
    """The other way round than by head."""
    return found.transpose(1, 2).flatten(start_dim=2)


def attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """What each query (…, queries, width) finds among values (…, columns, width) by keys (…, width, columns).

    torch's own, made for as many queries as keys, takes a CPU twice as long for five among all that is heard.
    """
    if mask is not None or queries.is_cuda:
        return scaled_dot_product_attention(queries, keys.mT, values, attn_mask=mask)
    scores = (queries * queries.shape[-1] ** -0.5).matmul(keys)
    found: torch.Tensor = scores.softmax(dim=-1).matmul(values)
    return found


def timings(dims: Dimensions, sound: torch.dtype) -> dict[str, Timing]:
    """Of a step in every arithmetic in which a CPU can decode here, with one block of this shape for all."""
    able = [FLOAT32, ROW_INT8] if eight_bits.can_run() else [FLOAT32]
    return {arithmetic: partial(_seconds, dims, arithmetic, sound) for arithmetic in able}


@torch.inference_mode()
def _seconds(dims: Dimensions, arithmetic: str, sound: torch.dtype) -> float:
    shape = [dims[f"n_{name}"] for name in ("vocab", "text_ctx", "text_state", "text_head")]
    whole = whisper.model.TextDecoder(*shape, n_layer=1).eval()
    whole.positional_embedding.zero_()
    batch = TextDecoder(whole, arithmetic, sound).batch(
        torch.zeros(4, dims["n_audio_ctx"], dims["n_audio_state"])
    )
    batch.begin(torch.zeros(4, 3, dtype=torch.long), [-1])
    beams = torch.zeros(4, 5, dtype=torch.long)
    return timed(lambda: batch.say(beams, beams), _TIMED_STEPS)
