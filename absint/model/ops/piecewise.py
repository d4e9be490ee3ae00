"""Functions with kinks at given places: Abs, PRelu, Clip, ThresholdedRelu, HardSigmoid, HardSwish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.families.elementwise import Curvature, Elementwise, Jump, KernelError, Knot, Piece
from absint.model.op import OnnxNode, Op, Shape, mixes, register_import, register_op, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.relu import LeakyRelu
from absint.model.shapes import broadcast_shape
from absint.numeric.rational import Rationals, constant


@register_op("Abs")
@dataclass(frozen=True, eq=False)
class Abs(Elementwise):
    """|x|: convex, one kink at 0, exact kernels."""

    pieces = (Piece(-inf, 0.0, -1, Curvature.LINEAR), Piece(0.0, inf, 1, Curvature.LINEAR))
    knots = (Knot(0.0, -1.0, 1.0),)
    piecewise_linear = True
    codomain = (0.0, inf)
    lipschitz = 1.0

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return x.abs()

    def rational(self, *xs: Rationals) -> Rationals | None:
        """|x|."""
        return xs[0].where(xs[0].sign() > 0, -xs[0])

    def derivative(self, x: Tensor) -> Tensor:
        """-1 or 1."""
        return torch.where(x > 0, torch.ones_like(x), -torch.ones_like(x))


@dataclass(frozen=True, eq=False)
class PRelu(Elementwise):
    """x above 0, slope x below, with a slope of its own for each entry (broadcast against the shape without batch).

    The direction of the left piece and the left slope of the kink stand for all slopes: `_bent` knows better.
    """

    slope: Tensor
    pieces = (Piece(-inf, 0.0, -1, Curvature.LINEAR), Piece(0.0, inf, 1, Curvature.LINEAR))
    knots = (Knot(0.0, 0.0, 1.0),)
    piecewise_linear = True
    double = True
    error = KernelError(ulps=2)
    execution = KernelError(ulps=2)

    def evaluate(self, x: Tensor) -> Tensor:
        """One rounding below 0."""
        return torch.where(x > 0, x, x * self.constant("slope", x))

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Each entry by its own slope."""
        return xs[0].where(xs[0].sign() > 0, xs[0] * Rationals.of(self.slope.expand(xs[0].shape)))

    def derivative(self, x: Tensor) -> Tensor:
        """The entry's slope or 1."""
        return torch.where(x > 0, torch.ones_like(x), self.constant("slope", x).expand_as(x))

    def _bent(self, low: Tensor, high: Tensor, curvature: Curvature) -> Tensor:
        return ((1 - self.constant("slope", low)) * int(curvature) >= 0) | self._affine(low, high)


@register_import("PRelu")
def prelu_from_onnx(node: OnnxNode) -> Op:
    """A constant slope; LeakyRelu where it is the same everywhere."""
    slope = node.required(1, "the slope").double()
    if bool((slope == slope.reshape(-1)[0]).all()):
        return LeakyRelu(float(slope.detach().reshape(-1)[0]))
    if node.batched[0] and slope.dim() == len(node.shapes[0]):
        if slope.shape[0] != 1:
            raise mixes(node, "the slope differs along the batch axis")
        slope = slope[0]
    try:
        fits = broadcast_shape(slope.shape, node.unbatched(0)) == node.unbatched(0)
    except RuntimeError:
        fits = False
    if not fits:
        raise unsupported(node, f"a slope of shape {tuple(slope.shape)} does not broadcast to the input {node.unbatched(0)}")
    return PRelu(slope)


@register_op("Clip")
@dataclass(frozen=True, eq=False)
class Clip(Elementwise):
    """min(max(x, low), high); constant where low >= high. Exact where the format holds both ends."""

    low: float = -inf
    high: float = inf
    piecewise_linear = True
    double = True
    lipschitz = 1.0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Clip:
        """Attributes before opset 11 (absent: the ends of float32), optional scalar inputs since."""
        top = float(torch.finfo(torch.float32).max)
        if node.opset < 11:
            return cls(float(node.attribute("min", -top)), float(node.attribute("max", top)))
        ends = [-inf, inf]
        for k, name in ((1, "the lower end"), (2, "the upper end")):
            if k < len(node.constants) and not _absent(node, k):
                ends[k - 1] = float(node.required(k, name).double())
        return cls(*ends)

    @property
    def execution(self) -> KernelError | None:
        """float32 may not hold an end."""
        held = all(float(torch.tensor(end, dtype=torch.float32)) == end for end in (self.low, self.high))
        return None if held else KernelError(ulps=1)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Constant, identity, constant."""
        if self.low >= self.high:
            return (Piece(-inf, inf, 0, Curvature.LINEAR),)
        cuts = [-inf, *(k.x for k in self.knots), inf]
        return tuple(Piece(a, b, int(a >= self.low and b <= self.high), Curvature.LINEAR) for a, b in pairwise(cuts))

    @property
    def knots(self) -> tuple[Knot, ...]:
        """At the finite ends."""
        if self.low >= self.high:
            return ()
        ends = (Knot(self.low, 0.0, 1.0), Knot(self.high, 1.0, 0.0))
        return tuple(k for k in ends if abs(k.x) < inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact where the format holds the ends."""
        return x.clamp(min=self.low).clamp(max=self.high)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """The upper end wins where they cross."""
        return _clipped(xs[0], self.low, self.high)

    def derivative(self, x: Tensor) -> Tensor:
        """1 between the ends."""
        return ((x > self.low) & (x < self.high)).to(x.dtype)


