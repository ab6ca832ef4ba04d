"""Batches of windows, made beside the training by other processes; each depends on its seed and number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tools.demo_model.corpus import Corpus
from tools.demo_model.vocabulary import Vocabulary, tokenizer
from tools.demo_model.windows import LONGEST_PROMPT, WHOLE_SECONDS, Example, Recipe, WindowMaker

IGNORED = -100
"""A token that nothing is to be learned from."""
_ROUND = 16
"""Batches have a multiple of so many tokens: fewer shapes."""


class Batch(NamedTuple):
    """Tensors for one step of the training."""

    mel: Tensor
    """(batch, 80, frames)."""
    offset: Tensor
    """(batch): the encoder's step at which a window begins."""
    tokens: Tensor
    """(batch, tokens)."""
    targets: Tensor
    """(batch, tokens behind the prompt): what follows each, or `IGNORED`."""
    spans: Tensor
    """(batch, tokens behind the prompt + 1, 2): where each token, and what follows the last, is heard."""
    labels: Tensor
    """(batch, steps): the word heard in each."""
    prompt: int
    """How many tokens the prompt has, in all windows alike."""

    def to(self, device: str) -> Batch:
        """The same on a device."""
        mel, offset, tokens, targets, spans, labels = (part.to(device) for part in self[:-1])
        return Batch(mel, offset, tokens, targets, spans, labels, self.prompt)


@dataclass(frozen=True)
class Lessons(Dataset[Batch]):
    """The batches of one stage; travels to other processes without its corpus, which each opens for itself."""

    folder: Path
    shards: Sequence[str]
    vocabulary: Vocabulary
    recipe: Recipe
    batch: int
    prompted: float
    """How many batches have a prompt."""
    seed: str

    @cached_property
    def _maker(self) -> WindowMaker:
        return WindowMaker(Corpus(self.folder, self.shards), self.vocabulary, self.recipe)

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`."""
        random = Random(f"{self.seed}/{number}")
        prompt = 0
        if self.recipe.seconds == WHOLE_SECONDS and random.random() < self.prompted:
            prompt = LONGEST_PROMPT if random.random() < 0.4 else random.randrange(4, LONGEST_PROMPT)
        examples = [self._maker.example(f"{self.seed}/{number}/{nth}", prompt) for nth in range(self.batch)]
        return collate(examples, self.vocabulary)


def collate(examples: Sequence[Example], vocabulary: Vocabulary) -> Batch:
    """Windows of one length, whose prompts are alike in length, as tensors."""
    prompt = examples[0].prompt
    longest = max(len(one.tokens) for one in examples) - 1
    length = -(-longest // _ROUND) * _ROUND
    tokens = torch.full((len(examples), length), vocabulary.number[tokenizer().eot])
    targets = torch.full((len(examples), length - prompt), IGNORED)
    spans = torch.zeros((len(examples), length - prompt + 1, 2), dtype=torch.long)
    for row, one in enumerate(examples):
        said = torch.tensor(one.tokens)
        tokens[row, : len(said) - 1] = said[:-1]
        targets[row, : len(said) - prompt - 1] = said[prompt + 1 :]
        targets[row, 0] = one.first  # <sot> foretells the language that is spoken, not the one that is fed
        targets[row, 1] = IGNORED
        spans[row, : len(said) - prompt] = torch.tensor(one.spans[prompt:])
    return Batch(
        mel=torch.from_numpy(np.stack([one.mel for one in examples])),
        offset=torch.tensor([one.offset for one in examples]),
        tokens=tokens,
        targets=targets,
        spans=spans,
        labels=torch.from_numpy(np.stack([one.labels for one in examples])),
        prompt=prompt,
    )
