"""The recogniser while it learns: Whisper's own modules, with fewer tokens and with what helps training.

- Positions of the decoder and timestamp tokens are sinusoids times a learned matrix (timestamps: plus a rest), so
  that what is learned at one place holds at others.
- Attention begins local: encoder heads look some frames away, decoder heads some tokens back.
- The encoder's attention may be kept within blocks of frames; its heads are local anyway, and it costs much less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from whisper.model import ModelDimensions, MultiHeadAttention, Whisper, disable_sdpa, sinusoids

from tools.demo_model.sound import MELS
from tools.demo_model.vocabulary import SIZE, TIMES, Vocabulary

STEPS = 1_500
POSITIONS = 448
WORDS_EVERY = 4
"""Words are told apart in one step of so many: there are many words, and all steps take long."""
_WAVELENGTH = 10_000
"""The longest of Whisper's sinusoids."""
_LOCALITY = 1.35
_ENCODER_REACH = (3, 6, 10, 16, 20, 24)
"""Steps of 20 ms that the outermost heads of each layer look away at first."""
_DECODER_REACH = (-1, -2, -4, -7)


@dataclass(frozen=True, slots=True)
class Size:
    """The recogniser's shape; the default takes a 20th of real time on one core."""

    width: int = 128
    heads: int = 4
    encoder_layers: int = 3
    decoder_layers: int = 2

    def dimensions(self, vocabulary: int = SIZE) -> ModelDimensions:
        """As Whisper writes them."""
        width, heads = self.width, self.heads
        return ModelDimensions(
            *(MELS, STEPS, width, heads, self.encoder_layers),
            *(vocabulary, POSITIONS, width, heads, self.decoder_layers),
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """What comes out: for each token that is to be learned, and for each step of the encoder."""

    states: Tensor
    """(batch, tokens, width): times `embeddings` they are logits."""
    embeddings: Tensor
    """(tokens of the vocabulary, width)."""
    words: Tensor | None
    """(batch, every fourth step, words and silence): logits; None where they were not asked for."""
    attention: tuple[Tensor, ...]
    """By layer (batch, heads, tokens, steps); empty where they were not asked for."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How a batch goes through the recogniser."""

    block: int = 0
    """Steps within which the encoder attends; 0 for all."""
    shift: int = 0
    """How far off the first block begins."""
    guided: bool = False
    """Whether the decoder's attention to the sound is wanted."""
    words: bool = False
    """Whether the words in each step are wanted."""


class Recogniser(nn.Module):
    """A Whisper with the tokens of a vocabulary."""

    def __init__(self, size: Size, vocabulary: Vocabulary) -> None:
        """With random weights; set torch's seed before."""
        super().__init__()
        self.size, self.vocabulary = size, vocabulary
        width = size.width
        self.whisper = Whisper(size.dimensions(len(vocabulary.ids) - TIMES))
        nn.init.normal_(self.whisper.decoder.token_embedding.weight, std=0.05)
        nn.init.zeros_(self.whisper.decoder.positional_embedding).requires_grad = False
        self.positions = nn.Parameter(torch.eye(width) * 0.18)
        self.times = nn.Parameter(torch.eye(width) * 0.1)
        self.times_rest = nn.Parameter(torch.randn(TIMES, width) * 0.005)
        self.words = nn.Linear(width, len(vocabulary.words) + 1)
        self.time_waves: Tensor
        self.register_buffer("time_waves", sinusoids(TIMES, width), persistent=False)
        self.position_waves: Tensor
        self.register_buffer("position_waves", sinusoids(POSITIONS, width), persistent=False)
        self._begin_local()

    def embeddings(self) -> Tensor:
        """(tokens of the vocabulary, width)."""
        known = self.whisper.decoder.token_embedding.weight
        return torch.cat([known, self.time_waves @ self.times + self.times_rest])

    def place(self) -> Tensor:
        """The decoder's positions: (448, width)."""
        return self.position_waves @ self.positions

    def forward(self, mel: Tensor, offset: Tensor, tokens: Tensor, prompt: int, ways: Ways) -> Heard:
        """One batch: `mel` (batch, 80, frames), `offset` (batch), `tokens` (batch, tokens).

        The first `prompt` tokens are only attended to.
        """
        sound = self.encode(mel, offset, ways)
        embeddings = self.embeddings()
        decoder = self.whisper.decoder
        x = functional.embedding(tokens, embeddings) + self.place()[: tokens.shape[1]]
        attention = []
        for layer in decoder.blocks:
            x = x + layer.attn(layer.attn_ln(x), mask=decoder.mask)[0]
            seen, weights = _attend(layer.cross_attn, layer.cross_attn_ln(x), sound, prompt, guided=ways.guided)
            x = x + seen
            x = x + layer.mlp(layer.mlp_ln(x))
            if weights is not None:
                attention.append(weights)
        words = self.words(sound[:, ::WORDS_EVERY]) if ways.words else None
        return Heard(decoder.ln(x)[:, prompt:], embeddings, words, tuple(attention))

    def encode(self, mel: Tensor, offset: Tensor, ways: Ways) -> Tensor:
        """(batch, steps, width)."""
        encoder = self.whisper.encoder
        x = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).transpose(1, 2)
        steps = torch.arange(x.shape[1], device=x.device)
        x = x + encoder.positional_embedding[offset[:, None] + steps]
        whole = x.shape
        if ways.block and whole[1] % ways.block == 0:
            x = x.roll(ways.shift, 1).reshape(-1, ways.block, whole[2])
            with disable_sdpa():  # torch's fused attention is slower on blocks as short as these
                for layer in encoder.blocks:
                    x = layer(x)
            x = x.reshape(whole).roll(-ways.shift, 1)
        else:
            for layer in encoder.blocks:
                x = layer(x)
        found: Tensor = encoder.ln_post(x)
        return found

    def state(self) -> dict[str, Tensor]:
        """The weights under Whisper's names, with all of its vocabulary."""
        weights = {name: value.detach().cpu().clone() for name, value in self.whisper.state_dict().items()}
        rows = torch.zeros(SIZE, self.size.width)
        rows[torch.tensor(self.vocabulary.ids)] = self.embeddings().detach().cpu()
        weights["decoder.token_embedding.weight"] = rows
        weights["decoder.positional_embedding"] = self.place().detach().cpu().clone()
        return weights

    @torch.no_grad()
    def go_on_from(self, checkpoint: Path) -> None:
        """Take the weights of a checkpoint of the same shape. Raises `ValueError` for another."""
        found = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if found["dims"] != vars(self.size.dimensions()):
            raise ValueError(f"{checkpoint} is of another shape: {found['dims']}")
        weights = {name: value.float() for name, value in found["model_state_dict"].items()}
        rows = weights.pop("decoder.token_embedding.weight")
        places = weights.pop("decoder.positional_embedding")
        self.whisper.load_state_dict(weights, strict=False)
        known = rows[torch.tensor(self.vocabulary.ids)]
        text, times = known[:-TIMES], known[-TIMES:]
        learned = text.abs().sum(1) > 0
        self.whisper.decoder.token_embedding.weight[learned] = text[learned]
        self.times.copy_(torch.linalg.lstsq(self.time_waves, times).solution)
        self.times_rest.copy_(times - self.time_waves @ self.times)
        self.positions.copy_(torch.linalg.lstsq(self.position_waves, places).solution)

    @torch.no_grad()
    def _begin_local(self) -> None:
        heads = self.size.heads
        for layer, block in enumerate(self.whisper.encoder.blocks):
            reach = _ENCODER_REACH[layer]
            middle = (heads - 1) / 2
            _look_away(block.attn, [reach * (head - middle) / middle for head in range(heads)])
        for block in self.whisper.decoder.blocks:
            _look_away(block.attn, list(_DECODER_REACH[:heads]))


