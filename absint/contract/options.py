"""How an analysis states its options: fields of a frozen dataclass, each with its words. The standard library alone.

The command line, the keyword arguments of the Python function, docs/cli.md and absint/__init__.pyi are derived from them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

MODEL, DATA, PROPERTY, METHOD = "Model", "Data", "Property", "Method"
LIMITS, OUTPUT = "Limits", "Output"
GROUPS = (MODEL, PROPERTY, METHOD, DATA, LIMITS, OUTPUT)     # the order in which users read them; others stand before the limits
_WORDS = "absint_words"


@dataclass(frozen=True)
class Words:
    """What is said of one option besides its type and default.

    help: one sentence.  group: the panel of `--help` it stands in.  unit: of a number.  shown: what stands for a default that
    says nothing by itself.  common: whether `--help` shows it; `--help-all` shows every option.
    many: it may be given repeatedly on the command line, as a tuple; a field of tuples is so anyway.
    word: on the command line, `--field-name` if empty.  argument: given by position there.  command: False for Python alone.
    keyword: in Python, the field's name if empty.  python: False for the command line alone.
    accepts: what Python takes, as an annotation; the field's type if empty.
    kind: what the command line reads, where the field takes more than that.
    stands: (option, value) that a flag is short for, on the command line.
    binds: whether records depend on it: a journal made with another value is another run's.
    writes: "file" or "folder": what the run writes there besides its result; a place that cannot be written is refused before any work.
    "result": the result itself, the journal or a picture of it. Every other file that an option names is read, and never written over.
    replaces: the option whose file, which the run reads, that file may replace; no other one.
    secret: no repr of the options shows it.
    instead: options that it takes the place of where a source of lower rank states them (`absint.cli.settings`): the two exclude
    each other, or they say how the other one's file is read.
    file: of text that may hold the name of a file, a pattern whose first group is that name; a project file states it relative to itself.
    project: whether a project file and the environment may state it.
    """

    help: str
    group: str
    unit: str = ""
    shown: str = ""
    common: bool = False
    many: bool = False
    word: str = ""
    argument: bool = False
    metavar: str = ""
    command: bool = True
    keyword: str = ""
    python: bool = True
    accepts: str = ""
    kind: Any = None
    secret: bool = False
    stands: tuple[str, Any] | None = None
    binds: bool = True
    writes: str = ""
    replaces: str = ""
    instead: tuple[str, ...] = ()
    file: re.Pattern[str] | None = None
    project: bool = True


@dataclass(frozen=True)
class Option:
    """One option of an analysis, read from its field. kind: bool, int, float, str or Path.  many: it may be given repeatedly."""

    name: str
    default: Any
    kind: Any
    many: bool
    annotation: str
    words: Words

    @property
    def word(self) -> str:
        """As it is written on the command line: '--total-timeout', or the name of an argument."""
        if self.words.argument:
            return self.words.metavar or self.name.upper()
        return self.words.word or f"--{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """As it is written in a project file: the word without its dashes, or the name of an argument."""
        return self.name.replace("_", "-") if self.words.argument else self.word.lstrip("-")

    @property
    def opposite(self) -> str:
        """Of a flag, what switches it back, without dashes: 'no-rescale' of '--rescale', 'rounding' of '--no-rounding'."""
        return self.key.removeprefix("no-") if self.key.startswith("no-") else f"no-{self.key}"

    @property
    def keyword(self) -> str:
        """As it is written in Python."""
        return self.words.keyword or self.name

    @property
    def accepts(self) -> str:
        """The annotation of the keyword argument."""
        return self.words.accepts or self.annotation


def option(default: Any, help: str, *, group: str, **words: Any) -> Any:
    """A field of an options class. words: see `Words`."""
    return field(default=default, repr=not words.get("secret", False), metadata={_WORDS: Words(help, group, **words)})


def options_of(kind: type[Any]) -> tuple[Option, ...]:
    """Every option of a class, in the order of its fields."""
    return _options_of(cast(Hashable, kind))


@cache
def _options_of(kind: Any) -> tuple[Option, ...]:
    hints = get_type_hints(kind)
    return tuple(_read(one, hints[one.name]) for one in fields(kind) if _WORDS in one.metadata)


def given(options: Any) -> Iterator[tuple[Option, Any]]:
    """Each option whose value is not its default, and the value."""
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if value is not one.default and not (type(value) is type(one.default) and _equal(value, one.default)):
            yield one, value


def _equal(one: Any, two: Any) -> bool:
    try:
        return bool(one == two)
    except Exception:  # an array, or a stranger's object
        return False


def _read(one: Field[Any], hint: Any) -> Option:
    words: Words = one.metadata[_WORDS]
    listed = get_origin(hint) is tuple
    many = listed or words.many
    kind = words.kind or _kind(get_args(hint)[0] if listed else hint)
    return Option(one.name, one.default, kind, many, _annotation(str(one.type)), words)


def _kind(hint: Any) -> Any:
    """The one type of `float | None`, `Path`, ..."""
    if get_origin(hint) in (Union, UnionType):
        inner = [part for part in get_args(hint) if part is not NoneType]
        return _kind(inner[0])
    return hint if hint in (bool, int, float, str, Path) else str


def _annotation(text: str) -> str:
    return "Sequence[str | Path]" if text == "tuple[Path, ...]" else "Sequence[str]" if text == "tuple[str, ...]" else (
        text.replace("Path", "str | Path"))
