"""The numeric mode switches off what rounds products more coarsely, puts it back as it was, and refuses what it cannot switch off."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest
import torch

from absint import samples
from absint.errors import ResourceError
from absint.numeric import backend, flags
from absint.numeric.backend import numeric_mode

NET = str(samples.network_path("mnist_relu_3x50"))
WORDS = ("", "cudnn", "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
MATMUL = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction", "allow_fp16_accumulation")


def owner(name):
    found = torch.backends
    for part in filter(None, name.split(".")):
        found = getattr(found, part)
    return found


def precisions():
    return {name: str(owner(name).fp32_precision) for name in WORDS}


@pytest.fixture(autouse=True)
def _flags_put_back():
    legacy, words = torch.get_float32_matmul_precision(), precisions()
    reductions = {name: getattr(torch.backends.cuda.matmul, name) for name in MATMUL}
    yield
    for name in WORDS:                              # whatever the test left: nothing of one's own, then what there was
        owner(name).fp32_precision = "none"
    with suppress(RuntimeError):
        torch.set_float32_matmul_precision(legacy)
    for name, word in words.items():
        owner(name).fp32_precision = word
    for name, value in reductions.items():
        setattr(torch.backends.cuda.matmul, name, value)


@pytest.mark.parametrize(("name", "word"), [("", "tf32"), ("cudnn", "tf32"), ("cuda.matmul", "tf32"), ("cudnn.conv", "tf32"),
                                            ("mkldnn.matmul", "bf16"), ("mkldnn.conv", "tf32"), ("mkldnn.rnn", "bf16")])
def test_every_precision_is_switched_off_and_put_back(name, word):
    owner(name).fp32_precision = word
    before = precisions()
    assert word in before.values()
    with numeric_mode():
        assert set(precisions().values()) == {"ieee"}
    assert precisions() == before


@pytest.mark.parametrize("parent", ["", "cudnn"])
def test_who_took_a_parents_word_goes_on_taking_it(parent):
    for name in WORDS:
        owner(name).fp32_precision = "none"
    owner(parent).fp32_precision = "tf32"
    assert owner("cudnn.conv").fp32_precision == "tf32"
    with numeric_mode():
        pass
    owner(parent).fp32_precision = "ieee"
    assert owner("cudnn.conv").fp32_precision == "ieee"
    assert owner("cuda.matmul").fp32_precision == "ieee"


@pytest.mark.filterwarnings("ignore:Please use the new API")
def test_the_older_switch_is_off_inside_and_as_before_outside():
    torch.set_float32_matmul_precision("high")
    with numeric_mode():
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "high"
    assert owner("cuda.matmul").fp32_precision == "tf32"


@pytest.mark.parametrize("name", MATMUL)
def test_half_precision_sums_are_off_inside(name):
    setattr(torch.backends.cuda.matmul, name, True)
    with numeric_mode():
        assert getattr(torch.backends.cuda.matmul, name) is False
    assert getattr(torch.backends.cuda.matmul, name) is True


def test_cudnn_and_nnpack_are_off_inside():
    before = torch.backends.cudnn.enabled, torch.backends.nnpack.set_flags(True)
    try:
        torch.backends.cudnn.enabled = True
        with numeric_mode():
            assert not torch.backends.cudnn.enabled
            assert torch._C._get_nnpack_enabled() is False
        assert torch.backends.cudnn.enabled
        assert torch._C._get_nnpack_enabled() is True
    finally:
        torch.backends.cudnn.enabled = before[0]
        torch.backends.nnpack.set_flags(*before[1])


def test_another_library_of_products_is_left_inside(monkeypatch):
    """A build for the CPU refuses to choose one: the choice is simulated."""
    kinds, chosen = torch._C._BlasBackend, ["Cublaslt"]

    def choose(library=None):
        if library is not None:
            chosen.append(library.name)
        return getattr(kinds, chosen[-1])

    monkeypatch.setattr(torch.backends.cuda, "preferred_blas_library", choose)
    with numeric_mode():
        assert chosen[-1] == "Cublas"
    assert chosen == ["Cublaslt", "Cublas", "Cublaslt"]


def test_a_flag_that_torch_does_not_keep_is_refused_and_the_others_are_put_back(monkeypatch):
    before = precisions()
    monkeypatch.setattr(backend, "unheeded", lambda: {"cuda.matmul": "tf32"})
    with pytest.raises(ResourceError) as caught, numeric_mode():
        pass
    assert (caught.value.code, caught.value.details) == ("E-PRECISION", ("cuda.matmul: tf32",))
    monkeypatch.undo()
    assert precisions() == before
    with numeric_mode():
        assert set(precisions().values()) == {"ieee"}


def test_what_torch_did_not_keep_is_seen():
    with numeric_mode():
        assert flags.unheeded() == {}
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    assert flags.unheeded()["mkldnn.conv"] == "bf16"


# ---- the environment ---------------------------------------------------------------------------------------------------


CUDA = ("CUBLAS_EMULATE_DOUBLE_PRECISION", "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATION_STRATEGY",
        "CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT", "NVIDIA_TF32_OVERRIDE")


@pytest.mark.parametrize("name", CUDA)
def test_emulation_and_tf32_by_the_environment_are_seen_on_cuda_alone(monkeypatch, name):
    monkeypatch.setenv(name, "1" if "STRATEGY" not in name else "performant")
    assert [one.partition("=")[0] for one in flags.coarse_environment("cuda")] == [name]
    assert flags.coarse_environment("cpu") == []
    with numeric_mode():    # what CUDA's libraries read is no matter to a run on the CPU
        pass


@pytest.mark.parametrize("name", [name for name in CUDA if name.endswith(("PRECISION", "OVERRIDE"))])
def test_a_variable_that_switches_them_off_is_welcome(monkeypatch, name):
    monkeypatch.setenv(name, "0")
    assert flags.coarse_environment("cuda") == []
    monkeypatch.setenv(name, "")
    assert flags.coarse_environment("cuda") == []


@pytest.mark.parametrize("name", ["ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"])
def test_a_coarser_default_of_the_cpus_library_is_refused(monkeypatch, name):
    monkeypatch.setenv(name, "BF16")
    with pytest.raises(ResourceError) as caught, numeric_mode():
        pass
    assert (caught.value.code, caught.value.details) == ("E-ENVIRONMENT", (f"{name}=BF16",))
    assert f"unset {name}" in caught.value.hint
    monkeypatch.setenv(name, "strict")
    with numeric_mode():
        pass


def test_the_refusal_reaches_the_user_of_the_command_line():
    """In a process of its own: the library reads the variable when it is loaded."""
    done = subprocess.run([sys.executable, "-m", "absint", "verify", NET, "--index", "0"], capture_output=True, text=True, check=False,
                          env={**os.environ, "DNNL_DEFAULT_FPMATH_MODE": "BF16"})
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("error[E-ENVIRONMENT]")
    assert "verified" not in done.stdout


def test_flags_set_before_a_setter_fails_are_put_back(monkeypatch):
    before = {name: flags._owner(name).fp32_precision for name in flags._PARENT}, torch.backends.cudnn.enabled

    def broken():
        raise KeyError

    monkeypatch.setattr(flags, "_library", broken)
    with pytest.raises(KeyError):
        flags.strict_flags()
    assert ({name: flags._owner(name).fp32_precision for name in flags._PARENT}, torch.backends.cudnn.enabled) == before
