"""Arrays: what an analysis keeps for computing on, or the columns of its records, as numpy reads them. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from absint.contract.document import Document
from absint.errors import printable
from absint.reports.interface import KeptFormat
from absint.reports.rows import dumps, ordered

_EXACT = 2**53                                      # whole numbers up to this are exact as float64
_WORDS = frozenset(("inf", "-inf", "nan"))          # what JSON-ready values say for numbers that JSON has no word for


class Npz(KeptFormat):
    """Written at the end: the document's arrays; where it has none, every column of the records as `column` makes it.

    "header" has the header as JSON text. `numpy.load` reads all of it with `allow_pickle=False`.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    binary: ClassVar[bool] = True

    def end(self, document: Document) -> None:
        """The archive."""
        rows = [] if document.arrays else ordered(self.rows)
        arrays = document.arrays or {name: column([row.values.get(name) for row in rows]) for name in self.heading.columns}
        _save(self.stream, {"header": np.array(dumps(self.heading.header))}, arrays)
        self.stream.flush()


def _save(stream: Any, own: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """np.savez takes names as keywords, and some names for its own; so the archive is written here, to the bytes the same every time."""
    written: set[str] = set()
    with ZipFile(stream, "w") as archive:
        for name, array in (*own.items(), *arrays.items()):
            known = printable(name).encode("utf-8", "backslashreplace").decode("utf-8")
            while known in written:
                known += "_"
            written.add(known)
            entry = ZipInfo(f"{known}.npy")
            entry.compress_type = ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _stored(array), allow_pickle=False)


def _stored(value: Any) -> Any:
    """An array without Python objects."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return np.array(dumps(value))
    return np.array(dumps(value)) if array.dtype.hasobject else array


def column(values: Sequence[Any]) -> Any:
    """The values of one column as an array whose first axis counts them.

    Truth values as bool, whole numbers as int64, numbers as float64 (None as NaN), text as unicode (None as ''); lists of one shape are
    stacked, where None among lists of numbers is a list of NaN. Anything else is JSON text.
    """
    absent = any(value is None for value in values)
    shapes = {_shape(value) for value in values if value is not None}
    shape = next(iter(shapes), ())
    if len(shapes) > 1 or shape is None:
        return np.array([dumps(value) for value in values])
    size = int(np.prod(shape, dtype=np.int64))
    flat = [leaf for value in values for leaf in ([None] * size if value is None else _leaves(value))]
    found = _flat(flat)
    if found is None or (shape and absent and found.dtype.kind != "f"):
        return np.array([dumps(value) for value in values])
    return found.reshape(len(values), *shape)


def _shape(value: Any) -> tuple[int, ...] | None:
    """Of nested lists; None where they are ragged."""
    if not isinstance(value, (list, tuple)):
        return ()
    inner = [_shape(item) for item in value]
    first = inner[0] if inner else ()
    return None if first is None or any(shape != first for shape in inner) else (len(value), *first)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _flat(values: Sequence[Any]) -> Any:
    """Scalars as one array; None where they are of no one kind."""
    kinds = {type(value) for value in values if value is not None}
    absent = any(value is None for value in values)
    words = {value for value in values if isinstance(value, str)}
    if kinds == {bool} and not absent:
        return np.array(values, np.bool_)
    if kinds == {int} and not absent and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, np.int64)
    if kinds <= {int, float, str} and words <= _WORDS and all(abs(value) <= _EXACT for value in values if type(value) is int):
        return np.array([np.nan if value is None else float(value) for value in values], np.float64)
    if kinds == {str}:
        return np.array(["" if value is None else value for value in values], np.str_)
    return None
