"""`absint domains`: what is registered, with options and sources. A broken plug-in is listed, not fatal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class DomainRow:
    """One registered domain. package: the distribution it came with, or the plug-in file's module. error: why it is broken."""

    name: str
    cls: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    package: str = ""
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"name": self.name, "class": self.cls, "options": self.options, "source": self.source, "package": self.package,
                "error": self.error}


def domains(
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    plugin: Annotated[list[Path] | None, typer.Option(help="Python file with domains; repeatable.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """List the abstract domains: options with defaults, source, and the package each comes from."""
    return lambda: _execute(format_, tuple(plugin or ()))


def _execute(format_: str, plugin: tuple[Path, ...]) -> int:
    from absint.cli.parsing import parse_format
    from absint.registry import load_plugin

    parse_format(format_)
    for file in plugin:
        load_plugin(file)
    rows = list_domains()
    if format_ == "json":
        sys.stdout.write(json.dumps([row.as_dict() for row in rows], indent=2) + "\n")
    else:
        _print(rows)
    return 0


def list_domains() -> list[DomainRow]:
    """Every registered domain; loading one that is broken gives a row with its error."""
    from importlib.metadata import entry_points

    from absint.engine.domain import DOMAINS

    packages = {point.name: point.dist.name if point.dist else "" for point in entry_points(group=DOMAINS.group)}
    return [_row(name, packages.get(name, "")) for name in DOMAINS]


def _row(name: str, package: str) -> DomainRow:
    from absint.engine.domain import DOMAINS, Domain
    from absint.errors import AbsintError

    try:
        cls = DOMAINS.get(name)
    except AbsintError as error:
        return DomainRow(name, package=package, error=f"{error.code}: {error.what}")
    label = f"{getattr(cls, '__module__', '?')}.{getattr(cls, '__qualname__', repr(cls))}"
    if not (isinstance(cls, type) and issubclass(cls, Domain)):
        return DomainRow(name, label, package=package, error="E-PLUGIN-CONTRACT: no subclass of Domain")
    return DomainRow(name, label, _options(cls), cls.source, package or cls.__module__)


def _options(cls: type) -> dict[str, Any]:
    if not is_dataclass(cls):
        return {}
    found: dict[str, Any] = {}
    for one in (f for f in fields(cls) if f.init):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        found[one.name] = default if isinstance(default, (bool, int, float, str)) else None if default is MISSING else repr(default)
    return found


def _print(rows: list[DomainRow]) -> None:
    from absint.reports.terminal import is_plain, print_table

    cells = []
    for row in rows:
        options = " ".join(f"{name}={value}" for name, value in row.options.items())
        cells.append((row.name, row.cls, options, row.error or row.source, row.package))
    styles = ["red" if row.error else "" for row in rows]
    print_table(sys.stdout, ("name", "class", "options", "source", "package"), cells, styles, plain=is_plain(sys.stdout))
