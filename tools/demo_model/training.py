"""From weights to better weights: stages, what is kept of them, and going on after an interruption."""

from __future__ import annotations

import math
import os
import time
import timeit
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader

from tools.demo_model.lessons import Batch, Lessons
from tools.demo_model.losses import losses
from tools.demo_model.model import Recogniser, Ways
from tools.demo_model.optimiser import Muon
from tools.demo_model.windows import Recipe

_TELL_EVERY = 10
_LONGEST_GRADIENT = 1.0
_SMOOTHING = 0.95


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the training: how many steps of how many windows, and how."""

    name: str
    steps: int
    batch: int
    recipe: Recipe
    rate: float
    """Of AdamW, for embeddings and biases, at its highest."""
    matrix_rate: float
    """Of Muon, for the matrices of the blocks."""
    warm_up: int = 30
    last: float = 0.02
    """What remains of the rates at the end; in between they follow half a cosine."""
    prompted: float = 0.4
    guided: float = 0.5
    """Batches whose attention is guided to where a token is heard."""
    attention_weight: float = 0.3
    words_weight: float = 0.5
    block: int = 150
    """Steps within which the encoder attends."""
    unblocked: float = 0.1
    """Batches in which it attends to everything, as it will when it is used."""

    def at(self, step: int) -> float:
        """What the rates are multiplied by."""
        done = min(1.0, step / self.steps)
        falling = self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, (step + 1) / self.warm_up) * falling


@dataclass(slots=True)
class Progress:
    """Tells how the training goes, smoothed."""

    stages: Sequence[Stage]
    _values: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _windows: int = 0

    def count(self, values: Mapping[str, float], windows: int) -> None:
        """Take the figures of one step."""
        self._windows += windows
        for name, value in values.items():
            kept = self._values.get(name, value)
            self._values[name] = kept * _SMOOTHING + value * (1 - _SMOOTHING)

    def line(self, index: int, step: int) -> str:
        """For people."""
        stage, later = self.stages[index], self.stages[index + 1 :]
        speed = self._windows / (time.monotonic() - self._began)
        left = (stage.steps - step) * stage.batch + sum(one.steps * one.batch for one in later)
        figures = "  ".join(f"{name} {value:.3f}" for name, value in self._values.items())
        pace = f"{speed:.1f} windows/s, {left / speed / 60:.0f} min left"
        return f"{stage.name} {step}/{stage.steps}  {figures}  {pace}"


class Training:
    """One recogniser's training; what is reached is in `file`, replaced as a whole now and then."""

    def __init__(
        self,
        model: Recogniser,
        stages: Sequence[Stage],
        speech: tuple[Path, Sequence[str]],
        file: Path,
        seed: int,
        keep_every: int = 50,
    ) -> None:
        """`speech` is the folder of the shards and their names; `keep_every` counts steps."""
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self._device)
        self._stages = stages
        self._speech = speech
        self._file = file
        self._seed = seed
        self._keep_every = keep_every
        self._optimisers = _optimisers(model)
        self._stage = self._step = 0
        self._half = self._device == "cuda" or bfloat16_is_faster()
        if file.is_file():
            self._go_on()

    @property
    def done(self) -> bool:
        """Whether all stages are over."""
        return self._stage == len(self._stages)

    def run(self) -> Iterator[str]:
        """Train to the end; yields lines for people."""
        progress = Progress(self._stages)
        while not self.done:
            stage = self._stages[self._stage]
            for number, batch in self._batches(stage):
                progress.count(self._learn(stage, number, batch), stage.batch)
                self._step = number + 1
                if self._step % _TELL_EVERY == 0:
                    yield progress.line(self._stage, self._step)
                if self._step % self._keep_every == 0:
                    self._keep()
            self._stage, self._step = self._stage + 1, 0
            self._keep()

    def _batches(self, stage: Stage) -> Iterator[tuple[int, Batch]]:
        numbers = range(self._step, stage.steps)
        folder, shards = self._speech
        seed = f"{self._seed}/{stage.name}"
        lessons = Lessons(folder, shards, self.model.vocabulary, stage.recipe, stage.batch, stage.prompted, seed)
        processes = max(1, (os.cpu_count() or 1) - 1) if self._device == "cuda" else 1
        made = DataLoader(lessons, batch_size=None, sampler=numbers, num_workers=processes, prefetch_factor=4)
        return zip(numbers, made, strict=True)

    def _learn(self, stage: Stage, number: int, batch: Batch) -> dict[str, float]:
        random = Random(f"{self._seed}/{stage.name}/{number}/step")
        ways = Ways(
            block=0 if random.random() < stage.unblocked else stage.block,
            shift=random.randrange(stage.block or 1),
            guided=random.random() < stage.guided,
            words=stage.words_weight > 0,
        )
        batch = batch.to(self._device)
        for optimiser in self._optimisers:
            highest = stage.matrix_rate if isinstance(optimiser, Muon) else stage.rate
            for group in optimiser.param_groups:
                group["lr"] = highest * stage.at(number)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._half):
            heard = self.model(batch.mel, batch.offset, batch.tokens, batch.prompt, ways)
            found = losses(heard, batch, self.model.vocabulary)
        loss = found.tokens + stage.words_weight * found.words
        if ways.guided:
            loss = loss + stage.attention_weight / stage.guided * found.attention
        self.model.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LONGEST_GRADIENT)
        for optimiser in self._optimisers:
            optimiser.step()
        told = {"loss": found.tokens.item(), **found.right}
        if ways.words:
            told["words"] = found.words.item()
        if ways.guided:
            told["attention"] = found.attention.item()
        return told

    def _keep(self) -> None:
        kept = {
            "stage": self._stage,
            "step": self._step,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
        }
        partial = self._file.with_name(self._file.name + ".partial")
        torch.save(kept, partial)
        partial.replace(self._file)

    def _go_on(self) -> None:
        kept: dict[str, Any] = torch.load(self._file, map_location=self._device, weights_only=True)
        self._stage, self._step = kept["stage"], kept["step"]
        self.model.load_state_dict(kept["model"])
        for optimiser, state in zip(self._optimisers, kept["optimisers"], strict=True):
            optimiser.load_state_dict(state)


@cache
def bfloat16_is_faster() -> bool:
    """Whether this processor multiplies matrices faster in bfloat16; measured, as flags of processors mislead."""

    def fastest(kind: torch.dtype) -> float:
        left, right = torch.ones(2_000, 512, dtype=kind), torch.ones(512, 512, dtype=kind)
        return min(timeit.repeat(lambda: left @ right, number=1, repeat=20))

    return fastest(torch.bfloat16) < 0.7 * fastest(torch.float32)


def _optimisers(model: Recogniser) -> list[torch.optim.Optimizer]:
    learned = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    matrices = [one for name, one in learned if one.ndim == 2 and ".blocks." in name]
    known = {id(one) for one in matrices}
    rest = [one for _, one in learned if id(one) not in known]
    groups = [
        {"params": [one for one in rest if one.ndim > 1], "weight_decay": 0.01},
        {"params": [one for one in rest if one.ndim < 2], "weight_decay": 0.0},
    ]
    return [AdamW(groups, betas=(0.9, 0.98)), Muon(matrices, lr=0.0)]
