"""Which kernels are checked, at which sizes: everything that multiplies and adds up, each as torch computes it and as a plain product.

A case computes with torch's kernel and copies the same operands into a batched product of matrices (im2col and the like: copies
only). What is not an entry of an operand (a bias, what is added up) is there, too: as a term times one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

from absint.numeric.scatter import added_at

Kernel = Callable[[Tensor, Tensor], Tensor]
Operands = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class KernelCase:
    """A kernel and sizes. x, w: shapes of its operands.

    unfold: operands -> (left, right), batched matrices whose product is the result, (batch, rows, columns).
    terms: of each sum, where many entries of `left` or `right` are zero by construction; None for all of them.
    long: takes more than a moment; left out where a quick answer is wanted.
    """

    name: str
    kernel: str
    compute: Kernel
    unfold: Callable[[Tensor, Tensor], Operands]
    x: tuple[int, ...]
    w: tuple[int, ...]
    terms: int | None = None
    long: bool = False


# ---- products of matrices ----------------------------------------------------------------------------------------------


def _matrix(x: Tensor, w: Tensor) -> Operands:
    return x.reshape(-1, *x.shape[-2:]), w.reshape(-1, *w.shape[-2:])


def _matmul(x: Tensor, w: Tensor) -> Tensor:
    return (x @ w).reshape(-1, x.shape[-2], w.shape[-1])


def _linear(x: Tensor, w: Tensor) -> Tensor:
    return F.linear(x, w)[None]


def _addmm(x: Tensor, w: Tensor) -> Tensor:
    """x: (rows, terms + columns), its first row's last entries the bias."""
    return torch.addmm(x[0, len(w):], x[:, : len(w)], w)[None]


def _with_bias(x: Tensor, w: Tensor) -> Operands:
    bias = x[:1, len(w):].expand(len(x), -1)
    return torch.cat((x[:, : len(w)], bias), 1)[None], torch.cat((w, torch.eye(w.shape[1], dtype=w.dtype)))[None]


def _baddbmm(x: Tensor, w: Tensor) -> Tensor:
    """x: (batch, rows, terms + columns), what is added in its last columns."""
    return torch.baddbmm(x[..., w.shape[1] :], x[..., : w.shape[1]], w)


def _with_addend(x: Tensor, w: Tensor) -> Operands:
    return x, torch.cat((w, torch.eye(w.shape[2], dtype=w.dtype).expand(len(w), -1, -1)), 1)


