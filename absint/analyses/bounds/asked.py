"""What a run is asked for: domains and tensors by their names, and the graph that computes all of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from absint.analyses.bounds.options import EPS, EVERY, FIRST, BoundsOptions
from absint.analyses.bounds.tensors import names_of
from absint.analyses.bounds.widths import BoundingSettings, layers
from absint.errors import UsageError
from absint.model.graph import Graph
from absint.problem.asked_region import AskedRegion, Stated
from absint.problem.boxes import stated_once
from absint.problem.live import clip_of, stated_graph
from absint.problem.plane import check_plane
from absint.problem.regions.region import Region
from absint.search.names import domains_of

UNFOLDED = "taken without its rewrites, which remove "


@dataclass(frozen=True, eq=False)
class Asked:
    """A run whose every option has been checked. names: what to call a node -> the node.  domains: as stated -> how to bound.

    places: of the regions in the data.
    """

    region: AskedRegion
    names: Mapping[str, str]
    domains: Mapping[str, BoundingSettings]
    places: tuple[int, ...]


def completed(options: BoundsOptions) -> BoundsOptions:
    """With what the defaults stand for: of a file or a sample the first input, and a radius."""
    if options.box is not None or (options.data is not None and not isinstance(options.data, (str, Path))):
        return options
    first = options.index is None and options.sample is None
    return replace(options, index=FIRST if first else options.index, eps=EPS if options.eps is None else options.eps)


def check_words(options: BoundsOptions) -> None:
    """Raise UsageError for what can be told without reading a file."""
    if options.tensor is not None and options.every:
        raise UsageError("E-USAGE", "--tensor and --all exclude each other", hint="name tensors, or ask for all")
    stated_once(options, "index")
    check_plane(options.plane, options.plot, options.out)
    domains(options)
    if options.box is None and not isinstance(options.data, Region):
        stated(completed(options)).parsed()


def stated(options: BoundsOptions) -> Stated:
    """What is said of the regions."""
    return Stated(clip_of(options.clip), options.eps, options.norm, options.brightness, options.contrast)


def domains(options: BoundsOptions) -> dict[str, BoundingSettings]:
    """Every domain as stated, with how to bound. Raises UsageError E-DOMAIN-UNKNOWN or -OPTION, E-DTYPE, E-BATCH."""
    memory = options.memory if isinstance(options.memory, int) else None
    return {label: BoundingSettings(domain, options.dtype, options.device, options.rounding, options.batch, memory)
            for label, domain in domains_of(options.domain).items()}


def named(options: BoundsOptions) -> object:
    """The tensors that are named, in a form that `names_of` reads; None where none is."""
    given = options.tensor
    return None if given is None or (isinstance(given, tuple) and not given) or every(options) else given


def graph_for(options: BoundsOptions) -> Graph:
    """The network; without the inexact rewrites where these removed a tensor that is named, which its notes say.

    Raises UsageError E-TENSOR for a name that the network does not compute, and whatever reading it raises.
    """
    graph = stated_graph(options, inputs=options.data)
    names = named(options)
    if names is None:
        return graph
    try:
        names_of(graph, names)
        return graph
    except UsageError:
        if graph is options.net:
            raise
    whole = stated_graph(options, inputs=options.data, fold=False)
    removed = [name for name in names_of(whole, names) if name not in graph.tensors]
    note = f"{UNFOLDED}{', '.join(map(repr, removed))}"
    return replace(whole, source=replace(whole.source, notes=(*whole.source.notes, note)))


def asked_names(options: BoundsOptions, graph: Graph) -> dict[str, str]:
    """What to call a node -> the node: those named, all, the layers where widths are wanted, or the output."""
    if every(options):
        return {name: graph.find(name).name for name in names_of(graph, EVERY)}
    names = named(options)
    if names is not None or not widths_wanted(options):
        return {name: graph.find(name).name for name in names_of(graph, names)}
    return {name: name for name in layers(graph)}


def every(options: BoundsOptions) -> bool:
    """Whether every tensor is asked for."""
    given = options.tensor
    word = given[0] if isinstance(given, tuple) and len(given) == 1 else given
    return options.every or (isinstance(word, str) and word == EVERY)


def widths_wanted(options: BoundsOptions) -> bool:
    """Whether widths are asked for instead of single bounds."""
    return options.stats or (options.plot is not None and options.plane is None)
