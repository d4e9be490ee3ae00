"""Whether this machine's kernels keep the promise that every proof rests on: the error bound of plain dot products.

For y = L x computed in any order, |fl(y) - y| <= gamma_n |L| |x| entry by entry (Higham, section 3.5), and subnormal
numbers are not flushed. Winograd, FFT, TF32 and bfloat16 kernels break the first: one entry of 1e8 spoils outputs that
do not even depend on it. Each case computes with torch's kernel, copies the operands into a matrix product (im2col,
copies only), and compares with that product in higher precision: float64 for float32, rationals for float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import inf

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import gamma, smallest_normal

Kernel = Callable[[Tensor, Tensor], Tensor]
Operands = tuple[Tensor, Tensor]
Mode = Callable[[], AbstractContextManager[None]]
Run = Callable[[Tensor, Tensor], Mapping[str, Tensor]]     # threads -> result

_HUGE = 1e8
_SAMPLED = 32                     # outputs of a float64 case that are checked in rationals
_SUBNORMAL = {torch.float32: 2.0**-149, torch.float64: 2.0**-1074}


@dataclass(frozen=True)
class KernelReport:
    """One kernel at one size.

    worst_ratio: greatest error over its bound, inf where a result is not finite; in a test of subnormals, the share of
    wrong entries.
    """

    name: str
    dtype: str
    ok: bool
    worst_ratio: float


@dataclass(frozen=True)
class KernelCase:
    """A kernel and sizes. x, w: shapes of its operands.

    unfold: operands -> (left, right), batched matrices whose product is the result, (batch, rows, columns).
    """

    name: str
    kernel: str
    compute: Kernel
    unfold: Callable[[Tensor, Tensor], Operands]
    x: tuple[int, ...]
    w: tuple[int, ...]


def check_kernels(device: str = "cpu", *, wrap: Mapping[str, Callable[[Kernel], Kernel]] | None = None,
                  mode: Mode = numeric_mode) -> list[KernelReport]:
    """Every case in float32 and float64, on one thread and on several.

    mode: the numeric mode to test; contextlib.nullcontext tests torch as it comes.  wrap: kernel name -> what to put around that
    kernel, for tests of this test.
    """
    reports = []
    for case in CASES:
        compute = (wrap or {}).get(case.kernel, _same)(case.compute)
        run = partial(_run, compute, device=device, mode=mode)
        for dtype in (torch.float32, torch.float64):
            reports += [*_accuracy(case, run, dtype), *_subnormals(case, run, dtype)]
    return reports


def _same(kernel: Kernel) -> Kernel:
    return kernel


def _run(compute: Kernel, x: Tensor, w: Tensor, device: str, mode: Mode) -> dict[str, Tensor]:
    """What the kernel returns with each number of threads."""
    found = {}
    before = torch.get_num_threads()
    try:
        for threads in _thread_counts(device):
            torch.set_num_threads(threads)
            with mode(), torch.no_grad():
                found[f"{threads} thread{'s' if threads > 1 else ''}"] = compute(x.to(device), w.to(device)).cpu()
    finally:
        torch.set_num_threads(before)
    return found


def _thread_counts(device: str) -> tuple[int, ...]:
    return (1, max(2, torch.get_num_threads())) if device == "cpu" else (1,)


# ---- the two questions -----------------------------------------------------------------------------------------------


def _accuracy(case: KernelCase, run: Run, dtype: torch.dtype) -> Iterator[KernelReport]:
    """Random operands with one huge entry in the input: errors within gamma_n of the sum of absolute values."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(case.x, generator=generator, dtype=torch.float64).to(dtype)
    w = torch.randn(case.w, generator=generator, dtype=torch.float64).to(dtype)
    x.view(-1)[x.numel() // 2] = _HUGE
    left, right = case.unfold(x, w)
    worst = _float32_judge(left, right) if dtype is torch.float32 else _float64_judge(left, right)
    for threads, found in run(x, w).items():
        finite = bool(found.isfinite().all())
        ratio = worst(found.reshape(len(found), left.shape[-2], -1)) if finite else inf
        yield KernelReport(f"{case.name}, {threads}: error", _label(dtype), ratio <= 1, ratio)


def _float32_judge(left: Tensor, right: Tensor) -> Callable[[Tensor], float]:
    """All outputs. The float64 product errs by 2^-29 of the bound; float64 itself is checked in rationals."""
    terms = left.shape[-1]
    exact, mass = left.double() @ right.double(), left.double().abs() @ right.double().abs()
    bound = gamma(terms, torch.float32) * mass + terms * smallest_normal(torch.float32)
    return lambda found: float(((found.double() - exact).abs() / bound).max())


def _float64_judge(left: Tensor, right: Tensor) -> Callable[[Tensor], float]:
    """Outputs spread over the whole result and around the huge entry's, in rationals."""
    mass = left.abs() @ right.abs()
    batch, rows, columns = mass.shape
    terms, total, hit = left.shape[-1], mass.numel(), int(mass.argmax())
    left, right = left.expand(batch, -1, -1), right.expand(batch, -1, -1)
    spread = {k * (total - 1) // (_SAMPLED - 1) for k in range(_SAMPLED)}
    around = {hit + k for k in range(-_SAMPLED // 4, _SAMPLED // 4) if 0 <= hit + k < total}
    unit, floor = Fraction(gamma(terms, torch.float64)), terms * Fraction(smallest_normal(torch.float64))
    exact: dict[int, tuple[Fraction, Fraction]] = {}
    for flat in spread | around:
        b, r, c = flat // (rows * columns), flat // columns % rows, flat % columns
        products = [Fraction(p) * Fraction(q) for p, q in zip(left[b, r].tolist(), right[b, :, c].tolist(), strict=True) if p and q]
        exact[flat] = sum(products, Fraction(0)), unit * sum(map(abs, products)) + floor

    def worst(found: Tensor) -> float:
        values = found.reshape(-1)
        return float(max(abs(Fraction(float(values[flat])) - value) / bound for flat, (value, bound) in exact.items()))

    return worst


def _subnormals(case: KernelCase, run: Run, dtype: torch.dtype) -> Iterator[KernelReport]:
    """Whole multiples of the smallest subnormal number times whole numbers: every sum is exact unless flushed."""
    generator = torch.Generator().manual_seed(11)
    x = torch.randint(-8, 9, case.x, generator=generator)
    w = torch.randint(-2, 3, case.w, generator=generator)
    left, right = case.unfold(x.double(), w.double())
    exact = left @ right
    for threads, found in run((x.double() * _SUBNORMAL[dtype]).to(dtype), w.to(dtype)).items():
        # Scaled in two steps: the reciprocal of the smallest subnormal overflows.
        small = found.double().reshape(exact.shape)
        scaled = small * 2.0**149 if dtype is torch.float32 else small * 2.0**600 * 2.0**474
        wrong = int((scaled != exact).sum())
        yield KernelReport(f"{case.name}, {threads}: subnormals", _label(dtype), not wrong, wrong / exact.numel())


def _label(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# ---- the cases -------------------------------------------------------------------------------------------------------


def _matrix(x: Tensor, w: Tensor) -> Operands:
    return x.reshape(-1, *x.shape[-2:]), w.reshape(-1, *w.shape[-2:])


def _matmul(x: Tensor, w: Tensor) -> Tensor:
    return (x @ w).reshape(-1, x.shape[-2], w.shape[-1])


def _linear(x: Tensor, w: Tensor) -> Tensor:
    return F.linear(x, w)[None]


def _conv2d_columns(x: Tensor, w: Tensor, stride: int, padding: int) -> Operands:
    columns = F.unfold(x, (w.shape[2], w.shape[3]), padding=padding, stride=stride)
    return w.flatten(1)[None], columns


def _conv1d_columns(x: Tensor, w: Tensor, stride: int, padding: int) -> Operands:
    padded = F.pad(x, (padding, padding))
    return _conv2d_columns(padded[:, :, None], w[:, :, None], stride, 0)


def _transposed_columns(x: Tensor, w: Tensor, stride: int, padding: int) -> Operands:
    """A transposed convolution is a convolution of the zero-stuffed input with the turned kernel. w: (in, out, k, k)."""
    batch, channels, height, width = x.shape
    stuffed = x.new_zeros(batch, channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    stuffed[:, :, ::stride, ::stride] = x
    rim = w.shape[2] - 1 - padding
    return _conv2d_columns(F.pad(stuffed, (rim, rim, rim, rim)), w.transpose(0, 1).flip(2, 3), 1, 0)


def _input_gradient(v: Tensor, w: Tensor, stride: int, padding: int) -> Tensor:
    """The adjoint as autograd computes it: the gradient of a convolution by its input, at v."""
    size = tuple((n - 1) * stride - 2 * padding + k for n, k in zip(v.shape[2:], w.shape[2:], strict=True))
    gradient: Tensor = conv2d_input((len(v), w.shape[1], *size), w, v, stride=stride, padding=padding)
    return gradient


def _conv(name: str, kernel: str, compute: Callable[..., Tensor], unfold: Callable[..., Operands], x: tuple[int, ...],
          w: tuple[int, ...], *, stride: int = 1, padding: int = 1) -> KernelCase:
    return KernelCase(name, kernel, partial(compute, stride=stride, padding=padding),
                partial(unfold, stride=stride, padding=padding), x, w)


# Sizes on both sides of the thresholds at which torch turns to NNPACK (batch 16, 3x3), oneDNN or Winograd (many channels).
CASES = (
    KernelCase("matmul 1x784x50", "matmul", _matmul, _matrix, (1, 784), (784, 50)),
    KernelCase("matmul 64x256x128", "matmul", _matmul, _matrix, (64, 256), (256, 128)),
    KernelCase("matmul 16 x 8x300x40", "matmul", _matmul, _matrix, (16, 8, 300), (16, 300, 40)),
    KernelCase("linear 40x600x10", "linear", _linear, lambda x, w: (x[None], w.T[None]), (40, 600), (10, 600)),
    _conv("conv1d 3 batch 16", "conv1d", F.conv1d, _conv1d_columns, (16, 8, 50), (12, 8, 3)),
    _conv("conv1d 5 batch 1", "conv1d", F.conv1d, _conv1d_columns, (1, 40, 64), (16, 40, 5), stride=2, padding=2),
    _conv("conv2d 3x3 batch 1", "conv2d", F.conv2d, _conv2d_columns, (1, 8, 14, 14), (8, 8, 3, 3)),
    _conv("conv2d 3x3 batch 16", "conv2d", F.conv2d, _conv2d_columns, (16, 4, 12, 12), (8, 4, 3, 3)),
    _conv("conv2d 3x3 batch 16, 64 channels", "conv2d", F.conv2d, _conv2d_columns, (16, 64, 14, 14), (64, 64, 3, 3)),
    _conv("conv2d 5x5 batch 20", "conv2d", F.conv2d, _conv2d_columns, (20, 3, 16, 16), (6, 3, 5, 5), stride=1, padding=2),
    _conv("conv2d 4x4 stride 2", "conv2d", F.conv2d, _conv2d_columns, (16, 8, 14, 14), (16, 8, 4, 4), stride=2, padding=1),
    _conv("conv_transpose2d 4x4 stride 2", "conv_transpose2d", F.conv_transpose2d, _transposed_columns,
          (16, 16, 7, 7), (16, 8, 4, 4), stride=2, padding=1),
    _conv("conv_transpose2d 3x3, 64 channels", "conv_transpose2d", F.conv_transpose2d, _transposed_columns,
          (16, 64, 10, 10), (64, 64, 3, 3)),
    _conv("conv2d adjoint 3x3, 64 channels", "conv2d_adjoint", _input_gradient, _transposed_columns,
          (16, 64, 10, 10), (64, 64, 3, 3)),
)
