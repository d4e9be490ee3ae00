"""Convolutions as one product: the numbers of torch's own kernels, in launches that do not grow with the batch."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from absint.model.convolutions import by_one_product, convolve, convolve_transposed, transposed_by_one_product
from absint.model.ops.conv import Conv
from absint.model.ops.conv_transpose import ConvTranspose


class Launches(TorchDispatchMode):
    """Operations that compute or copy; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returns = func._schema.returns
        self.count += not (returns and returns[0].alias_info is not None and not returns[0].alias_info.is_write)
        return func(*args, **(kwargs or {}))


def drawn(seed, rank):
    """Whole numbers, for which nothing rounds: a term left out or counted twice shows exactly."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    groups = draw.choice((1, 1, 2, 3))
    channels, out = groups * draw.choice((1, 2)), groups * draw.choice((1, 2))
    kernel, stride, gap, pads = (tuple(draw.choice(some) for _ in range(rank)) for some in ((1, 2, 3), (1, 2, 3), (1, 1, 2), (0, 1, 2)))
    size = tuple(draw.randint(5, 7) for _ in range(rank))
    x = torch.randint(-4, 5, (draw.choice((1, 4)), channels, *size), generator=generator).double()
    y = torch.randint(-4, 5, (len(x), out, *size), generator=generator).double()
    weight = torch.randint(-4, 5, (out, channels // groups, *kernel), generator=generator).double()
    extra = tuple(draw.randint(0, max(s, d) - 1) for s, d in zip(stride, gap, strict=True))
    return x, y, weight, stride, pads, extra, gap, groups


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_numbers_are_those_of_torch(rank):
    for seed in range(40):
        x, y, weight, stride, pads, extra, gap, groups = drawn(seed, rank)
        assert torch.equal(by_one_product(x, weight, stride, pads, gap, groups), convolve(x, weight, stride, pads, gap, groups))
        found = transposed_by_one_product(y, weight, stride, extra, gap, groups)
        assert torch.equal(found, convolve_transposed(y, weight, stride, extra, gap, groups))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_gradients_pass_through(rank):
    for seed in range(8):
        x, y, weight, stride, pads, extra, gap, groups = drawn(seed, rank)
        for one, other in ((by_one_product, convolve), (transposed_by_one_product, convolve_transposed)):
            given, more = (x, pads) if other is convolve else (y, extra)
            slopes = []
            for way in (one, other):
                point = given.clone().requires_grad_()
                image = way(point, weight, stride, more, gap, groups)
                slopes.append(torch.autograd.grad((image * torch.arange(image.numel()).reshape(image.shape)).sum(), point)[0])
            assert torch.equal(*slopes)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_launches_do_not_grow_with_the_batch(rank):
    for seed in range(12):
        x, y, weight, stride, pads, extra, gap, groups = drawn(seed, rank)
        counts = []
        for many in (1, 9):
            with Launches() as launches:
                by_one_product(x.repeat(many, *(1,) * (x.dim() - 1)), weight, stride, pads, gap, groups)
                transposed_by_one_product(y.repeat(many, *(1,) * (y.dim() - 1)), weight, stride, extra, gap, groups)
            counts.append(launches.count)
        assert counts[1] <= counts[0] + 2  # what is a view of one may be a copy of many


def test_what_is_copied_is_stated():
    """The most entries that any tensor of a product has, beside the vector and its image, lies within `scratch`."""

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor):
                self.size = max(self.size, found.numel())
            return found

    for seed in range(20):
        x, _, weight, stride, pads, _, gap, groups = drawn(seed, 2)
        for op in (Conv(weight, None, stride, tuple((p, p) for p in pads), gap, groups),
                   ConvTranspose(weight, None, stride, ((0, 0), (0, 0)), gap, groups)):
            shape = (int(weight.shape[0] if isinstance(op, ConvTranspose) else x.shape[1]), *x.shape[2:])
            given, (out,) = torch.ones(1, *shape, dtype=torch.float64), (op.output_shape(shape),)
            with Largest() as largest:
                if isinstance(op, Conv):
                    by_one_product(given, weight, stride, pads, gap, groups)
                else:
                    transposed_by_one_product(given, weight, stride, (0, 0), gap, groups)
            assert largest.size <= op.scratch(out, (shape,)) + given.numel() + 4 * torch.Size(out).numel() * max(stride) ** 2
