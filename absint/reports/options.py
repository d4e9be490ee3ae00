"""Options of a format, said after its name: `--format junit:unknown=failure`. Read once here, the same for every format."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from absint.errors import UsageError, shown

_SWITCH = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


@dataclass(frozen=True)
class NoOptions:
    """Of a format that has none."""


def read_options(name: str, kind: Any, text: str) -> Any:
    """An instance of `kind`, a frozen dataclass whose fields are the options of format `name`, from 'option=value,option=value'.

    Values have the type of their default: an Enum (by its values), bool, int (0 or more), float or text. A `ValueError` of the class
    says what is wrong with a value. Raises UsageError E-FORMAT-OPTION, which lists the options there are.
    """
    known: dict[str, Field[Any]] = {one.name: one for one in fields(kind) if one.init} if is_dataclass(kind) else {}
    values: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if key not in known:
            raise _refused(name, f"format '{name}' has no option {shown(key)}", known)
        if key in values:
            raise _refused(name, f"format '{name}' is told option '{key}' twice", known)
        try:
            if not equals:
                raise ValueError
            values[key] = _value(value, known[key].default)
        except (KeyError, ValueError) as error:
            raise _refused(name, f"{shown(value)} is no value for option '{key}' of format '{name}'", known) from error
    try:
        return kind(**values)
    except ValueError as error:
        raise _refused(name, f"format '{name}': {error}", known) from error


def _value(text: str, default: object) -> Any:
    """The text of an option in the type of its default. Raises ValueError or KeyError."""
    if isinstance(default, Enum):
        return type(default)(text)
    if isinstance(default, bool):
        return _SWITCH[text.lower()]
    if isinstance(default, int):
        number = int(text)
        if number < 0:
            raise ValueError
        return number
    if isinstance(default, float):
        return float(text)
    return text


def _refused(name: str, what: str, known: dict[str, Field[Any]]) -> UsageError:
    words = [f"{one.name}={_values(one.default)}" for one in known.values()]
    if not words:
        return UsageError("E-FORMAT-OPTION", what, where="--format", hint=f"it has none: --format {name}")
    return UsageError("E-FORMAT-OPTION", what, where="--format", hint=f"known, with defaults first: {name}:{', '.join(words)}")


def _values(default: object) -> str:
    """What an option may be, its default first."""
    if isinstance(default, Enum):
        others = [str(one.value) for one in type(default) if one is not default]
        return "|".join([str(default.value), *others])
    if isinstance(default, bool):
        return "on|off" if default else "off|on"
    return "..." if default is MISSING else str(default)
