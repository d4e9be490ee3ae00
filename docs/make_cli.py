"""Writes docs/cli.md from the options of every analysis: `python docs/make_cli.py`. A test compares the page with `page()`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from absint.cli import main
from absint.cli.derived import all_options, ordered, shown_default
from absint.contract.analysis import ANALYSES, analysis_of
from absint.contract.options import Option

PAGE = Path(__file__).with_name("cli.md")
_INTRO = """# Command line

<!-- Made by `python docs/make_cli.py`; a test compares it with the code. -->

stdout carries the result, stderr the progress, notes and errors. An error is one message with a stable code
([faults.md](faults.md)); `--debug` adds the traceback. A crash, a timeout or a NaN is never a verdict.
`--help` (`-h`) shows the options in bold, `--help-all` all of them. An option given twice is an error, unless it may be repeated.
Options of analyses come from `absint.toml` and from variables such as `ABSINT_EPS`, too ([project-file.md](project-file.md)):
`--config FILE`, `--profile NAME` and `--no-config` say which count, and every flag can be taken back (`--no-rescale`, `--rounding`).

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


def page() -> str:
    """The whole page: commands of analyses from their options, the others from their functions."""
    parts = [_INTRO]
    for name in ordered(ANALYSES.names()):
        parts.append("\n".join(_analysis(name)))
    for command in main.build().registered_commands:
        if command.name in main.OWN and command.callback is not None:
            parts.append("\n".join(_command(command.name, command.callback)))
    return "\n".join(parts)


def _analysis(name: str) -> Iterator[str]:
    analysis = analysis_of(name)
    options = all_options(analysis)
    words = name.replace(".", " ")
    yield from _head(words, [f"[{one.word}]" if one.words.argument else "" for one in options], analysis.help())
    groups: dict[str, list[Option]] = {}
    for one in options:
        if not one.words.argument:
            groups.setdefault(one.words.group, []).append(one)
    for group, members in groups.items():
        yield f"| {group} | default | |"
        yield "|---|---|---|"
        yield from (_option(one) for one in members)
        yield ""


def _head(words: str, arguments: list[str], text: str) -> Iterator[str]:
    yield f"## absint {words}"
    yield ""
    yield "```text"
    yield " ".join(["absint", words, *filter(None, arguments), "[OPTIONS]"])
    yield "```"
    yield ""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield " ".join(paragraph.split())
        yield ""


def _option(one: Option) -> str:
    """Bold: shown by `--help`; the others by `--help-all`."""
    kind = {bool: "", int: "NUMBER", float: "NUMBER", Path: "FILE"}.get(one.kind, "TEXT")
    word = f"`{one.word}{' ' + kind if kind else ''}`"
    default = shown_default(one)
    default = f"`{_escaped(default)}`" if default and not one.words.shown else _escaped(default)
    return f"| {f'**{word}**' if one.words.common else word} | {default} | {_escaped(one.words.help)} |"


def _command(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """A command that is no analysis, from the signature that typer reads."""
    hints = get_type_hints(function, include_extras=True)
    stated = [info for hint in hints.values() for info in getattr(hint, "__metadata__", ())]
    yield from _head(name, [info.metavar or "" for info in stated if isinstance(info, ArgumentInfo)], function.__doc__ or "")
    yield "| Option | default | |"
    yield "|---|---|---|"
    for parameter in signature(function).parameters.values():
        infos = [i for i in getattr(hints[parameter.name], "__metadata__", ()) if isinstance(i, OptionInfo)]
        if infos:
            yield _row(parameter.name, _kind(get_args(hints[parameter.name])[0]), parameter.default, infos[0])
    yield ""


def _kind(annotation: Any) -> str:
    """'FLOAT' for float | None, 'FILE' for list[Path] | None, '' for bool."""
    inner = [part for part in get_args(annotation) if part is not NoneType] or [annotation]
    names = {bool: "", str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "FILE"}
    return names[inner[0]] if inner[0] in names else _kind(inner[0])


def _row(name: str, kind: str, default: Any, info: OptionInfo) -> str:
    given = (info.default, *(info.param_decls or ()))  # in Annotated, typer keeps the first name as default
    names = [word for word in given if isinstance(word, str) and word.startswith("-")] or [f"--{name.replace('_', '-')}"]
    words = ", ".join(f"`{word}{' ' + kind if kind else ''}`" for word in names)
    shown = _escaped(info.show_default) if isinstance(info.show_default, str) else (
        "" if default is None or default is Parameter.empty or isinstance(default, bool) else f"`{default}`")
    return f"| {words} | {shown} | {_escaped(info.help or '')} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
