"""Resize and Upsample: nearest selects entries, linear and cubic are one matrix along each axis.

Coordinates are computed in rational arithmetic, so that a coefficient is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, inf, prod

import numpy as np
import torch
from torch import Tensor

from absint.model.op import OnnxNode, Op, mixes, register_import, unsupported
from absint.model.ops.assemble import OfImage, moved, steps
from absint.model.ops.reduce import AxisMap

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Axis:
    """One axis: entries before and after, and the scale between (not always their quotient)."""

    size: int
    target: int
    scale: Fraction


def _symmetric(x: int, a: Axis) -> Fraction:
    adjust = Fraction(a.target) / (a.scale * a.size)
    return Fraction(a.size, 2) * (1 - adjust) + (x + HALF) / a.scale - HALF


# Position in the source of entry x of the result; ONNX's own names.
_COORDINATES: dict[str, Callable[[int, Axis], Fraction]] = {
    "half_pixel": lambda x, a: (x + HALF) / a.scale - HALF,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda x, a: (x + HALF) / a.scale - HALF if a.target > 1 else Fraction(0),
    "asymmetric": lambda x, a: x / a.scale,
    "align_corners": lambda x, a: Fraction(x * (a.size - 1), a.target - 1) if a.target > 1 else Fraction(0),
}
_NEAREST: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda x: ceil(x - HALF),
    "round_prefer_ceil": lambda x: floor(x + HALF),
    "floor": floor,
    "ceil": ceil,
}


def _linear(x: Fraction) -> dict[int, Fraction]:
    base = floor(x)
    return {base: 1 - (x - base), base + 1: x - base}


def _cubic(x: Fraction, a: Fraction) -> dict[int, Fraction]:
    """Keys 1981: four coefficients around x."""
    base = floor(x)
    t = x - base

    def near(s: Fraction) -> Fraction:
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s: Fraction) -> Fraction:
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return {base - 1: far(1 + t), base: near(t), base + 1: near(1 - t), base + 2: far(2 - t)}


@dataclass(frozen=True)
class _Settings:
    mode: str
    coordinates: str
    nearest: str
    cubic: Fraction
    outside: bool

    @staticmethod
    def of(node: OnnxNode) -> _Settings:
        """Defaults of the operator's version; combinations on which runtimes disagree are refused."""
        old = node.op_type == "Upsample" or node.opset < 11
        coordinates = "asymmetric" if old else str(node.attribute("coordinate_transformation_mode", "half_pixel"))
        nearest = "floor" if old else str(node.attribute("nearest_mode", "round_prefer_floor"))
        mode = str(node.attribute("mode", "nearest"))
        if coordinates not in _COORDINATES:
            raise unsupported(node, f"coordinate_transformation_mode={coordinates} is not supported", "use half_pixel or asymmetric")
        if mode not in ("nearest", "linear", "bilinear", "cubic") or nearest not in _NEAREST:
            raise unsupported(node, f"mode={mode} ({nearest}) is not supported", "use nearest, linear or cubic")
        if node.attribute("antialias", 0):
            raise unsupported(node, "antialias=1 is not supported", "export without antialias")
        cubic = Fraction(float(node.attribute("cubic_coeff_a", -0.75)))
        return _Settings(mode, coordinates, nearest, cubic, bool(node.attribute("exclude_outside", 0)))


def _floats(node: OnnxNode, position: int) -> list[float] | None:
    constant = node.constant(position)
    return None if constant is None or not constant.numel() else [float(v) for v in constant.double().reshape(-1)]


