"""What a format offers, what it is given, and the registry of formats. A format renders documents and never knows an analysis.

A stranger adds a format with one file:

    @register_format("markdown")
    class Markdown(Format): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar

from absint.contract.document import Document, Heading, Row
from absint.errors import PluginError, UsageError
from absint.registry import Registry
from absint.reports.options import NoOptions, read_options

GZIP = ".gz"        # behind the suffix of a text format
F = TypeVar("F", bound="type[Format]")


class Format(ABC):
    """Writes one run: `begin` once, `row` for each record as it is decided, `end` once, also after an interrupt.

    stream: text, or bytes where `binary`.  suffixes: names of files that choose this format.  fits: of files of another format that
    hold this one where --format states it: SARIF is JSON, too.  streams: whether rows appear while the run goes on; a format that
    cannot keeps them until `end`, so that a run that fails leaves its output empty.  draws: it shows a document's figures and nothing else.
    thorough: it shows all that can be said, so that an analysis may spend some seconds more for it (`Analysis.further`).

    Options: a frozen dataclass, each field an option with its default (`read_options` says which types): `--format NAME:option=value`.
    options: one of these, what the user said.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    fits: ClassVar[tuple[str, ...]] = ()
    streams: ClassVar[bool] = False
    binary: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    thorough: ClassVar[bool] = False
    Options: ClassVar[type[Any]] = NoOptions
    options: ClassVar[Any] = NoOptions()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "Options" in cls.__dict__:
            cls.options = cls.Options()

    def __init__(self, stream: Any, suffix: str = "") -> None:
        self.stream, self.suffix = stream, suffix

    @classmethod  # noqa: B027  # most formats need nothing
    def check(cls) -> None:
        """Raise UnsupportedError where something that it needs is not installed; before any work."""

    def begin(self, heading: Heading) -> None:  # noqa: B027  # nor keep a heading
        """The run starts."""

    def row(self, row: Row) -> None:  # noqa: B027  # nor show rows
        """One item is decided."""

    @abstractmethod
    def end(self, document: Document) -> None:
        """The run is over, or was interrupted."""


class KeptFormat(Format):
    """A format that is written as a whole, at the end: heading and rows are kept until then."""

    def __init__(self, stream: Any, suffix: str = "") -> None:
        super().__init__(stream, suffix)
        self.rows: list[Row] = []

    def begin(self, heading: Heading) -> None:
        """Kept."""
        self.heading = heading

    def row(self, row: Row) -> None:
        """Kept."""
        self.rows.append(row)


FORMATS: Registry[type[Format]] = Registry("format", "absint.reports")


def register_format(name: str) -> Callable[[F], F]:
    """Class decorator: make the format known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: F) -> F:
        FORMATS.add(name, cls)
        return cls

    return enter


def format_of(choice: str) -> type[Format]:
    """The format of a name; of 'NAME:option=value,...' a subclass of it whose `options` these are.

    Raises UsageError E-FORMAT-UNKNOWN, E-FORMAT-OPTION, PluginError E-PLUGIN-CONTRACT.
    """
    name, colon, text = choice.partition(":")
    kind: Any = FORMATS.get(name)
    if not (isinstance(kind, type) and issubclass(kind, Format)):
        raise PluginError("E-PLUGIN-CONTRACT", f"what is registered as format '{name}' is no subclass of Format", where=name,
                          hint="see docs/extending.md")
    if not colon:
        return kind
    said = {"options": read_options(name, kind.Options, text), "__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), said)


def is_compressed(path: PurePath) -> bool:
    """Whether a file is to be compressed, by its name: 'run.json.gz'."""
    return path.suffix.lower() == GZIP


def suffix_of(path: PurePath) -> str:
    """What its name says of its format: '.json', of 'run.json.gz', too; '' where it says nothing."""
    return PurePath(path.stem).suffix.lower() if is_compressed(path) else path.suffix.lower()


def format_for(path: PurePath) -> type[Format] | None:
    """The format whose suffix a file has; None where no format asks for it."""
    suffix = suffix_of(path)
    return next((kind for name in FORMATS if suffix and suffix in (kind := format_of(name)).suffixes), None)


def drawing(path: PurePath, where: str) -> type[Format]:
    """The format that draws pictures of this suffix. Raises UsageError E-PLOT-FORMAT where none does."""
    kind = format_for(path)
    if kind is None or not kind.draws:
        known = sorted(suffix for name in FORMATS if format_of(name).draws for suffix in format_of(name).suffixes)
        raise UsageError("E-PLOT-FORMAT", f"no picture is written as '{path.suffix}'", where=where, hint=f"use {', '.join(known)}")
    return kind


