"""GroupNormalization, RMSNormalization, MeanVarianceNormalization and LRN: composites of other families."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, prod

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.families.composite import Composite
from absint.model.op import OnnxNode, Op, Shape, one_by_one, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import OfImage, steps
from absint.model.ops.gemm import Gemm
from absint.model.ops.normalise import Normalise
from absint.model.ops.power import Power
from absint.model.ops.product import Build, broadcast
from absint.model.ops.reduce import AxisMap, mean_of
from absint.model.ops.shape import Identity, Reshape, Transpose
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, no_lower, no_upper

_EPSILON = float(torch.tensor(1e-5))
# Between these no square of an entry overflows, and no underflow of one matters beside epsilon.
_LARGEST, _LEAST_EPSILON = 1e150, 1e-200


@register_import("GroupNormalization")
def group_norm_from_onnx(node: OnnxNode) -> Op:
    """Over the channels of each group and all spatial axes. Scale and bias are of each channel; before opset 21, of each group."""
    rank, groups = len(node.shapes[0]), int(node.attribute("num_groups", 0))
    if not node.batched[0] or rank < 3:
        raise one_by_one(node, "batch, channels, spatial axes", max(3, rank))
    shape = node.unbatched(0)
    if groups < 1 or shape[0] % groups:
        raise unsupported(node, f"{shape[0]} channels do not make {groups} groups", "repair the model")
    scale, shift = (node.required(k, what).double() for k, what in ((1, "the scale"), (2, "the bias")))
    if node.opset < 21:
        scale, shift = (value.repeat_interleave(shape[0] // groups) for value in (scale, shift))
    view = (-1, *(1,) * (rank - 2))
    within = Normalise(1, float(node.attribute("epsilon", _EPSILON)))
    affine = Affine(scale.reshape(view), shift.reshape(view))
    return OfImage(steps(Reshape((groups, prod(shape) // groups)), within, Reshape(shape), affine))


@dataclass(frozen=True, eq=False)
class RootMeanSquare(Composite):
    """x / sqrt(mean of x^2 + epsilon) along the last axis."""

    epsilon: float

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        return xs[0] * (xs[0].square().mean(-1, keepdim=True) + self.epsilon).rsqrt()

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """x_i / sqrt((x_i^2 + s) / n + epsilon) rises in x_i, and its magnitude falls in s = sum_{j != i} x_j^2; it stays below sqrt(n)."""
        (box,) = intervals
        if not self.epsilon > _LEAST_EPSILON:
            return Interval(torch.full_like(box.lower, -inf), torch.full_like(box.upper, inf))
        exact = replace(num, vector=torch.float64)
        low, high = box.lower.detach().double(), box.upper.detach().double()
        least, most = _squares_of_others(low, high, exact)
        lower, upper = -self._share(-low, least, most, exact), self._share(high, least, most, exact)
        return Interval(no_lower(lower), no_upper(upper)).to(num.vector)

    def _share(self, x: Tensor, least: Tensor, most: Tensor, num: Numerics) -> Tensor:
        """An upper bound for operands up to x: with the least of the others where that is positive, else with the most of them."""
        n = x.shape[-1]
        slack, near = num.vector_gamma(12), x.clamp(-_LARGEST, _LARGEST)
        divisor = (((near.square() + torch.where(x >= 0, least, most)) / n) + self.epsilon).sqrt()
        # Of two numbers torch would choose in float32, where both are 1.
        toward = torch.where(x >= 0, torch.full_like(x, 1 + slack), torch.full_like(x, 1 - slack))
        value = near / divisor * toward + 2 * num.vector_floor
        # What holds for any of that sign, also beyond what can be squared, and where the sums are infinite.
        most_of_all = torch.where(x < 0, 0.0, num.up(torch.full_like(x, n**0.5)))
        return num.up(torch.where(x.abs() < _LARGEST, torch.fmin(value, most_of_all), most_of_all))

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Square, mean, power -1/2, product."""
        *lead, n = shapes[0]
        mean = Gemm(torch.full((1, n), 1 / n, dtype=torch.float64), weight_terms=1)
        shifted = build(Affine(shift=torch.tensor(self.epsilon, dtype=torch.float64)), (build(mean, (build(Power(2.0), inputs),)),))
        return build(Times(), (inputs[0], broadcast(build, build(Power(-0.5), (shifted,)), (*lead, 1), (*lead, n))))


def _squares_of_others(low: Tensor, high: Tensor, num: Numerics) -> tuple[Tensor, Tensor]:
    """Bounds of sum_{j != i} x_j^2, (..., n) in float64, never below 0; NaN or infinite where squares overflow."""
    far = torch.maximum(low.square(), high.square())
    near = torch.where((low <= 0) & (high >= 0), 0.0, torch.minimum(low.square(), high.square()))
    least, most = (end.sum(-1, keepdim=True) for end in (near, far))
    # A total minus one of its summands errs by the roundings of the total, and each square by half an ulp.
    slack = 4 * most * num.vector_gamma(low.shape[-1] + 4) + 4 * low.shape[-1] * num.vector_floor
    return (least - near - slack).clamp(min=0), most - far + slack