def _axes(node: OnnxNode) -> list[Axis]:
    """Every axis of the full shape. Sizes are taken as they are; scales give floor(scale * size), in float32 as runtimes do."""
    shape = node.shapes[0]
    old = node.op_type == "Upsample" or node.opset < 11
    if old:
        scales, sizes = node.attribute("scales", None) or _floats(node, 1), None
    else:
        scales, sizes = _floats(node, 2), _floats(node, 3)
    given = scales or sizes
    axes = [int(a) % len(shape) for a in node.attribute("axes", range(len(shape)))]
    if given is None or len(given) != len(axes):
        raise unsupported(node, "needs a constant scale or size for each axis", "export with constant folding")
    found = [Axis(size, size, Fraction(1)) for size in shape]
    policy = str(node.attribute("keep_aspect_ratio_policy", "stretch"))
    if sizes and policy != "stretch":
        ratios = [Fraction(int(n), shape[k]) for k, n in zip(axes, sizes, strict=True)]
        common = min(ratios) if policy == "not_larger" else max(ratios)
        for k in axes:
            found[k] = Axis(shape[k], floor(common * shape[k] + HALF), common)
        return found
    for k, value in zip(axes, given, strict=True):
        if sizes:
            found[k] = Axis(shape[k], int(value), Fraction(int(value), shape[k]))
        else:
            found[k] = Axis(shape[k], int(np.floor(np.float32(value) * np.float32(shape[k]))), Fraction(float(value)))
    return found


def _weights(axis: Axis, settings: _Settings) -> Tensor:
    """(target, size): each row sums to 1. Positions outside repeat the border, or are left out (exclude_outside)."""
    matrix = torch.zeros(axis.target, axis.size, dtype=torch.float64)
    for row in range(axis.target):
        at = _COORDINATES[settings.coordinates](row, axis)
        if settings.mode == "cubic":
            parts = _cubic(at, settings.cubic)
            if settings.outside:
                parts = {k: v for k, v in parts.items() if 0 <= k < axis.size}
                total = sum(parts.values(), Fraction(0))
                parts = {k: v / total for k, v in parts.items()}
        else:
            parts = _linear(min(max(at, Fraction(0)), Fraction(axis.size - 1)))
        exact: dict[int, Fraction] = {}
        for k, v in parts.items():
            inside = min(max(k, 0), axis.size - 1)
            exact[inside] = exact.get(inside, Fraction(0)) + v
        for k, v in exact.items():
            matrix[row, k] = float(v)
    return matrix


def _execution_scale(axis: Axis, settings: _Settings) -> float:
    """Float32 executions compute positions in float32, where a small coefficient may lose all its digits: no bound is claimed.

    1 where they are exact: for linear interpolation by a power of two.
    """
    power = axis.scale.numerator & (axis.scale.numerator - 1) == 0 and axis.scale.denominator & (axis.scale.denominator - 1) == 0
    plain = settings.mode != "cubic" and settings.coordinates in ("half_pixel", "pytorch_half_pixel", "asymmetric")
    return 1.0 if power and plain and axis.target * axis.size < 2**20 else inf


@register_import("Resize", "Upsample")
def resize_from_onnx(node: OnnxNode) -> Op:
    """Any feature axes; scales or sizes constant."""
    settings, axes = _Settings.of(node), _axes(node)
    if node.batched[0]:
        if axes[0].target != 1 or axes[0].scale != 1:
            raise mixes(node, "resizes the batch axis")
        axes = axes[1:]
    if any(a.target < 1 for a in axes):
        raise unsupported(node, f"{node.shapes[0]} shrinks to nothing", "is the input too small?")
    if settings.coordinates == "align_corners" and any(a.scale * a.size != a.target for a in axes):
        raise unsupported(node, "align_corners with scales that do not give whole sizes is not supported",
                          "export sizes; runtimes disagree here")
    shape = node.unbatched(0)
    if settings.mode != "nearest":
        changed = [(k, a) for k, a in enumerate(axes) if a.scale != 1 or a.target != a.size]
        plan = steps(*(AxisMap(k, _weights(a, settings), 1, _execution_scale(a, settings)) for k, a in changed))
        still = set(range(len(axes))) - {k for k, _ in changed}
        # Interpolated along all axes but one: that one holds the channels.
        return OfImage(plan, still.pop()) if len(still) == 1 and len(axes) > 2 else plan
    index = torch.arange(prod(shape)).reshape(shape)
    for k, a in enumerate(axes):
        chosen = [_NEAREST[settings.nearest](_COORDINATES[settings.coordinates](row, a)) for row in range(a.target)]
        index = index.index_select(k, torch.tensor(chosen).clamp(0, a.size - 1))
    return moved(index, shape)
