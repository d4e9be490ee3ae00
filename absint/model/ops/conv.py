"""Convolution with constant kernel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from absint.model.constants import kept
from absint.model.convolutions import RANKS, convolve, convolve_transposed, copied_entries
from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Shape, no_offset, one_by_one, one_power_a_row, register_op, unerring, unsupported, widened
from absint.model.window import Window


@register_op("Conv")
@dataclass(frozen=True, eq=False)
class Conv(Linear):
    """Cross-correlation over the last `len(stride)` axes. weight: (out, in / groups, *kernel); bias: (out,) or None.

    pads: (begin, end) per spatial axis, filled with zeros. Never turned into a dense matrix.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    weight_terms: int = 0
    bias_error: Tensor | None = None
    bias_magnitude: Tensor | None = None
    channel_axis = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Conv:
        """1-D to 3-D, any group, dilation, padding and auto_pad."""
        weight = widened(node.required(1, "the kernel"))
        rank = weight.dim() - 2
        if rank not in RANKS:
            raise unsupported(node, f"a {rank}-D convolution is not supported", "use Conv 1-D, 2-D or 3-D")
        if not node.batched[0] or len(node.shapes[0]) != rank + 2:
            raise one_by_one(node, f"batch, channels, {rank} spatial axes", rank + 2)
        if len(node.shapes) > 2 and node.constant(2) is None and node.shapes[2]:
            raise unsupported(node, "the bias must be a constant", "export with constant folding")
        stride = tuple(node.attribute("strides", [1] * rank))
        dilation = tuple(node.attribute("dilations", [1] * rank))
        reach = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
        pads = window_pads(node, node.shapes[0][2:], reach, stride)
        bias = node.constant(2)
        return cls(weight, None if bias is None else widened(bias), stride, pads, dilation, int(node.attribute("group", 1)))

    @property
    def faithful(self) -> bool:
        """Unless a pass rounded."""
        return self.weight_terms == 0 and unerring(self.bias_error)

    @property
    def forward_terms(self) -> int:
        """One product per kernel entry, one for casting W."""
        return prod(self.weight.shape[1:]) + 1 + self.weight_terms

    @property
    def adjoint_terms(self) -> int:
        """At most every output channel of the group at every kernel position."""
        return self.weight.shape[0] // self.groups * prod(self.weight.shape[2:]) + 1 + self.weight_terms

    @property
    @kept
    def single(self) -> bool:
        """A selection of signed and scaled entries, written as a kernel."""
        return self.weight_terms == 0 and no_offset(self.bias, self.bias_error) and one_power_a_row(self.weight.flatten(1))

    @property
    def offset(self) -> Tensor | None:
        """The bias, one entry per channel."""
        return _channels(self.bias, len(self.stride))

    @property
    def offset_error(self) -> Tensor | None:
        """Error of the bias made by a pass."""
        return _channels(self.bias_error, len(self.stride))

    @property
    def offset_magnitude(self) -> Tensor | None:
        """|b| unless a pass says otherwise."""
        return super().offset_magnitude if self.bias_magnitude is None else _channels(self.bias_magnitude, len(self.stride))

    def output_shape(self, *shapes: Shape) -> Shape:
        """(in, *spatial) -> (out, *spatial')."""
        (shape,) = shapes
        if len(shape) != len(self.stride) + 1 or shape[0] != self.weight.shape[1] * self.groups:
            raise ValueError(f"a kernel of shape {tuple(self.weight.shape)} (group {self.groups}) cannot act on {shape}")
        if min((p for pair in self.pads for p in pair), default=0) < 0:
            raise ValueError(f"negative padding {self.pads} is not handled: slice the input before")
        spatial = zip(shape[1:], self.weight.shape[2:], self.stride, self.pads, self.dilation, strict=True)
        out = [(size + a + b - (k - 1) * d - 1) // s + 1 for size, k, s, (a, b), d in spatial]
        if min(out) <= 0:
            raise ValueError(f"a kernel of shape {tuple(self.weight.shape)} is larger than the padded input {shape}")
        return (int(self.weight.shape[0]), *out)

    def apply(self, *xs: Tensor) -> Tensor:
        """The convolution without bias."""
        return self._convolve(xs[0], self.constant("weight", xs[0]))

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """The convolution with |W|."""
        return self._convolve(rs[0], self.constant("weight", rs[0], absolute=True))

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        even = all(a == b for a, b in self.pads)
        if not even:
            x = F.pad(x, [p for pair in reversed(self.pads) for p in pair])
        return convolve(x, weight, self.stride, tuple(a if even else 0 for a, _ in self.pads), self.dilation, self.groups)

    def scratch(self, shape: Shape, shapes: tuple[Shape, ...]) -> int:
        """The windows that a product copies where the convolution is one, or its adjoint."""
        back = shape[0] // self.groups * prod(self.weight.shape[2:]) * prod(shapes[0][1:])
        return max(copied_entries(self.weight, shape[1:]), back // prod(self.stride) if self._phased else back) * self.groups

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Transposed convolution onto the padded input, cropped to the input."""
        if self._phased:
            return (self._adjoint_by_phases(y, shapes[0]),)
        sizes = zip(shapes[0][1:], y.shape[2:], self.weight.shape[2:], self.stride, self.pads, self.dilation, strict=True)
        extra = [size + a + b - ((out - 1) * s + (k - 1) * d + 1) for size, out, k, s, (a, b), d in sizes]
        weight = self.constant("weight", y)
        # Rows that the stride never reached: output_padding must be smaller than the stride, so the rest is padded.
        inner = tuple(min(e, s - 1) for e, s in zip(extra, self.stride, strict=True))
        full = convolve_transposed(y, weight, self.stride, inner, self.dilation, self.groups)
        for axis, (size, (begin, _)) in enumerate(zip(shapes[0][1:], self.pads, strict=True)):
            missing = begin + size - full.shape[axis + 2]
            if missing > 0:
                full = F.pad(full, [0, 0] * (len(self.stride) - 1 - axis) + [0, missing])
            full = full.narrow(axis + 2, begin, size)
        return (full,)

    def windows(self, window: Window, shapes: tuple[Shape, ...]) -> tuple[Window, ...]:
        """One for all channels."""
        reach = tuple((k - 1) * d + 1 for k, d in zip(self.weight.shape[2:], self.dilation, strict=True))
        return (window.through(self.stride, tuple(begin for begin, _ in self.pads), reach),)

    def adjoint_within(self, y: Tensor, window: Window) -> tuple[Tensor, ...]:
        """The whole transposed convolution: nothing is cropped, because nothing is known of where the rows stand."""
        return (convolve_transposed(y, self.constant("weight", y), self.stride, (0,) * len(self.stride), self.dilation, self.groups),)

    def patch_size(self, size: Shape, shape: Shape) -> Shape | None:
        """Every position whose kernel reaches into the window, wherever that begins."""
        return tuple((n + reach + step - 3) // step + 1 for n, reach, step in zip(size, self._reach, self.stride, strict=True))

    def patch_corner(self, corner: Tensor) -> Tensor:
        """The first position whose kernel may reach into the window."""
        begin = corner.new_tensor([pad for pad, _ in self.pads])
        reach, step = corner.new_tensor(self._reach), corner.new_tensor(self.stride)
        return (corner + begin - reach + 1).div(step, rounding_mode="floor")

    def patch(self, x: Tensor, corner: Tensor, shape: Shape) -> Tensor:
        """The convolution of a frame of zeros around the window, which begins where the first kernel does."""
        rank, many = len(self.stride), len(x)
        if max(self.stride) == 1:
            rims = tuple(reach - 1 for reach in self._reach)
            return convolve(x, self.constant("weight", x), self.stride, rims, self.dilation, self.groups)
        # Of the window in the frame.
        shift = corner + corner.new_tensor([pad for pad, _ in self.pads]) - self.patch_corner(corner) * corner.new_tensor(self.stride)
        sizes = tuple(n + 2 * (reach - 1) + s - 1 for n, reach, s in zip(x.shape[2:], self._reach, self.stride, strict=True))
        frame = x.new_zeros(*x.shape[:2], *sizes)
        index: list[Tensor] = [torch.arange(many, device=x.device).reshape(-1, *(1,) * rank)]
        for axis, n in enumerate(x.shape[2:]):
            place = shift[:, axis : axis + 1] + torch.arange(n, device=x.device)
            index.append(place.reshape(many, *(n if k == axis else 1 for k in range(rank))))
        frame = frame.movedim(1, -1).index_put(tuple(index), x.movedim(1, -1)).movedim(-1, 1)
        return convolve(frame, self.constant("weight", x), self.stride, (0,) * rank, self.dilation, self.groups)

    @property
    def _reach(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.weight.shape[2:], self.dilation, strict=True))

    @property
    def _phased(self) -> bool:
        """Whether the adjoint goes by the phases of the stride."""
        return max(self.stride) > 1 and self.groups == 1 and max(self.dilation) == 1

    def _adjoint_by_phases(self, y: Tensor, shape: Shape) -> Tensor:
        """The adjoint of a strided convolution as one plain convolution: all input entries that lie alike to the stride
        (a phase) meet the same kernel entries, so phases are channels. Two to four times as fast as a transposed one.
        """
        rank = len(self.stride)
        kernel = self.derived(("phases",), y, lambda: _phase_kernel(self.constant("weight", y), self.stride))
        found = convolve(y, kernel, (1,) * rank, tuple(taps - 1 for taps in kernel.shape[2:]), (1,) * rank, 1)
        found = found.reshape(len(y), shape[0], *self.stride, *found.shape[2:])
        out = y.new_zeros(len(y), *shape)
        for phase in product(*map(range, self.stride)):
            source: list[slice | int] = []
            target: list[slice] = []
            axes = zip(phase, self.stride, self.pads, shape[1:], found.shape[2 + rank:], strict=True)
            places = []
            for start, step, (begin, _), size, count in axes:
                skip, which = divmod(start + begin, step)
                many = max(0, min(-(-(size - start) // step), count - skip))
                places.append(which)
                source.append(slice(skip, skip + many))
                target.append(slice(start, start + many * step, step) if many else slice(0, 0))
            taken: tuple[Any, ...] = (slice(None), slice(None), *places, *source)
            into: tuple[Any, ...] = (..., *target)
            out[into] = found[taken]
        return out


def _phase_kernel(weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """(out, in, *kernel) -> (in * phases, out, *taps): the adjoint's kernel entry s t + r belongs to tap t of phase r."""
    rank = len(stride)
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], stride, strict=True)]
    missing = [t * s - k for t, s, k in zip(taps, stride, weight.shape[2:], strict=True)]
    padded = F.pad(weight, [p for m in reversed(missing) for p in (0, m)])
    split = padded.reshape(*weight.shape[:2], *(n for pair in zip(taps, stride, strict=True) for n in pair))
    order = (1, *range(3, 3 + 2 * rank, 2), 0, *range(2, 2 + 2 * rank, 2))
    moved = split.permute(order).flip(tuple(range(-rank, 0)))
    return moved.reshape(-1, weight.shape[0], *taps).contiguous()


