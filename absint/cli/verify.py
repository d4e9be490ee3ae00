"""`absint verify`: local robustness of a network on labelled data. Here: its options; `session.py` does the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.settings import VerifySettings

_PROPERTY, _DATA, _LIMITS, _ENGINE, _OUTPUT = "Property", "Data", "Limits", "Analysis", "Output"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=more.pop("show_default", True), **more)


def verify(
    context: typer.Context,
    net: Annotated[Path, typer.Argument(metavar="NET.onnx", help="The network.")],
    *,
    domain: Annotated[str, _option(_ENGINE, "Abstract domain, with options after a colon: zonotope:max_generators=500.")] = "zonotope",
    eps: Annotated[str, _option(_PROPERTY, "Radius in raw input units: 0.01 or 2/255, taken exactly; or a,b,c by channel.")] = "0.01",
    norm: Annotated[str, _option(_PROPERTY, "Norm of the radius: linf, l2 or l1.")] = "linf",
    patch: Annotated[str | None, _option(_PROPERTY, "Instead of a radius: a 3x3 patch of any values, anywhere.")] = None,
    brightness: Annotated[str | None, _option(_PROPERTY, "Instead: x + b for every b within 0.1, or -0.1:0.2.")] = None,
    contrast: Annotated[str | None, _option(_PROPERTY, "Instead: a x for every a within 0.1 of 1, or 0.9:1.2.")] = None,
    data: Annotated[Path | None, _option(_DATA, "Inputs: IDX, npz, npy or CSV. Default: a bundled sample that fits.")] = None,
    labels: Annotated[Path | None, _option(_DATA, "Labels, where they lie in a file of their own.")] = None,
    index: Annotated[str | None, _option(_DATA, "Which inputs: 0:100 (half open) or 3,5,8. Default: all.")] = None,
    mean: Annotated[str | None, _option(_DATA, "Normalisation the network expects before it: a or a,b,c by channel.")] = None,
    std: Annotated[str | None, _option(_DATA, "See --mean.")] = None,
    label: Annotated[int | None, _option(_PROPERTY, "The true class of every input, instead of the data's labels.")] = None,
    target: Annotated[int | None, _option(_PROPERTY, "Prove only that this class is not reached.")] = None,
    clip: Annotated[str, _option(_PROPERTY, "Range of the data, or none.")] = "0,1",
    layout: Annotated[str, _option(_DATA, "Order of an image's axes in the data: auto, chw or hwc.")] = "auto",
    timeout: Annotated[float | None, _option(_LIMITS, "Seconds an instance.", show_default="none")] = None,
    total_timeout: Annotated[float | None, _option(_LIMITS, "Seconds for the whole command.", show_default="none")] = None,
    device: Annotated[str, _option(_LIMITS, "cpu, cuda or cuda:0.")] = "cpu",
    dtype: Annotated[str, _option(_ENGINE, "float32, float64, or auto: float64 for what float32 leaves open.")] = "auto",
    batch: Annotated[int | None, _option(_LIMITS, "Instances analysed together.", show_default="by memory")] = None,
    memory: Annotated[str | None, _option(_LIMITS, "Memory to use, e.g. 8GiB.", show_default="half of the machine's")] = None,
    max_generators: Annotated[int | None, _option(_ENGINE, "Bound on generators, for domains that have it.")] = None,
    attack: Annotated[str, _option(_ENGINE, "Search for counterexamples: pgd or none.")] = "pgd",
    no_rounding: Annotated[bool, _option(_ENGINE, "Ignore rounding errors; proves nothing.", "--no-rounding")] = False,
    semantics: Annotated[str, _option(_ENGINE, "real, or float32: every float32 execution as well.")] = "real",
    format_: Annotated[str, _option(_OUTPUT, "text, json, jsonl or csv.", "--format")] = "text",
    out: Annotated[Path | None, _option(_OUTPUT, "File for the result instead of stdout.")] = None,
    journal: Annotated[Path | None, _option(_OUTPUT, "File that keeps each decided instance at once.")] = None,
    resume: Annotated[bool, _option(_OUTPUT, "Continue the journal.", "--resume")] = False,
    plugin: Annotated[list[Path] | None, _option(_ENGINE, "Python file with domains, operators, formats; repeatable.")] = None,
    threads: Annotated[int | None, _option(_LIMITS, "Threads on the CPU.", show_default="torch's choice")] = None,
    quiet: Annotated[bool, _option(_OUTPUT, "No progress.", "--quiet")] = False,
    debug: Annotated[bool, _option(_OUTPUT, "Show tracebacks.", "--debug")] = False,
) -> Callable[[], int]:
    """Prove that every input within eps of each given one (or under a patch, or a change of light) keeps its class.

    Exit code 0: every correctly classified instance is verified (and there is one). 1: finished, not all verified.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    given = {name: value for name, value in locals().items() if name not in ("context", "no_rounding", "format_", "plugin")}
    settings = VerifySettings(
        **given, rounding=not no_rounding, format=format_, plugin=tuple(plugin or ()), command=command_line(context)
    )
    return lambda: _execute(settings)


def _execute(settings: VerifySettings) -> int:
    from absint.cli.session import execute  # loads torch: not for --help

    return execute(settings)


def command_line(context: typer.Context) -> str:
    """The words that repeat the run; `main` leaves them on the context."""
    import shlex

    return shlex.join(["absint", *(context.find_root().obj or ["verify"])])
