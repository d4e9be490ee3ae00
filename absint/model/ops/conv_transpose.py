"""Transposed convolution with constant kernel."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch.nn.functional as F
from torch import Tensor

from absint.model.convolutions import RANKS, convolve, convolve_transposed, copied_entries
from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Shape, one_by_one, register_op, unsupported, widened


@register_op("ConvTranspose")
@dataclass(frozen=True, eq=False)
class ConvTranspose(Linear):
    """The transpose of a strided convolution over the last `len(stride)` axes. weight: (in, out / groups, *kernel).

    crops: entries dropped at (begin, end) of each spatial axis of the full result, which has
    (size - 1) stride + (kernel - 1) dilation + 1 entries; negative ones append zeros.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    crops: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    channel_axis = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> ConvTranspose:
        """1-D to 3-D, any group, dilation, pads, auto_pad, output_padding and output_shape."""
        weight = widened(node.required(1, "the kernel"))
        rank = weight.dim() - 2
        if rank not in RANKS:
            raise unsupported(node, f"a {rank}-D transposed convolution is not supported", "use 1-D, 2-D or 3-D")
        if not node.batched[0] or len(node.shapes[0]) != rank + 2:
            raise one_by_one(node, f"batch, channels, {rank} spatial axes", rank + 2)
        bias = node.constant(2)
        stride = tuple(int(s) for s in node.attribute("strides", [1] * rank))
        dilation = tuple(int(d) for d in node.attribute("dilations", [1] * rank))
        reach = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
        full = tuple((n - 1) * s + r for n, s, r in zip(node.shapes[0][2:], stride, reach, strict=True))
        bias = None if bias is None else widened(bias)
        return cls(weight, bias, stride, _crops(node, full, stride), dilation, int(node.attribute("group", 1)))

    @property
    def faithful(self) -> bool:
        """The kernel is the network's own."""
        return True

    @property
    def forward_terms(self) -> int:
        """At most every input channel of the group at every kernel position, one for casting W."""
        return self.weight.shape[0] // self.groups * prod(self.weight.shape[2:]) + 1

    @property
    def adjoint_terms(self) -> int:
        """One product per kernel entry and output channel of the group, one for casting W."""
        return prod(self.weight.shape[1:]) + 1

    @property
    def offset(self) -> Tensor | None:
        """The bias, one entry per channel."""
        return None if self.bias is None else self.bias.reshape(-1, *(1,) * len(self.stride))

    def output_shape(self, *shapes: Shape) -> Shape:
        """(in, *spatial) -> (out, *spatial')."""
        (shape,) = shapes
        if len(shape) != len(self.stride) + 1 or shape[0] != self.weight.shape[0]:
            raise ValueError(f"a transposed kernel of shape {tuple(self.weight.shape)} cannot act on {shape}")
        if shape[0] % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {shape[0]} channels")
        spatial = zip(shape[1:], self.weight.shape[2:], self.stride, self.crops, self.dilation, strict=True)
        out = [(size - 1) * s + (k - 1) * d + 1 - a - b for size, k, s, (a, b), d in spatial]
        if min(out) <= 0:
            raise ValueError(f"pads leave nothing of the result of a transposed kernel of shape {tuple(self.weight.shape)} on {shape}")
        return (int(self.weight.shape[1]) * self.groups, *out)

    def apply(self, *xs: Tensor) -> Tensor:
        """The transposed convolution without bias."""
        return self._spread(xs[0], self.constant("weight", xs[0]))

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """With |W|."""
        return self._spread(rs[0], self.constant("weight", rs[0], absolute=True))

    def _spread(self, x: Tensor, weight: Tensor) -> Tensor:
        full = convolve_transposed(x, weight, self.stride, (0,) * len(self.stride), self.dilation, self.groups)
        return F.pad(full, [-c for pair in reversed(self.crops) for c in pair])

    def scratch(self, shape: Shape, shapes: tuple[Shape, ...]) -> int:
        """The windows that a product copies where the convolution is one, or its adjoint."""
        back = copied_entries(self.weight, shapes[0][1:])
        return max(shapes[0][0] // self.groups * prod(self.weight.shape[2:]) * prod(shape[1:]), back) * self.groups

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The convolution that this one is the transpose of, on rows put back to the full size."""
        full = F.pad(y, [c for pair in reversed(self.crops) for c in pair])
        return (convolve(full, self.constant("weight", y), self.stride, (0,) * len(self.stride), self.dilation, self.groups),)


def _crops(node: OnnxNode, full: Shape, stride: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """What pads, auto_pad, output_padding and output_shape take from the full result."""
    rank = len(full)
    extra = [int(p) for p in node.attribute("output_padding", [0] * rank)]
    mode = node.attribute("auto_pad", "NOTSET")
    asked = node.attribute("output_shape", None)
    if mode in ("SAME_UPPER", "SAME_LOWER") and asked is None:
        asked = [n * s for n, s in zip(node.shapes[0][2:], stride, strict=True)]
    if asked is not None:
        pairs = []
        for size, more, wanted in zip(full, extra, list(asked)[-rank:], strict=True):
            # Where the kernel does not reach that far, runtimes append zeros.
            total = max(size + more - int(wanted), 0)
            begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
            pairs.append((begin, size - begin - int(wanted)))
        return tuple(pairs)
    if mode not in ("NOTSET", "", "VALID"):
        raise unsupported(node, f"auto_pad={mode} is not supported", "export with explicit pads")
    flat = [0] * (2 * rank) if mode == "VALID" else [int(p) for p in node.attribute("pads", [0] * (2 * rank))]
    return tuple((flat[k], flat[k + rank] - extra[k]) for k in range(rank))
