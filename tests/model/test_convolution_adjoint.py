"""The adjoint of strided convolutions, which is computed as one plain convolution over phases."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from absint.model.families.linear import Linear
from absint.model.ops.conv import Conv


def cases(rank: int, count: int) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]]:
    """Strides, kernels, pads and input sizes, with kernels smaller than the stride and inputs that the stride never reaches."""
    draw = random.Random(rank)
    return [(tuple(draw.choice((1, 2, 3)) for _ in range(rank)), tuple(draw.choice((1, 2, 3, 4)) for _ in range(rank)),
             tuple((draw.randint(0, 2), draw.randint(0, 2)) for _ in range(rank)), tuple(draw.randint(4, 9) for _ in range(rank)))
            for _ in range(count)]


@pytest.mark.parametrize(("stride", "kernel", "pads", "size"), list(itertools.chain(cases(1, 25), cases(2, 40), cases(3, 10))))
def test_the_adjoint_is_the_transpose(stride, kernel, pads, size):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 2, *kernel, dtype=torch.float64, generator=generator)
    op = Conv(weight, None, stride, pads, (1,) * len(stride))
    shape = (2, *size)
    y = torch.randn(4, *op.output_shape(shape), dtype=torch.float64, generator=generator)
    (found,), (expected,) = op.adjoint(y, (shape,)), Linear.adjoint(op, y, (shape,))
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    # Terms: with whole numbers nothing rounds, so a term that is counted twice or left out shows exactly.
    whole = Conv(weight.round(), None, stride, pads, (1,) * len(stride))
    assert torch.equal(whole.adjoint(y.round(), (shape,))[0], Linear.adjoint(whole, y.round(), (shape,))[0])


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="negative padding"):
        Conv(torch.ones(1, 1, 2), None, (1,), ((-1, 0),), (1,)).output_shape((1, 5))
