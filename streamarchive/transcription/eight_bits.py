"""Linear layers with weights of 8 bits, each row of whose input is scaled by itself.

torch's own (`torch.ao.quantization.quantize_dynamic`) scale all rows of a call alike, by the highest and the
lowest number in any of them: what is made of one window's token would depend on the windows beside it. The
product is oneDNN's, by the operators that torch's compiler uses for models of 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from streamarchive.transcription.arithmetic import processor

_HIGHEST, _MIDDLE = 127, 128
_SMALLEST = 1e-12
"""Scale of a row of zeros."""


def can_run() -> bool:
    """Whether this torch has the operators, and the processor the instructions that make them worth it."""
    return hasattr(torch.ops.onednn, "qlinear_pointwise") and "vnni" in processor()


class RowInt8Linear(torch.nn.Module):
    """In the place of a linear layer: any number of rows (…, inputs) in, (…, outputs) in 32 bits out."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """`weight` is (outputs, inputs); each output has a scale of its own."""
        super().__init__()
        whole, scales = _in_eight_bits(weight.detach().float())
        self._packed = torch.ops.onednn.qlinear_prepack(whole.to(torch.int8), None)
        self._scales = scales[:, 0].contiguous()
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = torch.zeros(len(weight)) if bias is None else bias.detach().float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        whole, scales = _in_eight_bits(x.flatten(end_dim=-2).float())
        # Without AMX there is only a slow product of two signed numbers.
        unsigned = whole.add_(_MIDDLE).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            *(unsigned, 1.0, _MIDDLE),
            *(self._packed, self._scales, self._zeros),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )
        return torch.addcmul(self._bias, product, scales).view(*x.shape[:-1], -1)


def _in_eight_bits(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers (rows, width) from -127 to 127, and what (rows, 1) they are to be multiplied by."""
    scales = (rows.abs().amax(dim=1, keepdim=True) / _HIGHEST).clamp(min=_SMALLEST)
    return (rows / scales).round_(), scales


def in_eight_bits(module: Any, but: Collection[torch.nn.Module] = ()) -> None:  # noqa: ANN401 - no types
    """Replace every linear layer inside, but for these."""
    for part in list(module.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, torch.nn.Linear) and child not in but:
                setattr(part, name, RowInt8Linear(child.weight, child.bias))
