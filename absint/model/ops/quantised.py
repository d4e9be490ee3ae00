"""Quantised networks: integers as the reals they are, so that y = clip(round(x / scale) + zero) is four operators that exist.

Rounding is to the nearest whole number, the even one of two. Sums of integers are exact, in executions too, as long as int32 holds them.
Constants are quantised and dequantised where the file is read. Source: ONNX, QuantizeLinear, DequantizeLinear, QLinearConv, QLinearMatMul.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from absint.model.op import OPS, OnnxNode, Op, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import steps
from absint.model.ops.piecewise import Clip
from absint.model.ops.shape import Identity
from absint.model.ops.step import INTEGERS, Held, Round
from absint.numeric.rounding import is_power

_INT32 = 6
_OFFSETS = 255.0        # |x - zero| of 8-bit integers
_EXACT = 2.0**28        # times a float32 number, float64 holds such an integer exactly


@dataclass(frozen=True)
class _Parameters:
    """Scales and zero points, shaped so that they broadcast against a tensor without its batch axis."""

    scale: Tensor
    zero: Tensor


def _parameters(node: OnnxNode, position: int, shape: tuple[int, ...]) -> _Parameters:
    """The scale at an input and the zero point behind it (absent: 0), each of one entry or of `shape`.

    Raises UnsupportedError unless they are constants, scales are positive, and zero points are whole.
    """
    scale = node.required(position, "the scale").double()
    if _is_computed(node, position + 1):
        raise unsupported(node, "the zero point must be a constant", "quantise with fixed zero points")
    stored = node.constant(position + 1)
    zero = torch.zeros((), dtype=torch.float64) if stored is None else stored.double()
    if not bool((scale > 0).all()):
        raise unsupported(node, "a scale is not positive", "repair the model")
    if bool((zero.abs() > _EXACT).any()):
        raise unsupported(node, "a zero point is beyond 2^28", "repair the model")
    try:
        return _Parameters(*(v.reshape(()) if v.numel() == 1 else v.reshape(shape) for v in (scale, zero)))
    except RuntimeError as error:
        raise unsupported(node, f"scales of shape {tuple(scale.shape)} and zero points of {tuple(zero.shape)} do not fit {node.shapes[0]}",
                          "quantise per tensor or per axis") from error


def _along(node: OnnxNode) -> tuple[int, ...]:
    """The shape that puts scales per axis on their axis of input 0; (1,) for a single one."""
    if int(node.attribute("block_size", 0)):
        raise unsupported(node, "a computed tensor in blocks is not supported", "quantise it per tensor or per axis")
    if node.required(1, "the scale").numel() == 1:
        return (1,)
    shape = node.unbatched(0)
    axis = node.axis(int(node.attribute("axis", 1)))
    return tuple(-1 if k == axis else 1 for k in range(len(shape)))


def _rounded(node: OnnxNode, factor: Tensor, terms: int, zero: Tensor) -> tuple[Op, ...]:
    """clip(round(factor x) + zero) in the range of the result's type. terms: roundings in the factor."""
    if node.whole not in INTEGERS:
        raise unsupported(node, "its result is of no integer type that is supported", "quantise to 8, 16 or 32 bits")
    shift = Affine(shift=zero) if bool(zero.any()) else Identity()
    return Affine(scale=factor, weight_terms=terms), Round(), shift, Clip(*INTEGERS[node.whole])


@register_import("QuantizeLinear")
def quantize_from_onnx(node: OnnxNode) -> Op:
    """Per tensor or per axis. 1 / scale is rounded unless the scale is a power of two."""
    given = _parameters(node, 1, _along(node))
    return steps(*_rounded(node, 1 / given.scale, 0 if bool(is_power(given.scale).all()) else 1, given.zero))


@register_import("DequantizeLinear")
def dequantize_from_onnx(node: OnnxNode) -> Op:
    """(x - zero) scale, of integers that were computed; float64 holds zero times scale."""
    given = _parameters(node, 1, _along(node))
    shift = -given.zero * given.scale
    return Affine(scale=given.scale, shift=shift if bool(shift.any()) else None)


