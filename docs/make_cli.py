"""Writes docs/cli.md from the commands themselves: `python docs/make_cli.py`. A test compares the page with `page()`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from absint.cli import main

PAGE = Path(__file__).with_name("cli.md")
_INTRO = """# Command line

<!-- Made by `python docs/make_cli.py`; a test compares it with the code. -->

stdout carries the result, stderr the progress, notes and errors. An error is one message with a stable code
([faults.md](faults.md)); `--debug` adds the traceback. A crash, a timeout or a NaN is never a verdict.

| exit code | meaning |
|---|---|
| 0 | the command did what it was asked; `verify`: every correctly classified instance is verified, and there is one |
| 1 | `verify`: the run finished and something is not verified |
| 2 | usage: the command line itself is wrong |
| 3 | bad input: a file or a number is missing, malformed or out of range |
| 4 | unsupported: well formed, but absint does not (yet) handle it soundly |
| 5 | resource: memory, disk, time or a device |
| 70 | internal error: a bug, and no verdict |
| 130 | interrupted |
| 141 | the reader of our output went away |
"""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command's function: its name, type, default, and what typer was told about it."""

    name: str
    kind: str
    default: Any
    info: Any

    @property
    def is_option(self) -> bool:
        """Whether it is given by name."""
        return isinstance(self.info, OptionInfo)


def page() -> str:
    """The whole page."""
    parts = [_INTRO]
    for name, function in _commands(main.build()):
        parts.append("\n".join(_section(name, function)))
    return "\n".join(parts)


def _commands(app: typer.Typer, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """The commands by their words, those of groups last."""
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{prefix}{command.name}", command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, f"{prefix}{group.name} ")


def _parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in signature(function).parameters.items():
        infos = [i for i in getattr(hints[name], "__metadata__", ()) if isinstance(i, (OptionInfo, ArgumentInfo))]
        if infos:
            yield Parameter(name, _kind(get_args(hints[name])[0]), parameter.default, infos[0])


def _kind(annotation: Any) -> str:
    """'FLOAT' for float | None, 'FILE' for list[Path] | None, '' for bool."""
    inner = [part for part in get_args(annotation) if part is not NoneType] or [annotation]
    names = {bool: "", str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "FILE"}
    return names[inner[0]] if inner[0] in names else _kind(inner[0])


def _section(name: str, function: Callable[..., Any]) -> Iterator[str]:
    parameters = list(_parameters(function))
    yield f"## absint {name}"
    yield ""
    yield "```text"
    yield " ".join(["absint", name, *(p.info.metavar or p.name.upper() for p in parameters if not p.is_option), "[OPTIONS]"])
    yield "```"
    yield ""
    for paragraph in re.split(r"\n\s*\n", (function.__doc__ or "").strip()):
        yield " ".join(paragraph.split())
        yield ""
    panels: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        if parameter.is_option:
            panels.setdefault(parameter.info.rich_help_panel or "Option", []).append(parameter)
    for panel, options in panels.items():
        yield f"| {panel} | default | |"
        yield "|---|---|---|"
        yield from (_row(option) for option in options)
        yield ""


def _row(option: Parameter) -> str:
    given = (option.info.default, *(option.info.param_decls or ()))  # in Annotated, typer keeps the first name as default
    names = [word for word in given if isinstance(word, str) and word.startswith("-")] or [f"--{option.name.replace('_', '-')}"]
    words = ", ".join(f"`{name}{' ' + option.kind if option.kind else ''}`" for name in names)
    return f"| {words} | {_default(option)} | {_escaped(option.info.help or '')} |"


def _default(option: Parameter) -> str:
    if isinstance(option.info.show_default, str):
        return _escaped(option.info.show_default)
    return "" if option.default is None or isinstance(option.default, bool) else f"`{option.default}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
