"""Domains made of domains: the reduced product of two, and wrappers that add to what their base proves."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from absint.engine.affine_forms import AffineForms
from absint.engine.context import Context
from absint.engine.domain import Domain, transfer
from absint.engine.rows import Rows, Sense
from absint.model.graph import Graph, Node
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.spec import Refutation, Spec


@dataclass(frozen=True)
class Product(Domain[tuple[Any, Any]]):
    """Reduced product of two domains: both walk together, share `known`, and the better bound counts."""

    first: Domain[Any]
    second: Domain[Any]

    @property
    def needs_reference(self) -> bool:
        """If either does."""
        return self.first.needs_reference or self.second.needs_reference

    @property
    def differentiable(self) -> bool:
        """If both do."""
        return self.first.differentiable and self.second.differentiable

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

    def affine(self, element: tuple[Any, Any], rows: Rows, ctx: Context) -> AffineForms | None:
        """The first that has one."""
        found = self.first.affine(element[0], rows, ctx)
        return self.second.affine(element[1], rows, ctx) if found is None else found

    def corner(self, element: tuple[Any, Any], rows: Rows, ctx: Context) -> Tensor | None:
        """The first that has one."""
        found = self.first.corner(element[0], rows, ctx)
        return self.second.corner(element[1], rows, ctx) if found is None else found

    def refute(self, element: tuple[Any, Any], spec: Spec, refuted: Tensor, ctx: Context) -> Refutation | None:
        """The better where both have one."""
        one, two = self.first.refute(element[0], spec, refuted, ctx), self.second.refute(element[1], spec, refuted, ctx)
        return two if one is None else one if two is None else one.joined(two)

    def take(self, element: tuple[Any, Any], index: Tensor) -> tuple[Any, Any]:
        """Both."""
        return self.first.take(element[0], index), self.second.take(element[1], index)

    def memory(self, graph: Graph, numerics: Numerics) -> int:
        """Both."""
        return self.first.memory(graph, numerics) + self.second.memory(graph, numerics)


class Wrapper(Domain[Any]):
    """A domain that walks as another one, its base, and adds to what the base proves: refinements derive from it.

    Special rules and everything a wrapper does not override are the base's.
    """

    @property
    @abstractmethod
    def walker(self) -> Domain[Any]:
        """The domain that walks."""

    @property
    def needs_reference(self) -> bool:
        """If the base does."""
        return self.walker.needs_reference

    @property
    def differentiable(self) -> bool:
        """If the base does."""
        return self.walker.differentiable

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

    def affine(self, element: Any, rows: Rows, ctx: Context) -> AffineForms | None:
        """The base's."""
        return self.walker.affine(element, rows, ctx)

    def corner(self, element: Any, rows: Rows, ctx: Context) -> Tensor | None:
        """The base's."""
        return self.walker.corner(element, rows, ctx)

    def take(self, element: Any, index: Tensor) -> Any:
        """The base's."""
        return self.walker.take(element, index)

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """The base's."""
        return self.walker.parameters(node, ctx)

    def refute(self, element: Any, spec: Spec, refuted: Tensor, ctx: Context) -> Refutation | None:
        """The base's."""
        return self.walker.refute(element, spec, refuted, ctx)

    def memory(self, graph: Graph, numerics: Numerics) -> int:
        """The base's."""
        return self.walker.memory(graph, numerics)
