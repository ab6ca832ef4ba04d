"""What is done in which order and for how long: the stages of the training, from nothing or from a checkpoint.

Two cores of 2025 with bfloat16 learn from about ten windows of 30 s a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tools.demo_model.training import Stage
from tools.demo_model.windows import Recipe

_SLICES = Recipe(seconds=6, no_speech=0.04, ending=0.1, begun=0.0)
_WHOLE = Recipe()

FROM_NOTHING = (
    Stage("slices", 1_600, 24, _SLICES, 2e-3, 2e-3, last=0.3, prompted=0.0, guided=1.0, unblocked=0.0),
    Stage("windows", 5_000, 8, _WHOLE, 1.3e-3, 1.7e-3, last=0.3, guided=0.6),
    Stage("finish", 3_500, 8, _WHOLE, 8e-4, 1.1e-3, last=0.01, guided=0.4, words_weight=0.0, unblocked=0.15),
)
"""Short slices at any place first: they are cheap, and what they teach holds for windows."""

FROM_CHECKPOINT = (
    Stage("windows", 2_000, 8, _WHOLE, 6e-4, 8e-4, last=0.01, guided=0.35, words_weight=0.0, unblocked=0.12),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of everything."""

    sentences: int
    """For each language."""
    stages: Sequence[Stage]
    examined: float = 1.0
    """Of the interviews of the examination."""

    def scaled(self, scale: float) -> Plan:
        """A smaller one that goes the same way."""
        stages = tuple(replace(stage, steps=max(2, round(stage.steps * scale))) for stage in self.stages)
        return Plan(max(40, round(self.sentences * scale)), stages, min(1.0, max(0.05, scale * 4)))


def plan(*, from_checkpoint: bool, scale: float = 1.0) -> Plan:
    """The plan for a training from nothing or from a checkpoint."""
    whole = Plan(5_000, FROM_CHECKPOINT) if from_checkpoint else Plan(9_000, FROM_NOTHING)
    return whole if scale == 1.0 else whole.scaled(scale)
