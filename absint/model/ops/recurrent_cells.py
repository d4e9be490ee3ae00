"""One step of a recurrent layer: the gates of RNN, GRU and LSTM as products, functions and products of two tensors.

A state is the name of a node, or None where it is zero: what a state of zeros would be multiplied with is left out.
Weights and gates are those of the ONNX operators: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html, onnx__RNN.html.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.op import Op, Shape, widened
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.product import Build
from absint.model.ops.shape import Concat
from absint.model.ops.sum import Sum
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

State = str | None
Function = tuple[Op, ...]   # operators of one operand, in turn


@dataclass(frozen=True, eq=False)
class Gate:
    """f(W x + R h + b). joint: the product with x and h joined.  alone: with x alone, where h is zero.  peephole: P of P c, or None."""

    joint: Gemm
    alone: Gemm
    function: Function
    peephole: Affine | None = None

    @staticmethod
    def of(blocks: tuple[Tensor, Tensor], biases: tuple[Tensor, Tensor] | None, function: Function, peephole: Tensor | None = None) -> Gate:
        """blocks: W (hidden, inputs) and R (hidden, hidden).  biases: those of W and of R, (hidden,) each.  peephole: (hidden,)."""
        w, r = (widened(block) for block in blocks)
        see = None if peephole is None else Affine(scale=widened(peephole))
        return Gate(product(torch.cat([w, r], 1), biases), product(w.contiguous(), biases), function, see)

    @property
    def products(self) -> tuple[Linear, ...]:
        """W and R joined, and P."""
        return (self.joint,) if self.peephole is None else (self.joint, self.peephole)

    def __call__(self, build: Build, joined: str, cell: State, *, first: bool) -> str:
        """The gate's value. joined: x and h, or x alone where `first` says so.  cell: what a peephole looks at."""
        total = build(self.alone if first else self.joint, (joined,))
        if self.peephole is not None and cell is not None:
            total = build(Sum(), (total, build(self.peephole, (cell,))))
        return applied(build, self.function, total)


def product(weight: Tensor, biases: tuple[Tensor, Tensor] | None) -> Gemm:
    """W x with two biases as one: their sum in float64, what that errs by where it does, and the magnitudes that meet in it.

    The error is Knuth's, exact: s = fl(a + b), e = (a - (s - t)) + (b - t) with t = s - a.
    """
    if biases is None:
        return Gemm(weight)
    a, b = map(widened, biases)
    one, two = a.detach().double(), b.detach().double()
    total = one + two
    part = total - one
    error = ((one - (total - part)) + (two - part)).abs()
    return Gemm(weight, a + b, bias_error=error if bool(error.any()) else None, bias_magnitude=one.abs() + two.abs())


def applied(build: Build, function: Function, name: str) -> str:
    """Operators in turn."""
    for op in function:
        name = build(op, (name,))
    return name


def joined(build: Build, x: str, h: State, rank: int) -> str:
    """x and h along their last axis, or x alone. rank: of both, batch axis not counted."""
    return x if h is None else build(Concat(rank - 1), (x, h))


@dataclass(frozen=True, eq=False)
class Cell(ABC):
    """A recurrent layer in one direction. hidden: entries of its state.  inputs: of its input."""

    hidden: int
    inputs: int

    @property
    @abstractmethod
    def products(self) -> tuple[Linear, ...]:
        """What holds its weights, each once."""

    @abstractmethod
    def step(self, build: Build, x: str, state: tuple[State, State], rank: int) -> tuple[str, State]:
        """The states h and c behind one more input. x: (..., inputs); rank: its axes, batch axis not counted."""


@dataclass(frozen=True, eq=False)
class PlainCell(Cell):
    """h' = f(W x + R h + b)."""

    gate: Gate

    @property
    def products(self) -> tuple[Linear, ...]:
        """One."""
        return self.gate.products

    def step(self, build: Build, x: str, state: tuple[State, State], rank: int) -> tuple[str, State]:
        """One gate is all there is."""
        h, _ = state
        return self.gate(build, joined(build, x, h, rank), None, first=h is None), None


@dataclass(frozen=True, eq=False)
class LstmCell(Cell):
    """c' = f c + i g, h' = o h(c'), with the gates i, o, f (sigmoids as a rule) and g. forget: None where f = 1 - i."""

    enter: Gate
    leave: Gate
    forget: Gate | None
    candidate: Gate
    squash: Function

    @property
    def products(self) -> tuple[Linear, ...]:
        """Of all gates."""
        gates = (self.enter, self.leave, self.candidate, *(() if self.forget is None else (self.forget,)))
        return tuple(product for gate in gates for product in gate.products)

    def step(self, build: Build, x: str, state: tuple[State, State], rank: int) -> tuple[str, State]:
        """Peepholes of i and f look at c, that of o at c'."""
        h, c = state
        first, both = h is None, joined(build, x, h, rank)
        enter = self.enter(build, both, c, first=first)
        cell = build(Times(), (enter, self.candidate(build, both, None, first=first)))
        if c is not None:
            kept = build(complement(), (enter,)) if self.forget is None else self.forget(build, both, c, first=first)
            cell = build(Sum(), (build(Times(), (kept, c)), cell))
        leave = self.leave(build, both, cell, first=first)
        return build(Times(), (leave, applied(build, self.squash, cell))), cell


