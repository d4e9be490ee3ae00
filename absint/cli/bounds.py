"""`absint bounds`: sound bounds of any tensor, and where width is gained. Here: its options; `bounding.py` does the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from absint.cli.settings import BoundsSettings
from absint.cli.verify import command_line
from absint.cli.words import (
    DATA,
    ENGINE,
    OUTPUT,
    Batch,
    Clip,
    Data,
    Debug,
    Device,
    Format,
    Layout,
    Mean,
    Memory,
    Net,
    Norm,
    NoRounding,
    Plugin,
    Quiet,
    Std,
    Threads,
    TotalTimeout,
    option,
)

_Tensor = Annotated[list[str] | None, option(OUTPUT, "A tensor by its name in the file; repeatable. Default: the output.")]
_Every = Annotated[bool, option(OUTPUT, "Every tensor that is analysed.", "--all")]
_Stats = Annotated[bool, option(OUTPUT, "Widths, by default of every layer, instead of single bounds.", "--stats")]
_Plot = Annotated[Path | None, option(OUTPUT, "Draw the width by layer into a .png, .svg or .pdf file.")]
_Domain = Annotated[str, option(ENGINE, "Abstract domains separated by commas: box,zonotope,deeppoly.")]
_Eps = Annotated[str, option("Region", "Radius in raw input units: 0.01 or 2/255, taken exactly; or a,b,c by channel.")]
_Brightness = Annotated[str | None, option("Region", "Instead: x + b for every b within 0.1, or -0.1:0.2.")]
_Contrast = Annotated[str | None, option("Region", "Instead: a x for every a within 0.1 of 1, or 0.9:1.2.")]
_Index = Annotated[str | None, option(DATA, "Which inputs: 0:100 (half open) or 3,5,8.", show_default="the first")]
_Dtype = Annotated[str, option(ENGINE, "float32 or float64.")]
_Out = Annotated[Path | None, option(OUTPUT, "File for the result; .npz holds the bounds as arrays.")]


def bounds(
    context: typer.Context, net: Net, *, tensor: _Tensor = None, every: _Every = False, stats: _Stats = False, plot: _Plot = None, domain:
    _Domain = "zonotope", eps: _Eps = "0.01", norm: Norm = "linf", brightness: _Brightness = None, contrast: _Contrast = None, clip: Clip
    = "0,1", data: Data = None, index: _Index = None, mean: Mean = None, std: Std = None, layout: Layout = "auto", device: Device = "cpu",
    dtype: _Dtype = "float64", batch: Batch = None, memory: Memory = None, total_timeout: TotalTimeout = None, no_rounding: NoRounding =
    False, format_: Format = "text", out: _Out = None, plugin: Plugin = None, threads: Threads = None, quiet: Quiet = False, debug:
    Debug = False,
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
