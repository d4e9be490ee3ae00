"""Which value an option has, and who says so: the command line before the environment before `absint.toml` before the default.

Of one source, what speaks to a command alone comes before what speaks to all, and the chosen profile of a file before the rest of it.
What an option excludes (`Words.instead`) is set aside where a source of lower rank states it: it would be refused, or mean nothing.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from absint.cli import project_keys as keys
from absint.cli.project_file import ProjectFile, found_file, read
from absint.contract.analysis import analysis_of
from absint.contract.options import Option
from absint.errors import AbsintError, InputError, UsageError, printable
from absint.registry import load_plugin

CONFIG, PROFILE, NO_CONFIG = "--config", "--profile", "--no-config"
_LONGEST = 60       # of a value in a note


class ValueSource(Enum):
    """Who states a value, the strongest last."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Value:
    """The value of an option's field. origin: 'absint.toml:3', 'ABSINT_EPS', 'command line' or 'default'."""

    value: Any
    source: ValueSource
    origin: str


@dataclass(frozen=True)
class Choice:
    """What the command line says of the other sources. file: of --config.  none: --no-config."""

    file: Path | None = None
    profile: str | None = None
    none: bool = False

    def check(self) -> None:
        """Raise UsageError E-USAGE for both."""
        if self.none and (self.file is not None or self.profile is not None):
            word = CONFIG if self.file is not None else PROFILE
            raise UsageError("E-USAGE", f"{NO_CONFIG} and {word} exclude each other", where=word, hint="give one of them")


@dataclass(frozen=True)
class Settings:
    """All that is stated for one analysis. values: by option.  aside: option -> the one that takes its place.

    file: the project file that was read.  profile: of it.  loaded: plug-ins that it names and that it took to read it.
    alone: whether neither file nor environment was asked.
    """

    analysis: str
    values: Mapping[str, Value]
    aside: Mapping[str, str] = field(default_factory=dict)
    file: ProjectFile | None = None
    profile: str | None = None
    loaded: tuple[Path, ...] = ()
    alone: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """The values alone."""
        return {name: one.value for name, one in self.values.items()}

    def taken(self) -> dict[str, Value]:
        """Those that the command line does not state."""
        return {name: one for name, one in self.values.items() if one.source is not ValueSource.COMMAND_LINE}

    def line(self, words: Sequence[str]) -> str:
        """The command that repeats the run wherever it is given: what file and environment say is spelt out, and they are left out.

        Where none says anything the words are the whole: what a file that comes to lie there would change, its own note tells.
        """
        options = {one.name: one for one in keys.own_options(self.analysis)}
        more = [word for name, one in self.taken().items() for word in _spelt(options[name], one.value)]
        if self.alone or (self.file is None and not more) or NO_CONFIG in {one.word for one in options.values()}:
            return shlex.join(["absint", *words])
        own = list(_without_choice(words))
        end = own.index("--") if "--" in own else len(own)      # what stands behind it is no option
        return shlex.join(["absint", *own[:end], *more, NO_CONFIG, *own[end:]])

    def note(self) -> str:
        """One line for people: 'absint.toml: net=net.onnx, eps=0.01; environment: ABSINT_DOMAIN=box'. '' for nothing taken."""
        options = {one.name: one for one in keys.own_options(self.analysis)}
        said: dict[str, list[str]] = {}
        for name, one in self.taken().items():
            known = one.source is ValueSource.FILE and self.file is not None
            said.setdefault(str(self.file.path) if known and self.file is not None else one.source.value, []).append(
                f"{options[name].key if known else one.origin}={shown_value(options[name], one.value)}")
        parts = [f"{where}: {', '.join(values)}" for where, values in said.items()]
        if self.profile is not None and parts:
            parts.append(f"profile {self.profile}")
        if self.aside:
            parts.append("set aside: " + ", ".join(f"{options[name].key} for {options[other].key}" for name, other in self.aside.items()))
        return "; ".join(parts)

    def place(self, error: AbsintError) -> None:
        """Add to an error about a value, or a file, who states it."""
        options = {one.name: one for one in keys.own_options(self.analysis)}
        error.details = (*error.details, *(f"{options[name].key} is stated by {one.origin}" for name, one in self.taken().items()
                                           if error.where in (options[name].word, str(one.value))))

    def check_kept(self) -> None:
        """Raise UsageError E-OUT where the project file itself would be written over."""
        for one in keys.own_options(self.analysis):
            stated = self.values.get(one.name)
            for path in () if self.file is None or stated is None or not one.words.writes else _each(stated.value):
                if _same(Path(path), self.file):
                    raise UsageError("E-OUT", "it would overwrite the project file", where=f"{one.word} {path}", hint="give another name")

    def header(self) -> dict[str, Any]:
        """What a report says of it, JSON-ready; empty where all is the command line's."""
        options = {one.name: one for one in keys.own_options(self.analysis)}
        taken = {options[name].key: one.origin for name, one in self.taken().items()}
        if not taken:
            return {}
        file = {} if self.file is None else {"file": str(self.file.path), "sha256": self.file.sha256, "profile": self.profile}
        return {**file, "origins": taken}


