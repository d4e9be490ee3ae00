"""Softmax, LogSoftmax, LayerNormalization, InstanceNormalization and Div of two tensors: composites of other families."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, prod

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.families.composite import Composite
from absint.model.op import OnnxNode, Op, Shape, one_by_one, register_import, unsupported
from absint.model.ops.affine import Affine, div_from_onnx
from absint.model.ops.assemble import OfImage, steps
from absint.model.ops.exponential import Exp, Log
from absint.model.ops.gemm import Gemm
from absint.model.ops.log_sum_exp import LogSumExp
from absint.model.ops.power import Power
from absint.model.ops.product import Build, Multiply, aligned, broadcast, same_axes
from absint.model.ops.shape import Gather, Reshape, Transpose
from absint.model.ops.sum import Sum
from absint.model.shapes import broadcast_shape
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, no_lower, no_upper

# Between these no square of a centred entry overflows, and no underflow of one matters beside epsilon.
_LARGEST, _LEAST_EPSILON = 1e150, 1e-200


@dataclass(frozen=True, eq=False)
class Softmax(Composite):
    """exp(x_i) / sum_j exp(x_j) along one axis, as exp(-log sum_j exp(x_j - x_i)); logarithmic: without the outer exp.

    The differences keep what the entries have in common, and no exponential of them stands alone, which could overflow: behind a mask of
    -1e9 the sum of a masked entry is exp(1e9).
    Source: Wei et al., Convex Bounds on the Softmax Function, AISTATS 2023, section 3 (the bounds by log-sum-exp, which lie within
    those by reciprocals).
    """

    axis: int
    logarithmic: bool = False

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    @property
    def normalises(self) -> bool:
        """Not the logarithms, which differ among themselves exactly as the scores do."""
        return not self.logarithmic

    def forward(self, *xs: Tensor) -> Tensor:
        """By torch's stable kernels."""
        function = torch.log_softmax if self.logarithmic else torch.softmax
        return function(xs[0], self.axis + 1)

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """1 / (1 + sum_{j != i} exp(x_j - x_i)) falls in every x_j and rises in x_i; its logarithm likewise."""
        (box,) = intervals
        exact, axis = replace(num, vector=torch.float64), self.axis + 1
        low, high = (end.detach().double().movedim(axis, -1) for end in (box.lower, box.upper))
        least, most = log_of_one_plus_sum(low, high, exact)
        if self.logarithmic:
            lower, upper = -most, -least
        else:
            one, two = (Exp().range((Interval(-end, -end),), exact) for end in (most, least))
            lower, upper = one.lower, two.upper
        lower, upper = no_lower(lower), no_upper(upper).clamp(max=0.0 if self.logarithmic else 1.0)
        return Interval(lower.movedim(-1, axis), upper.movedim(-1, axis)).to(num.vector)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Along the last axis: differences, the logarithm of the sum of their exponentials, its negative, then Exp."""
        (shape,) = shapes
        last = len(shape) - 1
        if self.axis != last:
            order = (*(k for k in range(len(shape)) if k != self.axis), self.axis)
            inverse = tuple(sorted(range(len(order)), key=lambda k: order[k]))
            moved = build(replace(self, axis=last), (build(Transpose(order), inputs),))
            return build(Transpose(inverse), (moved,))
        (name,) = inputs
        index = torch.arange(prod(shape)).reshape(shape)
        pairs = (*shape, shape[-1])
        all_j, own_i = index[..., None, :].expand(pairs), index[..., :, None].expand(pairs)
        difference = build(Sum(-1.0), tuple(build(Gather.of(i.contiguous()), (name,)) for i in (all_j, own_i)))
        negative = build(Affine(scale=-torch.ones((), dtype=torch.float64)), (build(LogSumExp(shape[-1]), (difference,)),))
        return negative if self.logarithmic else build(Exp(), (negative,))


def log_of_one_plus_sum(low: Tensor, high: Tensor, num: Numerics, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Bounds of log(1 + sum_{j != i} exp(x_j - x_i)) for low <= x <= high, (..., n) in float64, rounded outward.

    Relative to the greatest exponent, so that nothing overflows: finite wherever the bounds are.
    hidden: entries j to leave out of the sums, broadcast to (..., n); what stands at those as i means nothing.
    """
    n = low.shape[-1]
    own = torch.eye(n, dtype=torch.bool, device=low.device)
    absent = own & ~own if hidden is None else hidden[..., None, :] & ~own
    ends = []
    for far, near, outward in ((low, high, num.down), (high, low, num.up)):
        upward = outward == num.up
        difference = outward(far[..., None, :] - near[..., :, None])
        # The entry itself has the exponent 0, below which no greatest one is; NaN is an infinite end minus itself.
        difference = torch.where(own | absent, 0.0, torch.nan_to_num(difference, nan=inf if upward else -inf, posinf=inf, neginf=-inf))
        top = difference.amax(-1, keepdim=True)
        shifted = torch.where(difference == top, 0.0, outward(difference - top))
        terms = Exp().range((Interval(shifted, shifted),), num)
        slack = num.vector_gamma(n + 4)
        summed = torch.where(absent, 0.0, terms.upper if upward else terms.lower).sum(-1)
        total = summed * (1 + slack if upward else 1 - slack)
        # The exponent at the top contributes exactly 1.
        total = total.clamp(min=1.0)
        image = Log().range((Interval(total, total),), num)
        ends.append(outward((image.upper if upward else image.lower) + top[..., 0]))
    return ends[0], ends[1]


