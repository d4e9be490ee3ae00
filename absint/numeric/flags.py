"""What the process sets that changes how products round: torch's global flags, and the environment of the libraries below.

Only this module sets torch's flags. Whoever holds them on sees plain dot products in the operands' own format; what cannot be
switched off, because a library reads it when it is loaded, is named by `coarse_environment`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

# Read once by the libraries, and the values that leave products alone. Fixed-point emulation shares one scale along a row or column
# (cuBLAS, "Floating point emulation"): normwise exact, and an entry beside a great one loses its digits. The strategy
# may come without the switch: how the library's default reads it then differs between versions.
_CUDA_ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "CUBLAS_EMULATE_DOUBLE_PRECISION": ("0",),
    "CUBLAS_EMULATE_SINGLE_PRECISION": ("0",),
    "CUBLAS_EMULATION_STRATEGY": (),
    "CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT": (),
    "NVIDIA_TF32_OVERRIDE": ("0",),
}
# oneDNN's default for products that state no mode of their own: BF16, TF32, F16 and ANY round float32 operands.
_CPU_ENVIRONMENT: dict[str, tuple[str, ...]] = {"ONEDNN_DEFAULT_FPMATH_MODE": ("STRICT",), "DNNL_DEFAULT_FPMATH_MODE": ("STRICT",)}
_ENVIRONMENT = {"cpu": _CPU_ENVIRONMENT, "cuda": {**_CPU_ENVIRONMENT, **_CUDA_ENVIRONMENT}}

# Each precision and whose word it takes where it has none of its own; parents come first. "cudnn" stands for all of CUDA.
_PARENT = {"": None, "cudnn": "", "cuda.matmul": "cudnn", "cudnn.conv": "cudnn", "cudnn.rnn": "cudnn",
           "mkldnn.matmul": "", "mkldnn.conv": "", "mkldnn.rnn": ""}
_STRICT, _INHERITED = "ieee", "none"
_REDUCTIONS = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")


def coarse_environment(device: str) -> list[str]:
    """'NAME=value' of each variable that makes the device's libraries round products more coarsely. device: cpu, cuda, ..."""
    known = _ENVIRONMENT.get(device, _CPU_ENVIRONMENT)
    return [f"{name}={os.environ[name]}" for name, harmless in known.items()
            if os.environ.get(name, "").strip().upper() not in ("", *harmless)]


@dataclass(frozen=True)
class Flags:
    """What the flags were. restore: one call for each, in the order in which they were set."""

    restore: tuple[Callable[[], object], ...]

    def put_back(self) -> None:
        """All of them as they were."""
        for one in self.restore:
            one()


def strict_flags() -> Flags:
    """Switch off whatever rounds products more coarsely than their format; returns what was.

    TF32 and bfloat16 products on CPU and CUDA (torch's newer `fp32_precision` and its older switches), half-precision
    accumulation and reductions, cuDNN's choice among algorithms, NNPACK's Winograd and FFT convolutions, and any library of
    matrix products but cuBLAS.
    """
    done: list[Callable[[], object]] = []
    try:
        for back in _set_all():
            done.append(back)
    except BaseException:
        Flags(tuple(done)).put_back()
        raise
    return Flags(tuple(done))


def _set_all() -> Iterator[Callable[[], object]]:
    yield from _precisions()
    cudnn = torch.backends.cudnn
    yield _attribute(cudnn, "enabled", False)
    nnpack = torch.backends.nnpack.set_flags(False)
    yield lambda: torch.backends.nnpack.set_flags(*nnpack)
    matmul = torch.backends.cuda.matmul
    for name in _REDUCTIONS:
        yield _reduction(matmul, name)
    if getattr(matmul, "allow_fp16_accumulation", False):
        yield _attribute(matmul, "allow_fp16_accumulation", False)
    yield _library()


def _precisions() -> Iterator[Callable[[], object]]:
    """The older switch, then the newer ones. Who had the parent's word gets none of its own back."""
    legacy = _legacy()
    before = {name: str(_owner(name).fp32_precision) for name in _PARENT}
    if legacy not in (None, "highest"):
        torch.set_float32_matmul_precision("highest")
        yield lambda: torch.set_float32_matmul_precision(str(legacy))
    for name, parent in _PARENT.items():
        owner, word = _owner(name), before[name]
        if parent is not None and word == before[parent] != _STRICT == str(owner.fp32_precision):
            word = _INHERITED
        yield _attribute(owner, "fp32_precision", _STRICT, word)


def _legacy() -> str | None:
    """torch's older word for products in float32; None where the user's flags contradict each other and torch refuses to say."""
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:
        return None


def _owner(name: str) -> Any:
    owner: Any = torch.backends
    for part in filter(None, name.split(".")):
        owner = getattr(owner, part)
    return owner


def _attribute(owner: Any, name: str, value: object, before: object = None) -> Callable[[], object]:
    before = getattr(owner, name) if before is None else before
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)


def _reduction(matmul: Any, name: str) -> Callable[[], object]:
    """Whether sums of halves may be rounded on the way; newer versions keep a second switch beside it."""
    allowed = bool(getattr(matmul, name))
    split: bool | None = getattr(matmul, f"{name}_split_k", None)
    setattr(matmul, name, False)
    return lambda: setattr(matmul, name, allowed if split is None else (allowed, split))


def _library() -> Callable[[], object]:
    before = torch.backends.cuda.preferred_blas_library()
    wanted = torch._C._BlasBackend.Cublas
    if before == wanted:
        return lambda: None
    torch.backends.cuda.preferred_blas_library(wanted)
    return lambda: torch.backends.cuda.preferred_blas_library(before)


def unheeded() -> Mapping[str, str]:
    """Flags that a setter took and did not keep: what is not plain although it was set. Empty where all is well."""
    found = {name or "all": str(_owner(name).fp32_precision) for name in _PARENT}
    return {name: word for name, word in found.items() if word != _STRICT}
