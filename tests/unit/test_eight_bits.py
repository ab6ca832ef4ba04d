"""Linear layers in eight bits: near to the true product, row by row."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
eight_bits = pytest.importorskip("streamarchive.transcription.eight_bits")
pytestmark = pytest.mark.skipif(not eight_bits.can_run(), reason="this processor has no product of eight bits")


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_the_product_is_off_by_less_than_a_hundredth(rows: int) -> None:
    torch.manual_seed(rows)
    linear = torch.nn.Linear(512, 256)
    x = torch.randn(rows, 512) * 10 ** torch.randn(rows, 1)
    with torch.no_grad():
        true, found = linear(x), eight_bits.RowInt8Linear(linear.weight, linear.bias)(x)
    assert found.dtype == torch.float32
    assert ((found - true).norm(dim=1) / true.norm(dim=1)).max() < 0.0125


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    layer = eight_bits.RowInt8Linear(torch.randn(64, 128))
    quiet, loud = torch.randn(1, 2, 128), 1000 * torch.randn(1, 2, 128)
    assert torch.equal(layer(torch.cat([quiet, loud]))[:1], layer(quiet))


def test_rows_of_zeros_are_zeros() -> None:
    assert not eight_bits.RowInt8Linear(torch.randn(64, 128))(torch.zeros(2, 128)).any()
    assert torch.equal(eight_bits.RowInt8Linear(torch.zeros(64, 128))(torch.ones(1, 128)), torch.zeros(1, 64))


def test_every_layer_inside_is_replaced_but_those_named() -> None:
    inside = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.Linear(8, 8))
    kept = inside[2]
    eight_bits.in_eight_bits(inside, but=[kept])
    assert isinstance(inside[0], eight_bits.RowInt8Linear)
    assert inside[2] is kept
