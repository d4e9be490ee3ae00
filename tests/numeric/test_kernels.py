"""The kernels keep the bounds that every proof uses, and the check notices where they do not."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch

from absint.numeric import kernel_entries, kernel_functions, kernels
from absint.numeric.kernel_functions import Function
from absint.numeric.kernels import CASES, check_cases, check_entries, check_functions, check_kernels

FIRST = {case.kernel: case for case in reversed(CASES)}
BOTH = {"float32", "float64"}
# Where every result depends on every entry of its row, a shared scale is within the bound; so are 40 digits of each of 600 terms.
WITHIN = {("sum", "fixed point of 55 bits"), ("multiply_and_sum", "fixed point of 55 bits"), ("sum", "slices of 40 bits")}


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(kernels, "_thread_counts", lambda device: (1,))


def failures(reports, kind):
    return {report.dtype for report in reports if not report.ok and report.name.endswith(kind)}


def test_this_machine_keeps_the_bounds():
    threads = torch.get_num_threads()
    reports = check_kernels()
    assert not [report for report in reports if not report.ok]
    assert {report.dtype for report in reports} == BOTH
    assert 0 < max(report.worst_ratio for report in reports) <= 1
    assert torch.get_num_threads() == threads


def test_the_quick_check_has_every_kernel_and_no_long_case():
    quick = [case for case in CASES if not case.long]
    assert {case.kernel for case in quick} == set(FIRST)
    assert all(not case.long for case in FIRST.values())
    asked = {report.name.partition(",")[0] for report in check_cases(quick[:2])}
    assert asked == {case.name.partition(",")[0] for case in quick[:2]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_compared_with_is_the_kernel_itself(case):
    """In whole numbers so small that no order rounds: the copied operands make the very same result."""
    generator = torch.Generator().manual_seed(3)
    x, w = (torch.randint(-3, 4, shape, generator=generator).double() for shape in (case.x, case.w))
    left, right = case.unfold(x, w)
    exact = left @ right
    assert torch.equal(case.compute(x, w).reshape(exact.shape), exact)
    terms = int((left != 0).double().matmul((right != 0).double()).max())
    assert terms <= (case.terms or left.shape[-1])


def rounded(dtype):
    """A kernel that rounds its operands, as TF32 and bfloat16 units do."""
    def wrap(kernel):
        return lambda x, w: kernel(x.to(dtype).to(x.dtype), w.to(dtype).to(w.dtype))
    return wrap


def digits(x, count):
    fraction, exponent = torch.frexp(x)
    return torch.ldexp(torch.round(fraction * 2.0**count) * 2.0**-count, exponent)


def tf32(kernel):
    def cut(x):
        return digits(x, 11) if x.dtype is torch.float32 else x
    return lambda x, w: kernel(cut(x), cut(w))


def slices(kernel):
    """Emulated doubles of a fixed number of digits for each entry."""
    def cut(x):
        return digits(x, 40) if x.dtype is torch.float64 else x
    return lambda x, w: kernel(cut(x), cut(w))


def shared_scale(kernel):
    """Emulated doubles in fixed point: 55 bits below the greatest entry of an instance."""
    def cut(x):
        if x.dtype is not torch.float64:
            return x
        scale = torch.frexp(x.abs().amax()).exponent
        return torch.ldexp(torch.round(torch.ldexp(x, 55 - scale)), scale - 55)
    return lambda x, w: kernel(cut(x), w)


def flushed(kernel):
    def run(x, w):
        y = kernel(x, w)
        return torch.where(y.abs() < torch.finfo(y.dtype).tiny, 0.0, y)
    return run


FAULTS = {
    "bfloat16": (rounded(torch.bfloat16), "error", BOTH),
    "float32 for float64": (rounded(torch.float32), "error", {"float64"}),
    "TF32": (tf32, "error", {"float32"}),
    "slices of 40 bits": (slices, "error", {"float64"}),
    "fixed point of 55 bits": (shared_scale, "error", {"float64"}),
    "flushed": (flushed, "subnormals", BOTH),
    "no numbers": (lambda k: lambda x, w: k(x, w) * torch.nan, "error", BOTH),
}


@pytest.mark.parametrize(("kernel", "fault"), [(kernel, fault) for kernel in sorted(FIRST) for fault in FAULTS
                                               if (kernel, fault) not in WITHIN])
def test_a_planted_fault_is_noticed(one_thread, kernel, fault):
    wrap, kind, dtypes = FAULTS[fault]
    assert failures(check_cases([FIRST[kernel]], wrap={kernel: wrap}), kind) >= dtypes


@contextmanager
def flushing():
    if not torch.set_flush_denormal(True):
        pytest.skip("this machine cannot flush subnormals")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def test_flushing_is_noticed(one_thread):
    assert failures(check_cases(list(FIRST.values()), mode=flushing), "subnormals") == BOTH


def test_the_numeric_mode_switches_flushing_off(one_thread):
    torch.set_flush_denormal(True)
    try:
        assert all(report.ok for report in check_cases(list(FIRST.values())))
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_nnpack_breaks_the_bounds_and_the_numeric_mode_mends_them():
    """NNPACK runs float32 convolutions of 16 and more instances where oneDNN is off."""
    cases = [case for case in CASES if case.name == "conv2d 3x3 batch 16"]
    with torch.backends.mkldnn.flags(enabled=False):
        loose = check_cases(cases, mode=nullcontext)
        strict = check_cases(cases)
    if all(report.ok for report in loose):
        pytest.skip("this build of torch has no NNPACK")
    assert max(report.worst_ratio for report in loose) > 100
    assert all(report.ok for report in strict)


# ---- entries and functions ---------------------------------------------------------------------------------------------


ENTRY_FAULTS = {
    "divide": lambda a, b: a * (1 / b),
    "multiply": lambda a, b: torch.where((a * b).abs() < torch.finfo(a.dtype).tiny, 0.0, a * b),
    "nextafter": lambda a, b: a + (b - a).sign() * a.abs() * torch.finfo(a.dtype).eps,
    "maximum": torch.fmax,
    "less": torch.le,
}


@pytest.mark.parametrize("name", ENTRY_FAULTS)
def test_an_operation_on_entries_that_errs_in_the_last_bit_is_noticed(monkeypatch, name):
    monkeypatch.setitem(kernel_entries._TWO, name, (ENTRY_FAULTS[name], kernel_entries._TWO[name][1]))
    reports = check_entries()
    assert failures(reports, f"{name}: bits") == BOTH
    assert {report.name for report in reports if not report.ok} == {f"{name}: bits"}


def test_a_cast_that_does_not_round_to_nearest_is_noticed(monkeypatch):
    def cut(a):
        y = a.float()
        return torch.where(y.double() > a.double(), torch.nextafter(y, torch.full_like(y, -torch.inf)), y)

    monkeypatch.setitem(kernel_entries._ONE, "to float32", (cut, kernel_entries._ONE["to float32"][1]))
    assert failures(check_entries(), "to float32: bits") == {"float64"}


FUNCTION_FAULTS = {
    "exp": lambda x: torch.exp(x.float().clamp(-80, 80)).double(),
    "tanh": lambda x: torch.expm1(2 * x) / (torch.exp(2 * x) + 1),      # overflows
    "erf": lambda x: 1 - torch.exp(-x * x) / (1 + x.abs()),
    "sin": lambda x: torch.sin(x % 6.283185307179586),
    "log1p": lambda x: torch.log(1 + x),
    "sigmoid": lambda x: 0.5 + 0.5 * torch.tanh(x / 2),
}


@pytest.mark.parametrize("name", FUNCTION_FAULTS)
def test_a_function_beyond_its_stated_error_is_noticed(monkeypatch, name):
    real = kernel_functions.FUNCTIONS[name]
    monkeypatch.setattr(kernel_functions, "FUNCTIONS", {
        name: Function(FUNCTION_FAULTS[name], real.exact, real.ulps, real.low, real.high, real.absolute)})
    (report,) = check_functions()
    assert not report.ok
    assert report.worst_ratio > 1
