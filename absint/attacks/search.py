"""What every attack is given and must return; the registry of attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from absint.model.graph import Graph
from absint.numeric.backend import Budget
from absint.problem.regions.region import Region
from absint.problem.spec import Spec
from absint.registry import Registry


@dataclass(frozen=True, eq=False)
class Search:
    """How to search: where, how long, from where, how hard.

    budget: memory in bytes and the deadline.  starts: (batch, k, *shape) further starting points, e.g. the corner that a
    relaxation calls worst, or None.  focus: (batch, k), the disjunct that each start is to go after, -1 for the nearest; None for that
    everywhere.  seed: of every random draw.  effort: scales steps, restarts and samples; 1 is the
    quick pass before a proof.  depth: how far below zero every row of a disjunct must be for the search to stop at it;
    at 0 a row that is not strict may also be zero.
    """

    device: torch.device
    budget: Budget = Budget()
    starts: Tensor | None = None
    focus: Tensor | None = None
    seed: int = 0
    effort: float = 1.0
    depth: float = 0.0


    def of(self, index: Tensor) -> Search:
        """For instances `index` (k,) on the device."""
        starts, focus = (None if one is None else one.to(self.device)[index] for one in (self.starts, self.focus))
        return replace(self, starts=starts, focus=focus)


class Attack(Protocol):
    """Searches each region for an input that violates the property."""

    def __call__(self, graph: Graph, region: Region, spec: Spec, search: Search) -> Tensor:
        """(batch, *shape) float64: the best point found per instance, in or near its set; no promise at all.

        At the deadline the best points so far are returned; DeadlineError is never raised.
        """
        ...


ATTACKS: Registry[Callable[[], Attack]] = Registry("attack", "absint.attacks")
A = TypeVar("A", bound=Callable[[], Attack])


def register_attack(name: str) -> Callable[[A], A]:
    """Class decorator: make an attack known under `name`."""

    def enter(cls: A) -> A:
        ATTACKS.add(name, cls)
        return cls

    return enter
