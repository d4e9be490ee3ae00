"""What the C library does with the pages of freed tensors: kept for the next layer instead of faulted in anew.

glibc maps every large block afresh and gives it back when it is freed, so that the kernel clears each page of each layer's result
again: half of the CPU time where results take many megabytes. While bounds are computed, large blocks come from the heap, whose
freed pages serve the next layer. `give_back` returns them where that counts. Elsewhere than on glibc nothing is changed.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# mallopt's parameters, as malloc.h of glibc numbers them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
# The values that glibc's own rule for large programs arrives at: its threshold grows up to these by itself.
_DEFAULT_MMAP_MAX, _GROWN = 65536, 32 << 20
_NEVER = (1 << 31) - 1
_ASKED = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library where it is glibc."""
    try:
        known = sys.platform == "linux" and (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
        library = ctypes.CDLL(None) if known else None
        return library if library is not None and hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except (OSError, ValueError, AttributeError):
        return None


class _Keeping:
    """How many are computing in this process, threads included."""

    lock = threading.Lock()
    depth = 0


@contextmanager
def kept_pages() -> Iterator[None]:
    """Within it freed pages are kept; the last one to leave restores the C library's own way.

    What the environment says of the same (MALLOC_MMAP_MAX_, GLIBC_TUNABLES, ...) is left as it is.
    """
    library = None if _asked_otherwise() else _glibc()
    if library is None:
        yield
        return
    with _Keeping.lock:
        _Keeping.depth += 1
        if _Keeping.depth == 1:
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        with _Keeping.lock:
            _Keeping.depth -= 1
            if not _Keeping.depth:
                library.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
                library.mallopt(_MMAP_THRESHOLD, _GROWN)
                library.mallopt(_TRIM_THRESHOLD, 2 * _GROWN)


def _asked_otherwise() -> bool:
    return any(name in os.environ for name in _ASKED) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")


def give_back() -> None:
    """Return freed pages to the system: between analyses, and where a great deal was freed."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def resident() -> int | None:
    """Bytes of this process in memory; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None

