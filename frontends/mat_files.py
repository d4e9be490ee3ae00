"""Reads the arrays of numbers in a MATLAB file of version 5 (-v6, -v7), as SVHN's; everything else in it is passed over.

scipy.io.loadmat reads these files, too, and crashes the process (a segmentation fault in scipy 1.17) where one is damaged.
Format: 128 bytes of header, then elements: a tag (type, size), the content, filled up to 8 bytes. An element of type 15 is one
that is deflated; one of type 14 is an array: its flags, its sizes, its name and its values, column by column, each an element.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from absint.frontends.data_source import AnyArray, DataSource

_HEADER = 128
_ARRAY, _DEFLATED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}    # by type of element
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}    # by class of array
_COMPLEX = 0x800
_AGAIN = "fetch the file again"
_SAVE = "in MATLAB: save data.mat X y -v7, or in Python: scipy.io.savemat('data.mat', {'X': ..., 'y': ...})"


class _DamagedError(Exception):
    """What is wrong with the bytes."""


def mat_arrays(source: DataSource, names: tuple[str, ...] | None) -> dict[str, AnyArray]:
    """Those of the named variables (None: of all) that are real arrays of numbers, in MATLAB's shape: two axes at least.

    Raises InputError E-DATA-TRUNCATED for damaged files, E-DATA-FORMAT for other versions.
    """
    data = source.data
    if len(data) < _HEADER:
        raise source.fail("E-DATA-TRUNCATED", f"{len(data)} bytes, shorter than the header of a MATLAB file", _AGAIN)
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    version = 0 if order is None else struct.unpack_from(f"{order}H", data, 124)[0]
    if version != 0x100:
        later = version == 0x200 or b"\x89HDF" in data[:1024]
        what = "a MATLAB file of version 7.3, which is not read" if later else "no MATLAB file of version 5"
        raise source.fail("E-DATA-FORMAT", what, _SAVE)
    found: dict[str, AnyArray] = {}
    try:
        for kind, content in _elements(memoryview(data)[_HEADER:], str(order)):
            body = _inflated(content, str(order)) if kind == _DEFLATED else content if kind == _ARRAY else None
            named = None if body is None else _array(body, str(order), names)
            if named is not None:
                found[named[0]] = named[1]
    except (_DamagedError, zlib.error, struct.error, UnicodeDecodeError, ValueError) as error:
        raise source.fail("E-DATA-TRUNCATED", f"damaged, or shorter than it was: {error}", _AGAIN) from error
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, content) of each, in order."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise _DamagedError(f"{len(data) - place} bytes after the last element")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        short = kind >> 16    # four bytes at most lie in the tag itself
        start, length, kind = (place + 4, short, kind & 0xFFFF) if short else (place + 8, size, kind)
        if length > (4 if short else len(data) - start):
            raise _DamagedError(f"an element of {length} bytes where {len(data) - start} are left")
        yield kind, data[start : start + length]
        # What is deflated is not filled up; everything else is, but for the last element of some writers.
        place = place + 8 if short else start + (length if kind == _DEFLATED else -(-length // 8) * 8)


def _inflated(content: memoryview, order: str) -> memoryview | None:
    """The one array inside; None for any other element."""
    machine = zlib.decompressobj()
    head = machine.decompress(content, 8)
    if len(head) < 8:
        raise _DamagedError("a deflated element without its tag")
    kind, size = struct.unpack(f"{order}II", head)
    if kind != _ARRAY:
        return None
    body = machine.decompress(machine.unconsumed_tail, size + 1) if size else b""
    while len(body) < size and machine.unconsumed_tail:
        body += machine.decompress(machine.unconsumed_tail, size + 1 - len(body))
    if len(body) != size or not (machine.eof or (not machine.decompress(machine.unconsumed_tail, 1) and machine.eof)):
        raise _DamagedError(f"a deflated element of {len(body)} bytes that should hold {size}")
    return memoryview(body)


def _array(body: memoryview, order: str, names: tuple[str, ...] | None) -> tuple[str, AnyArray] | None:
    """Name and values; None where the name is none of `names`, or the array none of real numbers."""
    parts = _elements(body, order)
    flags, sizes, name = (next(parts, (0, memoryview(b""))) for _ in range(3))
    if len(flags[1]) < 8:
        raise _DamagedError("an array without its flags")
    word = struct.unpack_from(f"{order}I", flags[1])[0]
    text = bytes(name[1]).decode("latin1")
    if (names is not None and text not in names) or word & 0xFF not in _CLASSES or word & _COMPLEX:
        return None
    shape = tuple(int(size) for size in np.frombuffer(sizes[1], dtype=f"{order}i4"))
    kind, content = next(parts, (0, memoryview(b"")))
    if kind not in _STORED or len(shape) < 2 or len(shape) > 8 or min(shape) < 0:
        raise _DamagedError(f"array '{text}' of an unknown form")
    stored = np.dtype(order + _STORED[kind])
    if len(content) != math.prod(shape) * stored.itemsize:
        raise _DamagedError(f"array '{text}' of shape {shape} whose {len(content)} bytes do not fill it")
    values: AnyArray = np.frombuffer(content, dtype=stored).reshape(shape, order="F")
    final = np.dtype(_CLASSES[word & 0xFF])
    # Writers may store numbers in a smaller type than the array's; one that does not fit is damage.
    with np.errstate(all="ignore"):
        cast = values.astype(final, order="K", copy=False)
    if not np.can_cast(stored, final) and not np.array_equal(cast, values):
        raise _DamagedError(f"array '{text}' holds numbers beyond its type")
    return text, cast
