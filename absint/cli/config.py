"""`absint config`: what a project file and the environment state, or every option of one command with who states it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli import project_keys as keys
from absint.cli.clock import Invocation
from absint.cli.derived import plugin_files, shown_default
from absint.cli.domains import check_format
from absint.cli.project_file import PROFILES, ProjectFile
from absint.cli.settings import (
    CONFIG,
    NO_CONFIG,
    PROFILE,
    Choice,
    Settings,
    file_of,
    profile_of,
    project_plugins,
    shown_value,
    warn_of_slips,
)
from absint.contract.analysis import ANALYSES
from absint.contract.options import Option
from absint.errors import UsageError, printable
from absint.registry import load_plugin

CONTEXT = {"ignore_unknown_options": True}      # what stands after the command is the command's
_SPACE = 2


def config(
    words: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND [OPTIONS]]", show_default=False,
                                                      help="A command, with options as it would be given.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    project_file: Annotated[Path | None, typer.Option(
        CONFIG, help="Project file. Default: the nearest absint.toml, here or above.", show_default=False)] = None,
    project_profile: Annotated[str | None, typer.Option(PROFILE, help="Its table [profile.NAME], before the rest of it.")] = None,
    no_project: Annotated[bool, typer.Option(NO_CONFIG, help="Neither a project file nor the environment.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """Show what `absint.toml` and the environment state; with a command, every option of it, its value and where that comes from.

    Nothing is run. With options behind the command, as it would be given: `absint config verify --eps 0.1`.
    """
    choice = Choice(project_file, project_profile, no_project)
    return lambda: _execute(list(words or ()), format_, choice)


def _execute(words: list[str], format_: str, choice: Choice) -> int:
    check_format(format_)
    choice.check()
    if not words:
        return _show_stated(choice, format_)
    if _command(words) is None:      # one of a plug-in's
        for file in (*plugin_files(words), *project_plugins(choice)):
            load_plugin(file)
    name = _command(words)
    if name is None:
        raise UsageError("E-USAGE", f"'{words[0]}' is no command that takes options of a project file", where=words[0],
                         hint=f"one of {', '.join(one.replace('.', ' ') for one in ANALYSES)}")
    rest = words[1:] if words[0] == name else words[name.count(".") + 1 :]
    invocation = Invocation.of([*name.split("."), *rest, *_repeated(choice)], None)
    invocation.explain = lambda settings: _show(settings, format_)
    from absint.cli.main import build

    action: Any = build(only=name.partition(".")[0])(list(invocation), prog_name="absint", standalone_mode=False, obj=invocation)
    return int(action() if callable(action) else action or 0)


def _command(words: Sequence[str]) -> str | None:
    """The analysis that is named: 'taboo certify' or 'taboo.certify'."""
    return next((name for name in (words[0], ".".join(words[:2])) if name in ANALYSES), None)


def _repeated(choice: Choice) -> list[str]:
    file = [] if choice.file is None else [CONFIG, str(choice.file)]
    profile = [] if choice.profile is None else [PROFILE, choice.profile]
    return [*file, *profile, *([NO_CONFIG] if choice.none else [])]


# ---- one command ---------------------------------------------------------------------------------------------------------


def _show(settings: Settings, format_: str) -> int:
    """Every option; those that someone states first."""
    rows = sorted((_row(one, settings) for one in keys.own_options(settings.analysis)), key=lambda row: bool(row["source"] == "default"))
    file, profile = settings.file, settings.profile
    if format_ == "json":
        said = {"command": settings.analysis.replace(".", " "), **_of_file(file, profile), "set_aside": dict(settings.aside)}
        _write_json({**said, "options": [{key: value for key, value in row.items() if key != "text"} for row in rows]})
    else:
        head = f"absint {settings.analysis.replace('.', ' ')}: {'no project file' if file is None else file.path}"
        _write_text(head + (f", profile {profile}" if profile else ""), [(row["option"], row["text"], row["origin"]) for row in rows])
        for option, other in settings.aside.items():
            sys.stdout.write(f"{option} is set aside for {other}\n")
    if not settings.alone:
        warn_of_slips()
    return 0


def _row(one: Option, settings: Settings) -> dict[str, Any]:
    stated = settings.values.get(one.name)
    if stated is None:
        text = shown_default(one) or ("false" if one.kind is bool else "")
        return {"option": one.key, "value": _plain(one, one.default), "origin": "default", "source": "default", "text": text}
    return {"option": one.key, "value": _plain(one, stated.value), "origin": stated.origin, "source": stated.source.value,
            "text": shown_value(one, stated.value)}


def _plain(one: Option, value: Any) -> Any:
    """JSON-ready, as a project file would state it."""
    if one.words.secret and value is not None:
        return "(secret)"
    if one.kind is bool and not one.many:
        return value != one.default
    if isinstance(value, (tuple, list)):
        return list(map(str, value))
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


# ---- all that is stated -----------------------------------------------------------------------------------------------------


def _show_stated(choice: Choice, format_: str) -> int:
    file = None if choice.none else file_of(choice)[0]
    profile = None if file is None else profile_of(file, choice)
    rows = [*([] if file is None else _in_file(file)), *([] if choice.none else _in_environment())]
    if format_ == "json":
        _write_json({**_of_file(file, profile), "profiles": [] if file is None else file.profiles(), "values": rows})
    elif rows:
        head = "no project file" if file is None else f"{file.path}{f', profile {profile}' if profile else ''}"
        _write_text(head, [(row["table"] or "every command", row["option"], _text(row["value"]), row["origin"]) for row in rows])
    else:
        sys.stdout.write("no absint.toml here or above states an option, nor does the environment; absint init writes a file\n")
    if not choice.none:
        warn_of_slips()
    return 0


def _in_file(file: ProjectFile) -> Iterator[dict[str, Any]]:
    for entry in keys.entries(file):
        if isinstance(entry, keys.Entry):
            table = ".".join(filter(None, ("" if entry.profile is None else f"{PROFILES}.{entry.profile}", entry.command)))
            secret = any(found[0].words.secret for name in keys.scope(entry.command) if (found := keys.option_of(name, entry.key)))
            yield {"table": table, "option": entry.key, "value": "(secret)" if secret else entry.value, "origin": file.place(entry.way)}


def _in_environment() -> Iterator[dict[str, Any]]:
    seen = set()
    for name in ANALYSES.names():
        for level in keys.levels(name):
            for variable, (one, value) in keys.variables(name, level).items():
                if variable not in seen:
                    seen.add(variable)
                    yield {"table": level, "option": one.key, "value": _plain(one, value), "origin": variable}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


# ---- on stdout --------------------------------------------------------------------------------------------------------------


def _of_file(file: ProjectFile | None, profile: str | None) -> dict[str, Any]:
    return {"file": None if file is None else str(file.path), "sha256": None if file is None else file.sha256, "profile": profile}


def _write_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + os.linesep)


def _write_text(head: str, rows: Sequence[tuple[str, ...]]) -> None:
    sys.stdout.write(printable(head) + "\n")
    plain = [tuple(printable(cell).replace("\n", " ") for cell in row) for row in rows]
    widths = [max(map(len, column)) + _SPACE for column in zip(*plain, strict=True)]
    for row in plain:
        sys.stdout.write("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
