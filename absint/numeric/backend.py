"""Devices, memory budget and numeric modes. The only module that sets torch's global flags.

The rounding bounds hold for plain dot products in any order. They do not hold for Winograd or FFT convolutions, for
TF32 or bfloat16 products, nor where subnormal numbers are flushed to zero; `numeric_mode` switches all of these off.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, TypeVar

import torch

from absint.errors import ResourceError, UsageError

T = TypeVar("T")
# Products a second that any machine reaches, and seconds that one step may take by that guess. Most steps are ten times faster.
_RATE = {"cpu": 2e9, "cuda": 1e12}
_STEP = 2.0
GIB = 1 << 30
# torch reports running out of memory on the CPU as a plain RuntimeError, in words that differ between systems.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


class DeadlineError(Exception):
    """The time limit passed inside an analysis. Caught by analyses, which answer UNKNOWN(timeout)."""


@dataclass(frozen=True)
class Budget:
    """What an analysis may use. memory: bytes.  deadline: a `time.monotonic()` instant.  rate: products a second, a low guess."""

    memory: int = 4 * GIB
    deadline: float = inf
    rate: float = _RATE["cpu"]

    def check(self) -> None:
        """Raise DeadlineError once the deadline has passed. The engine calls this between nodes and chunks."""
        if self.late:
            raise DeadlineError

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.deadline

    def pieces(self, products: float) -> int:
        """How many pieces of work of so many products fit between two looks at the clock, at least one.

        A property of the device alone, never of the time that is left: what is cut by it does not depend on the clock.
        """
        return max(1, int(_STEP * self.rate / max(1.0, products)))

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


def rate(device: torch.device) -> float:
    """Products a second that a device surely reaches."""
    return _RATE.get(device.type, _RATE["cpu"])


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


class _Shared:
    """Who is inside the numeric mode, and the flags to restore when the last one leaves."""

    lock = threading.Lock()
    depth = 0
    before: ClassVar[dict[str, Any]] = {}


_PRECISION = ("", "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
_PROBE = 1 << 17  # entries enough for every thread of the pool


@contextmanager
def numeric_mode() -> Iterator[None]:
    """Everything that would break the dot-product error bound switched off, and restored when the last user leaves.

    Covers: flushing of subnormals, NNPACK's Winograd and FFT convolutions, TF32/bfloat16 products on CPU and CUDA,
    cuDNN's choice of algorithm, autocast. The flags are the process's: threads share one mode. Raises ResourceError
    E-FLUSH where worker threads flush subnormals, which cannot be switched off from here.
    """
    with _Shared.lock:
        torch.set_flush_denormal(False)
        if _Shared.depth == 0:
            _check_flushing()
            _Shared.before.update(_set_flags())
        _Shared.depth += 1
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        with _Shared.lock:
            _Shared.depth -= 1
            if _Shared.depth == 0:
                _restore_flags(_Shared.before)


def in_numeric_mode(steps: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same iterator, every step of it in the numeric mode; who consumes it is outside of the mode. Closed with it."""
    try:
        while True:
            with numeric_mode():
                try:
                    found = next(steps)
                except StopIteration:
                    return
            yield found
    finally:
        steps.close()


def _precision_owner(name: str) -> Any:
    owner: Any = torch.backends
    for part in filter(None, name.split(".")):
        owner = getattr(owner, part)
    return owner


def _set_flags() -> dict[str, Any]:
    before = {name: _precision_owner(name).fp32_precision for name in _PRECISION}
    before["cudnn"], torch.backends.cudnn.enabled = torch.backends.cudnn.enabled, False
    before["nnpack"] = torch.backends.nnpack.set_flags(False)
    for name in _PRECISION:
        _precision_owner(name).fp32_precision = "ieee"
    return before


def _restore_flags(before: dict[str, Any]) -> None:
    torch.backends.nnpack.set_flags(*before["nnpack"])
    torch.backends.cudnn.enabled = before["cudnn"]
    for name in _PRECISION:
        _precision_owner(name).fp32_precision = before[name]


def _check_flushing() -> None:
    """Subnormals sprinkled over a product that is long enough to reach every thread of the pool."""
    probe = torch.ones(max(_PROBE, 40_000 * torch.get_num_threads()), dtype=torch.float64)
    probe[::1024] = 1e-310
    if not bool((probe * 0.5).all()):
        raise ResourceError("E-FLUSH", "some worker threads of torch flush subnormal numbers to zero",
                            hint="do not call torch.set_flush_denormal(True) in this process")
