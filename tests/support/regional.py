"""Numbers and exact arithmetic shared by the tests of regions."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

F = Fraction
MAGNITUDES = (1e-30, 1e-3, 1.0, 1e6, 1e30)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fractions(values: Tensor) -> list[Fraction]:
    return [F(v) for v in values.flatten().tolist()]


def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), F(0))