def _einsum(x: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("bik,bkj->bij", x, w)


def _rows_of_products(x: Tensor, w: Tensor) -> Tensor:
    """As contracting two tensors entry by entry: x and w (batch, rows, terms)."""
    return torch.einsum("brn,bn->br", x, w)[..., None]


# ---- sums --------------------------------------------------------------------------------------------------------------


def _sum(x: Tensor, w: Tensor) -> Tensor:
    """Along the last axis; w: empty."""
    return x.sum(-1)[None, :, None]


def _sum_over_rows(x: Tensor, w: Tensor) -> Tensor:
    return x.sum(0)[None, None]


def _products_summed(x: Tensor, w: Tensor) -> Tensor:
    return (x * w).sum(-1)[None, :, None]


def _index_add(x: Tensor, w: Tensor) -> Tensor:
    """Entries fall into seven places in turn."""
    return added_at(x, torch.arange(x.shape[1], device=x.device) % 7, 7)[None]


def _ones(x: Tensor, w: Tensor) -> Operands:
    return x[None], torch.ones(1, x.shape[1], 1, dtype=x.dtype)


def _ones_before(x: Tensor, w: Tensor) -> Operands:
    return torch.ones(1, 1, len(x), dtype=x.dtype), x[None]


def _diagonal(x: Tensor, w: Tensor) -> Operands:
    return x[:, None], w.expand(len(x), -1)[..., None]


def _places(x: Tensor, w: Tensor) -> Operands:
    return x[None], F.one_hot(torch.arange(x.shape[1]) % 7, 7).to(x.dtype)[None]


def _reshaped(compute: Kernel, shape: tuple[int, ...]) -> Kernel:
    return lambda x, w: compute(x, w).reshape(shape)


# ---- convolutions ------------------------------------------------------------------------------------------------------


def _windows(x: Tensor, kernel: tuple[int, ...], stride: int, dilation: int) -> Tensor:
    """A view (batch, channels, *positions, *kernel) that overlaps itself."""
    for axis, size in enumerate(kernel, 2):
        x = x.unfold(axis, (size - 1) * dilation + 1, stride)[..., ::dilation]
    return x


def _columns(x: Tensor, w: Tensor, stride: int, padding: int, groups: int = 1, dilation: int = 1) -> Operands:
    """im2col of any number of axes. Groups become instances."""
    axes = x.dim() - 2
    padded = F.pad(x, (padding, padding) * axes).reshape(len(x) * groups, x.shape[1] // groups, *(n + 2 * padding for n in x.shape[2:]))
    windows = _windows(padded, tuple(w.shape[2:]), stride, dilation)
    order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
    right = windows.permute(order).reshape(len(padded), padded.shape[1] * prod(w.shape[2:]), -1)
    left = w.reshape(groups, w.shape[0] // groups, -1)
    return left.repeat(len(x), 1, 1) if groups > 1 else left, right


def _transposed_columns(x: Tensor, w: Tensor, stride: int, padding: int) -> Operands:
    """A transposed convolution is a convolution of the zero-stuffed input with the turned kernel. w: (in, out, k, k)."""
    batch, channels, height, width = x.shape
    stuffed = x.new_zeros(batch, channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    stuffed[:, :, ::stride, ::stride] = x
    rim = w.shape[2] - 1 - padding
    return _columns(F.pad(stuffed, (rim, rim, rim, rim)), w.transpose(0, 1).flip(2, 3), 1, 0)


def _input_gradient(v: Tensor, w: Tensor, stride: int, padding: int) -> Tensor:
    """The adjoint as autograd computes it: the gradient of a convolution by its input, at v."""
    size = tuple((n - 1) * stride - 2 * padding + k for n, k in zip(v.shape[2:], w.shape[2:], strict=True))
    gradient: Tensor = conv2d_input((len(v), w.shape[1], *size), w, v, stride=stride, padding=padding)
    return gradient


def _view_product(x: Tensor, w: Tensor, stride: int, padding: int) -> Tensor:
    """A convolution as one product with a view that overlaps itself."""
    windows = _windows(F.pad(x, (padding,) * 4), tuple(w.shape[2:]), stride, 1)
    return torch.einsum("bchwij,ocij->bohw", windows, w)


def _view_matmul(x: Tensor, w: Tensor) -> Tensor:
    """Rows of a matrix that overlap in memory: strides (columns of a step, 1), fewer than a row has. x: (batch, positions, channels)."""
    batch, positions, channels = x.shape
    taps = w.shape[1] // channels
    rows = x.as_strided((batch, positions - taps + 1, taps * channels), (positions * channels, channels, 1))
    return rows @ w.expand(batch, -1, -1)


def _overlapping_rows(x: Tensor, w: Tensor) -> Operands:
    taps = w.shape[1] // x.shape[2]
    return torch.cat([x[:, k : x.shape[1] - taps + 1 + k] for k in range(taps)], 2), w.expand(len(x), -1, -1)


def _conv(name: str, compute: Callable[..., Tensor], x: tuple[int, ...], w: tuple[int, ...], *, kernel: str | None = None,
          unfold: Callable[..., Operands] = _columns, long: bool = False, **how: int) -> KernelCase:
    how = {"stride": 1, "padding": 1, **how}
    return KernelCase(name, kernel or name.split(maxsplit=1)[0], partial(compute, **how), partial(unfold, **how), x, w, long=long)


# Sizes on both sides of the thresholds at which torch turns to NNPACK (batch 16, 3x3), oneDNN or Winograd (many channels), and at
# which CUDA's grids end (65,535 instances). The first of each kernel is a small one.
CASES = (
    KernelCase("matmul 1x784x50", "matmul", _matmul, _matrix, (1, 784), (784, 50)),
    KernelCase("matmul 64x256x128", "matmul", _matmul, _matrix, (64, 256), (256, 128)),
    KernelCase("matmul 16 x 8x300x40", "matmul", _matmul, _matrix, (16, 8, 300), (16, 300, 40)),
    KernelCase("matmul 3x20000x2", "matmul", _matmul, _matrix, (3, 20_000), (20_000, 2), long=True),
    KernelCase("matmul 70000 x 2x3x2", "matmul", _matmul, _matrix, (70_000, 2, 3), (70_000, 3, 2), long=True),
    KernelCase("linear 40x600x10", "linear", _linear, lambda x, w: (x[None], w.T[None]), (40, 600), (10, 600)),
    KernelCase("addmm 30x200x20, bias", "addmm", _addmm, _with_bias, (30, 220), (200, 20), terms=201),
    KernelCase("addmm 1x784x10, bias", "addmm", _addmm, _with_bias, (1, 794), (784, 10), terms=785),
    KernelCase("baddbmm 5 x 9x120x7", "baddbmm", _baddbmm, _with_addend, (5, 9, 127), (5, 120, 7), terms=121),
    KernelCase("baddbmm 66000 x 1x4x1", "baddbmm", _baddbmm, _with_addend, (66_000, 1, 5), (66_000, 4, 1), long=True),
    KernelCase("einsum bik,bkj 6 x 10x150x9", "einsum", _einsum, _matrix, (6, 10, 150), (6, 150, 9)),
    KernelCase("einsum brn,bn 12x9x400", "einsum", _rows_of_products, lambda x, w: (x, w[..., None]), (12, 9, 400), (12, 400)),
    KernelCase("sum 50x600", "sum", _sum, _ones, (50, 600), (1,)),
    KernelCase("sum 600x50 over rows", "sum", _sum_over_rows, _ones_before, (600, 50), (1,)),
    KernelCase("sum 4x20000", "sum", _sum, _ones, (4, 20_000), (1,), long=True),
    KernelCase("multiply_and_sum 80x500", "multiply_and_sum", _reshaped(_products_summed, (80, 1, 1)), _diagonal, (80, 500), (500,)),
    KernelCase("index_add 6x700", "index_add", _index_add, _places, (6, 700), (1,), terms=100),
    KernelCase("overlapping_rows 4 x 30x24 by 3", "overlapping_rows", _view_matmul, _overlapping_rows, (4, 30, 24), (1, 72, 10)),
    _conv("overlapping_windows 3x3 batch 6", _view_product, (6, 8, 12, 12), (10, 8, 3, 3)),
    _conv("overlapping_windows 4x4 stride 2 batch 1", _view_product, (1, 3, 32, 32), (16, 3, 4, 4), stride=2),
    _conv("conv1d 3 batch 16", F.conv1d, (16, 8, 50), (12, 8, 3)),
    _conv("conv1d 5 batch 1", F.conv1d, (1, 40, 64), (16, 40, 5), stride=2, padding=2),
    _conv("conv2d 3x3 batch 1", F.conv2d, (1, 8, 14, 14), (8, 8, 3, 3)),
    _conv("conv2d 3x3 batch 16", F.conv2d, (16, 4, 12, 12), (8, 4, 3, 3)),
    _conv("conv2d 3x3 batch 16, 64 channels", F.conv2d, (16, 64, 14, 14), (64, 64, 3, 3), long=True),
    _conv("conv2d 5x5 batch 20", F.conv2d, (20, 3, 16, 16), (6, 3, 5, 5), padding=2),
    _conv("conv2d 4x4 stride 2", F.conv2d, (16, 8, 14, 14), (16, 8, 4, 4), stride=2),
    _conv("conv2d 1x1 batch 16, 64 channels", F.conv2d, (16, 64, 7, 7), (32, 64, 1, 1), padding=0),
    _conv("conv2d 3x3 dilated by 2", F.conv2d, (16, 6, 14, 14), (8, 6, 3, 3), padding=2, dilation=2),
    _conv("conv2d 3x3 in 4 groups", F.conv2d, (16, 16, 10, 10), (24, 4, 3, 3), groups=4),
    _conv("conv2d 3x3 depthwise", F.conv2d, (16, 32, 10, 10), (32, 1, 3, 3), groups=32),
    _conv("conv3d 3x3x3 batch 2", F.conv3d, (2, 4, 6, 7, 8), (5, 4, 3, 3, 3)),
    _conv("conv3d 3x3x3 batch 16, 8 channels", F.conv3d, (16, 8, 5, 5, 5), (8, 8, 3, 3, 3), long=True),
    _conv("conv_transpose2d 4x4 stride 2", F.conv_transpose2d, (16, 16, 7, 7), (16, 8, 4, 4), unfold=_transposed_columns, stride=2),
    _conv("conv_transpose2d 3x3, 64 channels", F.conv_transpose2d, (16, 64, 10, 10), (64, 64, 3, 3), unfold=_transposed_columns, long=True),
    _conv("conv2d adjoint 4x4 stride 2", _input_gradient, (16, 16, 7, 7), (16, 8, 4, 4), kernel="conv2d_adjoint",
          unfold=_transposed_columns, stride=2),
    _conv("conv2d adjoint 3x3, 64 channels", _input_gradient, (16, 64, 10, 10), (64, 64, 3, 3), kernel="conv2d_adjoint",
          unfold=_transposed_columns, long=True),
)
