"""Devices, their memory, what an analysis may use of it, and the numeric mode in which all bounds are computed.

The rounding bounds hold for plain dot products in any order. They do not hold for Winograd or FFT convolutions, for
TF32, bfloat16 or emulated products, nor where subnormal numbers are flushed to zero: `numeric_mode` switches off what it can
and refuses the rest, and `trusted` has each device compute a few telling products before its first bound.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf
from typing import Any, ClassVar, TypeVar

import torch

from absint.errors import ResourceError, UnsupportedError, UsageError
from absint.numeric import probe
from absint.numeric.allocator import kept_pages
from absint.numeric.flags import Flags, coarse_environment, strict_flags, unheeded

T = TypeVar("T")
# Kinds of device that absint computes on, and products a second that any of the kind reaches: most steps are ten times faster.
_RATE = {"cpu": 2e9, "cuda": 1e12}
# Seconds that one step may take by that guess.
_STEP = 2.0
_CPU = torch.device("cpu")
GIB = 1 << 30
# What may be taken beyond a budget before anything is refused: budgets are kept by cutting work up, not by refusing it.
_TOLERATED = 1 << 26
# torch reports running out of memory on the CPU as a plain RuntimeError, in words that differ between systems, and where a library
# on the card got no workspace as that library's status, CUBLAS_STATUS_ALLOC_FAILED and its like.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
_NO_WORKSPACE = re.compile(r"(CU|HIP|ROC|MIOPEN)[A-Z]*_(STATUS_)?([A-Z_]+_)?ALLOC(ATION)?_FAILED")


class DeadlineError(Exception):
    """The time limit passed inside an analysis. Caught by analyses, which answer UNKNOWN(timeout)."""


class MemoryBudgetError(MemoryError):
    """What would come next does not fit into the budget. Treated as running out of memory, before it does any harm."""


@dataclass(frozen=True)
class Budget:
    """What an analysis may use. memory: bytes.  deadline: a `time.monotonic()` instant.  rate: products a second, a low guess.

    soft: the instant from which only what a result cannot do without is computed, so that there is one at the deadline.
    held: bytes of the memory that are taken already.
    """

    memory: int = 4 * GIB
    deadline: float = inf
    rate: float = _RATE["cpu"]
    soft: float = inf
    held: int = 0

    @property
    def ending(self) -> bool:
        """Whether `soft` has passed."""
        return time.monotonic() > self.soft

    def keeping(self, products: float) -> Budget:
        """The same, with time kept at its end for so many products: at least a twentieth of what is left, at most half."""
        left = self.deadline - time.monotonic()
        return self if left == inf else replace(self, soft=self.deadline - max(0.0, min(left / 2, max(left / 20, products / self.rate))))

    def fits(self, size: float) -> bool:
        """Whether `size` more bytes fit; a little more than the budget is nobody's harm."""
        return self.held + size <= self.memory + _TOLERATED

    def need(self, size: float, where: str) -> None:
        """Raise MemoryBudgetError unless `size` more bytes fit."""
        if not self.fits(size):
            words = [in_bytes(one) for one in (size, self.held, self.memory)]
            raise MemoryBudgetError(f"'{where}' needs {words[0]} beside {words[1]} in use, of {words[2]}")

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


def register_device(kind: str, rate: float) -> None:
    """Let absint compute on another kind of device, one that a back end of torch's adds (`torch.device(kind)`).

    rate: products a second that any such device reaches. It is probed as all are, but no flag of `numeric_mode` is known to reach it: who
    registers it answers for IEEE arithmetic in float32 and float64, subnormal numbers and plain dot products, in any order.
    """
    _RATE[kind] = rate


def device(name: str) -> torch.device:
    """The torch device called `name`, which computes as the proofs assume.

    Raises UsageError E-DEVICE for what is no device, UnsupportedError for a kind whose arithmetic absint does not know, and as
    `trusted` does.
    """
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise UsageError("E-DEVICE", f"there is no device '{name}'", hint="cpu, cuda or cuda:0") from error
    if chosen.type not in _RATE:
        raise UnsupportedError("E-DEVICE", f"absint does not compute on '{name}'", where="--device", hint="cpu or cuda")
    return trusted(chosen)