def _operands(node: OnnxNode, position: int, zeros: tuple[int, int]) -> tuple[Op, Tensor]:
    """What takes its zero point from input 0, and the integers of the constant at `position` less theirs. zeros: positions of both."""
    if node.constant(0) is not None:
        raise unsupported(node, "its first input must be the computed one", "quantise the network in the QDQ format")
    weight, own = node.required(position, "the weights").double(), node.constant(zeros[0])
    if _is_computed(node, zeros[0]) or (own is not None and own.numel() != 1):
        raise unsupported(node, "the zero point of its input must be one constant number", "quantise statically, per tensor")
    if _is_computed(node, zeros[1]):
        raise unsupported(node, "the zero point of its weights must be a constant", "quantise with fixed zero points")
    shift = Identity() if own is None or not bool(own.any()) else Affine(shift=-own.double().reshape(()))
    other = node.constant(zeros[1])
    return shift, weight if other is None else weight - _per_output(node, other, weight.dim())


def _is_computed(node: OnnxNode, position: int) -> bool:
    return position < len(node.shapes) and node.constant(position) is None and node.shapes[position] != ()


def _per_output(node: OnnxNode, value: Tensor, rank: int) -> Tensor:
    """One number, or one for each output: along the first of a convolution's `rank` axes, the last of a matrix's."""
    if value.numel() == 1:
        return value.double().reshape(())
    return value.double().reshape(-1, *(1,) * (rank - 1)) if "Conv" in node.op_type else value.double().reshape(-1)


def _product(node: OnnxNode, weight: Tensor, bias: Tensor | None) -> Op:
    """The plain operator with these weights, by its own rule."""
    kind = "Conv" if "Conv" in node.op_type else "MatMul"
    constants = (None, weight) if bias is None else (None, weight, bias.double())
    shapes = (node.shapes[0], *(tuple(c.shape) for c in constants if c is not None))
    batched = (node.batched[0], *(False,) * (len(constants) - 1))
    return OPS.get(kind)(replace(node, op_type=kind, constants=constants, shapes=shapes, batched=batched, whole=0))


def _held(weight: Tensor, bias: Tensor | None, *, conv: bool) -> Sequence[Op]:
    """What sees to it that int32 holds the sums; nothing where no input can make them larger."""
    sums = weight.abs().flatten(1).sum(1) if conv else weight.abs().sum(-2)
    most = float(sums.max()) * _OFFSETS + (0.0 if bias is None else float(bias.abs().max()))
    return () if most < 2.0**31 else (Held(*INTEGERS[_INT32]),)


@register_import("ConvInteger", "MatMulInteger")
def integer_product_from_onnx(node: OnnxNode) -> Op:
    """Of integers less their zero points, constant weights."""
    shift, weight = _operands(node, 1, (2, 3))
    return steps(shift, _product(node, weight, None), *_held(weight, None, conv=node.op_type == "ConvInteger"))


@register_import("QLinearConv", "QLinearMatMul")
def quantised_product_from_onnx(node: OnnxNode) -> Op:
    """The exact sum of products of integers, once scaled, rounded and clipped."""
    conv = node.op_type == "QLinearConv"
    shift, weight = _operands(node, 3, (2, 5))
    bias = node.constant(8)
    if _is_computed(node, 8):
        raise unsupported(node, "its bias must be a constant", "quantise the network in the QDQ format")
    of_input, of_result = _parameters(node, 1, (1,)), _parameters(node, 6, (1,))
    own = _per_output(node, node.required(4, "the scale of the weights"), weight.dim() - 1)
    if not bool((own > 0).all()):
        raise unsupported(node, "a scale is not positive", "repair the model")
    factor = of_input.scale * own / of_result.scale     # at most three roundings
    return steps(shift, _product(node, weight, bias), *_held(weight, bias, conv=conv), *_rounded(node, factor, 3, of_result.zero))
