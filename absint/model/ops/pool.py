"""Pooling: AveragePool is linear; MaxPool is a Gather of its windows followed by a Maximum over the last axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.families.rational_linear import image, reciprocals
from absint.model.op import OnnxNode, Op, Shape, one_by_one, register_op, unsupported
from absint.model.ops.conv import window_pads, windows
from absint.model.ops.shape import Gather
from absint.numeric.rational import Rationals


@dataclass(frozen=True)
class PoolingWindow:
    """Geometry of a pooling window, one entry per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    ceil: bool

    @staticmethod
    def from_onnx(node: OnnxNode) -> PoolingWindow:
        """kernel_shape, strides, pads or auto_pad, dilations, ceil_mode."""
        kernel = tuple(int(k) for k in node.attribute("kernel_shape", ()))
        rank = len(kernel)
        if not node.batched[0] or len(node.shapes[0]) != rank + 2:
            raise one_by_one(node, f"batch, channels, {rank} spatial axes", rank + 2)
        stride = tuple(node.attribute("strides", [1] * rank))
        dilation = tuple(node.attribute("dilations", [1] * rank))
        reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
        pads = window_pads(node, node.shapes[0][2:], reach, stride)
        if any(size + sum(pair) < k for size, pair, k in zip(node.shapes[0][2:], pads, reach, strict=True)):
            raise unsupported(node, f"a window of {reach} entries is larger than the padded input", "is the input too small?")
        return PoolingWindow(kernel, stride, pads, dilation, bool(node.attribute("ceil_mode", 0)))

    def outputs(self, spatial: Shape) -> Shape:
        """Windows along each axis."""
        axes = zip(spatial, self.kernel, self.stride, self.pads, self.dilation, strict=True)
        return tuple(len(windows(*geometry, ceil=self.ceil)) for geometry in axes)

    def index(self, shape: Shape) -> Tensor:
        """(channels, *outputs, prod(kernel)): flat positions of each window's entries in an input of that shape."""
        channels, *spatial = shape
        axes = [windows(*geometry, ceil=self.ceil)
                for geometry in zip(spatial, self.kernel, self.stride, self.pads, self.dilation, strict=True)]
        rank = len(axes)
        flat = torch.zeros((*(1 for _ in range(2 * rank)),), dtype=torch.int64)
        for k, (axis, size) in enumerate(zip(axes, spatial, strict=True)):
            view = [1] * (2 * rank)
            view[k], view[rank + k] = axis.shape
            flat = flat * size + axis.reshape(view)
        outputs = flat.shape[:rank]
        flat = flat.reshape(1, *outputs, prod(self.kernel))
        offset = torch.arange(channels).reshape(-1, *(1,) * (rank + 1)) * prod(spatial)
        return flat + offset


@register_op("MaxPool")
@dataclass(frozen=True, eq=False)
class MaxPool(Composite):
    """Maximum over windows; padding repeats an entry of the same window."""

    window: PoolingWindow
    channel_axis = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> MaxPool:
        """Any window; the second output (indices) is not supported."""
        if int(node.attribute("storage_order", 0)):
            raise unsupported(node, "storage_order=1 is not supported")
        return cls(PoolingWindow.from_onnx(node))

    def output_shape(self, *shapes: Shape) -> Shape:
        """(channels, *outputs)."""
        return tuple(self.window.index(shapes[0]).shape[:-1])

    def forward(self, *xs: Tensor) -> Tensor:
        """The maximum of each window."""
        return xs[0].flatten(1)[:, self.window.index(tuple(xs[0].shape[1:]))].amax(-1)

    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Gather, then Maximum."""
        return build(Maximum(), (build(Gather.of(self.window.index(shapes[0])), inputs),))


@register_op("AveragePool")
@dataclass(frozen=True, eq=False)
class AveragePool(Linear):
    """Mean over windows. weight: per output position the reciprocal of the number of entries counted, (*outputs); ones for a sum."""

    window: PoolingWindow
    weight: Tensor
    channel_axis = 0
    nonnegative = True

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> AveragePool:
        """count_include_pad as ONNX defines it (default: padding is not counted); what ceil_mode adds never is."""
        window = PoolingWindow.from_onnx(node)
        spatial = node.shapes[0][2:]
        counted = torch.ones(1, 1, *spatial, dtype=torch.float64)
        if node.attribute("count_include_pad", 0):
            counted = F.pad(counted, _flat(window.pads), value=1.0)
            window_ = replace(window, pads=((0, 0),) * len(spatial))
        else:
            window_ = window
        return cls(window, 1 / _box_sum(counted, window_, window.outputs(spatial))[0, 0])

    @property
    def execution_scale(self) -> float:
        """A mean is a sum before it is divided."""
        return float(prod(self.window.kernel))

    @property
    def forward_terms(self) -> int:
        """The window's sum, one product with a rounded and cast reciprocal."""
        return prod(self.window.kernel) + 3

    @property
    def adjoint_terms(self) -> int:
        """The windows that cover one entry, each with a product."""
        w = self.window
        covers = (-(-k // s) if d == 1 else k for k, s, d in zip(w.kernel, w.stride, w.dilation, strict=True))
        return prod(covers) + 3

    def output_shape(self, *shapes: Shape) -> Shape:
        """(channels, *outputs)."""
        return (shapes[0][0], *self.window.outputs(shapes[0][1:]))

    def apply(self, *xs: Tensor) -> Tensor:
        """Window sums times reciprocals."""
        return _box_sum(xs[0], self.window, self.window.outputs(tuple(xs[0].shape[2:]))) * self.constant("weight", xs[0])

    apply_abs = apply

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Divided by the very counts."""
        return image(self, xs, reciprocals)


def _flat(pads: tuple[tuple[int, int], ...]) -> list[int]:
    return [p for pair in reversed(pads) for p in pair]


def _box_sum(x: Tensor, window: PoolingWindow, outputs: Shape) -> Tensor:
    """Sum over windows by shifted views of x behind its pads: plain additions, differentiable, any format and device."""
    reach = ((n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(outputs, window.stride, window.kernel, window.dilation, strict=True))
    pads = [(a, r - a - size) for r, (a, _), size in zip(reach, window.pads, x.shape[2:], strict=True)]
    x = F.pad(x, _flat(tuple(pads)))
    total: Tensor | None = None
    for shift in product(*(range(k) for k in window.kernel)):
        view = x
        geometry = zip(shift, window.dilation, window.stride, outputs, strict=True)
        for axis, (start, dilation, step, count) in enumerate(geometry):
            view = view.narrow(axis + 2, start * dilation, (count - 1) * step + 1)
            view = view[(slice(None),) * (axis + 2) + (slice(None, None, step),)]
        total = view if total is None else total + view
    assert total is not None
    return total
