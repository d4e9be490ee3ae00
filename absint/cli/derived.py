"""The commands of the analyses, made from their options: nothing of an analysis is written here, and torch is not loaded."""

from __future__ import annotations

import inspect
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.clock import Invocation
from absint.cli.settings import CONFIG, NO_CONFIG, PROFILE, Choice, settle, tell
from absint.cli.slips import misplaced_hint
from absint.contract.analysis import ANALYSES, Analysis, analysis_of
from absint.contract.options import GROUPS, LIMITS, Option, options_of
from absint.errors import AbsintError, UsageError

_BACK = "__back"        # of the name of a parameter: the flag that switches an option's flag back
_CHOICE = (             # which project file counts: parameters of every command
    ("project_file", CONFIG, Path, "Project file to take options from. Default: the nearest absint.toml, here or above."),
    ("project_profile", PROFILE, str, "Its table [profile.NAME], before the rest of it."),
    ("no_project", NO_CONFIG, bool, "Take no option from a project file or the environment."),
)
_FIRST = ("verify", "query", "radius", "bounds", "inspect")    # the order of `absint --help`; others follow by name


def add_commands(app: typer.Typer, *, everything: bool, only: str = "") -> None:
    """A command for each analysis; 'validate.run' is the command `run` of the group `validate`.

    everything: uncommon options, too.  only: one command or group alone.
    """
    groups: dict[str, typer.Typer] = {}
    for name in ordered([name for name in ANALYSES.names() if only in ("", name.partition(".")[0])]):
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
    back = _switched_back(options)

    def command(context: typer.Context, **values: Any) -> Callable[[], int]:
        given = {one.name: _value(one, value) for one in options if _stated(value := values[one.name])}
        _spell_out(options, given)
        invocation = context.find_root().obj or Invocation.of([name], None)
        _check_twice(name, options, invocation)
        off = {one.name: one.default for one in back if values[f"{one.name}{_BACK}"]}
        _check_both(back, given, off)
        choice = Choice(values.get("project_file"), values.get("project_profile"), bool(values.get("no_project")))
        other, stated = analysis.route(given)
        return lambda: _execute(other or name, {**stated, **off}, choice, invocation)

    parameters = [inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    parameters += [_parameter(one, everything=everything) for one in options]
    parameters += [_flag(f"{one.name}{_BACK}", f"--{one.opposite}", f"Not {one.word}.", hidden=True) for one in back]
    parameters += _choice_parameters(options, everything=everything)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = analysis.help()
    return command


def _execute(name: str, given: Mapping[str, Any], choice: Choice, invocation: Invocation) -> int:
    """Options of the analysis that is meant, with what others state of them; what it does not know is refused."""
    kind = analysis_of(name).Options
    known = {one.name for one in options_of(kind)}
    strange = [one for one in given if one not in known]
    if strange:
        raise UsageError("E-USAGE", f"--{strange[0].replace('_', '-')} has no meaning for absint {name.replace('.', ' ')}",
                         hint=misplaced_hint(name, invocation))
    settings = settle(name, given, choice)
    if invocation.explain is not None:
        return invocation.explain(settings)
    from absint.runs.command import execute

    tell(settings)
    loaded = (*invocation.loaded, *settings.loaded)
    try:
        settings.check_kept()
        return execute(name, kind(**settings.given), settings.line(invocation), invocation.begin, loaded, settings.header())
    except AbsintError as error:
        settings.place(error)
        raise


def _switched_back(options: Sequence[Option]) -> list[Option]:
    """Flags that can be taken back: a project file may have set them."""
    words = {one.word for one in options}
    return [one for one in options
            if one.kind is bool and one.words.stands is None and one.words.project and f"--{one.opposite}" not in words]


def _check_both(back: Sequence[Option], given: Mapping[str, Any], off: Mapping[str, Any]) -> None:
    """Raise UsageError E-USAGE for a flag that is given and taken back."""
    both = next((one for one in back if one.name in given and one.name in off), None)
    if both is not None:
        raise UsageError("E-USAGE", f"{both.word} and --{both.opposite} exclude each other", where=both.word, hint="give one of them")


def _flag(name: str, word: str, text: str, *, hidden: bool) -> inspect.Parameter:
    info = typer.Option(word, help=text, hidden=hidden, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, info])


def _choice_parameters(options: Sequence[Option], *, everything: bool) -> Iterator[inspect.Parameter]:
    """What says which project file counts; a stranger's option of the same word comes before."""
    words = {one.word for one in options}
    for name, word, kind, text in _CHOICE:
        if word not in words:
            info = typer.Option(word, help=text, rich_help_panel="Project file", hidden=not everything, show_default=False)
            taken: Any = kind if kind is bool else kind | None
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False if kind is bool else None,
                                    annotation=Annotated[taken, info])


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


def _check_twice(name: str, options: Sequence[Option], words: Sequence[str]) -> None:
    """The last of two would silently win. Raises UsageError E-USAGE."""
    counts = Counter(word.partition("=")[0] for word in words if word.startswith("--"))
    once = [CONFIG, PROFILE, *(one.word for one in options if not one.many and one.kind is not bool)]
    twice = [word for word in once if counts[word] > 1]
    if not twice:
        return
    other = _taking_several(twice, set(counts))
    if other and list(words[: 1 + name.count(".")]) == name.split("."):
        line = shlex.join(["absint", *other.split("."), *words[1 + name.count(".") :]])
        raise UsageError("E-USAGE", f"{twice[0]} is given twice", where=twice[0], hint=f"several values in one run: {line}")
    raise UsageError("E-USAGE", f"{twice[0]} is given twice", where=twice[0], hint="one value a run; repeat the command for another")


def _taking_several(twice: Sequence[str], words: set[str]) -> str:
    """The name of an analysis that takes each of these several times, and all of the words; '' for none."""
    for name in ANALYSES.names():
        try:
            known = {one.word: one for one in all_options(analysis_of(name))}
        except AbsintError:     # a broken plug-in
            continue
        if words <= known.keys() and all(known[word].many for word in twice):
            return name
    return ""


def plugin_files(words: Sequence[str]) -> Iterator[Path]:
    """Files after --plugin: they may define the very command that is asked for."""
    for place, word in enumerate(words):
        if word == "--plugin" and place + 1 < len(words):
            yield Path(words[place + 1])
        elif word.startswith("--plugin="):
            yield Path(word.partition("=")[2])