@dataclass(frozen=True, eq=False)
class GruCell(Cell):
    """h' = (1 - z) g + z h with the gates z and r. reset_after: g(W x + b + r (R h + b')), else g(W x + R (r h) + b + b').

    candidate: the gate g; of `reset_after` its product is with x alone, and `recurrent` is R h + b'.
    """

    update: Gate
    reset: Gate
    candidate: Gate
    recurrent: Gemm | None

    @property
    def products(self) -> tuple[Linear, ...]:
        """Of all gates, and R of the candidate where it stands alone."""
        own = () if self.recurrent is None else (self.recurrent,)
        return (*self.update.products, *self.reset.products, *self.candidate.products, *own)

    @property
    def reset_after(self) -> bool:
        """Whether r is applied behind R, as torch and cuDNN have it."""
        return self.recurrent is not None

    def step(self, build: Build, x: str, state: tuple[State, State], rank: int) -> tuple[str, State]:
        """The new state is between the old one and the candidate."""
        h, _ = state
        first, both = h is None, joined(build, x, h, rank)
        update = self.update(build, both, None, first=first)
        new = self._candidate(build, x, h, both, rank)
        if h is None:
            return build(Times(), (build(complement(), (update,)), new)), None
        return build(Blend(), (update, new, h)), None

    def _candidate(self, build: Build, x: str, h: State, both: str, rank: int) -> str:
        if self.recurrent is None:
            if h is None:
                return self.candidate(build, x, None, first=True)
            reset = self.reset(build, both, None, first=False)
            return self.candidate(build, joined(build, x, build(Times(), (reset, h)), rank), None, first=False)
        reset = self.reset(build, both, None, first=h is None)
        own = build(self.candidate.alone, (x,))
        if h is not None:
            more: State = build(Times(), (reset, build(self.recurrent, (h,))))
        else:
            bias = self.recurrent.bias
            more = None if bias is None else build(Affine(scale=bias), (reset,))
        return applied(build, self.candidate.function, own if more is None else build(Sum(), (own, more)))


def complement() -> Affine:
    """1 - x."""
    one = torch.ones((), dtype=torch.float64)
    return Affine(scale=-one, shift=one)


@dataclass(frozen=True, eq=False)
class Blend(Composite):
    """(1 - z) x + z y of three tensors of one shape: between x and y where z is between 0 and 1."""

    arity = 3

    def output_shape(self, *shapes: Shape) -> Shape:
        """The common shape."""
        if len(set(shapes)) != 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} differ")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """(1 - z) x + z y."""
        return (1 - xs[0]) * xs[1] + xs[0] * xs[2]

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Two products: where z is known to be a share, their planes together stay between x and y, which z (y - x) + x does not."""
        z, x, y = inputs
        return build(Sum(), (build(Times(), (build(complement(), (z,)), x)), build(Times(), (z, y))))

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval | None:
        """Affine in each operand, hence extreme at corners of the box; as x + z (y - x), each step rounded outward."""
        z, x, y = intervals
        exact = Numerics(torch.float64, torch.float64, num.device, num.rounding)
        lower, upper = None, None
        for share in (z.lower, z.upper):
            for one in (x.lower, x.upper):
                for two in (y.lower, y.upper):
                    low, high = _corner(share.double(), one.double(), two.double(), exact)
                    lower = low if lower is None else torch.minimum(lower, low)
                    upper = high if upper is None else torch.maximum(upper, high)
        assert lower is not None
        assert upper is not None
        return Interval(lower, upper).to(num.vector)


def _corner(z: Tensor, x: Tensor, y: Tensor, num: Numerics) -> tuple[Tensor, Tensor]:
    """Bounds of (1 - z) x + z y at a point: its value in floating point, and what four roundings of magnitudes may make of it."""
    rest = 1 - z
    size = (rest.abs() + 1 + z.abs()) * (x.abs() + y.abs())
    error = size * num.vector_gamma(8) + 8 * num.vector_floor
    value = rest * x + z * y
    low, high = num.down(value - error), num.up(value + error)
    unknown = ~error.isfinite()
    return torch.where(unknown, -torch.inf, low), torch.where(unknown, torch.inf, high)
