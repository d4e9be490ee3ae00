"""Devices, memory budget and numeric modes. The only module that sets torch's global flags.

The rounding bounds hold for plain dot products in any order. They do not hold for Winograd or FFT convolutions, for
TF32 or bfloat16 products, nor where subnormal numbers are flushed to zero; `numeric_mode` switches all of these off.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch

from absint.errors import ResourceError, UsageError

GIB = 1 << 30
# torch reports running out of memory on the CPU as a plain RuntimeError, in words that differ between systems.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


class DeadlineError(Exception):
    """The time limit passed inside an analysis. Caught by analyses, which answer UNKNOWN(timeout)."""


@dataclass(frozen=True)
class Budget:
    """What an analysis may use. memory: bytes.  deadline: a `time.monotonic()` instant."""

    memory: int = 4 * GIB
    deadline: float = inf

    def check(self) -> None:
        """Raise DeadlineError once the deadline has passed. The engine calls this between nodes and chunks."""
        if time.monotonic() > self.deadline:
            raise DeadlineError

    def rows(self, bytes_per_row: int) -> int:
        """How many rows of that size fit into a quarter of the budget, at least one."""
        return max(1, self.memory // 4 // max(1, bytes_per_row))


def device(name: str) -> torch.device:
    """The torch device called `name`. Raises ResourceError E-DEVICE where this machine has no such device."""
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise UsageError("E-DEVICE", f"there is no device '{name}'", hint="cpu, cuda or cuda:0") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError("E-DEVICE", f"device '{name}' asked for, but torch finds no CUDA device",
                            hint="use --device cpu, or install a CUDA build of torch (absint doctor tells)")
    try:
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ResourceError("E-DEVICE", f"device '{name}' does not answer: {str(error).splitlines()[0]}",
                            hint="use --device cpu") from error
    return chosen


_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": GIB, "T": 1 << 40}


def parse_memory(text: str) -> int:
    """'8GiB', '8G', '500M' or bytes, to bytes. Raises UsageError E-MEMORY."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMGT]?)(?:I?B)?\s*", text.upper())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1 << 20:
        raise UsageError("E-MEMORY", f"not a memory size: '{text}'", where="--memory", hint="for example 8GiB or 500M")
    return size


def default_memory() -> int:
    """Half of the machine's physical memory, at most 16 GiB."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        total = 8 * GIB
    return min(total // 2, 16 * GIB)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out (torch reports the CPU case as a plain RuntimeError)."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)


@contextmanager
def numeric_mode() -> Iterator[None]:
    """Everything that would break the dot-product error bound switched off, and restored on leaving.

    Covers: flushing of subnormals, NNPACK's Winograd and FFT convolutions, TF32/bfloat16 products on CPU and CUDA,
    cuDNN's choice of algorithm, autocast.
    """
    backends = torch.backends
    before = (
        torch.get_float32_matmul_precision(), backends.cuda.matmul.allow_tf32, backends.cudnn.enabled, backends.cudnn.allow_tf32,
    )
    nnpack = backends.nnpack.set_flags(False)
    torch.set_flush_denormal(False)
    torch.set_float32_matmul_precision("highest")
    backends.cuda.matmul.allow_tf32 = False
    backends.cudnn.allow_tf32 = False
    backends.cudnn.enabled = False
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        backends.nnpack.set_flags(*nnpack)
        torch.set_float32_matmul_precision(before[0])
        backends.cuda.matmul.allow_tf32, backends.cudnn.enabled, backends.cudnn.allow_tf32 = before[1:]