def _channels(values: Tensor | None, rank: int) -> Tensor | None:
    return None if values is None else values.reshape(-1, *(1,) * rank)


def window_pads(
    node: OnnxNode, spatial: Shape, reach: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """(begin, end) per axis from `pads` or `auto_pad`, for windows that span `reach` entries."""
    mode = node.attribute("auto_pad", "NOTSET")
    rank = len(spatial)
    if mode in ("NOTSET", ""):
        flat = [int(p) for p in node.attribute("pads", [0] * (2 * rank))]
        return tuple((flat[k], flat[k + rank]) for k in range(rank))
    if mode == "VALID":
        return ((0, 0),) * rank
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise unsupported(node, f"auto_pad={mode} is not supported", "export with explicit pads")
    if any(d != 1 for d in node.attribute("dilations", ())):
        raise unsupported(node, f"auto_pad={mode} with dilations is not supported", "export with explicit pads; runtimes disagree here")
    pairs = []
    for size, k, s in zip(spatial, reach, stride, strict=True):
        total = (-(-size // s) - 1) * s + k - size
        if total < -1:  # at -1, a 1 x 1 window of stride 2, all agree that nothing is padded
            raise unsupported(node, f"auto_pad={mode} with a stride beyond the window is not supported",
                              "export with explicit pads; runtimes disagree here")
        total = max(total, 0)
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return tuple(pairs)


def windows(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, *, ceil: bool) -> Tensor:
    """(outputs, kernel) positions of each window along one axis, padding replaced by an entry of the same window.

    With a maximum over the window this equals padding with -inf, and never computes with infinities.
    """
    span = size + pads[0] + pads[1] - (kernel - 1) * dilation - 1
    if span < 0:
        raise ValueError(f"a window of {kernel} entries (dilation {dilation}) is larger than the padded input of {size} entries")
    count = (-(-span // stride) if ceil else span // stride) + 1
    # A window that would start in the right padding is dropped, as ONNX and PyTorch do.
    while count > 1 and (count - 1) * stride >= size + pads[0]:
        count -= 1
    position = torch.arange(count)[:, None] * stride - pads[0] + torch.arange(kernel)[None] * dilation
    valid = (position >= 0) & (position < size)
    first = torch.where(valid, position, torch.full_like(position, size)).amin(1, keepdim=True).clamp(max=size - 1)
    return torch.where(valid, position, first)
