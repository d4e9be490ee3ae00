"""What members of a pack say they hold, before any of it is unpacked: a few bytes of a zip file may stand for terabytes.

A pack may hold 16 GiB, half of what is free where temporary files go, and no member that is read whole, nor the arrays of rows.npz
together, more than the memory that an analysis may use by default (half of the machine's).
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from absint.errors import InputError

LARGEST = 1 << 34           # bytes of all members
_MOST_ARRAYS = 100
_HEADER = 1 << 16           # bytes of the header of an array: more than any of numbers has
_STREAMED = ("journal",)    # roles of members that are read line by line


def check_sizes(archive: ZipFile, members: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Raise InputError E-BUNDLE-SIZE for a pack that is too large to be unpacked, naming the members. members: of the manifest."""
    sizes = {one.filename: one.file_size for one in archive.infolist()}
    total, room = sum(sizes.values()), min(LARGEST, shutil.disk_usage(tempfile.gettempdir()).free // 2)
    most = _memory()
    large = [f"{name} is said to have {_bytes(sizes[name])}, and {_bytes(most)} of memory may be used" for name, one in members.items()
             if one.get("role") not in _STREAMED and sizes.get(name, 0) > most]
    if total > room:
        large.append(f"all members are said to have {_bytes(total)}; {_bytes(room)} may be unpacked into {tempfile.gettempdir()}")
    if large:
        raise _too_large(where, large)


def check_arrays(archive: ZipFile, where: str) -> None:
    """Of an npz file. Raises InputError E-BUNDLE-SIZE for arrays that memory has no room for, E-BUNDLE-FORMAT for what is no array, or
    is there twice; ValueError where a header is none."""
    entries = archive.infolist()
    twice = repeated(one.filename for one in entries)
    if twice or len(entries) > _MOST_ARRAYS:
        raise InputError("E-BUNDLE-FORMAT", f"{where}: {twice[0] if twice else f'{len(entries)} arrays'}", where=where,
                         hint="ask for the pack anew")
    needs = {one.filename: max(one.file_size, _stated(archive, one)) for one in entries}
    if sum(needs.values()) > _memory():
        raise _too_large(where, [f"{name} is said to have {_bytes(size)}" for name, size in needs.items()]
                         + [f"{_bytes(_memory())} of memory may be used"])


def repeated(names: Iterable[str]) -> list[str]:
    """What is there more often than once, whatever the case of its letters: one file system keeps both, another the last."""
    return [f"{name} is there {count} times" for name, count in Counter(name.casefold() for name in names).items() if count > 1]


def links(archive: ZipFile) -> Iterator[str]:
    """Members that are no plain files: symbolic links, devices, encrypted ones."""
    for one in archive.infolist():
        mode = one.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            yield f"{one.filename} is no plain file"
        elif one.flag_bits & 1:
            yield f"{one.filename} is encrypted"


def _stated(archive: ZipFile, entry: ZipInfo) -> int:
    """Bytes of the array by its own header, which is all that is read of it, as float64 at least. Raises ValueError."""
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = read(stream, max_header_size=_HEADER)
    if kind.hasobject or any(one < 0 for one in shape):
        raise ValueError(f"{entry.filename} is no array of numbers")
    return prod(shape) * max(np.dtype(kind).itemsize, 8)


def _memory() -> int:
    from absint.numeric.backend import default_memory

    return default_memory()


def _too_large(where: str, details: list[str]) -> InputError:
    return InputError("E-BUNDLE-SIZE", "the pack would take more room than there is for it", where=where, details=details[:10],
                      hint="check it on a machine with more memory and disk, if you expect so large a pack; else trust none of it")


def _bytes(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1 << 10:
            return f"{count:.4g} {unit}"
        count /= 1 << 10
    return f"{count:.4g} GiB"