def _same(path: Path, file: ProjectFile | None) -> bool:
    try:
        return file is not None and path.samefile(file.path)
    except OSError:     # it is not there
        return False


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def settle(name: str, given: Mapping[str, Any], choice: Choice) -> Settings:
    """What is stated for an analysis by everyone. given: by the command line, by option; flags that it switches back among them.

    Raises InputError E-CONFIG, E-CONFIG-FILE, UsageError E-CONFIG-PROFILE, E-CONFIG-VARIABLE.
    """
    choice.check()
    here = {option: Value(value, ValueSource.COMMAND_LINE, ValueSource.COMMAND_LINE.value) for option, value in given.items()}
    asked = analysis_of(name).asks_project(given)
    if not asked and choice.file is None and choice.profile is not None:
        raise UsageError("E-CONFIG-PROFILE", "this command takes options of a project file only where it is named", where=PROFILE,
                         hint=f"add {CONFIG} FILE")
    if choice.none or (choice.file is None and not asked):
        return Settings(name, here, alone=True)
    file, loaded = file_of(choice)
    profile = None if file is None else profile_of(file, choice)
    layers = [*([] if file is None else _of_file(name, file, profile)), *_of_environment(name), here]
    values, aside = _merged(name, layers)
    return Settings(name, values, aside, file, profile, loaded)


def file_of(choice: Choice) -> tuple[ProjectFile | None, tuple[Path, ...]]:
    """The project file that counts, checked; and plug-ins that it names, where it took them to know the names in it."""
    path = _chosen(choice)
    file = None if path is None else read(path)
    if file is None:
        if choice.profile is not None:
            raise UsageError("E-CONFIG-PROFILE", "there is no project file", where=f"{PROFILE} {choice.profile}",
                             hint="name it with --config FILE, or write one: absint init")
        return None, ()
    try:
        keys.check(file)
    except InputError:
        plugins = plugins_of(file)
        if not plugins:
            raise
        for plugin in plugins:
            load_plugin(plugin)
        keys.check(file)
        return file, plugins
    return file, ()


def _chosen(choice: Choice) -> Path | None:
    return choice.file or _path(os.environ.get(keys.FILE_VARIABLE, "")) or found_file()


def project_plugins(choice: Choice) -> tuple[Path, ...]:
    """The plug-ins of the project file that counts; of one that cannot be read none."""
    path = None if choice.none else _chosen(choice)
    try:
        return () if path is None else plugins_of(read(path))
    except InputError:
        return ()


def plugins_of(file: ProjectFile) -> tuple[Path, ...]:
    """The plug-ins that it names for all commands."""
    stated = file.content.get("plugin", ())
    names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []
    return tuple(file.beside(one) for one in names if isinstance(one, str) and one)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def profile_of(file: ProjectFile, choice: Choice) -> str | None:
    """The profile that counts. Raises UsageError E-CONFIG-PROFILE for one that the file has not."""
    stated = choice.profile or os.environ.get(keys.PROFILE_VARIABLE) or None
    if stated is not None and stated not in file.profiles():
        known = ", ".join(file.profiles())
        raise UsageError("E-CONFIG-PROFILE", f"{file.path} has no profile '{stated}'", where=PROFILE,
                         hint=f"it has {known}" if known else f"add a table [profile.{stated}] to it")
    return stated


