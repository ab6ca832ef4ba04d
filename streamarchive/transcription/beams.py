"""Choosing the text of several windows at once: beam search and sampling with tensors alone.

The results are those of whisper's own `BeamSearchDecoder` (patience 1), `GreedyDecoder` and logit filters, which
walk over every candidate of every beam in Python. Here a step asks the device once, whether windows are finished;
those that are leave the batch.

Shapes are (windows, beams, …); at the first step there is one beam, which all others come of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from streamarchive.transcription.decoding import Cancelled, Decoded, DecodingCancelledError

if TYPE_CHECKING:
    from streamarchive.transcription.text_decoder import TextDecoder

_CHUNK = 128
_NEVER = -torch.inf


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate for a window's text: its tokens, and the sum of their logarithmic probabilities."""

    tokens: list[int]
    total: float


class Search(Protocol):
    """Chooses the tokens of a batch."""

    def choose(self, logits: torch.Tensor, said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The next tokens, and the beams they continue.

        From logits (…, words) and what has been said (…, steps).
        """

    def finished(self) -> torch.Tensor:
        """Which windows (windows,) gain nothing by a further step."""

    def keep(self, windows: torch.Tensor) -> None:
        """Go on with these windows alone."""

    def found(self, window: int, said: torch.Tensor) -> list[Found]:
        """The candidates of one window, what has been said (beams, steps) by its open beams included."""


class BeamSearch:
    """The likeliest continuations of several beams; a window is finished with as many finished texts as beams."""

    def __init__(self, windows: int, beams: int, steps: int, eot: int, device: torch.device) -> None:
        """For at most `steps` tokens; `eot` ends a text. One beam is greedy decoding."""
        self._beams, self._eot = beams, eot
        self._sums = torch.zeros((windows, 1), device=device)
        self._count = torch.zeros((windows, 1), dtype=torch.long, device=device)
        # Finished texts, their lengths and sums; the place behind the last takes what is none.
        self._texts = torch.zeros((windows, beams + 1, steps), dtype=torch.long, device=device)
        self._lengths = torch.zeros((windows, beams + 1), dtype=torch.long, device=device)
        self._totals = torch.zeros((windows, beams + 1), device=device)

    def choose(self, logits: torch.Tensor, said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Search`."""
        scores, tokens = highest(logits.log_softmax(dim=-1), self._beams + 1)
        parents = torch.arange(logits.shape[1], device=logits.device)[:, None].expand_as(tokens).flatten(1)
        # Each beam has one way to end, so twice as many candidates hold enough that go on.
        ranked = (scores + self._sums[:, :, None]).flatten(1)
        scores, order = ranked.topk(min(2 * self._beams, ranked.shape[1]))
        tokens, parents = tokens.flatten(1).gather(1, order), parents.gather(1, order)
        ends = tokens == self._eot
        going = (~ends).cumsum(1)
        self._collect(ends & (going < self._beams), scores, parents, said)
        # Those that go on, best first: a stable sort keeps their order.
        first = ends.long().argsort(dim=1, stable=True)[:, : self._beams]
        self._sums = scores.gather(1, first)
        return tokens.gather(1, first), parents.gather(1, first)

    def _collect(
        self, ends: torch.Tensor, scores: torch.Tensor, parents: torch.Tensor, said: torch.Tensor
    ) -> None:
        """Keep the texts that end here, while a window has not enough."""
        length = said.shape[2]
        places = torch.where(ends, self._count + ends.cumsum(1) - 1, self._beams).clamp(max=self._beams)
        spread = places[:, :, None].expand(-1, -1, length)
        self._texts[:, :, :length].scatter_(1, spread, _of(said, parents))
        self._lengths.scatter_(1, places, length)
        self._totals.scatter_(1, places, scores)
        self._count = (self._count + ends.sum(1, keepdim=True)).clamp(max=self._beams)

    def finished(self) -> torch.Tensor:
        """See `Search`."""
        return self._count[:, 0] == self._beams

    def keep(self, windows: torch.Tensor) -> None:
        """See `Search`."""
        self._sums, self._count = self._sums[windows], self._count[windows]
        self._texts, self._lengths = self._texts[windows], self._lengths[windows]
        self._totals = self._totals[windows]

    def found(self, window: int, said: torch.Tensor) -> list[Found]:
        """See `Search`: open beams, best first, where too few have finished."""
        count = int(self._count[window])
        texts, lengths, totals = (kept[window].tolist() for kept in (self._texts, self._lengths, self._totals))
        ended = [Found(texts[at][: lengths[at]], totals[at]) for at in range(count)]
        still_open = zip(said.tolist(), self._sums[window].tolist(), strict=True)
        return [*ended, *(Found(tokens, total) for tokens, total in still_open)][: self._beams]


class Sampling:
    """Tokens drawn by chance in each of several texts, as whisper draws them."""

    def __init__(
        self,
        shape: tuple[int, int],
        words: int,
        temperature: float,
        eot: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """Of `shape` (windows, texts of each) from so many words; the same seed draws the same."""
        self._texts, self._words, self._temperature, self._eot = shape[1], words, temperature, eot
        self._chance = torch.Generator(device).manual_seed(seed)
        self._sums = torch.zeros(shape, device=device)
        self._ended = torch.zeros(shape, dtype=torch.bool, device=device)

    def choose(self, logits: torch.Tensor, _said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Search`."""
        logits = logits[..., : self._words]  # what fills them up would use up chance
        likely = logits.log_softmax(dim=-1).expand(-1, self._texts, -1)
        chances = (logits / self._temperature).softmax(dim=-1).expand_as(likely).flatten(0, 1)
        tokens = torch.multinomial(chances, 1, generator=self._chance).view_as(self._ended)
        self._sums += likely.gather(2, tokens[:, :, None])[:, :, 0].masked_fill(self._ended, 0)
        tokens = tokens.masked_fill(self._ended, self._eot)
        self._ended = tokens == self._eot
        beams = torch.arange(logits.shape[1], device=logits.device)
        return tokens, beams.expand(len(tokens), self._texts)

    def finished(self) -> torch.Tensor:
        """See `Search`."""
        return self._ended.all(dim=1)

    def keep(self, windows: torch.Tensor) -> None:
        """See `Search`."""
        self._sums, self._ended = self._sums[windows], self._ended[windows]

    def found(self, window: int, said: torch.Tensor) -> list[Found]:
        """See `Search`."""
        texts = [tokens[: (*tokens, self._eot).index(self._eot)] for tokens in said.tolist()]
        return [Found(text, total) for text, total in zip(texts, self._sums[window].tolist(), strict=True)]


def highest(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`topk` along the last dimension, a multiple of 128 long, eight times as fast on a CPU.

    The highest are in those chunks whose own highest are.
    """
    chunks = scores.view(*scores.shape[:-1], -1, _CHUNK)
    best = chunks.amax(dim=-1).topk(count).indices
    within = chunks.gather(-2, best[..., None].expand(*best.shape, _CHUNK)).flatten(-2)
    found, at = within.topk(count)
    return found, best.gather(-1, at // _CHUNK) * _CHUNK + at % _CHUNK


class Rules:
    """What may be said next. Changes logits in place."""

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - whisper has no types
        words: int,
        never: Sequence[int],
        device: torch.device,
        *,
        timestamps: bool = True,
    ) -> None:
        """For whisper's tokenizer and logits of so many `words`, of which those beyond its own are none."""
        self._begin: int = tokenizer.timestamp_begin
        self._eot: int = tokenizer.eot
        self._timestamps = timestamps
        self._never = torch.zeros(words, device=device)
        self._never[self._begin + _TIMESTAMPS :] = _NEVER
        self._never[list(never)] = _NEVER
        if timestamps:
            self._never[tokenizer.no_timestamps] = _NEVER
        self._first = self._never.clone()
        self._first[[*tokenizer.encode(" "), self._eot]] = _NEVER
        if timestamps:
            self._first[: self._begin] = _NEVER
            self._first[self._begin + _LATEST_BEGINNING + 1 :] = _NEVER
        self._times = torch.arange(self._begin, words, device=device)

    def apply(self, logits: torch.Tensor, said: torch.Tensor) -> None:
        """To logits (windows, beams, words) of beams that have said tokens (windows, beams, steps)."""
        steps = said.shape[2]
        logits += self._never if steps else self._first
        if not self._timestamps:
            return
        text, times = logits[..., : self._begin], logits[..., self._begin :]
        if steps:
            self._pair(text, times, said)
        # If a timestamp, whichever, is likelier than any word, it has to be one.
        _forbid(text, times.logsumexp(dim=-1) > text.amax(dim=-1))

    def _pair(self, text: torch.Tensor, times: torch.Tensor, said: torch.Tensor) -> None:
        """Timestamps come in pairs, but for the first and the one before the end, and none goes back."""
        is_time = said >= self._begin
        after_time = is_time[..., -1]
        after_pair = after_time & (is_time[..., -2] if said.shape[2] > 1 else after_time)
        within = after_time & ~after_pair
        latest = said.where(is_time, self._begin - 1).amax(dim=-1)
        earliest = torch.where(within, latest, latest + 1)  # a line is longer than nothing
        earliest = earliest.masked_fill(after_pair, self._begin + _TIMESTAMPS)
        times.masked_fill_(self._times < earliest[..., None], _NEVER)
        _forbid(text[..., : self._eot], within)


_TIMESTAMPS = 1501
"""From 0.00 to 30.00 s, the last words of every vocabulary."""
_LATEST_BEGINNING = 50
"""The first line begins within a second."""


def _forbid(logits: torch.Tensor, rows: torch.Tensor) -> None:
    """Adding is four times as fast as filling by a mask."""
    logits += torch.zeros_like(rows, dtype=logits.dtype).masked_fill_(rows, _NEVER)[..., None]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The tokens before the text, and where in them the model says whether anybody speaks."""

    tokens: Sequence[int]
    speech_at: int
    no_speech: int


@torch.inference_mode()
def decode(
    decoder: TextDecoder,
    features: torch.Tensor,
    beginning: Beginning,
    rules: Rules,
    search: Search,
    steps: int,
    cancelled: Cancelled,
) -> list[Decoded]:
    """The best text of each window. Raises `DecodingCancelledError` before the next token if `cancelled()`."""
    windows = list(range(len(features)))
    batch = decoder.batch(features)
    before = torch.tensor([beginning.tokens] * len(windows), device=features.device)
    logits = batch.begin(before, [beginning.speech_at, -1])
    chances = logits[:, 0].softmax(dim=-1)[:, beginning.no_speech].tolist()
    logits = logits[:, 1:]
    said = before.new_empty((len(windows), 1, 0))
    texts: dict[int, Found] = {}
    for step in range(1, steps + 1):
        if cancelled():
            raise DecodingCancelledError
        rules.apply(logits, said)
        tokens, parents = search.choose(logits, said)
        said = torch.cat([_of(said, parents), tokens[:, :, None]], dim=2)
        finished = search.finished().tolist() if step < steps else [True] * len(windows)
        if sum(finished) * _LEAVING >= len(windows):
            leaving = [row for row, is_finished in enumerate(finished) if is_finished]
            texts |= {windows[row]: _likeliest(search.found(row, said[row])) for row in leaving}
            staying = [row for row, is_finished in enumerate(finished) if not is_finished]
            if not staying:
                break
            windows = [windows[row] for row in staying]
            kept = torch.tensor(staying, device=said.device)
            tokens, parents, said = tokens[kept], parents[kept], said[kept]
            search.keep(kept)
            batch.keep(kept)
        logits = batch.say(tokens, parents)
    return [
        Decoded(texts[n].tokens, texts[n].total / (len(texts[n].tokens) + 1), chance)
        for n, chance in enumerate(chances)
    ]


_LEAVING = 4
"""Finished windows leave when they are a quarter of the batch: what stays is copied then."""


def _likeliest(found: Sequence[Found]) -> Found:
    """By the mean over the tokens, the end not counted, as whisper ranks them."""
    return max(found, key=lambda one: one.total / len(one.tokens))


def _of(said: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """What these beams have said."""
    return said.gather(1, parents[:, :, None].expand(-1, -1, said.shape[2]))
