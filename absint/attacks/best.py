"""The best points of a search so far, instance by instance."""

from __future__ import annotations

import torch
from torch import Tensor

from absint.attacks.loss import depths, violates
from absint.problem.regions.region import Region
from absint.problem.spec import Spec


class Best:
    """Mutable record of one search over a batch.

    points: (batch, *shape) float64, the centre until something better is seen.  values: (batch,) float64, the violation
    there.  nearest: (batch, disjuncts) float64, the least each disjunct's greatest row was.  done: (batch,) bool.
    """

    def __init__(self, region: Region, spec: Spec, device: torch.device) -> None:
        self.points = region.center.to(device).clone()
        self.values = torch.full((region.batch,), torch.inf, dtype=torch.float64, device=device)
        self.nearest = torch.full((region.batch, spec.disjuncts), torch.inf, dtype=torch.float64, device=device)
        self.done = torch.zeros(region.batch, dtype=torch.bool, device=device)

    def see(self, instance: Tensor, points: Tensor, values: Tensor, spec: Spec) -> None:
        """Take in points (P, *shape) with row values (P, rows); instance: (P,), each point's position in the batch."""
        greatest = depths(values, spec)
        hit = violates(values, spec)
        # A strict row at exactly zero is no violation and must not displace one.
        key = torch.where(hit, greatest.amin(1), greatest.amin(1).clamp(min=torch.finfo(torch.float64).tiny))
        self.nearest.scatter_reduce_(0, instance[:, None].expand_as(greatest), greatest, "amin")
        least = self.values.scatter_reduce(0, instance, key, "amin")
        winner = ((key == least[instance]) & (key < self.values[instance])).nonzero().flatten()
        # Of equal ones the first, so that the outcome does not depend on the order of writing.
        first = torch.full_like(instance, len(instance)).new_full((len(self.values),), len(instance))
        first = first.scatter_reduce(0, instance[winner], winner, "amin")
        taken = (first < len(instance)).nonzero().flatten()
        self.points[taken] = points[first[taken]].double()
        self.values = least
        self.done[instance[hit]] = True
