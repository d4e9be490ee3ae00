"""`absint`: parses the command line, runs one subcommand, and turns whatever goes wrong into one coded message.

Parsing and running are apart: a subcommand returns what to do, and `main` does it outside typer, so that interrupts,
closed pipes and errors are handled in one place. Exit codes: 0 every correctly classified instance verified (or the
command's own success); 1 the run finished and something is not verified; 2 usage; 3 bad input; 4 unsupported;
5 resource; 70 internal; 130 interrupted; 141 the reader of our output went away.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli import config, doctor, domains, init, reporting, supports
from absint.cli.clock import Invocation, process_start
from absint.cli.derived import add_commands, plugin_files
from absint.cli.once import OnceCommand
from absint.cli.settings import choice_of, project_plugins
from absint.cli.slips import slip_of
from absint.contract.analysis import ANALYSES
from absint.errors import AbsintError, InternalError, PluginError, ResourceError
from absint.registry import load_plugin, own_version

INTERRUPTED, BROKEN_PIPE = 130, 141
_ALL = "--help-all"
OWN: Mapping[str, Callable[..., Any]] = {      # commands that are no analysis
    "report": reporting.report, "merge": reporting.merge, "config": config.config, "init": init.init, "domains": domains.domains,
    "doctor": doctor.doctor, "supports": supports.supports,
}

_DISK = (errno.ENOSPC, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC))


def build(*, everything: bool = False, only: str = "") -> typer.Typer:
    """The application with its subcommands. Imports nothing of the engine.

    everything: `--help` shows uncommon options, too.  only: the first word of the commands that are made, none for all.
    """
    plain = os.environ.get("LC_ALL") in ("C", "POSIX") or os.environ.get("TERM") == "dumb"
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None if plain else "rich",
        help="Prove properties of neural networks: sound in floating point, by abstract interpretation.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    add_commands(app, everything=everything, only=only)
    for name, function in OWN.items():
        if only in ("", name):
            own = None if function is config.config else OnceCommand    # whose words are those of another command
            app.command(name, cls=own, context_settings=None if own else config.CONTEXT)(function)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"absint {own_version()}")
        raise typer.Exit


def _print_name(wanted: bool) -> None:
    if wanted:
        typer.echo("absint")
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)] = False,
    name: Annotated[bool, typer.Option("--name", help="Print the name.", callback=_print_name, is_eager=True)] = False,
) -> None:
    pass


def run() -> None:
    """The console script. All is written and closed when `main` returns: taking the libraries down would cost half a second."""
    yield_waiting_threads()
    code = main(sys.argv[1:], process_start())
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def yield_waiting_threads() -> None:
    """Let OpenMP's idle threads sleep, unless the user says otherwise; it reads this when torch is loaded.

    By default they spin. On a machine whose cores are busy the others then wait for whole time slices: 100 radii took
    28 s instead of 0.6 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(arguments: Sequence[str], begin: float | None = None) -> int:
    """Run one command line; returns its exit code. Results go to stdout, everything else to stderr.

    begin: what time limits count from, on the monotonic clock; None for now.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a path that the locale cannot spell must not stop a report
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments
    try:
        code = _dispatch(list(arguments), begin)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _complain("error[E-INTERRUPTED] interrupted before there was a result", INTERRUPTED, debug)
    except SystemExit as error:     # a plug-in's: the exit code it would choose means something else here
        if _reader_left(error):
            _drop_stdout()
            return BROKEN_PIPE
        ended = PluginError("E-PLUGIN-RAISED", f"something ended the program by sys.exit({error.code!r})",
                            hint="--debug shows the traceback")
        return _complain(ended.render(), ended.exit_code, debug)
    except Exception as error:  # the one place where anything unforeseen becomes a message
        coded = _coded(error, list(arguments))
        return _complain(coded.render(), coded.exit_code, debug)
    return code


def _dispatch(arguments: list[str], begin: float | None) -> int:
    """Parse, then run the action that the subcommand returned; `--help` and `--version` leave none."""
    words = ["--help" if word == _ALL else word for word in arguments] or ["--help"]
    invocation = Invocation.of(words, begin)
    invocation.loaded = _load_command(words)
    # To make a command of each analysis takes longer than to parse one; usage errors and the help of no command need them all.
    app = build(everything=_ALL in arguments, only=words[0] if words[0] in commands() else "")
    action: Callable[[], int] | Any = app(words, prog_name="absint", standalone_mode=False, obj=invocation)
    return action() if callable(action) else int(action or 0)


def _load_command(words: list[str]) -> tuple[Path, ...]:
    """The plug-ins, loaded, where the command is none of those known: one of them may define it."""
    command = next((word for word in words if not word.startswith("-")), "")
    if not command or command in commands():
        return ()
    files = (*plugin_files(words), *project_plugins(choice_of(words)))
    for file in files:
        load_plugin(file)
    return files


def commands() -> set[str]:
    """The first words of all commands."""
    return {*OWN, *(name.partition(".")[0] for name in ANALYSES)}


def _exhausted(error: BaseException) -> AbsintError | None:
    """Memory that ran out or a device that is lost, perhaps inside one of our own errors."""
    if "torch" not in sys.modules:      # only commands that compute import it
        return ResourceError("E-MEMORY-OUT", "memory ran out") if isinstance(error, MemoryError) else None
    from absint.numeric.backend import exhausted

    return exhausted(error)


def _coded(error: Exception, arguments: list[str]) -> AbsintError:
    """The same failure as one of our own errors."""
    exhausted = _exhausted(error)
    lost = exhausted is not None and exhausted.code == "E-DEVICE-LOST"      # inside an analysis: no fault of the analysis
    if isinstance(error, AbsintError) and (not lost or error.code == "E-DEVICE"):
        return error
    if exhausted is not None:
        return exhausted
    if hasattr(error, "format_message"):    # typer's usage errors
        return slip_of(error, arguments, commands())
    text = str(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        return ResourceError("E-OUTPUT", f"the result cannot be written: {error.strerror}", hint="free some space, or use --out FILE")
    return InternalError(
        "E-INTERNAL", f"{type(error).__name__}: {text}".rstrip(": "),
        hint="this is a bug in absint, and no verdict: run again with --debug and report what it prints",
    )


def _complain(message: str, code: int, debug: bool) -> int:
    """One message on stderr; a traceback only with --debug."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    with suppress(OSError):
        if debug:
            sys.stderr.write(traceback.format_exc())
        sys.stderr.write(message + "\n")
        sys.stderr.flush()
    return code


def _reader_left(error: BaseException) -> bool:
    """Whether a closed pipe is behind it: click turns one that it meets while it prints help into sys.exit(1)."""
    behind = error.__cause__ or error.__context__
    return isinstance(behind, OSError) and behind.errno == errno.EPIPE


def _drop_stdout() -> None:
    """Let Python's own flush at exit go nowhere instead of raising again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
