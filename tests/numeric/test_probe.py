"""The probe of a device passes here, changes nothing, and sees each planted way of computing otherwise."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from absint.engine.context import Context
from absint.errors import ResourceError
from absint.numeric import backend, probe
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics

CPU = torch.device("cpu")
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm")
CONVOLUTIONS = ("convolution", "mkldnn_convolution", "_slow_conv2d_forward", "thnn_conv2d")


class Planted(TorchDispatchMode):
    """Operations of these names see floating-point operands changed, or have their floating-point results changed."""

    def __init__(self, names, operands=None, results=None):
        super().__init__()
        self.names, self.operands, self.results, self.hits = names, operands, results, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in self.names:
            return func(*args, **(kwargs or {}))
        self.hits += 1
        if self.operands is not None:
            args = tree_map(lambda x: self.operands(x) if floating(x) else x, args)
        found = func(*args, **(kwargs or {}))
        return found if self.results is None else tree_map(lambda x: self.results(x) if floating(x) else x, found)


def floating(x):
    return isinstance(x, torch.Tensor) and x.is_floating_point()


def bits(kept32, kept64):
    """Operands cut to so many bits in each format; None: left alone."""
    def cut(x):
        kept = kept32 if x.dtype is torch.float32 else kept64
        if kept is None:
            return x
        fraction, exponent = torch.frexp(x.double())
        return torch.ldexp(torch.round(fraction * 2.0**kept) * 2.0**-kept, exponent).to(x.dtype)
    return cut


def shared_scale(x):
    """Fixed-point emulation of 55 bits: one power of two for a row; smaller entries lose their last digits."""
    if x.dtype is not torch.float64:
        return x
    scale = torch.frexp(x.abs().amax(-1, keepdim=True)).exponent
    return torch.ldexp(torch.round(torch.ldexp(x, 55 - scale)), scale - 55)


def mixed(x):
    """As transforms over a whole image do: every result carries some rounding of the greatest."""
    return x + (x.abs().amax() * torch.finfo(x.dtype).eps) if x.dim() == 4 else x


def flushed(x):
    return torch.where(x.abs() < torch.finfo(x.dtype).tiny, 0.0, x)


def towards_zero(x):
    return torch.nextafter(x, torch.zeros_like(x))


def two_tiny(x):
    return x + 2 * torch.finfo(x.dtype).tiny


FAULTS = {
    "TF32 products": (Planted(PRODUCTS, bits(11, None)), "products of matrices in float32"),
    "bfloat16 products": (Planted(PRODUCTS, bits(8, 8)), "products of matrices in float32"),
    "products of doubles in slices of 40 bits": (Planted(PRODUCTS, bits(None, 40)), "products of matrices in float64"),
    "products of doubles with a shared scale": (Planted(PRODUCTS, shared_scale), "products of matrices in float64"),
    "TF32 convolutions": (Planted(CONVOLUTIONS, bits(11, None)), "convolutions in float32"),
    "Winograd or FFT": (Planted(CONVOLUTIONS, results=mixed), "convolutions in float32"),
    "subnormals flushed by products": (Planted(PRODUCTS, results=flushed), "subnormal numbers in float64"),
    "subnormals flushed by operations on entries": (Planted(("mul", "add"), results=flushed), "subnormal numbers in float32"),
    "quotients rounded towards zero": (Planted(("div",), results=towards_zero), "rounding to nearest in float64"),
    "a neighbour that is none": (Planted(("nextafter",), results=two_tiny), "rounding to nearest in float32"),
}


def test_this_machine_passes():
    with numeric_mode():
        assert probe.faults(CPU) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault):
    planted, named = FAULTS[fault]
    with numeric_mode(), planted:
        found = probe.faults(CPU)
    assert planted.hits
    assert named in found


def test_it_draws_no_random_number_and_heeds_no_default():
    state = torch.get_rng_state()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        with numeric_mode():
            assert probe.faults(CPU) == []
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(state, torch.get_rng_state())


# ---- when it is asked --------------------------------------------------------------------------------------------------


@pytest.fixture
def unprobed(monkeypatch):
    """As in a process that has computed nothing yet; counts the probes."""
    asked = []
    real = probe.faults

    def counted(device):
        asked.append(str(device))
        return real(device)

    monkeypatch.setattr(backend._Shared, "probed", set())
    monkeypatch.setattr(probe, "faults", counted)
    return asked


def test_once_a_process_before_the_first_bound(unprobed):
    for _ in range(3):
        with numeric_mode():
            assert unprobed == ["cpu"]
    backend.device("cpu")
    assert unprobed == ["cpu"]


def test_a_failing_cpu_is_refused_and_the_flags_are_put_back(unprobed, monkeypatch):
    monkeypatch.setattr(probe, "faults", lambda device: ["convolutions in float32"])
    before = torch.backends.cudnn.enabled
    for _ in range(2):      # never taken for sound because it was asked before
        with pytest.raises(ResourceError) as caught, numeric_mode():
            pass
        assert caught.value.code == "E-KERNELS"
        assert "convolutions in float32" in caught.value.what
    assert torch.backends.cudnn.enabled == before
    assert backend._Shared.depth == 0


def test_no_context_on_a_device_that_was_not_asked(unprobed, monkeypatch):
    """Whoever hands a device straight to the engine passes the same gate."""
    with pytest.raises(ResourceError) as caught:
        Context(None, None, Numerics(device=torch.device("cuda", 3)))
    assert caught.value.code == "E-DEVICE"
    Context(None, None, Numerics())
    assert unprobed[-1] == "cpu"


def test_the_probe_runs_in_the_mode_itself(unprobed):
    """Autocast and coarser precisions of the user's are off when it is asked."""
    torch.backends.mkldnn.matmul.fp32_precision, before = "bf16", torch.backends.mkldnn.matmul.fp32_precision
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), numeric_mode():
            assert unprobed == ["cpu"]
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
