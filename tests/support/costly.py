"""Domains that take a known time, on a clock turned by hand, and strategies of given members."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from bundled import digits, mnist
from torch import Tensor

from absint.analyses.verify import Problem, robustness
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.model.families.linear import Linear
from absint.model.graph import Node
from absint.numeric.decimal import parse_eps
from absint.problem.regions.region import LinfBall
from absint.search.strategy import Stage, Strategy

Box, Zonotope = DOMAINS.get("box"), DOMAINS.get("zonotope")


@dataclass(frozen=True)
class Stages(Strategy):
    """Given domains, one after another; those that say `single` are given one instance after the other."""

    members: tuple[Domain[Any], ...] = ()

    def stages(self) -> tuple[Stage, ...]:
        return tuple(Stage(member, one_by_one=getattr(member, "single", False)) for member in self.members)


@dataclass(frozen=True)
class Costly(Zonotope):  # type: ignore[misc, valid-type]
    """A zonotope that sleeps at every linear node for what its instances cost, and tells `log` when it starts.

    cost: seconds of each image, by the sum of its entries.  single: whether instances are given to it one by one.
    """

    cost: dict[float, float] = field(default_factory=dict)
    single: bool = True
    log: list[Any] = field(default_factory=list)

    def start(self, node: Node, ctx: Context) -> Any:
        self.log.append(("start", ctx.batch))
        return super().start(node, ctx)

    def linear(self, node: Node, args: list[Any], ctx: Context) -> Any:
        time.sleep(sum(self.cost.get(key(center), 0.0) for center in ctx.region.center))
        ctx.budget.check()
        return super().linear(node, args, ctx)


def key(image: Tensor) -> float:
    """What tells an image from the others."""
    return round(float(image.double().sum()), 6)


def images(count: int, eps: str = "0.01", wrong: tuple[int, ...] = ()) -> Problem:
    """The first bundled images; those in `wrong` have a label that the network does not give them."""
    graph, (inputs, labels) = mnist(), digits(count)
    labels = labels.clone()
    for k in wrong:
        labels[k] = (labels[k] + 1) % 10
    return robustness(graph, LinfBall(inputs, parse_eps(eps)), labels, eps=eps)


def costs(*seconds: float) -> dict[float, float]:
    """What each of the first images costs a node."""
    return {key(image): cost for image, cost in zip(digits(len(seconds))[0], seconds, strict=True)}


def nodes() -> int:
    """How many linear nodes the bundled network has."""
    return sum(isinstance(node.op, Linear) for node in mnist().nodes)
