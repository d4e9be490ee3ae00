"""Devices that are not there, do not answer or fail, and how much memory they leave: coded errors. Cards are simulated."""

from __future__ import annotations

import pytest
import torch

from absint.errors import ResourceError, UsageError
from absint.numeric import backend, probe
from absint.numeric.backend import GIB, default_memory, is_device_lost, is_out_of_memory

NO_WORKSPACE = (
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "CUDA error: CUSPARSE_STATUS_ALLOC_FAILED when calling `cusparseCreate(handle)`",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
    "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
)
LOST = (
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: unspecified launch failure",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
    "CUDA error: uncorrectable ECC error encountered",
)


@pytest.mark.parametrize("text", NO_WORKSPACE)
def test_memory_that_a_library_does_not_get_is_memory_that_ran_out(text):
    error = RuntimeError(text)
    assert is_out_of_memory(error)
    assert not is_device_lost(error)


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError] if hasattr(torch, "AcceleratorError") else [RuntimeError])
@pytest.mark.parametrize("text", LOST)
def test_a_card_that_fails_is_no_lack_of_memory(text, kind):
    error = kind(text)
    assert is_device_lost(error)
    assert not is_out_of_memory(error)
    wrapped = ResourceError("E-DOMAIN-RAISED", "the domain raised")
    wrapped.__cause__ = error
    assert is_device_lost(wrapped)


@pytest.mark.parametrize("error", [ValueError("CUDA error"), RuntimeError("an allocation failed to be named ALLOC"), KeyError("x")])
def test_other_errors_are_neither(error):
    assert not is_out_of_memory(error)
    assert not is_device_lost(error)


# ---- which device ------------------------------------------------------------------------------------------------------


class Card:
    """A machine with cards, as far as it is asked before the first kernel. reserved, allocated: what torch holds of it."""

    def __init__(self, monkeypatch, count=1, free=40 * GIB, reserved=0, allocated=0):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free, 80 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: reserved)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=None: allocated)
        monkeypatch.setattr(torch, "zeros", lambda *args, **kwargs: None)
        monkeypatch.setattr(backend._Shared, "probed", set())
        self.asked = []
        self.found = []
        monkeypatch.setattr(probe, "faults", self.faults)

    def faults(self, device):
        self.asked.append(str(device))
        return self.found if device.type == "cuda" else []


def refused(name, kind=ResourceError):
    with pytest.raises(kind) as caught:
        backend.device(name)
    return caught.value


def test_a_card_is_asked_once_and_has_its_number(monkeypatch):
    card = Card(monkeypatch, count=2)
    assert str(backend.device("cuda")) == "cuda:0"
    assert str(backend.device("cuda:1")) == "cuda:1"
    assert str(backend.device("cuda")) == "cuda:0"
    assert [name for name in card.asked if name != "cpu"] == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize("fault", ["products of matrices in float64"])
def test_a_card_that_computes_otherwise_is_refused_every_time(monkeypatch, fault):
    card = Card(monkeypatch)
    card.found = [fault]
    for _ in range(2):
        error = refused("cuda")
        assert error.code == "E-KERNELS"
        assert fault in error.what
        assert "--device cpu" in error.hint


def test_a_card_beyond_the_last(monkeypatch):
    Card(monkeypatch, count=1)
    error = refused("cuda:7")
    assert (error.code, error.exit_code) == ("E-DEVICE", 5)
    assert "cuda:0 only" in error.what
    Card(monkeypatch, count=4)
    assert "cuda:0 to cuda:3" in refused("cuda:4").what


def test_no_card_and_a_build_without_cuda(monkeypatch):
    Card(monkeypatch, count=0)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    error = refused("cuda")
    assert error.code == "E-DEVICE"
    assert "for CPUs only" in error.what


def test_a_driver_that_is_too_old_is_named(monkeypatch):
    """torch warns where it is asked whether there is a card, and raises where CUDA is set up."""
    Card(monkeypatch, count=0)
    text = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"

    def available():
        import warnings
        warnings.warn(f"CUDA initialization: {text}", stacklevel=2)
        return False

    def init():
        raise RuntimeError(text + "\nby a download")

    monkeypatch.setattr(torch.cuda, "is_available", available)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", init)
    error = refused("cuda")
    assert error.code == "E-DEVICE"
    assert "found version 11040" in error.what
    assert "\n" not in error.what


def test_a_build_without_kernels_for_this_card(monkeypatch):
    Card(monkeypatch)

    def zeros(*args, **kwargs):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be ...")

    monkeypatch.setattr(torch, "zeros", zeros)
    error = refused("cuda:0")
    assert error.code == "E-DEVICE"
    assert "no kernel image is available" in error.what


def test_a_card_that_others_have_filled(monkeypatch):
    Card(monkeypatch)

    def zeros(*args, **kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr(torch, "zeros", zeros)
    error = refused("cuda:0")
    assert error.code == "E-DEVICE"
    assert "no memory left" in error.what
    assert "nvidia-smi" in error.hint


def test_a_card_that_fails_in_the_probe(monkeypatch):
    card = Card(monkeypatch)

    def faults(device):
        if device.type == "cuda":
            raise RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`")
        return []

    monkeypatch.setattr(probe, "faults", faults)
    error = refused("cuda:0")
    assert error.code == "E-DEVICE"
    assert "CUBLAS_STATUS_EXECUTION_FAILED" in error.what
    monkeypatch.setattr(probe, "faults", card.faults)
    assert str(backend.device("cuda:0")) == "cuda:0"


def test_the_environment_is_read_before_a_card_computes(monkeypatch):
    card = Card(monkeypatch)
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    monkeypatch.setenv("CUBLAS_EMULATION_STRATEGY", "eager")
    error = refused("cuda")
    assert error.code == "E-ENVIRONMENT"
    assert error.details == ("CUBLAS_EMULATE_DOUBLE_PRECISION=1", "CUBLAS_EMULATION_STRATEGY=eager")
    assert error.hint == "unset CUBLAS_EMULATE_DOUBLE_PRECISION CUBLAS_EMULATION_STRATEGY"
    assert "cuda:0" not in card.asked


def test_no_such_word():
    assert refused("abacus", UsageError).code == "E-DEVICE"


# ---- its memory --------------------------------------------------------------------------------------------------------


def test_the_cards_memory_is_what_it_has_left_and_what_torch_holds_unused(monkeypatch):
    Card(monkeypatch, free=40 * GIB)
    assert default_memory(torch.device("cuda", 0)) == 20 * GIB
    Card(monkeypatch, free=10 * GIB, reserved=30 * GIB, allocated=8 * GIB)
    assert default_memory(torch.device("cuda", 0)) == 16 * GIB


def test_the_hosts_memory_is_as_ever(monkeypatch):
    Card(monkeypatch, free=1)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**21}.__getitem__)
    assert default_memory() == default_memory(torch.device("cpu")) == 4 * GIB
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**28}.__getitem__)
    assert default_memory() == 16 * GIB
