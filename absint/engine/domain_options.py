"""The options of a domain: the fields of its class, each with what its docstring says of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

_START = re.compile(r"(?:^|(?<=  ))([a-z]\w*(?:, [a-z]\w*)*): (?=\S)")     # where a line starts, or after two spaces


@dataclass(frozen=True)
class DomainOption:
    """One option. default: JSON-ready; None where a value must be given.  help: what it does, empty where nothing is said."""

    name: str
    default: Any
    help: str


def domain_options(cls: type) -> tuple[DomainOption, ...]:
    """Every option of a domain's class, in the order of its fields.

    What is said of one stands in the docstring of its class, or of a class that this one extends, as 'name: what it does.' at the
    start of a line or after two spaces, up to a line that ends in a full stop; or in the field's metadata, as 'help'.
    """
    if not is_dataclass(cls):
        return ()
    said: dict[str, str] = {}
    for kind in reversed(cls.__mro__):
        said |= dict(_said(kind.__dict__.get("__doc__") or ""))
    found = []
    for one in (f for f in fields(cls) if f.init):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        shown = default if isinstance(default, (bool, int, float, str)) else None if default is MISSING else repr(default)
        found.append(DomainOption(one.name, shown, str(one.metadata.get("help", "")) or said.get(one.name, "")))
    return tuple(found)


def summary_of(cls: type) -> str:
    """The first line of its docstring."""
    return inspect.cleandoc(cls.__dict__.get("__doc__") or "").partition("\n")[0]


def _said(docstring: str) -> Iterator[tuple[str, str]]:
    """(name, text) of everything that is explained so."""
    names: list[str] = []
    text: list[str] = []
    for line in inspect.cleandoc(docstring).split("\n")[1:]:
        places = list(_START.finditer(line))
        before = line[: places[0].start()] if places else line
        if names:
            text.append(before.strip())
        for place, following in zip(places, [*(p.start() for p in places[1:]), len(line)], strict=False):
            yield from _pairs(names, text)
            names, text = place[1].split(", "), [line[place.end() : following].strip()]
        if not line.strip() or line.rstrip().endswith("."):
            yield from _pairs(names, text)
            names, text = [], []
    yield from _pairs(names, text)


def _pairs(names: list[str], text: list[str]) -> Iterator[tuple[str, str]]:
    whole = " ".join(part for part in text if part).rstrip(".")
    return ((name, whole) for name in names if whole)