@register_import("Softmax", "LogSoftmax")
def softmax_from_onnx(node: OnnxNode) -> Op:
    """From opset 13 along one axis; before, over all axes from `axis` on together."""
    rank = len(node.shapes[0])
    axis = int(node.attribute("axis", -1 if node.opset >= 13 else 1))
    axis = axis + rank if axis < 0 else axis
    if node.opset < 13 and axis != rank - 1:
        shape, first = node.unbatched(0), node.axis(axis)
        flat = Reshape((*shape[:first], prod(shape[first:])))
        return steps(flat, Softmax(first, node.op_type == "LogSoftmax"), Reshape(shape))
    return Softmax(node.axis(axis), node.op_type == "LogSoftmax")


@dataclass(frozen=True, eq=False)
class Normalise(Composite):
    """(x - mean) / sqrt(variance + epsilon) over the last `axes` axes, then scale x + shift (None: not applied)."""

    axes: int
    epsilon: float
    scale: Tensor | None = None
    shift: Tensor | None = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        if not 0 < self.axes <= len(shapes[0]):
            raise ValueError(f"cannot normalise {self.axes} axes of {shapes[0]}")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        over = tuple(range(xs[0].dim() - self.axes, xs[0].dim()))
        centered = xs[0] - xs[0].mean(over, keepdim=True)
        y = centered / (centered.square().mean(over, keepdim=True) + self.epsilon).sqrt()
        y = y if self.scale is None else y * self.constant("scale", y)
        return y if self.shift is None else y + self.constant("shift", y)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """One axis of the normalised entries, standardised, then an affine step."""
        (shape,) = shapes
        lead, n = shape[: len(shape) - self.axes], prod(shape[len(shape) - self.axes :])
        flat = build(Standardise(self.epsilon), (build(Reshape((*lead, n)), inputs),))
        result = build(Reshape(shape), (flat,))
        if self.scale is None and self.shift is None:
            return result
        return build(Affine(scale=self.scale, shift=self.shift), (result,))


@dataclass(frozen=True, eq=False)
class Standardise(Composite):
    """(x - mean) / sqrt(variance + epsilon) along the last axis."""

    epsilon: float

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        centered = xs[0] - xs[0].mean(-1, keepdim=True)
        return centered / (centered.square().mean(-1, keepdim=True) + self.epsilon).sqrt()

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Entries that sum to zero have c_i^2 <= (n - 1) sum_{j != i} c_j^2 (Cauchy and Schwarz), so that the variance is at least
        c_i^2 / (n - 1), and |y_i| <= |c_i| / sqrt(c_i^2 / (n - 1) + epsilon) < sqrt(n - 1), which grows with |c_i|.
        """
        (box,) = intervals
        if not self.epsilon > _LEAST_EPSILON:
            return Interval(torch.full_like(box.lower, -inf), torch.full_like(box.upper, inf))
        exact = replace(num, vector=torch.float64)
        least, most = _centered(box.lower.detach().double(), box.upper.detach().double(), exact)
        n = box.lower.shape[-1]
        lower, upper = -_standard((-least).clamp(min=0), n, self.epsilon, exact), _standard(most.clamp(min=0), n, self.epsilon, exact)
        return Interval(lower, upper).to(num.vector)

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Centre (linear), square, mean, power -1/2, product."""
        (*lead, n), (flat,) = shapes[0], inputs
        # 1 - 1/n and 1/n are rounded at most twice.
        centering = torch.eye(n, dtype=torch.float64) - 1 / n
        centered = build(Gemm(centering, weight_terms=2), (flat,))
        mean = torch.full((1, n), 1 / n, dtype=torch.float64)
        variance = build(Gemm(mean, weight_terms=1), (build(Power(2.0), (centered,)),))
        shifted = build(Affine(shift=torch.tensor(self.epsilon, dtype=torch.float64)), (variance,))
        spread = broadcast(build, build(Power(-0.5), (shifted,)), (*lead, 1), (*lead, n))
        return build(Times(), (centered, spread))


