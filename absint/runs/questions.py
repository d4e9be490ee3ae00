"""Whether readers of a report are told the question that its records are bound to: they see the header, and the journal its binding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

# What a run on the pack's rows is bound to otherwise than one on the data they are of, or by another absint.
_OF_DATA = ("absint", "plugins", "data_sha256", "labels_sha256", "inputs_sha256", "constants_sha256", "scale", "layout", "labels", "key",
            "label_column", "predicted_labels")
# Parts of a header that say when and where a run was; the others say what was asked.
_CIRCUMSTANCES = frozenset(("command", "started", "versions", "config", "journals", "merged", "instances", "samples"))
# In the others, what goes by the file of data, or by where files lie: a pack has rows of these data, and its own names.
_OF_FILES = frozenset(("path", "accuracy", "instances", "notes", "bundled", "layout"))
# Of another absint's header, whose words for the same may be others.
_IN_EVERY_VERSION = ("search", "property")
_NUMERICS, _LONGEST = "numerics", 200


def differently_bound(kept: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """What records are bound to, where options and networks do not come to the same. Rows of the data do not have the hash of its file."""
    now = json.loads(json.dumps(made))
    return tuple(f"{name}: bound to {_text(value)}, asked {_text(now[name])}" for name, value in kept.items()
                 if name in now and name not in _OF_DATA and not name.startswith("axes_") and _nameless(now[name]) != _nameless(value))


def shown_otherwise(shown: Mapping[str, Any], made: Mapping[str, Any], bound: Mapping[str, Any], moved: Mapping[str, str]
                    ) -> tuple[str, ...]:
    """Where a header says another question than that of a run made anew of options, rows and networks.

    bound: what the records are bound to.  moved: where the run's files lie now -> where it had them.
    Of a header that another absint wrote, only what every version says alike.
    """
    told, now = json.loads(json.dumps(dict(shown), default=str)), _back(json.loads(json.dumps(dict(made), default=str)), moved)
    same = _of(told.get("versions"), "absint") == _of(now.get("versions"), "absint")
    parts = [name for name in {**told, **now} if name not in _CIRCUMSTANCES] if same else _IN_EVERY_VERSION
    return tuple(line for part in parts for line in _odd(part, _asked(part, told, bound), _asked(part, now, bound), both=not same))


def shown_unbound(shown: Mapping[str, Any], bound: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a header says other networks, data, domains or numerics than its records are bound to; nothing is read for that."""
    told = json.loads(json.dumps(dict(shown), default=str))
    pairs = [("data, sha256", _of(told.get("data"), "sha256"), bound.get("data_sha256")),
             ("domain, class", _of(told.get("domain"), "class"), bound.get("domain_class")),
             ("domain, options", _of(told.get("domain"), "options"), bound.get("domain_options")),
             *((f"{_NUMERICS}, {name}", value, bound.get(name)) for name, value in (_asked(_NUMERICS, told, bound) or {}).items())]
    return tuple(f"{name}: shown {_text(one)}, bound to {_text(two)}" for name, one, two in pairs
                 if one is not None and two is not None and one != two)


def _asked(part: str, header: Mapping[str, Any], bound: Mapping[str, Any]) -> Any:
    """A part of a header. Of the numerics those that records depend on: another number of threads is no other question.

    A time limit is bound as a number and shown as it was stated.
    """
    said = header.get(part)
    if part == _NUMERICS and isinstance(said, dict):
        return {name: value for name, value in said.items() if name in bound and name != "timeout"}
    if part == "data" and isinstance(said, dict):       # rows of it have another hash, and the name of the pack's file
        return {name: value for name, value in said.items() if name not in ("sha256", "name")}
    return said


def _odd(where: str, shown: Any, asked: Any, *, both: bool) -> Iterator[str]:
    """Each place where they differ. both: whether a name has to be in both to count."""
    if isinstance(shown, dict) and isinstance(asked, dict):
        for name in {**shown, **asked}:
            if name not in _OF_FILES and (not both or (name in shown and name in asked)):
                yield from _odd(f"{where}, {name}", shown.get(name), asked.get(name), both=both)
    elif isinstance(shown, list) and isinstance(asked, list) and all(isinstance(one, dict) for one in (*shown, *asked)):
        for place, (one, two) in enumerate(zip_longest(shown, asked)):
            yield from _odd(f"{where} {place + 1}", one, two, both=both)
    elif shown != asked and not (both and (shown is None or asked is None)):
        yield f"{where}: shown {_text(shown)}, asked {_text(asked)}"


def _back(value: Any, moved: Mapping[str, str]) -> Any:
    """With files under the names that the run had for them."""
    if isinstance(value, dict):
        return {name: _back(inner, moved) for name, inner in value.items()}
    if isinstance(value, list):
        return [_back(inner, moved) for inner in value]
    for here, there in moved.items() if isinstance(value, str) else ():
        value = value.replace(here, there)
    return value


def _nameless(value: Any) -> Any:
    """Networks of a list go by their hashes: a pack has them under other names."""
    if isinstance(value, list) and all(isinstance(one, dict) and len(one) > 1 for one in value):
        return [{name: inner for name, inner in one.items() if name != "name"} for one in value]
    return value


def _of(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else None


def _text(value: Any) -> str:
    return json.dumps(value)[:_LONGEST]
