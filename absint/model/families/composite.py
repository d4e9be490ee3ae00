"""Composites: operators that expand into others when a graph is built."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from absint.model.op import Op, Shape
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics


class Composite(Op):
    """An operator that expands into others when a graph is built."""

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval | None:
        """A closed-form enclosure of the result from the inputs' intervals, rounded outward, which the engine meets into what it
        knows of the result; infinite where the composite may be undefined. Default: none, the expansion says all.

        Intervals as in `Nonlinear`.
        """
        return None

    @property
    def has_enclosure(self) -> bool:
        """Whether `enclosure` is stated."""
        return type(self).enclosure is not Composite.enclosure

    @property
    def in_words(self) -> str | None:
        """What people are told of the expansion beside that there is one. Default: nothing."""
        return None

    @property
    def normalises(self) -> bool:
        """Whether the result are shares of a whole: entries along some axis are not negative and add up to 1, as probabilities do.

        It is seen in a graph where `enclosure` is stated, too.
        """
        return False

    @abstractmethod
    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Add the parts with `build(op, inputs) -> name` and return the name of the result."""


class SeveralResults(Composite):
    """One result of an operator whose results come of the same steps."""

    @abstractmethod
    def together(self) -> tuple[Op, Op]:
        """An operator that gives all results, joined, the same whichever of them this is; and one that takes this one out of it."""
