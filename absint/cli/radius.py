"""`absint radius`: how far each input can be moved with its class still proved. Here: its options; `bisecting.py` does the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from absint.cli.settings import RadiusSettings
from absint.cli.verify import command_line
from absint.cli.words import (
    DATA,
    ENGINE,
    LIMITS,
    OUTPUT,
    Base,
    Data,
    Debug,
    Device,
    Dtype,
    Format,
    Index,
    Layout,
    Mean,
    Memory,
    Net,
    Out,
    Plugin,
    Quiet,
    Resume,
    Semantics,
    Solver,
    Std,
    Threads,
    TimeoutLp,
    TotalTimeout,
    option,
)
from absint.errors import UsageError

# What is used unless it is given, and what --exact stands for.
DOMAIN, EXACT_DOMAIN, EXACT_ATTACK = "zonotope", "exact", "pgd"
_RENAMED = ("context", "exact", "format_", "plugin")    # parameters that the settings call otherwise

_Domain = Annotated[str | None, option(ENGINE, "Abstract domain, with options after a colon: zonotope:max_generators=500.",
                                       show_default=DOMAIN)]
_Exact = Annotated[bool, option(ENGINE, f"Both ends meet: short for --domain {EXACT_DOMAIN} --attack {EXACT_ATTACK}.", "--exact")]
_Upper = Annotated[str, option("Search", "Radii below this one are tried; raw input units, taken exactly.")]
_Tolerance = Annotated[str, option("Search", "Halve until the radius is known up to less than this.")]
_Norm = Annotated[str, option("Search", "Norm of the radius: linf, l2 or l1.")]
_Clip = Annotated[str, option("Search", "Range of the data, or none.")]
_Attack = Annotated[str | None, option("Search", "Search for counterexamples as well: pgd or none.", show_default="none; pgd with --exact")]
_Labels = Annotated[Path | None, option(DATA, "Labels to show beside the predictions; none are needed.")]
_Timeout = Annotated[float | None, option(LIMITS, "Seconds an input, for all of its radii.", show_default="none")]
_Fan = Annotated[int | None, option(LIMITS, "Halvings tried at once, all their radii in one batch.", show_default="1 on a CPU, 3 on CUDA")]
_Batch = Annotated[int | None, option(LIMITS, "Inputs that bisect together.", show_default="by memory")]
_Journal = Annotated[Path | None, option(OUTPUT, "File that keeps each batch of finished inputs at once.")]


def radius(
    context: typer.Context, net: Net, *, domain: _Domain = None, exact: _Exact = False, base: Base = None, solver: Solver = None,
    timeout_lp: TimeoutLp = None, upper: _Upper = "0.256", tolerance: _Tolerance = "0.001", norm: _Norm = "linf", clip: _Clip = "0,1",
    attack: _Attack = None, data: Data = None, labels: _Labels = None, index: Index = None, mean: Mean = None, std: Std = None, layout:
    Layout = "auto", timeout: _Timeout = None, total_timeout: TotalTimeout = None, device: Device = "cpu", dtype: Dtype = "auto",
    semantics: Semantics = "real", fan: _Fan = None, batch: _Batch = None, memory: Memory = None, format_: Format = "text", out: Out =
    None, journal: _Journal = None, resume: Resume = False, plugin: Plugin = None, threads: Threads = None, quiet: Quiet = False,
    debug: Debug = False,
) -> Callable[[], int]:
    """Bracket each input's robustness radius: proved up to the one, a counterexample from the other on.

    The class that is kept is the predicted one; labels are not needed. Radii are exact multiples of upper / 2^n.

    Exit code 0: every search came to its end. 1: a time limit cut some short; what is certified stands.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    given = {name: value for name, value in locals().items() if name not in _RENAMED}
    if exact and domain is not None:
        raise UsageError("E-USAGE", f"--exact chooses the domain, and --domain {domain} another one", where="--exact",
                         hint=f"--domain {EXACT_DOMAIN}:OPTION=VALUE --attack {EXACT_ATTACK} sets further options")
    given["domain"] = domain or (EXACT_DOMAIN if exact else DOMAIN)
    given["attack"] = attack or (EXACT_ATTACK if exact else "none")
    settings = RadiusSettings(**given, format=format_, plugin=tuple(plugin or ()), command=command_line(context))
    return lambda: _execute(settings)


def _execute(settings: RadiusSettings) -> int:
    from absint.cli.radius_run import execute  # loads torch: not for --help

    return execute(settings)