def _centered(low: Tensor, high: Tensor, num: Numerics) -> tuple[Tensor, Tensor]:
    """Bounds of x_i - mean(x), (..., n) in float64: (1 - 1/n) x_i minus 1/n times the sum of the others."""
    n = low.shape[-1]
    size = torch.maximum(low.abs(), high.abs()).sum(-1, keepdim=True)
    # Divided by n, the sums of magnitudes err by less than 6 u size, and each product and difference by u size.
    slack = 4 * size * num.vector_gamma(n + 8) + 4 * num.vector_floor
    least = (n - 1) * low - (high.sum(-1, keepdim=True) - high)
    most = (n - 1) * high - (low.sum(-1, keepdim=True) - low)
    return no_lower(least / n - slack), no_upper(most / n + slack)


def _standard(reach: Tensor, n: int, epsilon: float, num: Numerics) -> Tensor:
    """c / sqrt(c^2 / (n - 1) + epsilon) for c >= 0, rounded up; its limit where c is too large to be squared; 0 for n = 1."""
    if n == 1:
        return torch.zeros_like(reach)
    most = num.up(torch.full_like(reach, (n - 1) ** 0.5))
    c = reach.clamp(max=_LARGEST)
    value = num.up(c / (c.square() / (n - 1) + epsilon).sqrt() * (1 + num.vector_gamma(8)) + 2 * num.vector_floor)
    return torch.where(reach < _LARGEST, torch.minimum(value, most), most)


@register_import("LayerNormalization")
def layer_norm_from_onnx(node: OnnxNode) -> Op:
    """Over the axes from `axis` on; scale and bias must be constants of the normalised shape."""
    rank = len(node.shapes[0])
    axis = int(node.attribute("axis", -1))
    axis = axis + rank if axis < 0 else axis
    node.axis(axis)
    scale, shift = node.required(1, "the scale").double(), node.constant(2)
    if len(node.shapes) > 2 and shift is None and node.shapes[2]:
        raise unsupported(node, "the bias must be a constant", "export with constant folding")
    return Normalise(rank - axis, float(node.attribute("epsilon", float(torch.tensor(1e-5)))), scale,
                     None if shift is None else shift.double())


@register_import("InstanceNormalization")
def instance_norm_from_onnx(node: OnnxNode) -> Op:
    """Over the spatial axes of each channel."""
    rank = len(node.shapes[0])
    if not node.batched[0] or rank < 3:
        raise one_by_one(node, "batch, channels, spatial axes", max(3, rank))
    view = (-1, *(1,) * (rank - 2))
    scale, shift = (node.required(k, what).double().reshape(view) for k, what in ((1, "the scale"), (2, "the bias")))
    return OfImage(Normalise(rank - 2, float(node.attribute("epsilon", float(torch.tensor(1e-5)))), scale, shift))


@dataclass(frozen=True, eq=False)
class Divide(Composite):
    """x / z with broadcasting: x times the reciprocal of z; unbounded where z may be 0. numerator: a constant x, or None."""

    numerator: Tensor | None = None
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The broadcast shape."""
        constant = () if self.numerator is None else (tuple(self.numerator.shape),)
        return broadcast_shape(*constant, *shapes)

    def forward(self, *xs: Tensor) -> Tensor:
        """x / z."""
        if self.numerator is not None:
            return self.constant("numerator", xs[0]) / xs[0]
        a, b = aligned(*xs)
        return a / b

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Reciprocal, then a product or a scaling."""
        inverse = build(Power(-1.0), (inputs[-1],))
        if self.numerator is not None:
            return build(Affine(scale=self.numerator), (inverse,))
        return build(Multiply(), (inputs[0], inverse))


@register_import("Div")
def divide_from_onnx(node: OnnxNode) -> Op:
    """By a constant: a scaling. By a computed tensor: through its reciprocal."""
    if node.constant(1) is not None:
        return div_from_onnx(node)
    constant = node.constant(0)
    if constant is None:
        same_axes(node)
        return Divide()
    if constant.numel() != 1:
        raise unsupported(node, "a constant tensor divided by a computed one is not supported", "multiply by a reciprocal")
    return Divide(constant.double().reshape(()))


