"""The commands of the analyses, made from their options: nothing of an analysis is written here, and torch is not loaded."""

from __future__ import annotations

import inspect
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.contract.analysis import ANALYSES, Analysis, analysis_of
from absint.contract.options import GROUPS, LIMITS, Option, options_of
from absint.errors import AbsintError, UsageError

_FIRST = ("verify", "query", "radius", "bounds", "inspect")    # the order of `absint --help`; others follow by name


def add_commands(app: typer.Typer, *, everything: bool) -> None:
    """A command for each analysis; 'validate.run' is the command `run` of the group `validate`. everything: uncommon options, too."""
    groups: dict[str, typer.Typer] = {}
    for name in ordered(ANALYSES.names()):
        group, _, command = name.rpartition(".")
        target = app if not group else _group(app, groups, group)
        try:
            analysis = analysis_of(name)
        except AbsintError as error:    # one broken plug-in takes no other command away
            any_words = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
            target.command(command, help=f"Broken: {error.code}.", context_settings=any_words)(_broken(error))
            continue
        more = not everything and any(not one.words.common for one in all_options(analysis))
        target.command(command, help=analysis.help(), epilog=f"More options: absint {name.replace('.', ' ')} --help-all" if more else None)(
            function(name, analysis, everything=everything))


def ordered(names: Sequence[str]) -> list[str]:
    """Names as users read them."""
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def _broken(error: AbsintError) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def _group(app: typer.Typer, groups: dict[str, typer.Typer], name: str) -> typer.Typer:
    if name not in groups:
        groups[name] = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                                   context_settings={"help_option_names": ["-h", "--help"]})
        app.add_typer(groups[name], name=name, help=f"{', '.join(n.partition('.')[2] for n in ANALYSES if n.startswith(name + '.'))}.")
    return groups[name]


def all_options(analysis: Analysis[Any, Any]) -> list[Option]:
    """Those that its command takes: its own, then those of the analyses that it may hand over to."""
    found: dict[str, Option] = {}
    for one in options_of(analysis.Options):
        if one.words.command:
            found[one.name] = one
    for other in analysis.also:
        for one in options_of(analysis_of(other).Options):
            if one.words.command and not one.words.argument:
                found.setdefault(one.name, one)
    return sorted(found.values(), key=lambda one: (not one.words.argument, _place(one.words.group), not one.words.common))


def _place(group: str) -> float:
    """A group of an analysis' own stands before the limits."""
    return GROUPS.index(group) if group in GROUPS else GROUPS.index(LIMITS) - 0.5


def function(name: str, analysis: Analysis[Any, Any], *, everything: bool) -> Callable[..., Callable[[], int]]:
    """What typer makes a command of: its signature is the options."""
    options = all_options(analysis)

    def command(context: typer.Context, **values: Any) -> Callable[[], int]:
        given = {one.name: _value(one, value) for one in options if _stated(value := values[one.name])}
        _spell_out(options, given)
        words = list(context.find_root().obj or [name])
        _check_twice(options, words)
        line = shlex.join(["absint", *words])
        other, stated = analysis.route(given)
        invocation = context.find_root().obj
        return lambda: _execute(other or name, stated, line, invocation)

    parameters = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    parameters += [_parameter(one, everything=everything) for one in options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = analysis.help()
    return command


def _execute(name: str, given: Mapping[str, Any], line: str, invocation: Any) -> int:
    """Options of the analysis that is meant; what it does not know is refused."""
    from absint.runs.command import execute

    kind = analysis_of(name).Options
    known = {one.name for one in options_of(kind)}
    strange = [one for one in given if one not in known]
    if strange:
        raise UsageError("E-USAGE", f"--{strange[0].replace('_', '-')} has no meaning for absint {name.replace('.', ' ')}",
                         hint=f"see absint {name.replace('.', ' ')} --help-all")
    return execute(name, kind(**given), line, getattr(invocation, "begin", 0.0), getattr(invocation, "loaded", ()))


def _parameter(one: Option, *, everything: bool) -> inspect.Parameter:
    kind = list[one.kind] if one.many else one.kind  # type: ignore[name-defined]
    if one.words.argument:
        info = typer.Argument(metavar=one.word, help=one.words.help, show_default=False)
        return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info])
    hidden = not everything and not one.words.common
    info = typer.Option(one.word, help=one.words.help, rich_help_panel=one.words.group, hidden=hidden,
                        show_default=shown_default(one) or False)
    if one.kind is bool and not one.many:
        return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, info])
    return inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info])


def shown_default(one: Option) -> str:
    """What `--help` shows of the default; '' for nothing."""
    if one.words.shown or one.default is None or isinstance(one.default, (bool, tuple)):
        return one.words.shown
    return f"{one.default:g}" if isinstance(one.default, float) else str(one.default)


def _spell_out(options: Sequence[Option], given: dict[str, Any]) -> None:
    """A flag that is short for another option becomes that option. Raises UsageError E-USAGE where that says something else."""
    for one in options:
        if one.words.stands is not None and given.pop(one.name, False):
            name, value = one.words.stands
            if given.setdefault(name, value) != value:
                raise UsageError("E-USAGE", f"{one.word} means --{name} {value}, and --{name} is {given[name]}", where=one.word,
                                 hint="give one of them")


def _stated(value: Any) -> bool:
    """Whether an option was given; zero is a value."""
    return value is not None and value is not False and value != []


def _value(one: Option, value: Any) -> Any:
    """As the field takes it. A flag turns its default round."""
    if one.many:
        return tuple(value or ())
    return not one.default if one.kind is bool else value


def _check_twice(options: Sequence[Option], words: Sequence[str]) -> None:
    """The last of two would silently win. Raises UsageError E-USAGE."""
    counts = Counter(word.partition("=")[0] for word in words if word.startswith("--"))
    twice = [one.word for one in options if not one.many and one.kind is not bool and counts[one.word] > 1]
    if twice:
        raise UsageError("E-USAGE", f"{twice[0]} is given twice", where=twice[0], hint="one value a run; repeat the command for another")


def plugin_files(words: Sequence[str]) -> Iterator[Path]:
    """Files after --plugin: they may define the very command that is asked for."""
    for place, word in enumerate(words):
        if word == "--plugin" and place + 1 < len(words):
            yield Path(words[place + 1])
        elif word.startswith("--plugin="):
            yield Path(word.partition("=")[2])
