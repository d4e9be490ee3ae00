"""Documents and headings as JSON and back, by the types of their fields: what one process says of a run, another can show.

Any dataclass of plain data goes: its name is kept as a tag, so that of several kinds at one place the right one is read; a field that
is not there has its default. Arrays and bytes are kept bit for bit; infinities and NaN, too.
"""

from __future__ import annotations

import base64
import types
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from absint import errors
from absint.errors import AbsintError

_KIND, _FLOAT, _BYTES, _ARRAY, _ERROR = "@kind", "@float", "@bytes", "@array", "@error"


def encoded(value: Any) -> Any:
    """JSON-ready. What JSON has no word for, and no type here has, becomes text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return encoded(value.value)
    if isinstance(value, (int, float)):
        number = float(value) if isinstance(value, float) else int(value)
        return number if isfinite(number) else {_FLOAT: str(number)}
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, AbsintError):
        return {_ERROR: type(value).__name__, "code": value.code, "what": value.what, "where": value.where,
                "details": list(value.details), "hint": value.hint}
    if is_dataclass(value) and not isinstance(value, type):
        return {_KIND: type(value).__name__, **{one.name: encoded(getattr(value, one.name)) for one in fields(value) if one.init}}
    if isinstance(value, Mapping):
        return {str(name): encoded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, Set)):
        return [encoded(item) for item in value]
    return _array(value)


def _array(value: Any) -> Any:
    """Arrays and tensors whole, their scalars as numbers, a stranger's object as text."""
    if not callable(getattr(value, "tolist", None)):
        return str(value)
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if not array.ndim or array.dtype.hasobject:
        return encoded(array.tolist())
    return {_ARRAY: array.dtype.str, "shape": list(array.shape), "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def decoded(kind: Any, value: Any) -> Any:
    """What `encoded` wrote of a value of this type. Raises ValueError, TypeError or KeyError on anything else."""
    if isinstance(value, Mapping):
        special = _special(value)
        if special is not None:
            return special
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _member(inner, value)
    if is_dataclass(kind):
        return _dataclass(kind, value)
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise TypeError(f"no list: {str(value)[:40]}")
        same = origin is list or (len(inner) == 2 and inner[1] is Ellipsis)
        hints = [inner[0]] * len(value) if same else list(inner)
        made = [decoded(hint, item) for hint, item in zip(hints, value, strict=True)]
        return made if origin is list else tuple(made)
    if isinstance(value, Mapping):
        hint = inner[1] if len(inner) == 2 else Any
        return {name: decoded(hint, item) for name, item in value.items()}
    return [decoded(Any, item) for item in value] if isinstance(value, list) else _scalar(kind, value)


def _scalar(kind: Any, value: Any) -> Any:
    if not isinstance(kind, type) or kind is object:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if issubclass(kind, Enum):
        return kind(value)
    if kind in (bool, int, str) and type(value) is not kind:
        raise TypeError(f"no {kind.__name__}: {str(value)[:40]}")
    return value


def _special(value: Mapping[str, Any]) -> Any:
    """What has a form of its own, whatever the field says; None where the mapping has none."""
    if _FLOAT in value:
        return float(value[_FLOAT])
    if _BYTES in value:
        return base64.b64decode(value[_BYTES], validate=True)
    if _ARRAY in value:
        content = base64.b64decode(value["data"], validate=True)
        return np.frombuffer(content, np.dtype(value[_ARRAY])).reshape(value["shape"])
    if _ERROR in value:
        kind = getattr(errors, str(value[_ERROR]), errors.InputError)
        kind = kind if isinstance(kind, type) and issubclass(kind, AbsintError) else errors.InputError
        return kind(value["code"], value["what"], where=value["where"], details=value["details"], hint=value["hint"])
    return None


def _member(kinds: tuple[Any, ...], value: Any) -> Any:
    """By the tag where there is one, else the first kind that fits."""
    tag = value.get(_KIND) if isinstance(value, Mapping) else None
    for kind in kinds:
        if tag is not None and getattr(kind, "__name__", "") != tag:
            continue
        try:
            return decoded(kind, value)
        except (ValueError, TypeError, KeyError):
            if tag is not None:
                raise
    raise ValueError(f"none of {kinds}: {str(value)[:40]}")


def _dataclass(kind: Any, value: Any) -> Any:
    if not isinstance(value, Mapping) or value.get(_KIND) != kind.__name__:
        raise TypeError(f"no {kind.__name__}")
    hints = _hints(kind)
    return kind(**{one.name: decoded(hints[one.name], value[one.name]) for one in fields(kind) if one.init and one.name in value})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
