"""Points that a search came by: the best of each instance is kept, as a candidate for a witness, and a few more as starts of descents."""

from __future__ import annotations

from math import inf

import numpy as np
import torch
from torch import Tensor

from absint.engine.context import Context
from absint.problem.spec import Spec
from absint.search.promising import Promising

# A violation in floats deeper than this share of its summands ends a search: shallower ones could be rounding, or none.
_DEEP = NEAR = 1e-9


class Candidates:
    """The point of each instance nearest to a violation, and how near. Mutable. Nothing here proves anything."""

    def __init__(self, ctx: Context, spec: Spec) -> None:
        self.ctx, self.spec = ctx, spec.to(torch.device("cpu"))
        self.depth = torch.full((ctx.batch,), inf, dtype=torch.float64)
        self.points = torch.full((ctx.batch, *ctx.graph.input.shape), torch.nan, dtype=torch.float64)
        self.promising: Promising | None = None

    @property
    def violated(self) -> Tensor:
        """(batch,) bool: instances whose point violates the property beyond doubt."""
        return self.depth < -_DEEP

    def look(self, instance: Tensor, points: Tensor, outputs: Tensor, focus: Tensor | None = None) -> None:
        """Remember the best of some points (P, *input) of the instances (P,), with their outputs (P, *output).

        focus: (P,) the disjunct whose tree each point is of, which descents from it go after; None for whichever is nearest.
        """
        if len(instance):
            depth = self.record(instance, points, outputs)
            if self.promising is not None:
                self.promising.add(instance, depth, points, focus)

    def inputs(self, instance: Tensor, points: Tensor, focus: Tensor | None = None) -> None:
        """`look` at the network itself at points (P, *input), such as nodes' minimisers, on any device."""
        if len(instance):
            with torch.no_grad():
                outputs = self.ctx.graph(points.to(self.ctx.numerics.device, torch.float64))
            self.look(instance, points, outputs, focus)

    def collect(self, kept: int) -> Promising:
        """From now on keep so many points of each instance as starts."""
        self.promising = Promising(kept)
        return self.promising

    def record(self, instance: Tensor, points: Tensor, outputs: Tensor) -> Tensor:
        """Remember the best of some points, none as a start. Returns (P,) how deep each is."""
        depth = self._greatest(instance, outputs.detach().cpu())
        place = torch.arange(len(depth))
        if len(depth) > 1:  # of each instance the first among its least ones
            least = torch.full_like(self.depth, inf).scatter_reduce(0, instance, depth, "amin")
            place = place[depth == least[instance]]
        best = torch.full((len(self.depth),), len(depth), dtype=torch.int64)
        best.scatter_reduce_(0, instance[place], place, "amin")
        seen = (best < len(depth)).nonzero().flatten()
        seen = seen[depth[best[seen]] < self.depth[seen]]
        if len(seen):
            best = best[seen]
            self.depth[seen] = depth[best]
            self.points[seen] = points[best.to(points.device)].detach().double().cpu()
        return depth

    def columns(self, instance: int, columns: np.ndarray) -> bool:
        """Look at the network itself at an LP's input; whether it violates the property beyond doubt."""
        graph, hull = self.ctx.graph, self.ctx.region.hull
        point = torch.from_numpy(columns[: graph.input.size].copy()).reshape(1, *graph.input.shape)
        part = slice(instance, instance + 1)
        point = torch.minimum(torch.maximum(point, hull.lower[part].cpu()), hull.upper[part].cpu())
        if self.ctx.region.beyond_hull:
            point = torch.from_numpy(self.ctx.region.project(instance, point[0].numpy()))[None]
        with torch.no_grad():
            output = graph(point.to(self.ctx.numerics.device))
        self.look(torch.tensor([instance]), point, output)
        return bool(self.violated[instance])

    def _greatest(self, instance: Tensor, outputs: Tensor) -> Tensor:
        """(P,): the least over the disjuncts of the greatest row, relative to the size of its summands."""
        spec = self.spec.take(instance)
        sizes = torch.einsum("brn,bn->br", spec.weight.abs(), outputs.flatten(1).double().abs()) + spec.bias.abs()
        share = torch.nan_to_num(spec.values(outputs) / sizes.clamp(min=1e-300), nan=inf)
        greatest = torch.full((len(outputs), spec.disjuncts), -inf, dtype=torch.float64)
        return greatest.scatter_reduce(1, spec.disjunct.expand_as(share), share, "amax").amin(1)
