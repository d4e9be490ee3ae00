"""`absint bounds`: sound bounds of any tensor, and where width is gained. Here: its options; `bounding.py` does the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.settings import BoundsSettings
from absint.cli.verify import command_line

_REGION, _DATA, _LIMITS, _ENGINE, _OUTPUT = "Region", "Data", "Limits", "Analysis", "Output"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=more.pop("show_default", True), **more)


def bounds(
    context: typer.Context,
    net: Annotated[Path, typer.Argument(metavar="NET.onnx", help="The network.")],
    *,
    tensor: Annotated[list[str] | None, _option(_OUTPUT, "A tensor by its name in the file; repeatable. Default: the output.")] = None,
    every: Annotated[bool, _option(_OUTPUT, "Every tensor that is analysed.", "--all")] = False,
    stats: Annotated[bool, _option(_OUTPUT, "Widths, by default of every layer, instead of single bounds.", "--stats")] = False,
    plot: Annotated[Path | None, _option(_OUTPUT, "Draw the width by layer into a .png, .svg or .pdf file.")] = None,
    domain: Annotated[str, _option(_ENGINE, "Abstract domains separated by commas: box,zonotope,deeppoly.")] = "zonotope",
    eps: Annotated[str, _option(_REGION, "Radius in raw input units: 0.01 or 2/255, taken exactly; or a,b,c by channel.")] = "0.01",
    norm: Annotated[str, _option(_REGION, "Norm of the radius: linf, l2 or l1.")] = "linf",
    brightness: Annotated[str | None, _option(_REGION, "Instead: x + b for every b within 0.1, or -0.1:0.2.")] = None,
    contrast: Annotated[str | None, _option(_REGION, "Instead: a x for every a within 0.1 of 1, or 0.9:1.2.")] = None,
    clip: Annotated[str, _option(_REGION, "Range of the data, or none.")] = "0,1",
    data: Annotated[Path | None, _option(_DATA, "Inputs: IDX, npz, npy or CSV. Default: a bundled sample that fits.")] = None,
    index: Annotated[str | None, _option(_DATA, "Which inputs: 0:100 (half open) or 3,5,8.", show_default="the first")] = None,
    mean: Annotated[str | None, _option(_DATA, "Normalisation the network expects before it: a or a,b,c by channel.")] = None,
    std: Annotated[str | None, _option(_DATA, "See --mean.")] = None,
    layout: Annotated[str, _option(_DATA, "Order of an image's axes: auto, chw or hwc; or DATA:NETWORK.")] = "auto",
    device: Annotated[str, _option(_LIMITS, "cpu, cuda or cuda:0.")] = "cpu",
    dtype: Annotated[str, _option(_ENGINE, "float32 or float64.")] = "float64",
    batch: Annotated[int | None, _option(_LIMITS, "Instances analysed together.", show_default="by memory")] = None,
    memory: Annotated[str | None, _option(_LIMITS, "Memory to use, e.g. 8GiB.", show_default="half of the machine's")] = None,
    total_timeout: Annotated[float | None, _option(_LIMITS, "Seconds for the whole command.", show_default="none")] = None,
    no_rounding: Annotated[bool, _option(_ENGINE, "Ignore rounding errors; proves nothing.", "--no-rounding")] = False,
    format_: Annotated[str, _option(_OUTPUT, "text, json, jsonl or csv.", "--format")] = "text",
    out: Annotated[Path | None, _option(_OUTPUT, "File for the result; .npz holds the bounds as arrays.")] = None,
    plugin: Annotated[list[Path] | None, _option(_ENGINE, "Python file with domains or operators; repeatable.")] = None,
    threads: Annotated[int | None, _option(_LIMITS, "Threads on the CPU.", show_default="torch's choice")] = None,
    quiet: Annotated[bool, _option(_OUTPUT, "No progress.", "--quiet")] = False,
    debug: Annotated[bool, _option(_OUTPUT, "Show tracebacks.", "--debug")] = False,
) -> Callable[[], int]:
    """Bound tensors of the network over all inputs within eps of the given ones.

    A tensor that a rewrite removed is served from the network without that rewrite. Exit code 0: the bounds were found.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    renamed = ("context", "no_rounding", "format_", "plugin", "tensor", "domain")
    given = {name: value for name, value in locals().items() if name not in ("renamed", *renamed)}
    settings = BoundsSettings(
        **given, rounding=not no_rounding, format=format_, plugin=tuple(plugin or ()), tensors=tuple(tensor or ()),
        domains=split_domains(domain), command=command_line(context),
    )
    return lambda: _execute(settings)


def split_domains(text: str) -> tuple[str, ...]:
    """'box,zonotope:product=false,max_generators=9' -> two domains: what holds a '=' but no ':' is one more option."""
    found: list[str] = []
    for part in text.split(","):
        if found and "=" in part and ":" not in part:
            found[-1] += f",{part}"
        else:
            found.append(part.strip())
    return tuple(dict.fromkeys(found))


def _execute(settings: BoundsSettings) -> int:
    from absint.cli.bounds_run import execute  # loads torch: not for --help

    return execute(settings)
