"""Domains made of domains: the reduced product of two, and wrappers that add to what their base proves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from absint.engine.context import Context
from absint.engine.cost import Cost
from absint.engine.domain import Domain, Traits, transfer
from absint.engine.rows import Rows, Sense
from absint.model.graph import Graph, Node
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

Memory = Callable[[Graph, Numerics], int]
Estimate = Callable[[Graph, Numerics, Mapping[str, float]], Cost]


@dataclass(frozen=True)
class Both:
    """The memory of two."""

    first: Memory
    second: Memory

    def __call__(self, graph: Graph, numerics: Numerics) -> int:
        """Bytes of an instance."""
        return self.first(graph, numerics) + self.second(graph, numerics)


@dataclass(frozen=True)
class Together:
    """The estimates of two that walk together."""

    first: Estimate
    second: Estimate

    def __call__(self, graph: Graph, numerics: Numerics, counts: Mapping[str, float]) -> Cost:
        """Of an instance."""
        return self.first(graph, numerics, counts).plus(self.second(graph, numerics, counts))


def _estimate(first: Domain[Any], second: Domain[Any]) -> Estimate | None:
    one, two = first.traits.estimate, second.traits.estimate
    return one if two is None else two if one is None else Together(one, two)


def _guide(first: Domain[Any], second: Domain[Any]) -> Domain[Any] | None:
    """For intermediate nodes each is asked through its own guide, or itself where it has none."""
    one, two = first.traits.guide, second.traits.guide
    return None if one is None and two is None else Product(first if one is None else one, second if two is None else two)


def _scout(first: Domain[Any], second: Domain[Any]) -> Domain[Any] | None:
    """Both members' scouts go ahead."""
    one, two = first.traits.scout, second.traits.scout
    return two if one is None else one if two is None else Product(one, two)


# Every trait of a product, from those of its two members: one line a field, and a field without a line is an error.
JOINS: Mapping[str, Callable[[Domain[Any], Domain[Any]], Any]] = {
    "source": lambda a, b: "; ".join(dict.fromkeys(filter(None, (a.traits.source, b.traits.source)))),
    "mixed": lambda a, b: a.traits.mixed or b.traits.mixed,
    "reference": lambda a, b: a.traits.reference or b.traits.reference,
    "alone": lambda a, b: a.traits.alone or b.traits.alone,   # what one of them must not be given, their product is not given
    "differentiable": lambda a, b: a.traits.differentiable and b.traits.differentiable,
    "guide": _guide,
    "scout": _scout,
    "relaxations": lambda a, b: (*a.traits.relaxations, *b.traits.relaxations),
    "memory": lambda a, b: Both(a.traits.memory, b.traits.memory),
    "estimate": _estimate,
}


def joined(first: Domain[Any], second: Domain[Any]) -> Traits:
    """The traits of a product. A KeyError names a trait of which nobody said how it is joined."""
    return Traits(**{field.name: JOINS[field.name](first, second) for field in fields(Traits)})


@dataclass(frozen=True)
class Product(Domain[tuple[Any, Any]]):
    """Reduced product of two domains: both walk together, share `known`, and the better bound counts."""

    first: Domain[Any]
    second: Domain[Any]

    @property
    def traits(self) -> Traits:
        """Those of both, joined."""
        return joined(self.first, self.second)

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> tuple[Any, Any]:
        """Both."""
        return self.first.enclose(node, interval, ctx), self.second.enclose(node, interval, ctx)

    def start(self, node: Node, ctx: Context) -> tuple[Any, Any]:
        """Both."""
        return self.first.start(node, ctx), self.second.start(node, ctx)

    def linear(self, node: Node, args: list[tuple[Any, Any]], ctx: Context) -> tuple[Any, Any]:
        """Both, with the special rules of each."""
        return transfer(self.first, node, [a for a, _ in args], ctx), transfer(self.second, node, [b for _, b in args], ctx)

    nonlinear = linear

    def bounds(self, element: tuple[Any, Any], rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """The better of both."""
        one = self.first.bounds(element[0], rows, ctx, sense)
        return one.meet(self.second.bounds(element[1], rows, ctx, sense))

    def hull(self, element: tuple[Any, Any], ctx: Context) -> Interval | None:
        """The better of both where both have one."""
        one, two = self.first.hull(element[0], ctx), self.second.hull(element[1], ctx)
        return None if one is None or two is None else one.meet(two)

    def take(self, element: tuple[Any, Any], index: Tensor) -> tuple[Any, Any]:
        """Both."""
        return self.first.take(element[0], index), self.second.take(element[1], index)

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """The first that has some: both read the same ones."""
        found = self.first.parameters(node, ctx)
        return self.second.parameters(node, ctx) if found is None else found


class Wrapper(Domain[Any]):
    """A domain that walks as another one, its base, and adds to what the base proves: refinements derive from it.

    Special rules, traits and everything a wrapper does not override are the base's.
    """

    @property
    @abstractmethod
    def walker(self) -> Domain[Any]:
        """The domain that walks."""

    @property
    def traits(self) -> Traits:
        """The base's; a wrapper that changes one replaces it in these."""
        return self.walker.traits

    def enclose(self, node: Node, interval: Interval, ctx: Context) -> Any:
        """The base's."""
        return self.walker.enclose(node, interval, ctx)

    def start(self, node: Node, ctx: Context) -> Any:
        """The base's."""
        return self.walker.start(node, ctx)

    def linear(self, node: Node, args: list[Any], ctx: Context) -> Any:
        """The base's, with its special rules."""
        return transfer(self.walker, node, args, ctx)

    nonlinear = linear

    def bounds(self, element: Any, rows: Rows, ctx: Context, sense: Sense) -> Interval:
        """The base's."""
        return self.walker.bounds(element, rows, ctx, sense)

    def hull(self, element: Any, ctx: Context) -> Interval | None:
        """The base's."""
        return self.walker.hull(element, ctx)

    def take(self, element: Any, index: Tensor) -> Any:
        """The base's."""
        return self.walker.take(element, index)

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """The base's."""
        return self.walker.parameters(node, ctx)
