"""`absint doctor --kernels`: how much is tested, and what is said of a device that fails."""

from __future__ import annotations

import pytest
import torch

from absint.numeric import backend, kernels, probe
from absint.numeric.kernels import KernelReport


@pytest.fixture
def asked(monkeypatch):
    seen = []

    def check(device, *, full):
        seen.append((device, full))
        return [KernelReport("addmm 30x200x20, bias, 1 thread: error", "float64", device == "cpu", 3.0)]

    monkeypatch.setattr(kernels, "check_kernels", check)
    return seen


@pytest.mark.parametrize(("words", "full"), [((), False), (("--kernels", "quick"), False), (("--kernels", "full"), True)])
def test_long_cases_are_tested_where_they_are_asked_for(cli, asked, words, full):
    assert cli("doctor", *words).code == 0
    assert asked == [("cpu", full)]


def test_another_word_is_refused(cli, asked):
    cli("doctor", "--kernels", "some").fails(2, "E-USAGE]")
    assert not asked


def test_a_card_that_fails_its_probe_has_its_kernels_told(cli, asked, monkeypatch):
    for name, answer in {"is_available": True, "device_count": 1, "current_device": 0, "mem_get_info": (3 << 30, 80 << 30)}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: type("Card", (), {"name": "a card", "total_memory": 80 << 30}))
    monkeypatch.setattr(torch, "zeros", lambda *args, **kwargs: None)
    monkeypatch.setattr(backend._Shared, "probed", {torch.device("cpu")})
    monkeypatch.setattr(probe, "faults", lambda device: ["products of matrices in float64"])
    done = cli("doctor", "--device", "cuda")
    assert done.code == 5
    assert "device cuda:0: a card, 80 GiB, 3.0 free now" in done.out
    assert "FAIL  device cuda: device 'cuda:0' does not compute as the proofs assume: products of matrices in float64" in done.out
    assert "FAIL  kernel addmm 30x200x20, bias, 1 thread: error: float64, 3 times the bound" in done.out


def test_variables_that_make_products_coarser_are_named(cli, asked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    done = cli("doctor", "--device", "cuda")
    assert done.code == 5
    assert "NVIDIA_TF32_OVERRIDE=1" in done.out
    assert not asked
