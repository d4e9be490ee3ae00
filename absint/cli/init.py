"""`absint init`: writes `absint.toml` for a network and data that were seen to fit."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from absint.cli.derived import shown_default
from absint.cli.project_file import NAME
from absint.contract.common_options import DataOptions, RunOptions
from absint.contract.options import Option, options_of
from absint.contract.whole_files import write_whole
from absint.errors import InputError, ResourceError, UsageError, printable
from absint.registry import load_plugin

if TYPE_CHECKING:
    from absint.runs.trial import Trial

_DATA = (".npz", ".npy", ".mat", ".csv", "-idx3-ubyte", "-idx3-ubyte.gz")      # what is looked for where --data is not given
_TEST = ("test", "t10k")        # one of several files of data that is meant
_HEAD = """\
# Options of absint for this folder and those below. Keys are names of options, as `absint verify --help-all` shows them;
# files are relative to this one. `absint config verify` shows which value counts, and why: the command line comes first,
# then variables such as ABSINT_EPS, then this file.

"""
_TAIL = """
# eps = "2/255"               # the radius, in the units of the data, taken exactly
# norm = "linf"
# index = "0:100"             # the first hundred inputs
# domain = "auto"             # absint domains lists them
# timeout = 60                # seconds an instance

# [radius]                    # for one command alone
# upper = 0.1

# [profile.nightly]           # for --profile nightly
# timeout = 600
"""


def _options() -> Iterator[Option]:
    """Those that say what the network and the data are, by words alone; and plug-ins that may read them."""
    common = {one.name for one in options_of(RunOptions)} - {"plugin"}
    for one in options_of(DataOptions):
        if one.name not in common and one.name != "batch":
            yield replace(one, words=replace(one.words, argument=False, metavar=""))


def _command(**values: Any) -> Callable[[], int]:
    """Write `absint.toml`: the network and the data, after a look at whether they are there, fit, and the network is right about them.

    Without --net, the one network in this folder; without --data, the one file of data, or a bundled sample that fits. Nothing is asked.
    """
    force = bool(values.pop("force", False))
    values.pop("debug", None)
    given = {one.name: _value(one, values[one.name]) for one in _options() if values[one.name] not in (None, False, [])}
    return lambda: _execute(given, force=force)


def _value(one: Option, value: Any) -> Any:
    return tuple(value) if one.many else not one.default if one.kind is bool else value


def _as_command() -> Callable[..., Callable[[], int]]:
    """With the signature that typer reads."""
    found = []
    for one in _options():
        kind: Any = list[one.kind] if one.many else one.kind  # type: ignore[name-defined]
        kind = kind if one.kind is bool else kind | None
        info = typer.Option(one.word, help=one.words.help, rich_help_panel=one.words.group, show_default=shown_default(one) or False)
        found.append(inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=False if one.kind is bool else None,
                                       annotation=Annotated[kind, info]))
    for name, text in (("force", "Replace the file that is there."), ("debug", "Show tracebacks.")):
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False,
                                       annotation=Annotated[bool, typer.Option(f"--{name}", help=text)]))

    def init(**values: Any) -> Callable[[], int]:
        return _command(**values)

    init.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
    init.__annotations__ = {one.name: one.annotation for one in found}
    init.__doc__ = _command.__doc__
    return init


init = _as_command()


def _execute(given: dict[str, Any], *, force: bool) -> int:
    target = Path(NAME)
    if target.is_dir() or ((target.exists() or target.is_symlink()) and not force):
        raise UsageError("E-INIT-EXISTS", "there is one already", where=NAME,
                         hint="absint config shows it; absint init --force replaces it")
    for file in given.get("plugin", ()):
        load_plugin(file)
    if "net" not in given:
        given["net"] = _network()
    if "data" not in given:
        found = _data()
        given.update({} if found is None else {"data": found})
    from absint.runs.trial import tried

    trial = tried(DataOptions(**given))
    try:
        write_whole(target, _content(given, trial).encode())
    except ResourceError as error:
        raise ResourceError("E-INIT-WRITE", error.what, where=NAME, hint="make the folder writable, or free some space") from error
    sys.stdout.write(printable(f"{NAME}: {given['net']}, inputs of shape {trial.shape}, {trial.outputs} outputs; {_about(trial)}") + "\n")
    if trial.correct is not None and 2 * trial.correct < trial.of:
        sys.stderr.write("warning: the network is wrong about most of them: are --mean, --std, --scale and --layout those of its training? "
                         "absint verify tries the usual slips\n")
    return 0


# ---- what lies in the folder -----------------------------------------------------------------------------------------------


def _network() -> Path:
    """The only one. Raises InputError E-INIT-NET for none, and for several."""
    from absint.model.frontend import FRONTENDS

    ends = [FRONTENDS.get(name)() for name in FRONTENDS]
    suffixes = tuple({suffix for end in ends for suffix in end.suffixes if suffix not in getattr(end, "refused", ())})
    found = _files(suffixes)
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} networks in this folder" if found else "no network in this folder"
    raise InputError("E-INIT-NET", what, details=list(map(str, found)), hint="name it: absint init --net FILE")


def _data() -> Path | None:
    """The only file of data; of several the only one of a test set. Raises InputError E-INIT-DATA for several."""
    found = [file for file in _files(_DATA) if "label" not in file.name.lower()]
    tests = [file for file in found if any(word in file.name.lower() for word in _TEST)]
    chosen = tests if len(tests) == 1 else found
    if len(chosen) > 1:
        raise InputError("E-INIT-DATA", f"{len(found)} files of data in this folder", details=list(map(str, found)),
                         hint="name it: absint init --data FILE")
    return chosen[0] if chosen else None


def _files(suffixes: Sequence[str]) -> list[Path]:
    try:
        return sorted(file for file in Path().iterdir() if file.is_file() and file.name.lower().endswith(tuple(suffixes)))
    except OSError as error:
        raise InputError("E-INIT-NET", f"this folder cannot be looked at: {error.strerror}",
                         hint="name both: --net FILE --data FILE") from error


# ---- what is written ---------------------------------------------------------------------------------------------------------


def _content(given: Mapping[str, Any], trial: Trial) -> str:
    lines = []
    for one in _options():
        if one.name in given:
            remark = {"net": f"inputs of shape {trial.shape}, {trial.outputs} outputs", "data": _about(trial)}.get(one.name, "")
            lines.append(f"{one.key} = {_toml(one, given[one.name])}" + (f"      # {printable(remark)}" if remark else ""))
    if "data" not in given:
        lines.append(f'# data = "test.npz"          # {_about(trial)}')
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _about(trial: Trial) -> str:
    """What was found of the data."""
    if not trial.data:
        return "no data here, and no bundled sample fits"
    right = "" if trial.correct is None else f", the network is right about {trial.correct} of the first {trial.of}"
    return f"{'bundled sample ' if trial.bundled else ''}{trial.data}: {trial.count} inputs{right}"


def _toml(one: Option, value: Any) -> str:
    if one.kind is bool:
        return "true"       # by the name of the flag's word
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_quoted, map(str, value))) + "]"
    return str(value) if isinstance(value, int) else _quoted(str(value))


def _quoted(text: str) -> str:
    """A TOML string. Raises UsageError E-INIT-NAME for what TOML has no text for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("E-INIT-NAME", "a name that is no UTF-8 does not go into a TOML file", where=printable(text),
                         hint="give the file another name") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
