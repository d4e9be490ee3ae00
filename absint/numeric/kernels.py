"""Whether this machine's kernels keep the promise that every proof rests on: the error bound of plain dot products.

For y = L x computed in any order, |fl(y) - y| <= gamma_n |L| |x| entry by entry (Higham, section 3.5), and subnormal
numbers are not flushed. Winograd, FFT, TF32, bfloat16 and emulated kernels break the first: one entry of 1e8 spoils outputs
that do not even depend on it. Each case of `kernel_cases` computes with torch's kernel, copies the operands into a matrix product,
and compares with that product in higher precision: float64 for float32, whole numbers of any length for float64.
Operations on entries are checked to the last bit (`kernel_entries`), functions such as exp by their errors (`kernel_functions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from operator import mul

import numpy as np
import torch
from torch import Tensor

from absint.numeric.backend import numeric_mode
from absint.numeric.kernel_cases import CASES, Kernel, KernelCase
from absint.numeric.kernel_entries import wrong_entries
from absint.numeric.kernel_functions import worst_errors
from absint.numeric.rounding import gamma, smallest_normal

Mode = Callable[[], AbstractContextManager[None]]

_HUGE = 1e8
_SAMPLED = 32                     # outputs of a float64 case that are checked exactly
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


def check_kernels(device: str = "cpu", *, full: bool = True, wrap: Mapping[str, Callable[[Kernel], Kernel]] | None = None,
                  mode: Mode = numeric_mode) -> list[KernelReport]:
    """Every case in float32 and float64, on one thread and on several; operations on entries; functions, in float64.

    full: the long cases, too.  mode: the numeric mode to test; contextlib.nullcontext tests torch as it comes.  wrap: kernel name ->
    what to put around that kernel, for tests of this test.
    """
    cases = [case for case in CASES if full or not case.long]
    return [*check_cases(cases, device, wrap=wrap, mode=mode), *check_entries(device, mode), *check_functions(device, mode)]


def check_cases(cases: Sequence[KernelCase], device: str = "cpu", *, wrap: Mapping[str, Callable[[Kernel], Kernel]] | None = None,
                mode: Mode = numeric_mode) -> list[KernelReport]:
    """These products and sums. Nothing is judged inside the mode: comparisons would flush where it flushes."""
    with numeric_mode():
        questions = [make(case, dtype) for case in cases for dtype in (torch.float32, torch.float64) for make in (_accuracy, _subnormals)]
    kernels = [(wrap or {}).get(one.case.kernel, _same)(one.case.compute) for one in questions]
    reports = []
    before = torch.get_num_threads()
    for threads in _thread_counts(device):
        try:
            torch.set_num_threads(threads)
            with mode(), torch.no_grad():
                found = [compute(one.x.to(device), one.w.to(device)).cpu() for compute, one in zip(kernels, questions, strict=True)]
        finally:
            torch.set_num_threads(before)
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        reports += [one.report(result, label) for one, result in zip(questions, found, strict=True)]
    return reports


def check_entries(device: str = "cpu", mode: Mode = numeric_mode) -> list[KernelReport]:
    """Sums, products, quotients, roots, neighbours, casts and comparisons, to the last bit; on the CPU against numpy's."""
    with mode(), torch.no_grad():
        found = list(wrong_entries(torch.device(device)))
    return [KernelReport(f"{name}: bits", _label(dtype), not wrong, wrong) for name, dtype, wrong in found]


def check_functions(device: str = "cpu", mode: Mode = numeric_mode) -> list[KernelReport]:
    """exp, tanh, erf and their like, in float64, against the errors that the operators state."""
    with mode(), torch.no_grad():
        found = list(worst_errors(torch.device(device)))
    return [KernelReport(f"{name}: ulps", "float64", ratio <= 1, ratio) for name, ratio in found]


def _same(kernel: Kernel) -> Kernel:
    return kernel


def _thread_counts(device: str) -> tuple[int, ...]:
    return (1, max(2, torch.get_num_threads())) if device == "cpu" else (1,)


# ---- the two questions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Question:
    """Operands, and what to make of the result: its error over the bound, or the share of wrong entries."""

    case: KernelCase
    kind: str
    x: Tensor
    w: Tensor
    judge: Callable[[Tensor], float]
    most: float

    def report(self, found: Tensor, label: str) -> KernelReport:
        ratio = self.judge(found) if bool(found.isfinite().all()) else inf
        return KernelReport(f"{self.case.name}, {label}: {self.kind}", _label(self.x.dtype), ratio <= self.most, ratio)


