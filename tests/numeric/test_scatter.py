"""Sums of entries that go to one place: the same by scattering and by sorting, subnormal numbers kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from absint.numeric import scatter
from absint.numeric.scatter import added_at


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [False, True])
def test_both_ways_add_the_same(dtype: torch.dtype, rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randint(-9, 9, (4, 30), generator=generator).to(dtype) * torch.finfo(dtype).tiny / 64
    index = torch.randint(0, 7, (4, 30) if rows else (30,), generator=generator)
    expected = torch.zeros(4, 7, dtype=torch.float64)
    for row in range(4):
        for entry in range(30):
            expected[row, (index[row] if rows else index)[entry]] += values[row, entry].double()
    assert torch.equal(added_at(values, index, 7).double(), expected)
    assert expected.abs().max() > 0
    sorted_sums = _elsewhere(values, index, monkeypatch)
    assert torch.equal(sorted_sums.double(), expected)


def _elsewhere(values: Tensor, index: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What a device that is no CPU computes."""
    monkeypatch.setattr(scatter, "_ON_HOST", "another")
    return added_at(values, index, 7)


def test_nothing_to_add() -> None:
    assert added_at(torch.zeros(0, 3), torch.tensor([0, 1, 1]), 2).shape == (0, 2)
    assert torch.equal(added_at(torch.zeros(2, 0), torch.zeros(0, dtype=torch.int64), 2), torch.zeros(2, 2))
