"""A sweep as a TOML file: the options of `absint sweep` under their own names, a list where one may be repeated."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from absint.analyses.sweep.options import SweepOptions
from absint.contract.options import OUTPUT, Option, options_of
from absint.errors import InputError, UsageError, shown

SUFFIX = ".toml"
_LONGEST = 1 << 20      # bytes
_NAMES = {"net": "nets", "domain": "domains", "norm": "norms", "seed": "seeds"}     # as a list is called


def names_file(nets: Iterable[Any]) -> bool:
    """Whether one of these is such a file, by its name."""
    return any(isinstance(one, (str, Path)) and Path(one).suffix.lower() == SUFFIX for one in nets)


def file_of(options: SweepOptions) -> Path | None:
    """The file that states the sweep, where one is named in place of the networks. Raises UsageError E-USAGE for one among others."""
    named = [Path(one) for one in options.net or () if isinstance(one, (str, Path)) and Path(one).suffix.lower() == SUFFIX]
    if not named:
        return None
    if len(options.net) > 1:
        raise UsageError("E-USAGE", "a file that states a sweep names its networks itself", where=str(named[0]),
                         hint="give the file alone, or networks alone")
    return named[0]


def with_file(options: SweepOptions) -> SweepOptions:
    """The options with what their file states; what is given beside the file goes before it. None stands for what is not stated.

    Raises InputError E-SWEEP-FILE (no such file, no TOML, a key or a value that has no meaning: all of them at once), UsageError.
    """
    plain = SweepOptions()
    options = replace(options, **{name: getattr(plain, name) for name in ("net", "eps", "norm", "domain", "seed")
                                  if getattr(options, name) is None})
    path = file_of(options)
    if path is None:
        return options
    stated = stated_in(path)
    wanted = {name: value for name, value in stated.items() if name == "net" or _same(getattr(options, name), getattr(plain, name))}
    return replace(options, **{"net": (), **wanted})


def files_in(options: SweepOptions) -> dict[str, Path]:
    """Every file that the options' file names, by its key: none of them is ever written over."""
    path = file_of(options)
    if path is None:
        return {}
    found: dict[str, Path] = {}
    for name, value in stated_in(path).items():
        several = value if isinstance(value, tuple) else (value,)
        found |= {f"{name} {place + 1} of {path.name}": one for place, one in enumerate(several) if isinstance(one, Path)}
    return found


def stated_in(path: Path) -> dict[str, Any]:
    """The values by option. Raises InputError E-SWEEP-FILE."""
    table, known = _table(path), _keys()
    details, found = [], {}
    for key, value in table.items():
        one = known.get(key.replace("-", "_"))
        if one is None and isinstance(value, Mapping):
            details.append(f"[{key}] is a table, which project files have: absint sweep --config {path}")
        elif one is None:
            near = difflib.get_close_matches(key.replace("-", "_"), known, n=2, cutoff=0.5)
            details.append(f"there is no key '{key}'" + (f": did you mean {' or '.join(near)}?" if near else ""))
        elif one.name in found:
            details.append(f"'{key}' is stated twice, by two of its names")
        else:
            try:
                found[one.name] = _value(one, value, path.parent)
            except ValueError as error:
                details.append(f"{key} = {shown(value)}: {error}")
    if details:
        names = ", ".join(sorted({_NAMES.get(one.name, one.name) for one in known.values()}))
        raise InputError("E-SWEEP-FILE", "not all of it is understood", where=str(path), details=details, hint=f"known keys: {names}")
    return found


def _table(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise InputError("E-SWEEP-FILE", "is too large for a sweep", where=str(path), hint="see docs/sweeps.md for an example")
        return tomllib.loads(text.decode(), parse_float=str)    # a radius stays the decimals that are written
    except OSError as error:
        raise InputError("E-SWEEP-FILE", f"cannot be read: {error.strerror}", where=str(path), hint="check the path") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError("E-SWEEP-FILE", f"is no TOML: {error}", where=str(path), hint="see docs/sweeps.md for an example") from error


def _keys() -> dict[str, Option]:
    """Options by the names that a file may call them. Where results go and what is loaded is said on the command line."""
    found: dict[str, Option] = {}
    for one in options_of(SweepOptions):
        if one.words.command and one.words.group != OUTPUT and one.name != "plugin":
            found |= dict.fromkeys((one.name, _NAMES.get(one.name, one.name)), one)
    return found


def _value(one: Option, value: Any, folder: Path) -> Any:
    """As the field takes it. Raises ValueError saying what it takes."""
    if one.many:
        several = value if isinstance(value, list) else [value]
        return tuple(_single(one, item, folder) for item in several)
    if isinstance(value, list) and one.kind is str:     # clip = [0, 1]
        return ",".join(_text(item) for item in value)
    return _single(one, value, folder)


def _single(one: Option, value: Any, folder: Path) -> Any:
    if one.kind is bool:
        if not isinstance(value, bool):
            raise ValueError("true or false is meant")
        return value
    if one.kind is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("a whole number is meant")
        return value
    text = _text(value)
    if one.name == "net" and Path(text).suffix.lower() == SUFFIX:
        raise ValueError("a network is meant, not another file of options")
    if one.kind is Path or ("Path" in one.accepts and (folder / text).is_file()):
        return folder / text        # an absolute one stays what it is
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("a text or a number is meant")
    return str(value)


def _same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and isinstance(one, (str, int, float, tuple, type(None))) and one == two
