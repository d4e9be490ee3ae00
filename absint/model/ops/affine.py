"""Entrywise y = scale x + shift with constants: Add, Sub, Mul, Div by constants, BatchNormalization, Neg."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod

import torch
from torch import Tensor

from absint.model.constants import kept
from absint.model.families.linear import Linear, Monomial
from absint.model.op import OnnxNode, Op, Shape, mixes, no_offset, register_import, unerring, unsupported
from absint.model.ops.product import Multiply, same_axes
from absint.model.shapes import broadcast_shape
from absint.numeric.rounding import gamma, is_power


@dataclass(frozen=True, eq=False)
class Affine(Linear):
    """y = scale x + shift entry by entry; constants broadcast against the input, None means one (zero).

    weight_terms: roundings in computing `scale`.  shift_error: bound on the error of `shift`.
    shift_magnitude: what the original network's additions meet, where `shift` cancelled.
    fan_out: output entries per input entry (more than 1 only where the constants broadcast the input to a larger shape).
    scale_inside: see `Linear.execution_scale`.  channel_axis: set where the original network normalises by channel.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    weight_terms: int = 0
    shift_error: Tensor | None = None
    shift_magnitude: Tensor | None = None
    fan_out: int = 1
    scale_inside: float = 1.0
    channel_axis: int | None = None

    @property
    def execution_scale(self) -> float:
        """Set where the original network scales in several steps."""
        return self.scale_inside

    @property
    def faithful(self) -> bool:
        """Unless the scale or the shift was rounded."""
        return self.weight_terms == 0 and unerring(self.shift_error)

    @property
    def forward_terms(self) -> int:
        """One product and its cast; 1 (entries only move) without a scale."""
        return 1 if self.scale is None else 2 + self.weight_terms

    @property
    def adjoint_terms(self) -> int:
        """One product and its cast for each output entry that an input entry reaches."""
        return self.fan_out + (0 if self.single else self.forward_terms - 1)

    @property
    @kept
    def nonnegative(self) -> bool:
        """As both constants are, where none was rounded."""
        stored = self.weight_terms == 0 and unerring(self.shift_error)
        return stored and all(bool((c >= 0).all()) for c in (self.scale, self.shift) if c is not None)

    @property
    @kept
    def single(self) -> bool:
        """No shift, and a scale of exact powers of two."""
        scaled = self.scale is None or (self.weight_terms == 0 and bool(is_power(self.scale).all()))
        return scaled and no_offset(self.shift, self.shift_error)

    @property
    def offset(self) -> Tensor | None:
        """The shift."""
        return self.shift

    @property
    def offset_error(self) -> Tensor | None:
        """Error of the shift."""
        return self.shift_error

    @property
    def offset_magnitude(self) -> Tensor | None:
        """|shift| unless terms cancelled in it."""
        return super().offset_magnitude if self.shift_magnitude is None else self.shift_magnitude

    def output_shape(self, *shapes: Shape) -> Shape:
        """The broadcast shape."""
        try:
            return broadcast_shape(shapes[0], *(c.shape for c in (self.scale, self.shift) if c is not None))
        except RuntimeError as error:
            raise ValueError(f"constants do not broadcast against {shapes[0]}: {error}") from error

    def apply(self, *xs: Tensor) -> Tensor:
        """scale x, broadcast to the output shape."""
        return self._scaled(xs[0], absolute=False)

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """|scale| r."""
        return self._scaled(rs[0], absolute=True)

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """scale y; where the shape grew, the default."""
        return (self.apply(y),) if tuple(y.shape[1:]) == shapes[0] else super().adjoint(y, shapes)

    def _scaled(self, x: Tensor, *, absolute: bool) -> Tensor:
        shape = self.output_shape(tuple(x.shape[1:]))
        x = x.reshape(len(x), *(1,) * (len(shape) - x.dim() + 1), *x.shape[1:])
        y = x if self.scale is None else x * self.constant("scale", x, absolute=absolute)
        # A tensor of its own where the shape grows: callers may write into what they asked for.
        return y if tuple(y.shape[1:]) == shape else y.expand(len(x), *shape).contiguous()

    def monomial(self, shape: Shape) -> Monomial | None:
        """Diagonal where the shape does not grow."""
        if self.output_shape(shape) != shape:
            return None
        target = torch.arange(prod(shape))
        return Monomial(target, None if self.scale is None else self.scale.expand(shape).reshape(-1))