def _accuracy(case: KernelCase, dtype: torch.dtype) -> _Question:
    """Random operands with one huge entry in the input: errors within gamma_n of the sum of absolute values.

    A quarter of the weights is zero: results in the huge entry's row that do not depend on it tell whether they share a scale with it.
    """
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(case.x, generator=generator, dtype=torch.float64).to(dtype)
    w = torch.randn(case.w, generator=generator, dtype=torch.float64).to(dtype)
    w *= torch.rand(case.w, generator=generator) > 0.25
    x.view(-1)[x.numel() // 2] = _HUGE
    left, right = case.unfold(x, w)
    judge = _float32_judge if dtype is torch.float32 else _float64_judge
    return _Question(case, "error", x, w, judge(left, right, case.terms or left.shape[-1]), 1.0)


def _float32_judge(left: Tensor, right: Tensor, terms: int) -> Callable[[Tensor], float]:
    """All outputs. The float64 product errs by 2^-29 of the bound; float64 itself is checked exactly."""
    exact, mass = left.double() @ right.double(), left.double().abs() @ right.double().abs()
    bound = gamma(terms, torch.float32) * mass + terms * smallest_normal(torch.float32)
    return lambda found: float(((found.double().reshape(exact.shape) - exact).abs() / bound).nan_to_num(0.0, posinf=inf).max())


def _float64_judge(left: Tensor, right: Tensor, terms: int) -> Callable[[Tensor], float]:
    """Outputs spread over the whole result and around the huge entry's, in whole numbers."""
    mass = left.abs() @ right.abs()
    batch, rows, columns = mass.shape
    total, hit = mass.numel(), int(mass.argmax())
    left, right = left.expand(batch, -1, -1), right.expand(batch, -1, -1)
    spread = {k * (total - 1) // (_SAMPLED - 1) for k in range(_SAMPLED)}
    around = {hit + k for k in range(-_SAMPLED // 4, _SAMPLED // 4) if 0 <= hit + k < total}
    unit, floor = Fraction(gamma(terms, torch.float64)), terms * Fraction(smallest_normal(torch.float64))
    exact: dict[int, tuple[Fraction, Fraction]] = {}
    for flat in spread | around:
        b, r, c = flat // (rows * columns), flat // columns % rows, flat % columns
        (first, one), (second, other) = _whole(left[b, r]), _whole(right[b, :, c])
        products, scale = list(map(mul, first, second)), Fraction(1, 2**(one + other))
        exact[flat] = sum(products) * scale, unit * sum(map(abs, products)) * scale + floor

    def worst(found: Tensor) -> float:
        values = found.reshape(-1)
        return float(max(abs(Fraction(float(values[flat])) - value) / bound for flat, (value, bound) in exact.items()))

    return worst


def _whole(values: Tensor) -> tuple[list[int], int]:
    """Whole numbers n and a shift s with values = n 2^-s, exactly. values: float64, none subnormal."""
    fraction, exponent = np.frexp(values.numpy())
    digits = np.ldexp(fraction, 53).astype(np.int64)
    shift = np.where(digits != 0, 53 - exponent, 0)
    most = int(shift.max())
    return [int(n) << (most - int(s)) for n, s in zip(digits, shift, strict=True)], most


def _subnormals(case: KernelCase, dtype: torch.dtype) -> _Question:
    """Whole multiples of the smallest subnormal number times whole numbers: every sum is exact unless flushed."""
    generator = torch.Generator().manual_seed(11)
    x = torch.randint(-8, 9, case.x, generator=generator)
    w = torch.randint(-2, 3, case.w, generator=generator)
    left, right = case.unfold(x.double(), w.double())
    exact = left @ right

    def wrong(found: Tensor) -> float:
        # Scaled in two steps: the reciprocal of the smallest subnormal overflows.
        small = found.double().reshape(exact.shape)
        scaled = small * 2.0**149 if dtype is torch.float32 else small * 2.0**600 * 2.0**474
        return float((scaled != exact).double().mean())

    return _Question(case, "subnormals", (x.double() * _SUBNORMAL[dtype]).to(dtype), w.to(dtype), wrong, 0.0)


def _label(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
