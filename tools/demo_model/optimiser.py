"""Muon: momentum whose matrices are made orthogonal (Keller Jordan, 2024), for the blocks' matrices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration that pushes all singular values towards 1."""
_ITERATIONS = 5
_ADAM_LIKE = 0.2
"""Steps as large as AdamW's: Moonlight's scaling (arXiv 2502.16982)."""


class Muon(Optimizer):
    """Like `torch.optim.Muon`, in float32 and for all matrices of a shape at once.

    torch's works in bfloat16 one matrix at a time, which processors without bfloat16 take many times as long for.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        """`parameters` are matrices."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's signature
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            alike = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[tuple(sorted(parameter.shape))].append(parameter)
            for parameters in alike.values():
                self._update(group, parameters)

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        wide = [self._momentum(group, parameter) for parameter in parameters]
        whole = _orthogonal(torch.stack([one if one.shape[0] <= one.shape[1] else one.T for one in wide]))
        for parameter, update in zip(parameters, whole, strict=True):
            change = update if parameter.shape[0] <= parameter.shape[1] else update.T
            size = _ADAM_LIKE * math.sqrt(max(parameter.shape))
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-group["lr"] * size)

    def _momentum(self, group: dict[str, Any], parameter: Tensor) -> Tensor:
        """Nesterov's."""
        assert parameter.grad is not None  # noqa: S101 - for the type checker; the caller has looked
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        kept: Tensor = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
        return parameter.grad.lerp(kept, group["momentum"])


def _orthogonal(matrices: Tensor) -> Tensor:
    x: Tensor = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x
