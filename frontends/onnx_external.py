"""Weights that an ONNX file keeps in other files: where they may lie, read once, and put into the model.

Everything that is analysed or given to the reference runtime comes from the bytes returned here, which are also what is
hashed: a file that changes while absint runs cannot be hashed in one state and analysed in another.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import onnx
import onnx.helper

from absint.errors import InputError

_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_PACKED = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}  # bits of a value that shares its byte


def read_external(proto: onnx.ModelProto, file: Path | None) -> list[bytes]:
    """Put the values of every tensor that has them in another file into `proto`; what was read, in the order of the model.

    file: the model, in whose folder the weights must lie, links followed; None for a model in memory, which has no folder.
    Every tensor counts, wherever it stands: constants, attributes, subgraphs, functions, sparse tensors, training graphs.
    Raises InputError E-MODEL-EXTERNAL naming every tensor outside the folder, or the first whose place, offset or length is no
    such thing; E-MODEL-MISSING where a weight file is not there.
    """
    tensors = list(_external(proto))
    if not tensors:
        return []
    if file is None:
        raise InputError("E-MODEL-EXTERNAL", "tensors of a model in memory have their values in other files",
                         where="model", details=[f"'{t.name}'" for t in tensors[:10]],
                         hint="give the path of its file, or put them into it, as onnx.load(path) does")
    places = [_place(tensor, file) for tensor in tensors]
    outside = [f"'{tensor.name}'" for tensor, place in zip(tensors, places, strict=True) if place is None]
    if outside:
        raise InputError("E-MODEL-EXTERNAL", "its external weights lie outside its folder", where=str(file), details=outside,
                         hint="keep the weight file beside the model")
    return [_filled(tensor, place, file) for tensor, place in zip(tensors, places, strict=True) if place is not None]


def _external(message: Any) -> Iterator[onnx.TensorProto]:
    """By reflection: no place where a tensor can stand is forgotten, in no version of the format."""
    if isinstance(message, onnx.TensorProto):
        if message.data_location == onnx.TensorProto.EXTERNAL:
            yield message
        return
    for name, repeated in _ways(message.DESCRIPTOR):
        if repeated or message.HasField(name):
            value = getattr(message, name)
            for part in value if repeated else (value,):
                yield from _external(part)


@cache
def _ways(kind: Any) -> tuple[tuple[str, bool], ...]:
    """The fields of a type of message behind which a tensor may stand, by number, and whether they are repeated."""
    found = [field for field in kind.fields if field.message_type is not None and _leads(field.message_type)]
    # Of messages, those without presence are repeated; what else says so differs between versions of protobuf.
    return tuple((field.name, not field.has_presence) for field in sorted(found, key=lambda field: field.number))


def _leads(kind: Any) -> bool:
    """Whether a tensor may stand in a message of that type, or is one."""
    seen: set[str] = set()
    waiting = [kind]
    while waiting:
        one = waiting.pop()
        if one.full_name == onnx.TensorProto.DESCRIPTOR.full_name:
            return True
        if one.full_name not in seen:
            seen.add(one.full_name)
            waiting += [field.message_type for field in one.fields if field.message_type is not None]
    return False


def _place(tensor: onnx.TensorProto, file: Path) -> Path | None:
    """The file of a tensor's values, links followed; None where it lies outside the model's folder."""
    entries = [str(entry.key) for entry in tensor.external_data]
    if len(set(entries)) < len(entries):
        raise _damaged(tensor, file, "it states " + " and ".join(sorted({f"two values of '{k}'" for k in entries if entries.count(k) > 1})))
    location = _entry(tensor, "location")
    if not location or Path(location).is_absolute() or ".." in re.split(r"[/\\]", location):
        return None
    folder = file.parent.resolve()
    try:
        place = (folder / location).resolve()
    except (OSError, ValueError, RuntimeError):  # a zero byte, a loop of links
        return None
    return place if place.is_relative_to(folder) else None


def _entry(tensor: onnx.TensorProto, key: str) -> str:
    return next((str(entry.value) for entry in tensor.external_data if entry.key == key), "")


def _filled(tensor: onnx.TensorProto, place: Path, file: Path) -> bytes:
    """Read the values into the tensor."""
    offset, size = _range(tensor, file)
    content = _read(place, offset, size, tensor, file)
    tensor.raw_data = content
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.DEFAULT
    return content


def _range(tensor: onnx.TensorProto, file: Path) -> tuple[int, int]:
    """Offset and number of bytes: those that the shape asks for, which a stated length must agree with."""
    given = {}
    for key in ("offset", "length"):
        text = _entry(tensor, key)
        if text and not _DIGITS.fullmatch(text):
            raise _damaged(tensor, file, f"its {key} '{text[:40]}' is no number of bytes")
        given[key] = int(text or 0)
    size = _size(tensor, file)
    if _entry(tensor, "length") and given["length"] != size:
        shape = ", ".join(map(str, tensor.dims))
        raise _damaged(tensor, file, f"{given['length']} bytes are not the {size} that its shape ({shape}) takes")
    return given["offset"], size


def _size(tensor: onnx.TensorProto, file: Path) -> int:
    """Bytes of the raw values."""
    if any(d < 0 for d in tensor.dims):
        raise _damaged(tensor, file, f"its shape ({', '.join(map(str, tensor.dims))}) has a negative size")
    bits = _bits(tensor)
    if bits is None:
        raise _damaged(tensor, file, "values of its type are not stored in other files")
    return -(-prod(int(d) for d in tensor.dims) * bits // 8)


def _bits(tensor: onnx.TensorProto) -> int | None:
    """Of one raw value; None for a type that has no raw form, or that is not known."""
    names = onnx.TensorProto.DataType
    if tensor.data_type not in names.values() or tensor.data_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return None
    name = str(names.Name(tensor.data_type))
    return _PACKED.get(name) or 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _read(place: Path, offset: int, size: int, tensor: onnx.TensorProto, file: Path) -> bytes:
    """`size` bytes of a regular file. It is judged once open, and opening waits for nobody: a pipe has no writer yet."""
    try:
        handle = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise _unreadable(place, file, error) from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _damaged(tensor, file, f"'{place.name}' is no regular file")
        if offset + size > found.st_size:
            raise _damaged(tensor, file, f"bytes {offset} to {offset + size} are asked for, '{place.name}' has {found.st_size}")
        with os.fdopen(handle, "rb", closefd=False) as stream:
            stream.seek(offset)
            content = stream.read(size)
    except OSError as error:
        raise _unreadable(place, file, error) from error
    finally:
        os.close(handle)
    if len(content) != size:
        raise _damaged(tensor, file, f"'{place.name}' ended early: it changed while it was read")
    return content


def _unreadable(place: Path, file: Path, error: OSError) -> InputError:
    what = "are not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    return InputError("E-MODEL-MISSING", f"its external weights '{place.name}' {what}", where=str(file),
                      hint="keep the weight file beside the model, or save the model in one file")


def _damaged(tensor: onnx.TensorProto, file: Path, what: str) -> InputError:
    return InputError("E-MODEL-EXTERNAL", f"the external weights of '{tensor.name}': {what}", where=str(file),
                      hint="the model and its weight file do not belong together, or one is damaged: export or download both again")
