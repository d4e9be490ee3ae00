"""`absint verify`: robustness on labelled data, a VNN-LIB query, or a list of queries. Here: its options, and which it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from absint.cli.settings import VerifySettings
from absint.cli.words import (
    ENGINE,
    LIMITS,
    OUTPUT,
    Base,
    Batch,
    Data,
    Debug,
    Device,
    Domain,
    Dtype,
    Format,
    Index,
    Labels,
    Layout,
    Mean,
    Memory,
    Neurons,
    NoRounding,
    Out,
    Plugin,
    Quiet,
    Resume,
    Semantics,
    Solver,
    Std,
    Threads,
    TimeoutLp,
    TimeoutMilp,
    TotalTimeout,
    option,
)
from absint.errors import UsageError

_RENAMED = ("context", "no_rounding", "format_", "plugin", "network", "net")    # parameters that the settings call otherwise
_QUERY_SUFFIXES = (".vnnlib", ".vnnlib.gz")

_Net = Annotated[Path | None, typer.Argument(metavar="[NET.onnx|QUERY.vnnlib]", help="The network, or a query about --network.",
                                             show_default=False)]
_Timeout = Annotated[float | None, option(LIMITS, "Seconds an instance; for a query, from the start of the process.",
                                           show_default="none")]
_Eps = Annotated[str, option("Property", "Radius in raw input units: 0.01 or 2/255, taken exactly; or a,b,c by channel.")]
_Norm = Annotated[str, option("Property", "Norm of the radius: linf, l2 or l1.")]
_Patch = Annotated[str | None, option("Property", "Instead of a radius: a 3x3 patch of any values, anywhere.")]
_Brightness = Annotated[str | None, option("Property", "Instead: x + b for every b within 0.1, or -0.1:0.2.")]
_Contrast = Annotated[str | None, option("Property", "Instead: a x for every a within 0.1 of 1, or 0.9:1.2.")]
_Label = Annotated[int | None, option("Property", "The true class of every input, instead of the data's labels.")]
_Target = Annotated[int | None, option("Property", "Prove only that this class is not reached.")]
_Clip = Annotated[str, option("Property", "Range of the data, or none.")]
_MaxGenerators = Annotated[int | None, option(ENGINE, "Bound on generators, for domains that have it.")]
_AcceptSolver = Annotated[bool, option(ENGINE, "Count what rests on a solver's word alone as verified.", "--accept-solver")]
_Attack = Annotated[str, option(ENGINE, "Search for counterexamples: pgd or none.")]
_Network = Annotated[list[str] | None, option("VNN-LIB", "The network of the query: net.onnx, or NAME=net.onnx.")]
_SerialiseAssignments = Annotated[Path | None, option("VNN-LIB", "Folder for the assignment as ONNX tensors, instead of stdout.")]
_Instances = Annotated[Path | None, option("VNN-LIB", "CSV of network, query, timeout: answer all, each in a process of its own.")]
_Processes = Annotated[int, option("VNN-LIB", "Processes at a time, for --instances.")]
_Witness = Annotated[Path | None, option(OUTPUT, "Folder for the counterexamples found.")]
_Journal = Annotated[Path | None, option(OUTPUT, "File that keeps each decided instance at once.")]


def verify(
    context: typer.Context, net: _Net = None, *, domain: Domain = "auto", eps: _Eps = "0.01", norm: _Norm = "linf", patch: _Patch = None,
    brightness: _Brightness = None, contrast: _Contrast = None, data: Data = None, labels: Labels = None, index: Index = None, mean: Mean
    = None, std: Std = None, label: _Label = None, target: _Target = None, clip: _Clip = "0,1", layout: Layout = "auto", timeout: _Timeout
    = None, total_timeout: TotalTimeout = None, device: Device = "cpu", dtype: Dtype = "auto", batch: Batch = None, memory: Memory = None,
    max_generators: _MaxGenerators = None, base: Base = None, solver: Solver = None, neurons: Neurons = None, timeout_lp: TimeoutLp =
    None, timeout_milp: TimeoutMilp = None, accept_solver: _AcceptSolver = False, attack: _Attack = "pgd", no_rounding: NoRounding =
    False, semantics: Semantics = "real", format_: Format = "text", network: _Network = None, serialise_assignments: _SerialiseAssignments
    = None, instances: _Instances = None, processes: _Processes = 1, witness: _Witness = None, out: Out = None, journal: _Journal = None,
    resume: Resume = False, plugin: Plugin = None, threads: Threads = None, quiet: Quiet = False, debug: Debug = False,
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
