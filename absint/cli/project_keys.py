"""What the keys of a project file and the variables of the environment mean: options of commands, read as each option reads its word."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from absint.cli.project_file import PROFILES, ProjectFile, Way, WrittenFloat
from absint.contract.analysis import ANALYSES, analysis_of
from absint.contract.options import Option, options_of
from absint.errors import AbsintError, InputError, UsageError, shown

VARIABLES = "ABSINT_"
FILE_VARIABLE, PROFILE_VARIABLE = f"{VARIABLES}CONFIG", f"{VARIABLES}PROFILE"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_NEAR = 0.85    # a variable as near as this to one that is known is a slip of the pen


class UnfitError(Exception):
    """A value that an option does not take; the text says what it takes."""


@dataclass(frozen=True)
class Entry:
    """One key of a file. way: through the tables to it.  profile: it stands in, or None.  command: of its table, '' for all."""

    way: Way
    profile: str | None
    command: str
    key: str
    value: Any


def own_options(name: str) -> tuple[Option, ...]:
    """Those of an analysis that its command takes."""
    return tuple(one for one in options_of(analysis_of(name).Options) if one.words.command)


def scope(command: str) -> list[str]:
    """The analyses that a table speaks to: itself, those of its group, or all."""
    return [name for name in ANALYSES.names() if not command or name == command or name.startswith(f"{command}.")]


def levels(name: str) -> tuple[str, ...]:
    """The tables that speak to an analysis, the more special after the more general: '', 'taboo', 'taboo.certify'."""
    parts = name.split(".")
    return tuple(".".join(parts[:count]) for count in range(len(parts) + 1))


def entries(file: ProjectFile) -> Iterator[Entry | str]:
    """Every key of a file; in the place of a table that no command has, what is wrong with it."""
    for key, value in file.content.items():
        if key != PROFILES:
            yield from _entries(file, (key,), None, "", value)
        elif not isinstance(value, Mapping) or not all(isinstance(table, Mapping) for table in value.values()):
            yield f"{file.place((key,))}: [{PROFILES}] holds tables, such as [{PROFILES}.nightly]"
        else:
            for name, table in value.items():
                for inner, what in table.items():
                    yield from _entries(file, (key, name, inner), name, "", what)


def _entries(file: ProjectFile, way: Way, profile: str | None, command: str, value: Any) -> Iterator[Entry | str]:
    if not isinstance(value, Mapping):
        yield Entry(way, profile, command, way[-1], value)
        return
    table = f"{command}.{way[-1]}" if command else way[-1]
    if not scope(table):
        yield f"{file.place(way)}: [{table}] is no command{_meant(table, {level for name in ANALYSES.names() for level in levels(name)})}"
        return
    for key, inner in value.items():
        yield from _entries(file, (*way, key), profile, table, inner)


def option_of(name: str, key: str) -> tuple[Option, bool] | None:
    """The option of an analysis that a key names, with - or _; and whether the key is the flag's opposite."""
    plain = key.replace("_", "-")
    for one in own_options(name):
        if one.words.stands is None and plain in (one.key, one.opposite if one.kind is bool else one.key):
            return one, plain != one.key
    return None


def check(file: ProjectFile) -> None:
    """Raise InputError E-CONFIG that lists all keys that no command has, and all values that none of those takes that have the key."""
    wrong: list[str] = []
    seen: dict[tuple[str | None, str, str], Entry] = {}
    for entry in entries(file):
        if isinstance(entry, str):
            wrong.append(entry)
            continue
        fault = _fault(file, entry) or _again(seen, entry)
        if fault:
            wrong.append(f"{file.place(entry.way)}: {fault}")
    if wrong:
        raise InputError("E-CONFIG", "what no command can make anything of", where=str(file.path), details=wrong,
                         hint="absint COMMAND --help-all shows the options of a command: keys are their names")


def _again(seen: dict[tuple[str | None, str, str], Entry], entry: Entry) -> str:
    """One option by two names in one table: neither is the last."""
    found = next((pair for name in _sound(scope(entry.command)) if (pair := option_of(name, entry.key)) is not None), None)
    name = entry.key if found is None else found[0].name
    first = seen.setdefault((entry.profile, entry.command, name), entry)
    return "" if first is entry else f"{entry.key} and {first.key} are one option"


def _fault(file: ProjectFile, entry: Entry) -> str:
    """What is wrong with it; '' for nothing."""
    found = [pair for name in _sound(scope(entry.command)) if (pair := option_of(name, entry.key)) is not None]
    if not found:
        keys = {one.key: name for name in _sound(ANALYSES.names()) for one in own_options(name) if one.words.stands is None}
        other = keys.get(entry.key.replace("_", "-"))
        if entry.command and other is not None:
            return f"absint {entry.command.replace('.', ' ')} has no {entry.key}; absint {other.replace('.', ' ')} has"
        return f"{entry.key} is no option{_meant(entry.key.replace('_', '-'), {*keys})}"
    if not any(one.words.project for one, _ in found):
        return f"{entry.key} is for the command line alone"
    takes = ""
    for one, opposite in found:
        try:
            of_file(one, entry.value, file, opposite=opposite)
        except UnfitError as error:
            takes = str(error)
        else:
            return ""
    return f"{entry.key} is {_said(entry.value)}; it takes {takes}"


