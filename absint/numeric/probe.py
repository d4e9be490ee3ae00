"""A few kernels that tell whether a device computes as the proofs assume, asked once before its first bound.

All operands are whole numbers, or whole multiples of the smallest subnormal, so small that every sum is exact in any order: a result
is right to the last bit, or the kernel rounds operands (TF32, bfloat16), mixes entries that it should not (Winograd, FFT), shares
a scale among them (fixed-point emulation), flushes subnormals, or rounds in another direction than to nearest. It is a smoke test
of milliseconds; `absint.numeric.kernels` is the thorough one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor

_FORMATS = (torch.float32, torch.float64)
# Whole numbers of more digits than TF32 (11) and bfloat16 (8) hold, in float32, and than slices of 40 bits, in float64. Their
# products with -3..3, 160 to a sum, stay exact.
_GREATEST = {torch.float32: 1 << 13, torch.float64: 1 << 43}
_HUGE = {torch.float32: 2.0**27, torch.float64: 2.0**120}
_SMALLEST = {torch.float32: 2.0**-149, torch.float64: 2.0**-1074}


def faults(device: torch.device) -> list[str]:
    """The tests that fail on a device, in words; empty where all is well. Called in the numeric mode.

    Raises what the device raises.
    """
    with torch.no_grad():
        return [f"{name} in {str(dtype).removeprefix('torch.')}" for name, test in _TESTS.items() for dtype in _FORMATS
                if not test(dtype, device)]


def _whole(rows: int, columns: int, greatest: int, step: int) -> Tensor:
    """Whole numbers in -greatest..greatest, (rows, columns), int64; no generator is touched."""
    count = torch.arange(rows * columns, dtype=torch.int64, device="cpu").reshape(rows, columns)
    return (count * step + 7919) % (2 * greatest + 1) - greatest


def _same(found: Tensor, exact: Tensor) -> bool:
    return bool(torch.equal(found.cpu(), exact))


def _product(dtype: torch.dtype, device: torch.device) -> bool:
    """Both operands long in turn, and a huge entry that meets zeros alone: it must spoil nothing."""
    long, short = _whole(48, 160, _GREATEST[dtype], 104_729 << (dtype.itemsize * 4)), _whole(160, 40, 3, 31)
    short[5] = 0
    exact = (long @ short).to(dtype)
    left, right = long.to(dtype).to(device), short.to(dtype).to(device)
    left[:, 5] = _HUGE[dtype]
    one = _same(left @ right, exact) and _same(right.T @ left.T, exact.T)
    return one and _same(torch.bmm(left.expand(3, -1, -1), right.expand(3, -1, -1))[2], exact)


def _convolution(dtype: torch.dtype, device: torch.device) -> bool:
    """Outputs that do not see the huge entry are exact. 16 images of 16 channels: where libraries turn to Winograd and FFT."""
    x = _whole(16, 16 * 81, _GREATEST[torch.float32], 7907).reshape(16, 16, 9, 9)
    w = _whole(16, 16 * 9, 3, 31).reshape(16, 16, 3, 3)
    exact = sum(torch.einsum("bchw,oc->bohw", x[:, :, i : i + 7, j : j + 7], w[:, :, i, j]) for i in range(3) for j in range(3))
    x = x.to(dtype)
    x[4, 9, 0, 0] = _HUGE[dtype]    # in the field of the first output only
    found = F.conv2d(x.to(device), w.to(dtype).to(device)).cpu()
    expected = torch.as_tensor(exact).to(dtype)
    found[4, :, 0, 0] = expected[4, :, 0, 0]
    return _same(found, expected)


def _subnormal(dtype: torch.dtype, device: torch.device) -> bool:
    """Multiples of the smallest subnormal through operations on entries and a product; few, because CPUs take them slowly."""
    whole = _whole(64, 32, 9, 31)
    small = (whole.double() * _SMALLEST[dtype]).to(dtype)
    there = small.to(device)
    weight = _whole(32, 4, 2, 31)
    pairs = ((there + there, 2 * whole), (there * 3.0, 3 * whole), ((there * 4.0) * 0.5, 2 * whole), (there.abs(), whole.abs()),
             (there @ weight.to(dtype).to(device), whole @ weight), (there.sum(1), whole.sum(1)))
    return all(_same(found, (exact.double() * _SMALLEST[dtype]).to(dtype)) for found, exact in pairs) and _same(there != 0, whole != 0)


def _rounding(dtype: torch.dtype, device: torch.device) -> bool:
    """Sums and quotients round to nearest, and the neighbours of numbers are their neighbours."""
    eps, top = torch.finfo(dtype).eps, torch.finfo(dtype).max

    def at(*values: float) -> Tensor:
        return torch.tensor(values, dtype=dtype, device="cpu").to(device)

    def host(*values: float) -> Tensor:
        return torch.tensor(values, dtype=dtype, device="cpu")

    sums = at(1.0, 1.0, 1.0 + eps, -1.0) + at(eps / 2, eps * 0.75, eps / 2, -eps * 0.75)
    third = 1 / 3 if dtype is torch.float64 else 11184811 * 2.0**-25
    steps = torch.nextafter(at(1.0, 0.0, top, -1.0), at(inf, -inf, inf, -inf))
    return (_same(sums, host(1.0, 1.0 + eps, 1.0 + 2 * eps, -1.0 - eps)) and _same(at(1.0, -2.0) / at(3.0, 6.0), host(third, -third))
            and _same(steps, host(1.0 + eps, -_SMALLEST[dtype], inf, -1.0 - eps)))


_TESTS: dict[str, Callable[[torch.dtype, torch.device], bool]] = {
    "products of matrices": _product, "convolutions": _convolution, "subnormal numbers": _subnormal, "rounding to nearest": _rounding,
}
