"""LpPool and GlobalLpPool: powers, their sums over windows, and the root."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from absint.model.families.elementwise import KernelError
from absint.model.op import OnnxNode, Op, one_by_one, register_import, unsupported
from absint.model.ops.assemble import OfImage, steps
from absint.model.ops.piecewise import Abs
from absint.model.ops.pool import AveragePool, PoolingWindow
from absint.model.ops.power import Power
from absint.model.ops.reduce import Reduce
from absint.model.ops.shape import Identity


@dataclass(frozen=True, eq=False)
class Root(Power):
    """x ** (1/p) for a whole p > 2, with 1/p < 1/2 rounded by at most u/4: that multiplies by up to 1 + u/4 |log x|, |log x| < 745."""

    error = KernelError(ulps=8 + 190)
    derivative_error = KernelError(ulps=8 + 2 * 760)


def _between_powers(node: OnnxNode, total: Op) -> Op:
    """(total |x|^p)^(1/p) with the node's p, a whole number from 1 on."""
    p = int(node.attribute("p", 2))
    if p < 1:
        raise unsupported(node, f"p={p} is not positive", "repair the model")
    magnitude = Identity() if p % 2 == 0 else Abs()
    return steps(magnitude, *([] if p == 1 else [Power(float(p))]), total, *([] if p == 1 else [Power(0.5) if p == 2 else Root(1 / p)]))


@register_import("LpPool")
def lp_pool_from_onnx(node: OnnxNode) -> Op:
    """Any window; what lies in padding counts as 0."""
    window = PoolingWindow.from_onnx(node)
    counted = AveragePool(window, torch.ones(window.outputs(node.shapes[0][2:]), dtype=torch.float64))
    return OfImage(_between_powers(node, counted))


@register_import("GlobalLpPool")
def global_lp_pool_from_onnx(node: OnnxNode) -> Op:
    """Over all axes behind the channels."""
    if not node.batched[0] or len(node.shapes[0]) < 3:
        raise one_by_one(node, "batch, channels, spatial axes", max(3, len(node.shapes[0])))
    shape = node.unbatched(0)
    axes = tuple(range(1, len(shape)))
    return OfImage(_between_powers(node, Reduce(axes, torch.Size(shape[1:]).numel(), keep=True)))
