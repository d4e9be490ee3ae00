"""Rows: linear functionals of one node, flat and ragged over the batch, and the side that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from math import prod

import torch
from torch import Tensor

from absint.problem.spec import Spec


class Sense(Enum):
    """Which bounds are asked for. LOWER alone halves the cost; margins need no upper bound."""

    LOWER = "lower"
    UPPER = "upper"
    BOTH = "both"


@dataclass(frozen=True, eq=False)
class Rows:
    """Linear functionals  weight . x + bias  of one node, flat over the batch and sorted by instance.

    instance: (R,) int64.  weight: (R, *shape) float64 and exact, or None for unit rows.  index: (R,) flat entry of a
    unit row, or None.  bias: (R,) float64, or None for zero.  grid: (batch, k) where every instance has exactly k rows,
    so that the padded layout is a view.  number: (R,) int64, which row of the property each one is, or None.
    """

    node: str
    instance: Tensor
    weight: Tensor | None = None
    index: Tensor | None = None
    bias: Tensor | None = None
    grid: tuple[int, int] | None = None
    number: Tensor | None = None

    @staticmethod
    def units(node: str, mask: Tensor) -> Rows:
        """One unit row per true entry of mask (batch, *shape)."""
        instance, index = mask.flatten(1).nonzero(as_tuple=True)
        return Rows(node, instance, index=index)

    @staticmethod
    def of_spec(node: str, spec: Spec, shape: tuple[int, ...], live: Tensor | None = None) -> Rows:
        """The rows of a property: all of them, or those that are live, (batch, rows) bool."""
        if live is None:
            batch, count = spec.bias.shape
            every = torch.arange(batch, device=spec.bias.device).repeat_interleave(count)
            number = torch.arange(count, device=spec.bias.device).repeat(batch)
            return Rows(node, every, spec.weight.reshape(-1, *shape), None, spec.bias.reshape(-1), (batch, count), number)
        instance, row = live.nonzero(as_tuple=True)
        return Rows(node, instance, spec.weight[instance, row].reshape(-1, *shape), None, spec.bias[instance, row], number=row)

    def __len__(self) -> int:
        return len(self.instance)

    def take(self, part: slice | Tensor) -> Rows:
        """Some of the rows."""
        weight, index, bias, number = (None if v is None else v[part] for v in (self.weight, self.index, self.bias, self.number))
        return Rows(self.node, self.instance[part], weight, index, bias, number=number)

    def chunks(self, size: int) -> Iterator[Rows]:
        """At most `size` rows each."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def negated(self) -> Rows:
        """The functionals with their sign flipped (unit rows become dense on demand: see `dense`)."""
        if self.weight is None:
            raise ValueError("unit rows are negated where they are made dense")
        return replace(self, weight=-self.weight, bias=None if self.bias is None else -self.bias)

    def dense(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """(R, *shape) in the given format (rounded to nearest)."""
        if self.weight is not None:
            return self.weight.to(dtype)
        assert self.index is not None
        out = torch.zeros(len(self), prod(shape), dtype=dtype, device=self.instance.device)
        out[torch.arange(len(self), device=out.device), self.index] = 1
        return out.reshape(-1, *shape)

    def padded(self, batch: int, dtype: torch.dtype) -> Tensor:
        """(batch, k, n): each instance's rows, flattened, with zero rows up to the most that an instance has."""
        assert self.weight is not None
        flat = self.weight.flatten(1).to(dtype)
        if self.grid is not None:
            return flat.reshape(*self.grid, -1)
        slot, most = self._slots(batch)
        out = flat.new_zeros(batch, most, flat.shape[1])
        out[self.instance, slot] = flat
        return out

    def padded_bias(self, batch: int, dtype: torch.dtype) -> Tensor:
        """(batch, k): each instance's biases, zero where there is no row."""
        flat = torch.zeros(len(self), dtype=dtype, device=self.instance.device) if self.bias is None else self.bias.to(dtype)
        if self.grid is not None:
            return flat.reshape(self.grid)
        slot, most = self._slots(batch)
        out = flat.new_zeros(batch, most)
        out[self.instance, slot] = flat
        return out

    def unpadded(self, values: Tensor) -> Tensor:
        """(batch, k) per padded row -> (R,)."""
        if self.grid is not None:
            return values.reshape(-1)
        return values[self.instance, self._slots(len(values))[0]]

    def _slots(self, batch: int) -> tuple[Tensor, int]:
        """Position of each row among those of its instance, and the most rows an instance has."""
        count = torch.bincount(self.instance, minlength=batch)
        start = count.cumsum(0) - count
        slot = torch.arange(len(self), device=self.instance.device) - start[self.instance]
        return slot, int(count.max()) if batch else 0
