"""`absint verify`: robustness on labelled data, a VNN-LIB query, or a list of queries. Here: its options, and which it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from absint.cli.settings import VerifySettings
from absint.cli.words import Base, Neurons, Solver, TimeoutLp, TimeoutMilp
from absint.errors import UsageError

_PROPERTY, _DATA, _LIMITS, _ENGINE, _OUTPUT = "Property", "Data", "Limits", "Analysis", "Output"
_QUERY = "VNN-LIB"
_RENAMED = ("context", "no_rounding", "format_", "plugin", "network", "net")    # parameters that the settings call otherwise
_QUERY_SUFFIXES = (".vnnlib", ".vnnlib.gz")


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=more.pop("show_default", True), **more)


_Net = Annotated[Path | None, typer.Argument(metavar="[NET.onnx|QUERY.vnnlib]", help="The network, or a query about --network.",
                                             show_default=False)]
_Timeout = Annotated[float | None, _option(_LIMITS, "Seconds an instance; for a query, from the start of the process.",
                                           show_default="none")]


def verify(
    context: typer.Context, net: _Net = None, *,
    domain: Annotated[str, _option(_ENGINE, "Abstract domain, with options after a colon: zonotope:max_generators=500.")] = "auto",
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
    layout: Annotated[str, _option(_DATA, "Order of an image's axes: auto, chw or hwc; or DATA:NETWORK.")] = "auto",
    timeout: _Timeout = None,
    total_timeout: Annotated[float | None, _option(_LIMITS, "Seconds for the whole command.", show_default="none")] = None,
    device: Annotated[str, _option(_LIMITS, "cpu, cuda or cuda:0.")] = "cpu",
    dtype: Annotated[str, _option(_ENGINE, "float32, float64, or auto: float64 for what float32 leaves open.")] = "auto",
    batch: Annotated[int | None, _option(_LIMITS, "Instances analysed together.", show_default="by memory")] = None,
    memory: Annotated[str | None, _option(_LIMITS, "Memory to use, e.g. 8GiB.", show_default="half of the machine's")] = None,
    max_generators: Annotated[int | None, _option(_ENGINE, "Bound on generators, for domains that have it.")] = None,
    base: Base = None,
    solver: Solver = None,
    neurons: Neurons = None,
    timeout_lp: TimeoutLp = None,
    timeout_milp: TimeoutMilp = None,
    accept_solver: Annotated[bool, _option(_ENGINE, "Count what rests on a solver's word alone as verified.", "--accept-solver")] = False,
    attack: Annotated[str, _option(_ENGINE, "Search for counterexamples: pgd or none.")] = "pgd",
    no_rounding: Annotated[bool, _option(_ENGINE, "Ignore rounding errors; proves nothing.", "--no-rounding")] = False,
    semantics: Annotated[str, _option(_ENGINE, "real, or float32: every float32 execution as well.")] = "real",
    format_: Annotated[str, _option(_OUTPUT, "text, json, jsonl or csv.", "--format")] = "text",
    network: Annotated[list[str] | None, _option(_QUERY, "The network of the query: net.onnx, or NAME=net.onnx.")] = None,
    serialise_assignments: Annotated[Path | None, _option(_QUERY, "Folder for the assignment as ONNX tensors, instead of stdout.")] = None,
    instances: Annotated[Path | None, _option(_QUERY, "CSV of network, query, timeout: answer all, each in a process of its own.")] = None,
    processes: Annotated[int, _option(_QUERY, "Processes at a time, for --instances.")] = 1,
    witness: Annotated[Path | None, _option(_OUTPUT, "Folder for the counterexamples found.")] = None,
    out: Annotated[Path | None, _option(_OUTPUT, "File for the result instead of stdout.")] = None,
    journal: Annotated[Path | None, _option(_OUTPUT, "File that keeps each decided instance at once.")] = None,
    resume: Annotated[bool, _option(_OUTPUT, "Continue the journal.", "--resume")] = False,
    plugin: Annotated[list[Path] | None, _option(_ENGINE, "Python file with domains, operators, formats; repeatable.")] = None,
    threads: Annotated[int | None, _option(_LIMITS, "Threads on the CPU.", show_default="torch's choice")] = None,
    quiet: Annotated[bool, _option(_OUTPUT, "No progress.", "--quiet")] = False,
    debug: Annotated[bool, _option(_OUTPUT, "Show tracebacks.", "--debug")] = False,
) -> Callable[[], int]:
    """Prove that every input within eps of each given one (or under a patch, or a change of light) keeps its class.

    With a VNN-LIB query instead of a network, answer it: the first line of stdout is sat, unsat, unknown or timed-out.

    Exit code 0: every correctly classified instance is verified (and there is one); or a query was answered, whatever the
    answer. 1: finished, not all verified. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """
    given = {name: value for name, value in locals().items() if name not in _RENAMED}
    settings = VerifySettings(
        net or Path(), **given, rounding=not no_rounding, format=format_, plugin=tuple(plugin or ()), networks=tuple(network or ()),
        command=command_line(context), begin=getattr(context.find_root().obj, "begin", 0.0),
    )
    return lambda: _execute(settings, named=net is not None)


def _execute(settings: VerifySettings, *, named: bool) -> int:
    """Robustness, a query or a list of queries. What they need is loaded here: not for --help."""
    if settings.instances is not None:
        if named:
            raise UsageError("E-USAGE", "--instances names networks and queries itself", where=str(settings.net), hint="leave this out")
        from absint.cli.instances import execute as answer_all

        return answer_all(settings)
    if not named:
        raise UsageError("E-USAGE", "Missing argument 'NET.onnx'", hint="see absint verify --help")
    if settings.networks or settings.net.name.lower().endswith(_QUERY_SUFFIXES):
        from absint.cli.query_run import execute as answer

        return answer(settings)
    if settings.serialise_assignments is not None or settings.processes != 1:
        raise UsageError("E-USAGE", "--serialise-assignments and --processes belong to queries", hint="see absint verify --help")
    from absint.cli.verify_run import execute

    return execute(settings)


def command_line(context: typer.Context) -> str:
    """The words that repeat the run; `main` leaves them on the context."""
    import shlex

    return shlex.join(["absint", *(context.find_root().obj or ["verify"])])
