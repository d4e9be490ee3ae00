"""Reads pickles of plain data (arrays of numbers, text, bytes, numbers, lists, dictionaries) and nothing else; runs nothing of theirs.

CIFAR's python batches are pickles. Unpickling in general runs code: a pickle names any function and has it called. Here the
instructions are taken apart by `pickletools`, which obeys none, and followed by a machine that knows those of plain data alone. The few
names it knows stand for functions of this file, which build arrays from bytes and shapes; no module is imported, no attribute is set,
and no state of theirs reaches numpy's code. Memory stays in proportion to the file.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from absint.frontends.data_source import AnyArray, DataSource

_HINT = "get the original files; the binary version of CIFAR and an .npz hold no code at all"
_LARGE = 2**40    # no axis of an array in a file is as long


class _RefusedError(Exception):
    """Why a pickle is not plain data."""


# --- what the known names build ---------------------------------------------------------------------------------------


class _Dtype:
    """numpy.dtype(name, ...): a type of numbers by its name, such as u1 or f8."""

    def __init__(self, name: Any, *_: Any) -> None:
        text = _text(name)
        if text not in ("b1", *(f"{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8)), "f2", "f4", "f8"):
            raise _RefusedError(f"values of type '{text[:20]}'")
        self.name, self.order = text, ""

    def filled(self, state: Any) -> None:
        """(version, byte order, None, None, None, ...)."""
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 4 else "?"
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise _RefusedError("values of a composed type")
        self.order = order.strip("|")


class _Array:
    """An array: empty until its state comes."""

    values: AnyArray | None = None

    def filled(self, state: Any) -> None:
        """(version, shape, dtype, whether columns lie first, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("an array of an unknown form")
        _, shape, dtype, columns, data = state
        self.values = _array(data, dtype, shape, "F" if columns else "C")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> AnyArray:
    if isinstance(data, str):    # Python 2's bytes, which pickletools shows as text
        data = data.encode("latin1")
    known = isinstance(shape, tuple) and len(shape) <= 8 and all(type(size) is int and 0 <= size < _LARGE for size in shape)
    if not known or not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise _RefusedError("an array that does not hold plain numbers")
    kind = np.dtype(dtype.order + dtype.name)
    if len(data) != math.prod(shape) * kind.itemsize:
        raise _RefusedError(f"an array of shape {shape} whose {len(data)} bytes do not fill it")
    return np.frombuffer(data, dtype=kind).reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    made = _Array()
    made.values = _array(data, dtype, shape, _text(order))
    return made


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocols below 3 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError("text in another encoding")
    return text.encode("latin1")


def _unusual(*_: Any) -> Any:
    raise _RefusedError("an array made in an unusual way")


def _text(value: Any) -> str:
    if not isinstance(value, (str, bytes)):
        raise _RefusedError("no text where some belongs")
    return value if isinstance(value, str) else value.decode("latin1")


class _Name:
    """A name that a pickle may use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.call = function


_NAMES = {
    **{f"numpy.{core}.multiarray _reconstruct": _Name(lambda *_: _Array()) for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": _Name(_from_buffer) for core in ("core", "_core")},
    "numpy ndarray": _Name(_unusual), "numpy dtype": _Name(_Dtype), "_codecs encode": _Name(_encode),
}

# --- the machine ------------------------------------------------------------------------------------------------------

_VALUES = frozenset((
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT, _GET = ("BINPUT", "LONG_BINPUT", "MEMOIZE"), ("BINGET", "LONG_BINGET")


class _Machine:
    """The stack of a pickle's values, those set apart by marks, and the numbered slots."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.slots: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction. Raises _RefusedError for one that plain data does not need, anything for one without values to work on."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _PUT:
            self.slots[len(self.slots) if argument is None else argument] = self.stack[-1]
        elif name in _GET:
            self.stack.append(self.slots[argument])
        elif name in _TUPLES:
            self.stack.append(tuple(self._taken(len(self.stack) - _TUPLES[name])))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise _RefusedError(f"the instruction {name}, which plain data does not need")

    def _taken(self, start: int) -> list[Any]:
        """The values from there to the top, which leave the stack."""
        if start < 0:
            raise IndexError("too few values")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def marked(self) -> list[Any]:
        """The values above the last mark."""
        return self._taken(self.marks.pop())

    def append(self, values: list[Any]) -> None:
        """To the list below them."""
        if type(self.stack[-1]) is not list:
            raise _RefusedError("values added to something that is no list")
        self.stack[-1] += values

    def enter(self, pairs: list[Any]) -> None:
        """Keys and values, into the dictionary below them; keys are text, or bytes that are shown as text."""
        if type(self.stack[-1]) is not dict:
            raise _RefusedError("entries of something that is no dictionary")
        self.stack[-1].update(zip(map(_text, pairs[::2]), pairs[1::2], strict=True))

    def find(self, name: str) -> None:
        """One of the known names."""
        if name not in _NAMES:
            raise _RefusedError(f"the name {name.replace(' ', '.')[:60]}, which is no plain data")
        self.stack.append(_NAMES[name])

    def call(self, _: Any) -> None:
        """What a known name builds of a tuple."""
        name, arguments = self._taken(len(self.stack) - 2)
        if not isinstance(name, _Name) or type(arguments) is not tuple:
            raise _RefusedError("a call of something that is no known name")
        self.stack.append(name.call(*arguments))

    def fill(self, _: Any) -> None:
        """The state of an array or a type of numbers."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Array, _Dtype)):
            raise _RefusedError("attributes of something that is no array")
        self.stack[-1].filled(state)


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.enter([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.enter(machine.marked()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "GLOBAL": lambda machine, argument: machine.find(argument),
    "STACK_GLOBAL": lambda machine, _: machine.find(f"{_text(machine.stack.pop(-2))} {_text(machine.stack.pop())}"),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.fill,
}


def read_plain_pickle(source: DataSource) -> Any:
    """The object in the file, of protocol 2 or later. Keys of dictionaries are text; values in a dictionary may be arrays.

    Raises InputError E-DATA-PICKLE for anything that is not plain data, E-DATA-TRUNCATED where the stream ends early or is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(source.data):
            if opcode.name == "STOP":
                break
            machine.step(opcode.name, argument)
        (value,) = machine.stack
        return {key: _plain(entry) for key, entry in value.items()} if isinstance(value, dict) else _plain(value)
    except _RefusedError as error:
        raise source.fail("E-DATA-PICKLE", f"this pickle is not read, and nothing of it was run: it holds {error}", _HINT) from error
    except Exception as error:    # on damaged bytes pickletools raises anything
        what = f"damaged, or shorter than it was: {type(error).__name__}: {str(error)[:100]}"
        raise source.fail("E-DATA-TRUNCATED", what, "fetch the file again") from error


def _plain(value: Any) -> Any:
    """The array in place of what built it."""
    if isinstance(value, _Array):
        if value.values is None:
            raise _RefusedError("an array without values")
        return value.values
    if isinstance(value, (_Name, _Dtype)):
        raise _RefusedError("a name or a type instead of data")
    return value
