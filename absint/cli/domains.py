"""`absint domains`: what is registered, with options and sources. A broken plug-in is listed, not fatal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from absint.errors import UsageError

_WIDTH, _INDENT = 80, 20


@dataclass(frozen=True)
class DomainRow:
    """One registered domain. package: the distribution it came with, or the plug-in file's module. error: why it is broken.

    options: name -> default.  help: name -> what it does.
    """

    name: str
    cls: str = ""
    summary: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    help: dict[str, str] = field(default_factory=dict)
    source: str = ""
    package: str = ""
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "class": self.cls, "summary": self.summary, "options": self.options, "help": self.help,
                "source": self.source, "package": self.package, "error": self.error}


def domains(
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with domains; repeatable.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """List the abstract domains: options with defaults, source, and the package each comes from."""
    return lambda: _execute(format_, tuple(plugin or ()))


def _execute(format_: str, plugin: tuple[Path, ...]) -> int:
    from absint.registry import load_plugin

    check_format(format_)
    for file in plugin:
        load_plugin(file)
    rows = list_domains()
    if format_ == "json":
        sys.stdout.write(json.dumps([row.as_dict() for row in rows], indent=2) + "\n")
    else:
        _print(rows)
    return 0


def check_format(text: str) -> None:
    """Of the commands that are no analysis. Raises UsageError E-FORMAT-UNKNOWN."""
    if text not in ("text", "json"):
        raise UsageError("E-FORMAT-UNKNOWN", f"there is no format '{text}' here", where="--format", hint="text or json")


def list_domains() -> list[DomainRow]:
    """Every registered domain; loading one that is broken gives a row with its error."""
    from importlib.metadata import entry_points

    from absint.engine.domain import DOMAINS

    packages = {point.name: point.dist.name if point.dist else "" for point in entry_points(group=DOMAINS.group)}
    return [_row(name, packages.get(name, "")) for name in DOMAINS]


def _row(name: str, package: str) -> DomainRow:
    from absint.engine.domain import DOMAINS, Domain
    from absint.engine.domain_options import domain_options, summary_of
    from absint.errors import AbsintError

    try:
        cls = DOMAINS.get(name)
    except AbsintError as error:
        return DomainRow(name, package=package, error=f"{error.code}: {error.what}")
    label = f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', repr(cls))}"
    if not (isinstance(cls, type) and issubclass(cls, Domain)):
        return DomainRow(name, label, package=package, error="E-PLUGIN-CONTRACT: no subclass of Domain")
    options = domain_options(cls)
    return DomainRow(name, label, summary_of(cls), {one.name: one.default for one in options}, {one.name: one.help for one in options},
                     cls.source, package or cls.__module__)


def _print(rows: list[DomainRow]) -> None:
    """At most 80 columns, so that no terminal breaks a line; a word that is longer stands alone."""
    from absint.reports.terminal import is_plain, one_line, print_line

    plain = is_plain(sys.stdout)
    for row in rows:
        print_line(sys.stdout, one_line(row.name), "bold red" if row.error else "bold", plain=plain)
        for line in _lines(row):
            print_line(sys.stdout, line, "red" if row.error else "", plain=plain)


def _lines(row: DomainRow) -> Iterator[str]:
    from absint.reports.terminal import one_line

    for text in (row.error or row.summary, *([row.source] if row.source else []), *([f"from {row.package}"] if row.package else [])):
        yield from wrap(one_line(text), _WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    for name, default in row.options.items():
        said = one_line(f"{row.help.get(name) or 'not explained'} (default {default})")
        start = f"    {one_line(name):<{_INDENT - 4}}"
        first = start if len(start) == _INDENT else f"{start}  "
        yield from wrap(said, _WIDTH, initial_indent=first, subsequent_indent=" " * _INDENT, break_long_words=False)