def _clipped(x: Rationals, low: float, high: float) -> Rationals:
    if low > -inf:
        x = x.where((x - constant(low)).sign() > 0, constant(low))
    return x if high == inf else x.where((x - constant(high)).sign() < 0, constant(high))


def _absent(node: OnnxNode, position: int) -> bool:
    """An optional input left out by an empty name. A computed end has the same form where it is a number without axes; the front end
    refuses one of any form, and `arity` whatever would get by.
    """
    return node.constants[position] is None and not node.batched[position] and node.shapes[position] == ()


@register_op("ThresholdedRelu")
@dataclass(frozen=True, eq=False)
class ThresholdedRelu(Elementwise):
    """x above alpha, 0 elsewhere: jumps from 0 to alpha."""

    alpha: float = 1.0
    piecewise_linear = True
    double = True

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> ThresholdedRelu:
        """alpha defaults to 1."""
        return cls(float(node.attribute("alpha", 1.0)))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Constant, identity."""
        return (Piece(-inf, self.alpha, 0, Curvature.LINEAR), Piece(self.alpha, inf, 1, Curvature.LINEAR))

    @property
    def knots(self) -> tuple[Knot, ...]:
        """A kink where nothing jumps."""
        return (Knot(0.0, 0.0, 1.0),) if self.alpha == 0 else ()

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """At alpha."""
        return () if self.alpha == 0 else (Jump(self.alpha, 0.0, self.alpha),)

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return torch.where(x > self.alpha, x, torch.zeros_like(x))

    def rational(self, *xs: Rationals) -> Rationals | None:
        """0 at alpha itself."""
        return xs[0].where((xs[0] - constant(self.alpha)).sign() > 0, constant(0.0))

    def derivative(self, x: Tensor) -> Tensor:
        """0 or 1."""
        return (x > self.alpha).to(x.dtype)


@register_op("HardSigmoid")
@dataclass(frozen=True, eq=False)
class HardSigmoid(Composite):
    """max(0, min(1, alpha x + beta)): an affine step, whose roundings are its own, and a clip."""

    alpha: float
    beta: float

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> HardSigmoid:
        """alpha defaults to 0.2 as float32, beta to 0.5."""
        return cls(float(node.attribute("alpha", float(torch.tensor(0.2)))), float(node.attribute("beta", 0.5)))

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """Entry by entry."""
        return (xs[0] * self.alpha + self.beta).clamp(0, 1)

    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Affine, then Clip."""
        line = Affine(torch.tensor(self.alpha, dtype=torch.float64), torch.tensor(self.beta, dtype=torch.float64))
        return build(Clip(0.0, 1.0), (build(line, inputs),))


@register_op("HardSwish")
@dataclass(frozen=True, eq=False)
class HardSwish(Elementwise):
    """x max(0, min(1, x / 6 + 1/2)): a parabola with its lowest point at -1.5, and concave kinks at -3 and 3."""

    pieces = (
        Piece(-inf, -3.0, 0, Curvature.LINEAR), Piece(-3.0, -1.5, -1, Curvature.CONVEX),
        Piece(-1.5, 3.0, 1, Curvature.CONVEX), Piece(3.0, inf, 1, Curvature.LINEAR),
    )
    knots = (Knot(-3.0, 0.0, -0.5), Knot(3.0, 1.5, 1.0))
    double = True
    error = KernelError(ulps=8)
    # x / 6 + 1/2 cancels near -3, and some runtimes multiply by float32(1/6).
    execution = KernelError(ulps=16, absolute=2e-6)
    codomain = (-0.375, inf)

    def evaluate(self, x: Tensor) -> Tensor:
        """x + 3 is exact where it cancels."""
        return x.clamp(min=-3) * ((x + 3).clamp(0, 6) / 6)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """The parabola and its ends."""
        return xs[0] * _clipped(xs[0] + constant(3.0), 0.0, 6.0) * Rationals.fractions([Fraction(1, 6)], ())

    def derivative(self, x: Tensor) -> Tensor:
        """(2 x + 3) / 6 between the kinks; 2 x + 3 is exact where it cancels."""
        inner = (2 * x + 3) / 6
        return torch.where(x <= -3, torch.zeros_like(x), torch.where(x >= 3, torch.ones_like(x), inner))

    def inverse_derivative(self, slope: Tensor, piece: Piece) -> Tensor:
        """3 s - 3/2."""
        return 3 * slope - 1.5