def tokens_of(checkpoint: Path) -> list[int]:
    """The text tokens that a checkpoint has learned: those whose rows are not zeros."""
    from tools.demo_model.vocabulary import tokenizer

    found = torch.load(checkpoint, map_location="cpu", weights_only=True)
    rows = found["model_state_dict"]["decoder.token_embedding.weight"]
    learned = (rows != 0).any(1).nonzero()[:, 0].tolist()
    return [token for token in learned if token < tokenizer().eot]


def _attend(
    attention: MultiHeadAttention, x: Tensor, sound: Tensor, prompt: int, *, guided: bool
) -> tuple[Tensor, Tensor | None]:
    """Attention to the sound; its weights behind the prompt, which whisper's own code gives without gradient."""
    if not guided:
        seen: Tensor = attention(x, sound)[0]
        return seen, None

    def by_head(values: Tensor) -> Tensor:
        return values.view(*values.shape[:2], attention.n_head, -1).transpose(1, 2)

    query, key, value = (
        by_head(attention.query(x)),
        by_head(attention.key(sound)),
        by_head(attention.value(sound)),
    )
    logits = (query[:, :, prompt:] * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights = torch.softmax(logits.float(), -1)
    heard = weights.to(value.dtype) @ value
    if prompt:
        before = functional.scaled_dot_product_attention(query[:, :, :prompt], key, value)
        heard = torch.cat([before, heard], 2)
    return attention.out(heard.transpose(1, 2).flatten(2)), weights


def _look_away(attention: MultiHeadAttention, distances: list[float]) -> None:
    """Queries and keys with which each head looks so many positions away.

    A key repeats the position's sinusoids; a query turns them by the angle that belongs to the distance.
    """
    width = attention.query.weight.shape[0]
    size = width // attention.n_head
    step = math.log(_WAVELENGTH) / (width // 2 - 1)
    fastest = min(width // 2 - 1, int(math.log(3 * max(map(abs, distances))) / step) + 4)
    waves = torch.linspace(0, fastest, size // 2).round().long()
    for head, distance in enumerate(distances):
        query, key = torch.randn(size, width) * 0.02, torch.randn(size, width) * 0.02
        for row, wave in enumerate(waves.tolist()):
            angle = distance * math.exp(-step * wave)
            near, far = _LOCALITY * math.cos(angle), _LOCALITY * math.sin(angle)
            sine, cosine = wave, width // 2 + wave
            key[2 * row, sine] += _LOCALITY
            key[2 * row + 1, cosine] += _LOCALITY
            query[2 * row, sine] += near
            query[2 * row, cosine] += far
            query[2 * row + 1, cosine] += near
            query[2 * row + 1, sine] -= far
        attention.query.weight[head * size : (head + 1) * size] = query
        attention.key.weight[head * size : (head + 1) * size] = key
    attention.query.bias.zero_()