def _sound(names: list[str]) -> Iterator[str]:
    """Without plug-ins that are broken: their commands say so themselves."""
    for name in names:
        try:
            analysis_of(name)
        except AbsintError:
            continue
        yield name


def _meant(word: str, known: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known - {""}), n=2, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else ""


def _said(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else shown(value)


# ---- values ------------------------------------------------------------------------------------------------------------


def of_file(one: Option, value: Any, file: ProjectFile, *, opposite: bool = False) -> Any:
    """The value of the option's field. Raises UnfitError. Files are relative to the project file, which an absolute name overrules."""
    if one.kind is bool:
        if not isinstance(value, bool):
            raise UnfitError("true or false")
        return (not one.default) if value != opposite else one.default
    if not one.many:
        return _single(one, value, file)
    return tuple(_single(one, item, file) for item in (value if isinstance(value, list) else [value]))


def _single(one: Option, value: Any, file: ProjectFile) -> Any:
    several = ", or a list of them" if one.many else ""
    if one.kind is Path:
        if not isinstance(value, str) or isinstance(value, WrittenFloat) or not value or "\0" in value:
            raise UnfitError(f"the name of a file{several}")
        return file.beside(value)
    if one.kind is int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise UnfitError(f"a whole number{several}")
        return value
    if one.kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, WrittenFloat)):
            raise UnfitError(f"a number{several}")
        return float(value)
    return _text(one, value, file)


def _text(one: Option, value: Any, file: ProjectFile) -> str:
    """As the command line has it: a list is separated by commas there."""
    parts = value if isinstance(value, list) and not one.many else [value]
    if not parts or not all(isinstance(part, (str, int)) and not isinstance(part, bool) for part in parts):
        raise UnfitError("text or a number, or a list of them")
    text = ",".join(map(str, parts))
    named = one.words.file.fullmatch(text) if one.words.file else None
    return text if named is None else f"{text[: named.start(1)]}{file.beside(named[1])}{text[named.end(1):]}"


def of_variable(one: Option, text: str) -> Any:
    """The same of a variable's text: several files as PATH has them, other lists separated by spaces. Raises UnfitError."""
    if one.kind is bool:
        if text.strip().lower() not in (*_TRUE, *_FALSE):
            raise UnfitError(f"{' or '.join((_TRUE[0], _FALSE[0]))}")
        return (not one.default) if text.strip().lower() in _TRUE else one.default
    parts = [text] if not one.many else [part for part in (text.split(os.pathsep) if one.kind is Path else text.split()) if part]
    try:
        values = tuple(one.kind(part) for part in parts)
    except ValueError:
        raise UnfitError("a whole number" if one.kind is int else "a number") from None
    return values if one.many else values[0]


def variable(level: str, one: Option) -> str:
    """'ABSINT_EPS', 'ABSINT_TABOO_CERTIFY_EPS'."""
    return VARIABLES + "_".join(filter(None, (*level.split("."), one.key))).replace("-", "_").upper()


def variables(name: str, level: str) -> dict[str, tuple[Option, Any]]:
    """What the environment says to an analysis at one level, by variable; an empty one says nothing.

    Raises UsageError E-CONFIG-VARIABLE.
    """
    found: dict[str, tuple[Option, Any]] = {}
    wrong = []
    for one in own_options(name):
        text = os.environ.get(variable(level, one), "") if one.words.project and one.words.stands is None else ""
        if text:
            try:
                found[variable(level, one)] = one, of_variable(one, text)
            except UnfitError as error:
                wrong.append(f"{variable(level, one)} is {shown(text)}; it takes {error}")
    if wrong:
        raise UsageError("E-CONFIG-VARIABLE", "environment variables of a wrong kind", details=wrong,
                         hint="set them right, unset them, or take no notice of any with --no-config")
    return found


def slips() -> list[str]:
    """Variables that look like one that is known, and are none: 'ABSINT_DOMIAN: did you mean ABSINT_DOMAIN?'"""
    set_ = sorted(name for name in os.environ if name.startswith(VARIABLES))
    known = _known(tuple(ANALYSES.names())) if set_ else frozenset()
    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=_NEAR) for name in set_ if name not in known}
    return [f"{name}: did you mean {found[0]}?" for name, found in near.items() if found]


@cache
def _known(names: tuple[str, ...]) -> frozenset[str]:
    options = {variable(level, one) for name in _sound(list(names)) for level in levels(name) for one in own_options(name)}
    return frozenset({*options, FILE_VARIABLE, PROFILE_VARIABLE})