def _aligned(node: OnnxNode, position: int, constant: Tensor) -> Tensor:
    """The constant without the batch axis of the other operand."""
    rank = len(node.shapes[position])
    value = constant.double()
    if not node.batched[position]:
        return value
    if value.dim() > rank:
        raise mixes(node, f"a constant of shape {tuple(value.shape)} adds axes before the batch axis")
    if value.dim() == rank:
        if value.shape[0] != 1:
            raise mixes(node, f"a constant of shape {tuple(value.shape)} differs along the batch axis")
        value = value[0]
    return value


def _split(node: OnnxNode) -> tuple[int, Tensor]:
    """Position of the computed operand and the constant, aligned with it."""
    left, right = node.constant(0), node.constant(1)
    if right is not None:
        return 0, _aligned(node, 0, right)
    assert left is not None
    return 1, _aligned(node, 1, left)


def _fan_out(node: OnnxNode, position: int, constant: Tensor) -> int:
    shape = node.unbatched(position)
    full: Shape = broadcast_shape(shape, constant.shape)
    return prod(full) // max(1, prod(shape))


@register_import("Mul")
def mul_from_onnx(node: OnnxNode) -> Op:
    """Mul by a constant, or of two computed tensors."""
    if node.constant(0) is None and node.constant(1) is None:
        same_axes(node)
        return Multiply()
    position, constant = _split(node)
    return Affine(scale=constant, fan_out=_fan_out(node, position, constant))


def div_from_onnx(node: OnnxNode) -> Op:
    """Div by a constant: scale = 1 / c, one rounding (none where c is a power of two)."""
    position, divisor = _split(node)
    if bool((divisor == 0).any()):
        raise unsupported(node, "division by zero", "repair the constant")
    terms = 0 if bool(is_power(divisor).all()) else 1
    return Affine(scale=1 / divisor, weight_terms=terms, fan_out=_fan_out(node, position, divisor))


_EPSILON = float(torch.tensor(1e-5))  # ONNX stores attributes as float32, defaults too


def shift_from_onnx(node: OnnxNode) -> Op:
    """Add or Sub with one constant operand; c - x becomes (-1) x + c."""
    position, constant = _split(node)
    fan_out = _fan_out(node, position, constant)
    if node.op_type == "Add":
        return Affine(shift=constant, fan_out=fan_out)
    if position == 0:
        return Affine(shift=-constant, fan_out=fan_out)
    return Affine(scale=-torch.ones((), dtype=torch.float64), shift=constant, fan_out=fan_out)


@register_import("BatchNormalization")
def batch_norm_from_onnx(node: OnnxNode) -> Op:
    """Inference mode: gamma (x - mean) / sqrt(var + epsilon) + beta per channel (axis 1), computed in float64.

    Four roundings in the scale, two of them the square root's, which torch does not round to nearest; the shift's error and the
    magnitudes that cancel in it are kept.
    """
    if int(node.attribute("training_mode", 0)):
        raise unsupported(node, "training mode is not supported", "export the model in evaluation mode")
    names = ("scale", "bias", "mean", "variance")
    weight, beta, mean, variance = (node.required(k + 1, f"the {name}").double() for k, name in enumerate(names))
    total = variance + float(node.attribute("epsilon", _EPSILON))
    if bool((total <= 0).any()):
        raise unsupported(node, "variance + epsilon is not positive", "repair the batch statistics")
    if len(node.shapes[0]) < 2:
        raise unsupported(node, f"needs an axis of channels, not the shape {node.shapes[0]}", "keep the batch axis")
    scale = weight / total.sqrt()
    product = mean * scale
    magnitude = beta.abs() + product.abs()
    shape = (-1, *(1,) * (len(node.shapes[0]) - 2))
    return Affine(
        scale.reshape(shape), (beta - product).reshape(shape), 4,
        (gamma(8, torch.float64) * magnitude).reshape(shape), magnitude.reshape(shape),
        scale_inside=_inside(weight.detach(), total.detach().sqrt(), mean.detach()), channel_axis=0 if node.batched[0] else 1,
    )


def _inside(weight: Tensor, deviation: Tensor, mean: Tensor) -> float:
    """Largest factor of (x - mean) / deviation * weight in any order; infinite where the mean alone might overflow."""
    largest = max(1.0, float((1 / deviation).max()), float(weight.detach().abs().max()))    # weights may be in training
    return largest if float(mean.abs().max()) * largest < 1e30 else inf


@register_import("Neg")
def neg_from_onnx(node: OnnxNode) -> Op:
    """-x."""
    return Affine(scale=-torch.ones((), dtype=torch.float64))
