"""What an analysis carries along: the context of one batch, and rows, the linear functionals asked of a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import prod

import torch
from torch import Tensor

from absint.model.graph import Graph
from absint.numeric.backend import Budget
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import Region
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
    so that the padded layout is a view.
    """

    node: str
    instance: Tensor
    weight: Tensor | None = None
    index: Tensor | None = None
    bias: Tensor | None = None
    grid: tuple[int, int] | None = None

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
            return Rows(node, every, spec.weight.reshape(-1, *shape), None, spec.bias.reshape(-1), (batch, count))
        instance, row = live.nonzero(as_tuple=True)
        return Rows(node, instance, spec.weight[instance, row].reshape(-1, *shape), None, spec.bias[instance, row])

    def __len__(self) -> int:
        return len(self.instance)

    def take(self, part: slice | Tensor) -> Rows:
        """Some of the rows."""
        weight, index, bias = (None if v is None else v[part] for v in (self.weight, self.index, self.bias))
        return Rows(self.node, self.instance[part], weight, index, bias)

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


@dataclass(frozen=True, eq=False)
class Context:
    """One batch under analysis. Immutable: `learn` and `take` return new contexts.

    known: proved bounds per node, in the vector format; the engine keeps it total on the nodes it has visited.
    assumed: bounds of a case split, kept apart from what is proved; the engine meets them in.
    reference: per node a float64 trajectory (batch, *shape) near the image of the region's centre; backward rows are
    relative to it. It is a number, not a proof: its own evaluation error is bounded in `drift`.
    drift: per node |reference - exact op of the inputs' references|, bounded entry by entry.
    noise: per node what a float32 execution may add; empty unless numerics.float32_semantics.
    slopes: free slopes of an optimiser, (batch, *shape) in [0, 1].
    row_slopes: (R, *shape), a slope of its own for each of the R rows of one substitution, in their order; beats `slopes`
    there. Relaxations see them as the slopes of R instances. `take` drops them: they belong to rows, not to instances.
    memo: what substitutions on this very context compute once; a cache, checked against every field it depends on.
    """

    graph: Graph
    region: Region
    numerics: Numerics
    budget: Budget = Budget()
    target: Spec | None = None
    known: Mapping[str, Interval] = field(default_factory=dict)
    assumed: Mapping[str, Interval] = field(default_factory=dict)
    reference: Mapping[str, Tensor] = field(default_factory=dict)
    drift: Mapping[str, Tensor] = field(default_factory=dict)
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    slopes: Mapping[str, Tensor] = field(default_factory=dict)
    row_slopes: Mapping[str, Tensor] = field(default_factory=dict)
    memo: dict[object, object] = field(default_factory=dict, repr=False)

    @property
    def batch(self) -> int:
        """Number of instances."""
        return self.region.batch

    def met(self, node: str, interval: Interval) -> Interval:
        """`interval` met with what is known of the node."""
        present = self.known.get(node)
        return interval if present is None or present is interval else present.meet(interval)

    def learn(self, node: str, interval: Interval) -> Context:
        """A context that also knows `interval`."""
        return replace(self, known={**self.known, node: self.met(node, interval)})

    def take(self, index: Tensor) -> Context:
        """Instances `index`, repeats allowed: `ctx.take(rows.instance)` makes every row its own instance."""

        def pick(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[index] for name, value in values.items()}

        return replace(
            self, region=self.region.take(index), target=None if self.target is None else self.target.take(index),
            known={k: v.take(index) for k, v in self.known.items()},
            assumed={k: v.take(index) for k, v in self.assumed.items()},
            reference=pick(self.reference), drift=pick(self.drift), noise=pick(self.noise), slopes=pick(self.slopes),
            row_slopes={}, memo={},
        )

    def inputs(self, names: tuple[str, ...]) -> tuple[Interval, ...]:
        """Known bounds of nodes, non-empty stand-ins where a split is void."""
        found = [self.known[name] for name in names]
        return tuple(interval if interval.proper else interval.filled for interval in found)

    def spread(self, name: str) -> Tensor:
        """(batch, *shape): bound on |x - reference| at a node, rounded up; in the vector format."""
        known, reference = self.known[name].filled, self.reference[name]
        return self.numerics.up(torch.maximum(known.upper - reference, reference - known.lower).clamp(min=0))

    @property
    def empty(self) -> Tensor:
        """(batch,) bool: some known bound of the instance is void, so that no input satisfies what was assumed."""
        flags = [interval.empty for interval in self.known.values() if not interval.proper]
        if not flags:
            return torch.zeros(self.batch, dtype=torch.bool, device=self.numerics.device)
        return torch.stack(flags).any(0)
