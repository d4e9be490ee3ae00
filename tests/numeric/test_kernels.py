"""The kernels keep the bounds that every proof uses, and the check notices where they do not."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch

from absint.numeric import kernels
from absint.numeric.kernels import CASES, check_kernels

KERNELS = sorted({case.kernel for case in CASES})


@pytest.fixture
def small(monkeypatch):
    """One small case a kernel, on one thread."""
    first = {case.kernel: case for case in reversed(CASES)}
    monkeypatch.setattr(kernels, "CASES", tuple(first.values()))
    monkeypatch.setattr(kernels, "_thread_counts", lambda device: (1,))


def failures(reports, kind):
    return {(report.name.split()[0], report.dtype) for report in reports if not report.ok and report.name.endswith(kind)}


def test_this_machine_keeps_the_bounds():
    threads = torch.get_num_threads()
    reports = check_kernels()
    assert not [report for report in reports if not report.ok]
    assert {report.dtype for report in reports} == {"float32", "float64"}
    assert 0 < max(report.worst_ratio for report in reports) <= 1
    assert torch.get_num_threads() == threads


def rounded(dtype):
    """A kernel that rounds its operands, as TF32 and bfloat16 units do."""
    def wrap(kernel):
        return lambda x, w: kernel(x.to(dtype).to(x.dtype), w.to(dtype).to(w.dtype))
    return wrap


def tf32(kernel):
    def cut(x):
        return (x.view(torch.int32) & ~0x1FFF).view(torch.float32) if x.dtype is torch.float32 else x
    return lambda x, w: kernel(cut(x.contiguous()), cut(w.contiguous()))


def flushed(kernel):
    def run(x, w):
        y = kernel(x, w)
        return torch.where(y.abs() < torch.finfo(y.dtype).tiny, 0.0, y)
    return run


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("fault", "kind", "dtypes"), [
    (rounded(torch.bfloat16), "error", {"float32", "float64"}),
    (rounded(torch.float32), "error", {"float64"}),
    (tf32, "error", {"float32"}),
    (flushed, "subnormals", {"float32", "float64"}),
    (lambda k: lambda x, w: k(x, w) * torch.nan, "error", {"float32", "float64"}),
])
def test_a_planted_fault_is_noticed(small, kernel, fault, kind, dtypes):
    reports = check_kernels(wrap={kernel: fault})
    names = {case.name.split()[0] for case in kernels.CASES if case.kernel == kernel}
    assert {dtype for name, dtype in failures(reports, kind) if name in names} >= dtypes


@contextmanager
def flushing():
    if not torch.set_flush_denormal(True):
        pytest.skip("this machine cannot flush subnormals")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def test_flushing_is_noticed(small):
    assert failures(check_kernels(mode=flushing), "subnormals")


def test_the_numeric_mode_switches_flushing_off(small):
    torch.set_flush_denormal(True)
    try:
        assert all(report.ok for report in check_kernels())
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_nnpack_breaks_the_bounds_and_the_numeric_mode_mends_them(monkeypatch):
    """NNPACK runs float32 convolutions of 16 and more instances where oneDNN is off."""
    monkeypatch.setattr(kernels, "CASES", tuple(case for case in CASES if case.name == "conv2d 3x3 batch 16"))
    with torch.backends.mkldnn.flags(enabled=False):
        loose = check_kernels(mode=nullcontext)
        strict = check_kernels()
    if all(report.ok for report in loose):
        pytest.skip("this build of torch has no NNPACK")
    assert max(report.worst_ratio for report in loose) > 100
    assert all(report.ok for report in strict)
