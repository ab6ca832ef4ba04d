"""Whisper's text decoder for several windows with several beams each, one token at a time.

The beams of a window are positions of one query. They share one copy of what the window sounds like, and a mask
shows each of them those columns of the window's past that lead to it. So where beams are dropped and doubled,
some bits of the mask change and no keys and values are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

_ALIGNED = 128
"""The vocabulary is filled up to a multiple of this, which processors like and `beams.highest` needs."""
_ROOM = 32
"""Steps for which room is made at a time."""


class TextDecoder:
    """The weights of a decoder that computes in one type throughout, but for embeddings and norms."""

    def __init__(self, decoder: Any, dtype: torch.dtype) -> None:  # noqa: ANN401 - whisper has no types
        """`dtype` is that of the decoder's linear layers and of the features it will be given."""
        embedding = decoder.token_embedding.weight.detach()
        padded = pad(embedding, (0, 0, 0, -len(embedding) % _ALIGNED))
        if padded.dtype == dtype:
            decoder.token_embedding.weight = torch.nn.Parameter(padded, requires_grad=False)  # one copy for both
        self.words = padded.to(dtype)
        """Vectors of the tokens, and of what fills them up."""
        self.vocabulary = len(padded)
        self.context = len(decoder.positional_embedding)
        """How many tokens it can look back on."""
        self.whole = decoder

    def batch(self, features: torch.Tensor) -> Batch:
        """Windows to decode, as encoded: features (windows, frames, width)."""
        return Batch(self, features)


class Batch:
    """Windows on their way through the decoder, with all that has been said in each."""

    def __init__(self, decoder: TextDecoder, features: torch.Tensor) -> None:
        """Use `TextDecoder.batch`."""
        self._decoder = decoder.whole
        self._words = decoder.words
        self._dtype = features.dtype
        blocks = self._decoder.blocks
        self._heads: int = blocks[0].attn.n_head
        self._sound = [self._keys_and_values(block.cross_attn, features) for block in blocks]
        nothing = self._sound[0][0][:, :, :0]
        self._past = [(nothing, nothing) for _ in blocks]
        self._visible = torch.zeros((len(features), 1, 0), dtype=torch.bool, device=features.device)
        self._position = 0

    def begin(self, tokens: torch.Tensor, wanted: Sequence[int]) -> torch.Tensor:
        """Take the tokens (windows, positions) before the text; logits (windows, wanted, words) behind some."""
        windows, count = tokens.shape
        self._visible = self._visible.new_ones((windows, 1, count))
        x = self._forward(tokens, count, 0, self._visible.new_ones((count, count)).tril())
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

    def _forward(self, tokens: torch.Tensor, positions: int, column: int, mask: torch.Tensor) -> torch.Tensor:
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
            keys[:, :, column:end], values[:, :, column:end] = self._keys_and_values(block.attn, y)
            x = x + self._attended(block.attn, y, (keys[:, :, :end], values[:, :, :end]), mask)
            x = x + self._attended(block.cross_attn, block.cross_attn_ln(x), sound, None)
            x = x + block.mlp(block.mlp_ln(x))
        return x

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", self._decoder.ln(x)).matmul(self._words.T).float()

    def _make_room(self, columns: int) -> None:
        more = columns - self._past[0][0].shape[2]
        self._past = [(pad(keys, (0, 0, 0, more)), pad(values, (0, 0, 0, more))) for keys, values in self._past]

    def _attended(
        self,
        attention: Any,  # noqa: ANN401
        x: torch.Tensor,
        kept: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        found = scaled_dot_product_attention(self._by_head(attention.query(x)), *kept, attn_mask=mask)
        return cast("torch.Tensor", attention.out(found.transpose(1, 2).flatten(start_dim=2)))

    def _keys_and_values(self, attention: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
        return self._by_head(attention.key(x)), self._by_head(attention.value(x))

    def _by_head(self, x: torch.Tensor) -> torch.Tensor:
        """(windows, positions, width) as (windows, heads, positions, width of a head)."""
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)
