"""Convolutions and their transposes: torch's kernels on the CPU, elsewhere one product over a view of all windows.

Without cuDNN, whose algorithms break the error bound of plain dot products, a device's own convolution copies and multiplies once
for every member of the batch: tens of thousands of launches where bounds are carried for thousands of rows. One strided view of
the padded input holds every window; one copy of it and one product are a convolution of the whole batch. Each output entry is
still a plain dot product of as many terms, so that the same bounds hold. Autograd passes through all of it.
"""

from __future__ import annotations

from math import prod

import torch.nn.functional as F
from torch import Tensor

Sizes = tuple[int, ...]

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
RANKS = tuple(_CONV)


def convolve(x: Tensor, weight: Tensor, stride: Sizes, pads: Sizes, dilation: Sizes, groups: int) -> Tensor:
    """Cross-correlation of x (B, C, *S) with weight (O, C / groups, *K), zeros on both sides of each axis. No bias."""
    if x.device.type == "cpu":
        return _CONV[len(stride)](x, weight, None, stride, pads, dilation, groups)
    return by_one_product(x, weight, stride, pads, dilation, groups)


def convolve_transposed(y: Tensor, weight: Tensor, stride: Sizes, extra: Sizes, dilation: Sizes, groups: int) -> Tensor:
    """The transpose of an unpadded `convolve`: y (B, O, *S) with weight (O, C / groups, *K); `extra` zeros at the end of each axis."""
    if y.device.type == "cpu":
        return _TRANSPOSED[len(stride)](y, weight, None, stride, 0, extra, groups, dilation)
    return transposed_by_one_product(y, weight, stride, extra, dilation, groups)


def copied_entries(weight: Tensor, out: Sizes) -> int:
    """Entries that `by_one_product` copies for each member of the batch. weight: (O, C, *K), of a group; out: spatial sizes."""
    return prod(weight.shape[1:]) * prod(out)


def by_one_product(x: Tensor, weight: Tensor, stride: Sizes, pads: Sizes, dilation: Sizes, groups: int) -> Tensor:
    """`convolve`, in at most five launches whatever the batch."""
    rank, batch = len(stride), len(x)
    view = F.pad(x, [p for n in reversed(pads) for p in (n, n)]) if any(pads) else x
    for axis, (size, step, gap) in enumerate(zip(weight.shape[2:], stride, dilation, strict=True)):
        view = view.unfold(2 + axis, (size - 1) * gap + 1, step)[..., ::gap]
    out, inner = view.shape[2 : 2 + rank], prod(weight.shape[1:])
    windows = (*range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    if groups == 1:
        columns = view.permute(0, 1, *windows).reshape(batch, inner, prod(out))
        return weight.reshape(1, -1, inner).expand(batch, -1, -1).bmm(columns).reshape(batch, -1, *out)
    # (groups, inner, batch * positions): the groups are the batch of the product.
    split = view.reshape(batch, groups, -1, *view.shape[2:])
    columns = split.permute(1, 2, *(1 + axis for axis in windows), 0).flatten(-1 - rank).reshape(groups, inner, -1)
    found = weight.reshape(groups, -1, inner).bmm(columns).reshape(groups, -1, prod(out), batch)
    return found.permute(3, 0, 1, 2).reshape(batch, -1, *out)


def transposed_by_one_product(y: Tensor, weight: Tensor, stride: Sizes, extra: Sizes, dilation: Sizes, groups: int) -> Tensor:
    """`convolve_transposed`, as a convolution of y with zeros between its entries and the kernel turned round."""
    rank = len(stride)
    if max(stride) > 1:
        stuffed = y.new_zeros(*y.shape[:2], *((n - 1) * s + 1 for n, s in zip(y.shape[2:], stride, strict=True)))
        every: list[slice] = [slice(None, None, step) for step in (1, 1, *stride)]
        stuffed[tuple(every)] = y
        y = stuffed
    rims = [(k - 1) * d for k, d in zip(weight.shape[2:], dilation, strict=True)]
    y = F.pad(y, [p for rim, more in zip(reversed(rims), reversed(extra), strict=True) for p in (rim, rim + more)])
    split = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    turned = split.reshape(-1, *split.shape[2:]).flip(tuple(range(2, 2 + rank)))
    return by_one_product(y, turned, (1,) * rank, (0,) * rank, dilation, groups)