Layer = Mapping[str, Value]


def _of_file(name: str, file: ProjectFile, profile: str | None) -> Iterator[Layer]:
    """What a file says to an analysis, the weaker first. Raises InputError E-CONFIG for values that are other commands' alone."""
    stated = [one for one in keys.entries(file) if isinstance(one, keys.Entry) and one.profile in (None, profile)]
    wrong: list[str] = []
    layers: list[Layer] = []
    for kind, level in ((kind, level) for kind in dict.fromkeys((None, profile)) for level in keys.levels(name)):
        layer = {}
        for entry in stated:
            found = keys.option_of(name, entry.key) if (entry.profile, entry.command) == (kind, level) else None
            if found is None or not found[0].words.project:
                continue
            one, opposite = found
            try:
                layer[one.name] = Value(keys.of_file(one, entry.value, file, opposite=opposite), ValueSource.FILE, file.place(entry.way))
            except keys.UnfitError as error:
                wrong.append(f"{file.place(entry.way)}: {entry.key} of absint {name.replace('.', ' ')} takes {error}")
        layers.append(layer)
    if wrong:
        raise InputError("E-CONFIG", "what this command can make nothing of", where=str(file.path), details=wrong,
                         hint="what is meant for another command goes into a table of its name, such as [COMMAND]")
    yield from layers


def _of_environment(name: str) -> Iterator[Layer]:
    for level in keys.levels(name):
        yield {one.name: Value(value, ValueSource.ENVIRONMENT, variable) for variable, (one, value) in keys.variables(name, level).items()}


def _merged(name: str, layers: Sequence[Layer]) -> tuple[dict[str, Value], dict[str, str]]:
    """The strongest of each option, without what stronger ones take the place of; and those, with who did."""
    options = {one.name: one for one in keys.own_options(name)}
    values: dict[str, Value] = {}
    aside: dict[str, str] = {}
    for layer in layers:
        for option, stated in layer.items():
            off = options[option].kind is bool and stated.value == options[option].default
            for other in () if off else options[option].words.instead:
                if other in values and other not in layer:
                    del values[other]
                    aside[other] = option
        values.update(layer)
        aside = {other: by for other, by in aside.items() if other not in values}
    return values, aside


# ---- words -------------------------------------------------------------------------------------------------------------


def shown_value(one: Option, value: Any) -> str:
    """For people, on one line."""
    if one.words.secret:
        return "(secret)"
    if one.kind is bool:
        return "true" if value != one.default else "false"
    text = printable(" ".join(map(str, value)) if isinstance(value, tuple) else str(value)).replace("\n", " ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _spelt(one: Option, value: Any) -> list[str]:
    """The words that state it; none for a flag that is where it is without."""
    if one.kind is bool:
        return [one.word] if value != one.default else []
    items = [_plain(item) for item in (value if one.many else (value,))]
    return items if one.words.argument else [word for item in items for word in (one.word, item)]


def _plain(value: Any) -> str:
    """A file's name may begin with a dash."""
    return f".{os.sep}{value}" if isinstance(value, Path) and str(value).startswith("-") else str(value)


def _without_choice(words: Sequence[str]) -> Iterator[str]:
    """The words without --config and --profile."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in (CONFIG, PROFILE):
            skip = True
        elif not word.startswith((f"{CONFIG}=", f"{PROFILE}=")):
            yield word


def choice_of(words: Sequence[str]) -> Choice:
    """The same choice from the words of a command that is not known yet."""
    after: dict[str, str] = {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in (CONFIG, PROFILE):
            after[name] = value if equals else words[place + 1] if place + 1 < len(words) else ""
    return Choice(_path(after.get(CONFIG, "")), after.get(PROFILE) or None, NO_CONFIG in words)


def tell(settings: Settings) -> None:
    """On stderr, however quiet: no answer comes without a word on where its question is stated."""
    note = settings.note()
    if note:
        sys.stderr.write(f"{printable(note)}\n")
    if not settings.alone:
        warn_of_slips()


def warn_of_slips() -> None:
    """Variables that say nothing, and were meant to."""
    for line in keys.slips():
        sys.stderr.write(f"warning[W-CONFIG-VARIABLE] {printable(line)}\n")
