"""Projected gradient descent on the property's margin, batched over instances (Madry et al., ICLR 2018, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from absint.graph import Graph
from absint.region import Region
from absint.registry import Registry
from absint.spec import Spec


class Attack(Protocol):
    """Searches each region for an input that violates the property."""

    def __call__(self, graph: Graph, region: Region, spec: Spec, device: torch.device) -> Tensor:
        """(batch, *shape) float64: the best point found per instance, inside the region's hull; no promise at all."""
        ...


ATTACKS: Registry[Callable[[], Attack]] = Registry("attack", "absint.attacks")
A = TypeVar("A", bound=Callable[[], Attack])


def register_attack(name: str) -> Callable[[A], A]:
    """Class decorator: make an attack known under `name`."""

    def enter(cls: A) -> A:
        ATTACKS.add(name, cls)
        return cls

    return enter


@register_attack("pgd")
@dataclass(frozen=True)
class Pgd:
    """Steps across the region that shrink, down the gradient (its sign, in a box); starts at the centre and at random corners."""

    steps: int = 20
    restarts: int = 2
    seed: int = 0

    def __call__(self, graph: Graph, region: Region, spec: Spec, device: torch.device) -> Tensor:
        """See `Attack`. Deterministic for a given seed, whatever the batch an instance is in."""
        with torch.inference_mode(False), torch.enable_grad():
            return self._search(graph, region, spec, device)

    def _search(self, graph: Graph, region: Region, spec: Spec, device: torch.device) -> Tensor:
        hull = region.hull
        lower, upper = hull.lower.to(device), hull.upper.to(device)
        best_point, best_value = region.center.to(device), torch.full((region.batch,), torch.inf, device=device)
        for start in self._starts(region, lower, upper, device):
            x = start
            for step in range(self.steps + 1):
                x = x.detach().requires_grad_()
                value = violation(graph, x, spec)
                better = value.detach() < best_value
                best_value = torch.where(better, value.detach(), best_value)
                view = (-1, *(1,) * (x.dim() - 1))
                best_point = torch.where(better.reshape(view), x.detach().double(), best_point)
                if step == self.steps or bool((best_value < 0).all()):
                    break
                (gradient,) = torch.autograd.grad(value.sum(), x)
                # The first steps cross the region, the last ones refine.
                x = region.pull(x.detach() + region.descent(gradient) * 0.9 ** step)
        return best_point

    def _starts(self, region: Region, lower: Tensor, upper: Tensor, device: torch.device) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        starts = [region.center.to(device)]
        for _ in range(self.restarts - 1):
            # One draw for all instances: an instance's points do not depend on its place in a batch.
            share = torch.rand(region.shape, generator=generator, dtype=torch.float64).round().to(device)
            starts.append(region.pull(lower + share * (upper - lower)))
        return starts


def violation(graph: Graph, x: Tensor, spec: Spec) -> Tensor:
    """(batch,): least over disjuncts of the greatest row; negative where the float evaluation violates the property."""
    values = spec.values(graph(x))
    worst = torch.full((len(values), spec.disjuncts), -torch.inf, dtype=values.dtype, device=values.device)
    worst = worst.scatter_reduce(1, spec.disjunct.expand_as(values), values, "amax")
    return worst.amin(1)