def _check_cuda(chosen: torch.device) -> None:
    """Raise ResourceError E-DEVICE where there is no CUDA at all, or not so many cards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # of a driver that is too old: the reason is asked for below
        available, count = torch.cuda.is_available(), torch.cuda.device_count()
    if not available:
        raise ResourceError("E-DEVICE", f"device '{chosen}' asked for, but torch finds no CUDA device: {_why_no_cuda()}",
                            hint="use --device cpu, or install a driver and a CUDA build of torch that fit (absint doctor tells)")
    if chosen.index is not None and chosen.index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ResourceError("E-DEVICE", f"device '{chosen}' asked for, but this machine has {there} only", hint=f"use {there}")


def _why_no_cuda() -> str:
    if not torch.backends.cuda.is_built():
        return "this build of torch is for CPUs only"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return _headline(error)
    return "no card is visible"


def _mute(chosen: torch.device, error: BaseException) -> ResourceError:
    """A device that there is and that does not compute."""
    if is_out_of_memory(error):
        return ResourceError("E-DEVICE", f"device '{chosen}' has no memory left: {_headline(error)}",
                             hint="end what else uses it (nvidia-smi shows it), or use --device cpu")
    return ResourceError("E-DEVICE", f"device '{chosen}' does not answer: {_headline(error)}", hint="use --device cpu")


def _headline(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def trusted(chosen: torch.device) -> torch.device:
    """The device, with its number, that passed its probe in this process or passes it now.

    Raises ResourceError E-DEVICE where this machine has no such device or it does not answer, E-ENVIRONMENT where a variable of the
    environment has its libraries round more coarsely than the bounds allow, E-KERNELS where its kernels do.
    """
    if chosen in _Shared.probed:
        return chosen
    if chosen.type == "cuda":
        _check_cuda(chosen)
    _check_environment(chosen.type)
    try:
        if chosen.type != "cpu" and chosen.index is None:
            chosen = torch.device(chosen.type, torch.get_device_module(chosen).current_device())
        torch.zeros(1, device=chosen)
        with numeric_mode():
            _probe(chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _mute(chosen, error) from error
    return chosen


def _check_environment(kind: str) -> None:
    coarse = coarse_environment(kind)
    if coarse:
        raise ResourceError("E-ENVIRONMENT", f"the environment has libraries of '{kind}' round products more coarsely than bounds allow",
                            details=coarse, hint=f"unset {' '.join(one.partition('=')[0] for one in coarse)}")


def _probe(chosen: torch.device) -> None:
    if chosen in _Shared.probed:
        return
    found = probe.faults(chosen)
    if found:
        instead = "" if chosen.type == "cpu" else "; use --device cpu"
        raise ResourceError("E-KERNELS", f"device '{chosen}' does not compute as the proofs assume: {', '.join(found)}",
                            hint=f"absint doctor --device {chosen} --kernels full shows which kernels{instead}")
    _Shared.probed.add(chosen)


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


def in_bytes(size: float) -> str:
    """'64 MiB', '3.2 GiB' or '45 GiB'."""
    return f"{size / (1 << 20):.0f} MiB" if size < GIB else f"{size / GIB:.2g} GiB" if size < 10 * GIB else f"{size / GIB:.0f} GiB"


def default_memory(device: torch.device = _CPU, threads: int | None = None) -> int:
    """Bytes that an analysis may use of a device when nobody says: half of a card's free memory, what torch holds there for later use
    included; on the CPU half of the machine's memory, at most 16 GiB. threads: of many processes beside each other on all cores, those that
    this one has: its share of that half, at least 256 MiB.
    """
    if device.type != "cpu":
        card: Any = torch.get_device_module(device)
        held = card.memory_reserved(device) - card.memory_allocated(device) if hasattr(card, "memory_reserved") else 0
        return int(card.mem_get_info(device)[0] + held) // 2
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        total = 8 * GIB
    share = 1.0 if threads is None else min(1.0, threads / (os.cpu_count() or 1))
    return min(max(int(total * share) // 2, GIB // 4), 16 * GIB)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on the host (torch reports it as a plain RuntimeError) or on the card."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (any(phrase in text for phrase in OUT_OF_MEMORY) or _NO_WORKSPACE.search(text) is not None)


def is_device_lost(error: BaseException) -> bool:
    """Whether the card itself failed, perhaps inside one of our own errors: every later call on it would fail, too."""
    while error.__cause__ is not None:
        error = error.__cause__
    kinds = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()
    failed = isinstance(error, kinds) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))
    return failed and not is_out_of_memory(error)


def exhausted(error: BaseException) -> ResourceError | None:
    """What ran out or was lost, as one of our own errors; None for any other exception."""
    if is_device_lost(error):
        return ResourceError("E-DEVICE-LOST", "the CUDA device failed while it computed; only what was decided before stands",
                             hint="run again with --device cpu; nvidia-smi shows the device's state")
    if is_out_of_memory(error):
        if isinstance(error, MemoryBudgetError):
            return ResourceError("E-MEMORY-OUT", f"memory would run out: {error}", where="--memory",
                                 hint="give more, or take a domain that keeps no matrices, such as deeppoly")
        return ResourceError("E-MEMORY-OUT", "memory ran out", hint="use a smaller --batch or --memory, or --index 0:10")
    return None


class _Shared:
    """Who is inside the numeric mode, the flags to restore when the last one leaves, and the devices that passed their probe."""

    lock = threading.Lock()
    depth = 0
    before: Flags = Flags(())
    probed: ClassVar[set[torch.device]] = set()


_PROBE = 1 << 17  # entries enough for every thread of the pool
_APART = 1024   # from one subnormal to the next


@contextmanager
def numeric_mode() -> Iterator[None]:
    """Everything that would break the dot-product error bound switched off, and restored when the last user leaves.

    Covers: flushing of subnormals, autocast, and the flags of `absint.numeric.flags`. The flags are the process's: threads share one
    mode. Raises ResourceError E-FLUSH where worker threads flush subnormals, E-ENVIRONMENT and E-KERNELS as `trusted` does for the
    CPU, E-PRECISION where torch does not keep a flag: none of these can be switched off from here.
    """
    with _Shared.lock:
        torch.set_flush_denormal(False)
        if _Shared.depth == 0:
            _enter()
        _Shared.depth += 1
    try:
        with _no_autocast(), kept_pages():
            yield
    finally:
        with _Shared.lock:
            _Shared.depth -= 1
            if _Shared.depth == 0:
                _Shared.before.put_back()


def _enter() -> None:
    """The flags; whatever then speaks against the CPU puts them back."""
    _check_flushing()
    _check_environment("cpu")
    _Shared.before = strict_flags()
    try:
        left = unheeded()
        if left:
            raise ResourceError("E-PRECISION", "torch keeps rounding products more coarsely than their bounds allow",
                                details=[f"{name}: {word}" for name, word in left.items()],
                                hint="install a release of torch that heeds fp32_precision")
        with _no_autocast():
            _probe(_CPU)
    except BaseException:
        _Shared.before.put_back()
        raise


@contextmanager
def _no_autocast() -> Iterator[None]:
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


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


@lru_cache(maxsize=1)
def _sprinkled(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ones with subnormals among them, and room for their halves: new memory for both takes longer than the product."""
    with torch.inference_mode(mode=False):      # who asks first may be in it, and what is made there cannot be written to outside
        entries = torch.ones(size, dtype=torch.float64, device=_CPU)
        entries[::_APART] = 1e-310
        return entries, torch.empty_like(entries)


def _check_flushing() -> None:
    """Subnormals sprinkled over a product that is long enough to reach every thread of the pool."""
    entries, halves = _sprinkled(max(_PROBE, 40_000 * torch.get_num_threads()))
    if not bool(torch.mul(entries, 0.5, out=halves)[::_APART].all()):
        raise ResourceError("E-FLUSH", "some worker threads of torch flush subnormal numbers to zero",
                            hint="do not call torch.set_flush_denormal(True) in this process")
