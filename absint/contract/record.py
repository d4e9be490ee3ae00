"""Records: what is known of one item, as a frozen dataclass with named columns, and its JSON codec.

A record is any frozen dataclass whose first field is `index`, the item's. It is written and read back field by field; one that
says more of itself has the methods of `Codec`. Column by column, `cells` is what people read.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from functools import cache
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints, runtime_checkable

T = TypeVar("T")
_COLUMN = "absint_column"
_DIGITS = 4


@runtime_checkable
class Codec(Protocol):
    """A record with a codec of its own. COLUMNS: names in the order of `as_dict`.  SHOWN: those of a table for people -> width.

    A kind may also state RUNNING, columns whose lists run along each other (a format of plain cells gives each entry a line of its
    own), and `lines() -> Sequence[Mapping[str, str]]`, the lines that people read of it, which may have columns of their own.
    """

    COLUMNS: Sequence[str]
    SHOWN: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Codec:
        """What `as_dict` wrote. Raises ValueError, KeyError or TypeError on anything else."""


@dataclass(frozen=True)
class Column:
    """One column of a record. unit: of its numbers.  width: in a table for people, 0 to leave it out there."""

    name: str
    unit: str = ""
    width: int = 10


def column(default: Any = MISSING, *, unit: str = "", width: int = 10) -> Any:
    """A field of a record, with its unit and its width in a table for people."""
    metadata = {_COLUMN: (unit, width)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def columns_of(kind: type[Any]) -> tuple[Column, ...]:
    """The columns of a kind of record."""
    return _columns_of(cast(Hashable, kind))


@cache
def _columns_of(kind: Any) -> tuple[Column, ...]:
    stated = {one.name: one.metadata.get(_COLUMN, ("", 10)) for one in fields(kind)}
    if not hasattr(kind, "COLUMNS"):
        return tuple(Column(name, unit, max(width, len(name)) if width else 0) for name, (unit, width) in stated.items())
    shown: Mapping[str, int] = kind.SHOWN
    return tuple(Column(name, stated.get(name, ("", 0))[0], shown.get(name, 0)) for name in kind.COLUMNS)


def row_of(record: Any) -> dict[str, Any]:
    """A record as JSON-ready values by column."""
    if hasattr(type(record), "COLUMNS"):
        row: dict[str, Any] = record.as_dict()
        return row
    return {one.name: _plain(getattr(record, one.name)) for one in fields(record)}


def record_of(kind: type[T], row: Mapping[str, Any]) -> T:
    """The record that `row_of` wrote. Raises ValueError, KeyError or TypeError on anything else."""
    if hasattr(kind, "COLUMNS"):
        made: T = kind.from_dict(row)  # type: ignore[attr-defined]
        return made
    hints = get_type_hints(kind)
    return kind(**{one.name: _typed(hints[one.name], row[one.name]) for one in fields(kind) if one.init})  # type: ignore[arg-type]


def cells_of(record: Any) -> dict[str, str]:
    """A record as people read it, by column."""
    own = getattr(record, "cells", None)
    changed: Mapping[str, str] = own() if own is not None else {}
    row = row_of(record)
    return {name: changed.get(name, cell(value)) for name, value in row.items()}


def shown_of(kind: type) -> dict[str, int]:
    """The columns of a table for people, with their widths."""
    own: Mapping[str, int] | None = getattr(kind, "SHOWN", None)
    return {one.name: one.width for one in columns_of(kind) if one.width} if own is None else dict(own)


def running_of(kind: type) -> tuple[str, ...]:
    """The columns whose lists run along each other."""
    return tuple(getattr(kind, "RUNNING", ()))


def lines_of(record: Any) -> list[Mapping[str, str]]:
    """A record as people read it: one line by column, or as many as it says itself."""
    own = getattr(record, "lines", None)
    return [cells_of(record)] if own is None else list(own())


def cell(value: object) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.{_DIGITS}g}"
        size = abs(value)   # of what is no whole share, no number of digits says that it is one
        return str(float(value)) if 99.99 < size < 100 or (text.lstrip("-") == "1" and size < 1) else text
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)     # JSON has no word for these
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return row_of(value)
    return str(value) if isinstance(value, Path) else value


def _typed(hint: Any, value: Any) -> Any:
    """The value that `_plain` wrote of a field of this type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(inner, value)
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise TypeError(f"no list: {value!r}")
        kinds: Iterator[Any] = iter(inner)
        same = origin is list or (len(inner) == 2 and inner[1] is Ellipsis)
        if not same and len(value) != len(inner):
            raise ValueError(f"{len(inner)} entries expected, not {len(value)}")
        items = [_typed(inner[0] if same else next(kinds), item) for item in value]
        return items if origin is list else tuple(items)
    if origin is not None and issubclass(origin, Mapping):
        return {name: _typed(inner[1], item) for name, item in value.items()}
    return _simple(hint, value)


def _one_of(kinds: Sequence[Any], value: Any) -> Any:
    if value is None and NoneType in kinds:
        return None
    for kind in (k for k in kinds if k is not NoneType):
        try:
            return _typed(kind, value)
        except (ValueError, TypeError, KeyError):
            continue
    raise ValueError(f"none of {kinds}: {value!r}")


def _simple(kind: Any, value: Any) -> Any:
    if kind is Any or kind is object:
        return value
    if not isinstance(kind, type):
        raise TypeError(f"no codec for {kind}")
    if is_dataclass(kind):
        return record_of(kind, value)
    if kind is float and (type(value) in (int, float) or value in ("inf", "-inf", "nan")):
        return float(value)
    if issubclass(kind, (Enum, Fraction, Path)):
        return kind(value)
    if type(value) is not kind:
        raise TypeError(f"no {kind.__name__}: {value!r}")
    return value
