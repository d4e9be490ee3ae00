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
        center = region.center.to(device)
        # One row more than there are instances: where points go that are nobody's best.
        self._points = torch.cat([center, torch.zeros((1, *region.shape), dtype=center.dtype, device=device)])
        self.values = torch.full((region.batch,), torch.inf, dtype=torch.float64, device=device)
        self.nearest = torch.full((region.batch, spec.disjuncts), torch.inf, dtype=torch.float64, device=device)
        self.done = torch.zeros(region.batch, dtype=torch.bool, device=device)

    @property
    def points(self) -> Tensor:
        """(batch, *shape) float64, the best so far."""
        return self._points[:-1]

    def see(self, instance: Tensor, points: Tensor, values: Tensor, spec: Spec, counted: Tensor | None = None) -> None:
        """Take in points (P, *shape) with row values (P, rows); instance: (P,), each point's position in the batch.

        counted: (P,) bool, the points that may be an instance's best; None for all. Reads nothing from the device.
        """
        greatest = depths(values, spec)
        key = greatest.amin(1)
        # A strict row at exactly zero is no violation and must not displace one.
        key = torch.where(violates(values, spec), key, key.clamp(min=torch.finfo(torch.float64).tiny))
        key = key if counted is None else torch.where(counted, key, torch.inf)
        self.nearest.scatter_reduce_(0, instance[:, None].expand_as(greatest), greatest, "amin")
        before, order = self.values, torch.arange(len(instance), device=instance.device)
        self.values = before.scatter_reduce(0, instance, key, "amin")
        winner = (key == self.values[instance]) & (key < before[instance])
        # Of equal ones the first, so that the outcome does not depend on the order of writing.
        none = torch.full_like(self.done, len(instance), dtype=order.dtype)
        first = none.scatter_reduce(0, instance, torch.where(winner, order, len(instance)), "amin")
        self._points.index_copy_(0, torch.where(first[instance] == order, instance, len(before)), points.double())
        self.done |= self.values <= 0