@register_import("RMSNormalization")
def rms_norm_from_onnx(node: OnnxNode) -> Op:
    """Over the axes from `axis` on; the scale must be a constant."""
    rank = len(node.shapes[0])
    axis = node.axis(int(node.attribute("axis", -1)) % rank)
    shape = node.unbatched(0)
    scale = node.required(1, "the scale").double()
    flat = (*shape[:axis], prod(shape[axis:]))
    views = (Identity(), Identity()) if flat == shape else (Reshape(flat), Reshape(shape))
    return steps(views[0], RootMeanSquare(float(node.attribute("epsilon", _EPSILON))), views[1], Affine(scale))


@dataclass(frozen=True, eq=False)
class Deviations(Composite):
    """(x - mean) / (sqrt(variance) + epsilon) along the last axis."""

    epsilon: float

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        off = xs[0] - xs[0].mean(-1, keepdim=True)
        return off / (off.square().mean(-1, keepdim=True).sqrt() + self.epsilon)

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """The variance is at least c_i^2 / (n - 1), as `normalise.Standardise` has it: |y_i| < sqrt(n - 1)."""
        (box,) = intervals
        root = torch.full_like(box.upper, (box.lower.shape[-1] - 1) ** 0.5, dtype=torch.float64) * (1 + 1e-15)
        return Interval(-root, root).to(num.vector)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Centre (linear), square, mean, root, reciprocal, product."""
        *lead, n = shapes[0]
        off = build(Gemm(torch.eye(n, dtype=torch.float64) - 1 / n, weight_terms=2), inputs)
        squares = build(Power(2.0), (off,))
        root = build(Power(0.5), (build(mean_of((len(lead),), shapes[0], keep=True), (squares,)),))
        inverse = build(Power(-1.0), (build(Affine(shift=torch.tensor(self.epsilon, dtype=torch.float64)), (root,)),))
        return build(Times(), (off, broadcast(build, inverse, (*lead, 1), (*lead, n))))


@register_import("MeanVarianceNormalization")
def mean_variance_from_onnx(node: OnnxNode) -> Op:
    """Over `axes` together (default: 0, 2 and 3)."""
    shape, rank = node.unbatched(0), len(node.shapes[0])
    given = [int(a) % rank for a in node.attribute("axes", (0, 2, 3))]
    # Of one instance, an axis of size 1 adds nothing; where the batch size is open, `axis` says that instances are mixed.
    over = sorted(node.axis(a) for a in given)
    order = (*(k for k in range(len(shape)) if k not in over), *over)
    moved = tuple(shape[k] for k in order)
    flat = (*moved[: len(shape) - len(over)], prod(shape[k] for k in over))
    there, back = Transpose(order), Transpose(tuple(sorted(range(len(order)), key=lambda k: order[k])))
    return steps(there, Reshape(flat), Deviations(1e-9), Reshape(moved), back)


@dataclass(frozen=True, eq=False)
class RunningSums(AxisMap):
    """Sums over neighbours along the axis, which executions make of one another: what comes in is added, what goes out subtracted."""

    @property
    def execution_terms(self) -> int:
        """An addition and a difference for each step along the axis, after those of a window."""
        return self.forward_terms + 2 * int(self.weight.shape[1])

    def apply_magnitude(self, *rs: Tensor) -> Tensor:
        """What is met on the way there: all that there is along the axis."""
        total = rs[0].sum(self.axis + 1, keepdim=True) * self.constant("weight", rs[0], absolute=True).amax()
        return total.expand(rs[0].shape)


@dataclass(frozen=True, eq=False)
class LocalResponse(Composite):
    """x / (bias + W x^2) ** beta along the channels, axis 0; W holds alpha / size in each channel's neighbourhood."""

    weight: Tensor
    bias: float
    beta: float
    channel_axis = 0

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        squares = (xs[0].square().movedim(1, -1) @ self.constant("weight", xs[0]).T).movedim(-1, 1)
        return xs[0] * (self.bias + squares) ** -self.beta

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Squares, their sums, a power, a product."""
        sums = build(RunningSums(0, self.weight, 1), (build(Power(2.0), inputs),))
        base = build(Affine(shift=torch.tensor(self.bias, dtype=torch.float64)), (sums,))
        return build(Times(), (inputs[0], build(Power(-self.beta), (base,))))


@register_import("LRN")
def lrn_from_onnx(node: OnnxNode) -> Op:
    """Over the channels from floor((size - 1) / 2) before each to ceil((size - 1) / 2) after it."""
    rank, size = len(node.shapes[0]), int(node.attribute("size", 0))
    if not node.batched[0] or rank < 3:
        raise one_by_one(node, "batch, channels, spatial axes", max(3, rank))
    alpha, bias = (float(node.attribute(name, float(torch.tensor(default)))) for name, default in (("alpha", 1e-4), ("bias", 1.0)))
    beta = float(node.attribute("beta", 0.75))
    if size < 1 or not alpha >= 0 or not bias > 0 or not beta > 0:
        raise unsupported(node, f"size={size}, alpha={alpha:g}, bias={bias:g} or beta={beta:g} is not positive")
    channels = node.unbatched(0)[0]
    near = torch.ones(channels, channels, dtype=torch.float64).triu(-((size - 1) // 2)).tril(size // 2)
    return LocalResponse(near * (alpha / size), bias, beta)
