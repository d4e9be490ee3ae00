"""Options that more than one command offers, as types of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

ENGINE, DATA, LIMITS, OUTPUT = "Analysis", "Data", "Limits", "Output"


def option(panel: str, text: str, *names: str, **more: Any) -> Any:
    """An option in a panel of `--help`; its default is shown unless it is told otherwise."""
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=more.pop("show_default", True), **more)


Base = Annotated[str | None, option(ENGINE, "Domain that walks, for domains that refine another one.", show_default="the domain's")]
Solver = Annotated[str | None, option(ENGINE, "auto, highs, scipy, gurobi, pulp or pulp:NAME, for domains that use one.",
                                      show_default="auto")]
Neurons = Annotated[int | None, option(ENGINE, "Neurons of a layer to refine, for domains that do; 0 for all.", show_default="all")]
TimeoutLp = Annotated[float | None, option(ENGINE, "Seconds of one LP, for domains that solve them.", show_default="the domain's")]
TimeoutMilp = Annotated[float | None, option(ENGINE, "Seconds of one MILP, or of branching for one side of a neuron.",
                                             show_default="the domain's")]
Domain = Annotated[str, option(ENGINE, "Abstract domain, with options after a colon: zonotope:max_generators=500.")]
Data = Annotated[Path | None, option(DATA, "Inputs: IDX, npz, npy or CSV. Default: a bundled sample that fits.")]
Labels = Annotated[Path | None, option(DATA, "Labels, where they lie in a file of their own.")]
Index = Annotated[str | None, option(DATA, "Which inputs: 0:100 (half open) or 3,5,8. Default: all.")]
Mean = Annotated[str | None, option(DATA, "Normalisation the network expects before it: a or a,b,c by channel.")]
Std = Annotated[str | None, option(DATA, "See --mean.")]
Layout = Annotated[str, option(DATA, "Order of an image's axes: auto, chw or hwc; or DATA:NETWORK.")]
TotalTimeout = Annotated[float | None, option(LIMITS, "Seconds for the whole command.", show_default="none")]
Device = Annotated[str, option(LIMITS, "cpu, cuda or cuda:0.")]
Dtype = Annotated[str, option(ENGINE, "float32, float64, or auto: float64 for what float32 leaves open.")]
Batch = Annotated[int | None, option(LIMITS, "Instances analysed together.", show_default="by memory")]
Memory = Annotated[str | None, option(LIMITS, "Memory to use, e.g. 8GiB.", show_default="half of the machine's")]
NoRounding = Annotated[bool, option(ENGINE, "Ignore rounding errors; proves nothing.", "--no-rounding")]
Semantics = Annotated[str, option(ENGINE, "real, or float32: every float32 execution as well.")]
Format = Annotated[str, option(OUTPUT, "text, json, jsonl or csv.", "--format")]
Out = Annotated[Path | None, option(OUTPUT, "File for the result instead of stdout.")]
Resume = Annotated[bool, option(OUTPUT, "Continue the journal.", "--resume")]
Plugin = Annotated[list[Path] | None, option(ENGINE, "Python file with domains, operators, formats; repeatable.")]
Threads = Annotated[int | None, option(LIMITS, "Threads on the CPU.", show_default="torch's choice")]
Quiet = Annotated[bool, option(OUTPUT, "No progress.", "--quiet")]
Debug = Annotated[bool, option(OUTPUT, "Show tracebacks.", "--debug")]
Net = Annotated[Path, typer.Argument(metavar="NET.onnx", help="The network.")]
Norm = Annotated[str, option("Region", "Norm of the radius: linf, l2 or l1.")]
Clip = Annotated[str, option("Region", "Range of the data, or none.")]
