"""`absint domains`: domains and strategies that are registered, with options and sources. A broken plug-in is listed, not fatal."""

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
    """One registered domain or strategy, as `kind` says.

    package: the distribution it came with, or the plug-in file's module.  error: why it is broken.
    options: name -> default.  help: name -> what it does.
    """

    name: str
    kind: str
    cls: str = ""
    summary: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    help: dict[str, str] = field(default_factory=dict)
    source: str = ""
    package: str = ""
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "kind": self.kind, "class": self.cls, "summary": self.summary, "options": self.options,
                "help": self.help, "source": self.source, "package": self.package, "error": self.error}


def domains(
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with domains or strategies; repeatable.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """List the abstract domains and the strategies made of them: options with defaults, source, and the package each comes from."""
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
    """Every registered domain, then every strategy; loading one that is broken gives a row with its error."""
    from importlib.metadata import entry_points

    from absint.engine.domain import DOMAINS
    from absint.search.strategy import STRATEGIES

    rows = []
    for registry in (DOMAINS, STRATEGIES):
        packages = {point.name: point.dist.name if point.dist else "" for point in entry_points(group=registry.group)}
        rows += [_row(name, registry.noun, registry.get, packages.get(name, "")) for name in registry]
    return rows


def _row(name: str, kind: str, get: Callable[[str], Any], package: str) -> DomainRow:
    from absint.engine.domain_options import domain_options, summary_of
    from absint.errors import AbsintError
    from absint.search.names import class_of
    from absint.search.strategy import Strategy

    cls: Any = None
    try:
        cls = get(name)
        class_of(name)
    except AbsintError as error:
        return DomainRow(name, kind, _label(cls), package=package, error=f"{error.code}: {error.what}")
    options = domain_options(cls)
    source = cls.source if issubclass(cls, Strategy) else cls.stated.source
    return DomainRow(name, kind, _label(cls), summary_of(cls), {one.name: one.default for one in options},
                     {one.name: one.help for one in options}, source, package or cls.__module__)


def _label(cls: Any) -> str:
    return "" if cls is None else f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', repr(cls))}"


def _print(rows: list[DomainRow]) -> None:
    """At most 80 columns, so that no terminal breaks a line; a word that is longer stands alone."""
    from absint.reports.terminal import is_plain, one_line, print_line

    plain = is_plain(sys.stdout)
    for row in rows:
        title = row.name if row.kind == "domain" else f"{row.name} ({row.kind})"
        print_line(sys.stdout, one_line(title), "bold red" if row.error else "bold", plain=plain)
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
