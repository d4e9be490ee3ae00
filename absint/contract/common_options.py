"""The options that analyses share, group by group; an analysis inherits the groups it needs. The standard library alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.options import DATA, LIMITS, METHOD, MODEL, OUTPUT, PROPERTY, option

MODEL_TYPES = "Graph | Module | str | Path"
INPUT_TYPES = "ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None"
EPS_TYPES = "float | str | Fraction | ArrayLike | None"
BOX_TYPES = "tuple[ArrayLike, ArrayLike] | Region | str | Path | None"
RANGE_TYPES = "tuple[ArrayLike, ArrayLike] | str | Path | None"
NO_RANGE = re.compile(r"(?!\s*[-+\d.einfty]+\s*,\s*[-+\d.einfty]+\s*$)(.+)", re.DOTALL | re.IGNORECASE)  # anything but LOW,HIGH is a file
BOX = "Instead of data and radius: least and greatest value of each input, in a CSV, npz or VNN-LIB file."
CLIP_TYPES = "tuple[float, float] | str | None"
OF_DATA = ("box", "labels", "key", "label_column", "scale")     # what another file of data leaves without meaning
OF_BOX = ("data", *OF_DATA[1:], "index", "sample", "clip", "eps", "norm", "brightness", "contrast", "patch")    # what a box says itself


@dataclass(frozen=True)
class RunOptions:
    """Of every analysis: where its result goes, and how its work is done."""

    plugin: tuple[Path, ...] = option((), "Python file with domains, operators, analyses, formats; repeatable.", group=METHOD, binds=False)
    total_timeout: float | str | None = option(None, "Seconds for the whole command, or none.", group=LIMITS, unit="s", shown="none",
                                               common=True, binds=False, kind=str, accepts="float | None")
    device: str = option("cpu", "cpu, cuda or cuda:0.", group=LIMITS, common=True, binds=False)
    memory: str | int | None = option(None, "Memory to use, e.g. 8GiB.", group=LIMITS, shown="half of the machine's", binds=False, kind=str,
                                      accepts="int | str | None")
    threads: int | None = option(None, "Threads on the CPU.", group=LIMITS, shown="torch's choice", binds=False)
    executor: str = option("local", "Where items are decided: local; processes: a process an item, killed at its limit; ray: workers on a "
                           "cluster.", group=LIMITS, binds=False)
    processes: int | None = option(None, "Processes at a time, for --executor processes; workers, for ray.", group=LIMITS, binds=False,
                                   shown="1; of ray, as many as it has CPUs")
    address: str | None = option(None, "For --executor ray: auto or HOST:PORT of a cluster that runs.", group=LIMITS, binds=False,
                                 shown="a cluster on this machine, for this run")
    format: str | None = option(None, "text, json, jsonl, csv, html, junit, sarif, markdown, parquet or a plug-in's; options follow a "
                                "colon: junit:unknown=failure. On stdout, or in an --out whose ending says nothing.", group=OUTPUT,
                                shown="text, or what --out ends in",
                                common=True, python=False, binds=False)
    out: tuple[Path, ...] = option((), "File for the result instead of stdout; .json, .jsonl, .csv, .html, ... choose its format; "
                                   "repeatable.", group=OUTPUT, common=True, python=False, binds=False, writes="result")
    journal: Path | None = option(None, "File that keeps each record the moment it is decided.", group=OUTPUT, common=True, binds=False,
                                 writes="result")
    resume: bool = option(False, "Continue the journal.", group=OUTPUT, common=True, binds=False)
    bundle: Path | None = option(None, "Evidence pack: a zip file of report, journal, inputs, model, counterexamples, versions and hashes.",
                                group=OUTPUT, python=False, binds=False, writes="file")
    bundle_model: str = option("copy", "copy or hash: the model itself in the pack, or its hash.", group=OUTPUT, python=False, binds=False)
    quiet: bool = option(False, "No progress.", group=OUTPUT, python=False, binds=False)
    debug: bool = option(False, "Show tracebacks.", group=OUTPUT, python=False, binds=False, project=False)


@dataclass(frozen=True)
class NetworkOptions(RunOptions):
    """Of what looks at one network, which may be several in a row."""

    net: Any = option(None, "The network.", group=MODEL, argument=True, metavar="NET.onnx", common=True, kind=Path, keyword="graph",
                      accepts=MODEL_TYPES, binds=False)
    output: str | None = option(None, "Which of several outputs is meant, or a tensor inside, where the network then ends.", group=MODEL)
    normalisation: bool = option(True, "Leave out the normalisation that the model's file states (.nnet).", group=MODEL,
                                 word="--no-normalisation")
    compose: Any = option((), "Network that runs before it, such as a generator; repeatable, in order. Inputs are those of the first one.",
                          group=MODEL, many=True, kind=Path, accepts=f"Sequence[{MODEL_TYPES}] | {MODEL_TYPES}", binds=False)
    rescale: bool = option(False, "Map the range of the composed network's output to --classifier-range.", group=MODEL, instead=("as_is",))
    as_is: bool = option(False, "Leave the composed network's output as it is, whatever its range.", group=MODEL, instead=("rescale",))
    classifier_range: Any = option("0,1", "With --compose: the range that the network expects, or none.", group=MODEL, kind=str,
                                   accepts=CLIP_TYPES)


@dataclass(frozen=True)
class ModelOptions(NetworkOptions):
    """Of analyses of one network."""

    mean: str | None = option(None, "Normalisation the network expects before it: a or a,b,c by channel.", group=DATA, common=True,
                              accepts="str | Sequence[float] | None")
    std: str | None = option(None, "See --mean.", group=DATA, common=True, accepts="str | Sequence[float] | None")
    layout: str = option("auto", "Order of an image's axes: auto, chw or hwc; or DATA:NETWORK.", group=DATA)


@dataclass(frozen=True)
class DataOptions(ModelOptions):
    """Of analyses of a network on data."""

    data: Any = option(None, "Inputs: IDX, npz, npy, mat, CSV, a picture or a folder of them. Default: a bundled sample that fits.",
                       group=DATA, common=True, kind=Path, keyword="inputs", accepts=INPUT_TYPES, binds=False, instead=OF_DATA)
    labels: Any = option(None, "Labels, where they lie in a file of their own.", group=DATA, common=True, kind=Path,
                         accepts="ArrayLike | str | Path | None", binds=False)
    index: str | None = option(None, "Which inputs: 0:100 (half open) or 3,5,8. Default: all.", group=DATA, common=True, binds=False)
    sample: int | None = option(None, "So many of these, drawn at random by --seed.", group=DATA, binds=False)
    seed: int = option(0, "Of --sample.", group=DATA, binds=False)
    key: str | None = option(None, "Array of an npz or mat file: NAME, or NAME,LABELS.", group=DATA, shown="by its usual name")
    label_column: str | int | None = option(None, "Column of labels of a CSV file: a name, a place from 0 (-1 the last), or none.",
                                            group=DATA, shown="by its name, else the first", kind=str, accepts="str | int | None")
    scale: Any = option(None, "Multiply stored values: 1/255. eps and --clip are about the result.", group=DATA, kind=str,
                        shown="1/255 for eight bits", accepts="float | str | Fraction | None")
    clip: Any = option("0,1", "Range of the data, or none.", group=PROPERTY, kind=str, accepts=CLIP_TYPES)
    batch: int | None = option(None, "Instances analysed together.", group=LIMITS, shown="by memory", binds=False)


@dataclass(frozen=True)
class DomainChoice(RunOptions):
    """Of what proves by a domain, whatever it is asked about.

    Options of a domain's own that have a word here reach the domains that have them.
    """

    domain: Any = option("auto", "Abstract domain or strategy, with options after a colon: zonotope:max_generators=500.", group=METHOD,
                         common=True, kind=str, accepts="str | Domain[Any] | Strategy", binds=False)
    dtype: str = option("auto", "float32, float64, or auto: float64 for what float32 leaves open.", group=METHOD)


@dataclass(frozen=True)
class ProofChoice(DomainChoice):
    """Of what proves within a limit."""

    timeout: float | str | None = option(60.0, "Seconds an instance, its share of a batch; or none.", group=LIMITS, unit="s", common=True,
                                         kind=str, accepts="float | str | None", binds=False)
    semantics: str = option("real", "real, or float32: every float32 execution as well.", group=METHOD)
    attack: str | None = option("pgd", "Search for counterexamples: pgd or none.", group=METHOD, common=True)
    max_generators: int | None = option(None, "Bound on generators, for domains that have it.", group=METHOD, binds=False)
    base: str | None = option(None, "Domain that walks, for domains that refine another one.", group=METHOD, shown="the domain's",
                              binds=False)
    solver: str | None = option(None, "auto, highs, scipy, gurobi, pulp or pulp:NAME, for domains that use one.", group=METHOD,
                                shown="auto", binds=False)
    neurons: int | None = option(None, "Neurons of a layer to refine, for domains that do; 0 for all.", group=METHOD, shown="all",
                                 binds=False)
    timeout_lp: float | None = option(None, "Seconds of one LP, for domains that solve them.", group=METHOD, unit="s",
                                      shown="the domain's", binds=False)
    timeout_milp: float | None = option(None, "Seconds of one MILP, or of branching for one side of a neuron.", group=METHOD, unit="s",
                                        shown="the domain's", binds=False)


@dataclass(frozen=True)
class DomainOptions(DataOptions, DomainChoice):
    """Of analyses of a network on data that prove by a domain."""


@dataclass(frozen=True)
class ProofOptions(DomainOptions, ProofChoice):
    """Of analyses that prove within a limit per instance."""
