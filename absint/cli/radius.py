"""`absint radius`: how far each input can be moved with its class still proved. Here: its options; `bisecting.py` does the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.settings import RadiusSettings
from absint.cli.verify import command_line
from absint.cli.words import Base, Solver, TimeoutLp
from absint.errors import UsageError

_SEARCH, _DATA, _LIMITS, _ENGINE, _OUTPUT = "Search", "Data", "Limits", "Analysis", "Output"
# What is used unless it is given, and what --exact stands for.
DOMAIN, EXACT_DOMAIN, EXACT_ATTACK = "zonotope", "exact", "pgd"
_RENAMED = ("context", "exact", "format_", "plugin")    # parameters that the settings call otherwise


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=more.pop("show_default", True), **more)


def radius(
    context: typer.Context,
    net: Annotated[Path, typer.Argument(metavar="NET.onnx", help="The network.")],
    *,
    domain: Annotated[str | None, _option(_ENGINE, "Abstract domain, with options after a colon: zonotope:max_generators=500.",
                                          show_default=DOMAIN)] = None,
    exact: Annotated[bool, _option(_ENGINE, f"Both ends meet: short for --domain {EXACT_DOMAIN} --attack {EXACT_ATTACK}.",
                                   "--exact")] = False,
    base: Base = None,
    solver: Solver = None,
    timeout_lp: TimeoutLp = None,
    upper: Annotated[str, _option(_SEARCH, "Radii below this one are tried; raw input units, taken exactly.")] = "0.256",
    tolerance: Annotated[str, _option(_SEARCH, "Halve until the radius is known up to less than this.")] = "0.001",
    norm: Annotated[str, _option(_SEARCH, "Norm of the radius: linf, l2 or l1.")] = "linf",
    clip: Annotated[str, _option(_SEARCH, "Range of the data, or none.")] = "0,1",
    attack: Annotated[str | None, _option(_SEARCH, "Search for counterexamples as well: pgd or none.",
                                          show_default="none; pgd with --exact")] = None,
    data: Annotated[Path | None, _option(_DATA, "Inputs: IDX, npz, npy or CSV. Default: a bundled sample that fits.")] = None,
    labels: Annotated[Path | None, _option(_DATA, "Labels to show beside the predictions; none are needed.")] = None,
    index: Annotated[str | None, _option(_DATA, "Which inputs: 0:100 (half open) or 3,5,8. Default: all.")] = None,
    mean: Annotated[str | None, _option(_DATA, "Normalisation the network expects before it: a or a,b,c by channel.")] = None,
    std: Annotated[str | None, _option(_DATA, "See --mean.")] = None,
    layout: Annotated[str, _option(_DATA, "Order of an image's axes: auto, chw or hwc; or DATA:NETWORK.")] = "auto",
    timeout: Annotated[float | None, _option(_LIMITS, "Seconds an input, for all of its radii.", show_default="none")] = None,
    total_timeout: Annotated[float | None, _option(_LIMITS, "Seconds for the whole command.", show_default="none")] = None,
    device: Annotated[str, _option(_LIMITS, "cpu, cuda or cuda:0.")] = "cpu",
    dtype: Annotated[str, _option(_ENGINE, "float32, float64, or auto: float64 for what float32 leaves open.")] = "auto",
    semantics: Annotated[str, _option(_ENGINE, "real, or float32: every float32 execution as well.")] = "real",
    fan: Annotated[int | None, _option(_LIMITS, "Halvings tried at once, all their radii in one batch.",
                                       show_default="1 on a CPU, 3 on CUDA")] = None,
    batch: Annotated[int | None, _option(_LIMITS, "Inputs that bisect together.", show_default="by memory")] = None,
    memory: Annotated[str | None, _option(_LIMITS, "Memory to use, e.g. 8GiB.", show_default="half of the machine's")] = None,
    format_: Annotated[str, _option(_OUTPUT, "text, json, jsonl or csv.", "--format")] = "text",
    out: Annotated[Path | None, _option(_OUTPUT, "File for the result instead of stdout.")] = None,
    journal: Annotated[Path | None, _option(_OUTPUT, "File that keeps each batch of finished inputs at once.")] = None,
    resume: Annotated[bool, _option(_OUTPUT, "Continue the journal.", "--resume")] = False,
    plugin: Annotated[list[Path] | None, _option(_ENGINE, "Python file with domains or operators; repeatable.")] = None,
    threads: Annotated[int | None, _option(_LIMITS, "Threads on the CPU.", show_default="torch's choice")] = None,
    quiet: Annotated[bool, _option(_OUTPUT, "No progress.", "--quiet")] = False,
    debug: Annotated[bool, _option(_OUTPUT, "Show tracebacks.", "--debug")] = False,
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
