"""Constants that a file quantises or dequantises: integers, and their products with scales.

An integer is what the exact quotient rounds to; where an execution rounds the quotient to another one, the constant is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from absint.frontends.onnx_file import AnyArray
from absint.numeric.enclosed import Enclosed, FloatArray, NotEnclosedError, multiply
from absint.numeric.outward import next_above, next_below

_FAR = 2.0**20      # beyond every 16-bit integer, and float64 holds the products of such halves and float32 numbers
_TIE = "quantises a constant that lies between two integers, where executions round otherwise than the exact quotient: store it quantised"


def of_constants(node: onnx.NodeProto, inputs: Sequence[AnyArray | Enclosed | None], attributes: Mapping[str, Any]) -> AnyArray | Enclosed:
    """The result of QuantizeLinear (integers) or DequantizeLinear (a product). Raises NotEnclosedError where it is not known."""
    x, scale, zero = (inputs[k] if k < len(inputs) else None for k in range(3))
    if isinstance(scale, Enclosed) or scale is None or isinstance(zero, Enclosed):
        raise NotEnclosedError("has a scale that was computed with rounding")
    if not (np.isfinite(scale).all() and (scale > 0).all()) or x is None:
        raise NotEnclosedError("has a scale that is not positive")
    shape = x.high.shape if isinstance(x, Enclosed) else x.shape
    wide, offset = _spread(scale, shape, attributes), _spread(np.zeros(()) if zero is None else zero, shape, attributes)
    if node.op_type == "DequantizeLinear":
        if isinstance(x, Enclosed) or x.dtype.kind not in "iu":
            raise NotEnclosedError("dequantises constants of no integer type")
        steps = Enclosed.exactly(x.astype(np.float64) - offset).executed_in(scale.dtype).stored()
        return multiply(steps, Enclosed.exactly(wide).executed_in(scale.dtype))
    kind = _result(attributes, zero)
    lowest, highest = np.iinfo(kind).min - offset, np.iinfo(kind).max - offset
    found = [np.clip(nearest(v, wide), lowest, highest) for v in _ends(x)]
    if isinstance(x, Enclosed) and not (found[0] == found[1]).all():
        raise NotEnclosedError(_TIE)
    if not isinstance(x, Enclosed) and not (np.clip(_executed(x, scale.dtype, wide), lowest, highest) == found[0]).all():
        raise NotEnclosedError(_TIE)
    return np.asarray(found[0] + offset).astype(kind)


def _result(attributes: Mapping[str, Any], zero: AnyArray | None) -> np.dtype[Any]:
    stated = int(attributes.get("output_dtype", 0))
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(stated)) if stated else np.dtype(np.uint8) if zero is None else zero.dtype
    if kind.kind not in "iu" or kind.itemsize > 2:
        raise NotEnclosedError(f"quantises constants to {kind}")
    return kind


def _spread(value: AnyArray, shape: tuple[int, ...], attributes: Mapping[str, Any]) -> FloatArray:
    """A number for each entry of a tensor of that shape: one for all, along an axis, or in blocks along it."""
    if value.size == 1:
        return np.full(shape, float(value.reshape(())))
    axis, block = int(attributes.get("axis", 1)), int(attributes.get("block_size", 0))
    wide = value.astype(np.float64)
    if not -len(shape) <= axis < len(shape):
        raise NotEnclosedError(f"has scales along axis {axis} of a constant of {len(shape)} axes")
    if block:
        wide = np.repeat(wide, block, axis)[tuple(slice(size) for size in shape)]
    elif wide.ndim == 1:
        wide = wide.reshape([-1 if k == axis % len(shape) else 1 for k in range(len(shape))])
    try:
        return np.broadcast_to(wide, shape).astype(np.float64)
    except ValueError as error:
        raise NotEnclosedError(f"has scales of shape {value.shape} for a constant of shape {shape}") from error


def _ends(x: AnyArray | Enclosed) -> tuple[FloatArray, FloatArray]:
    """Numbers around x and around what executions make of it."""
    if not isinstance(x, Enclosed):
        wide = x.astype(np.float64)
        return wide, wide
    low, high = x.bounds
    # The quotient rounds, too: by less than two units of the scale's format, relative to x.
    more = x.execution + 2 * max(float(np.finfo(np.float32).eps), 2 * x.unit) * (x.size + x.execution)
    return next_below(low - more), next_above(high + more)


def nearest(x: FloatArray, scale: FloatArray) -> FloatArray:
    """The integer nearest to the exact x / scale, the even one of two, for float32 scales; +-2^20 stand for any beyond.

    k from the rounded quotient is off by one at most, and then the quotient is next to an integer, far from a half. (k + 1/2) scale has at
    most 46 bits, so that it compares with x exactly.
    """
    about = np.clip(x / scale, -_FAR, _FAR)
    below = np.floor(about)
    half = (below + 0.5) * scale
    inside = np.abs(about) < _FAR
    up = (x > half) | ((x == half) & (below % 2 == 1))
    found: FloatArray = np.where(inside, below + up, about)
    return found


def _executed(x: AnyArray, dtype: np.dtype[Any], scale: FloatArray) -> FloatArray:
    """What executions get that divide in the format of the scale."""
    with np.errstate(over="ignore"):
        found: FloatArray = np.clip(np.rint(x.astype(dtype) / scale.astype(dtype)), -_FAR, _FAR).astype(np.float64)
    return found
