"""One run of `absint bounds`: check everything, find the tensors, bound them in each domain, write."""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import torch

from absint.analyses.bounds.widths import BoundsOptions, bounds, layer_widths, layers
from absint.api import domain_from
from absint.cli.header import model_of, options_of, versions
from absint.cli.inputs import (
    behind_normalisation,
    check_model,
    chosen_inputs,
    layout_shown,
    memory_of,
    normalisation,
    read_inputs,
    set_up_device,
    warn_of,
)
from absint.cli.parsing import parse_clip
from absint.cli.regions import RegionChoice, parse_region
from absint.cli.settings import BoundsSettings, VerifySettings
from absint.errors import UsageError, printable
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.problem.dataset import Dataset
from absint.problem.regions.region import Region
from absint.registry import load_plugin
from absint.reports import plot
from absint.reports.bounds import WRITERS, BoundsDocument, DomainBounds, write_npz
from absint.runs.output import check_out, check_writable, opened, opened_file


@dataclass(frozen=True, eq=False)
class BoundsJob:
    """A run whose every option has been checked. names: what to call a node -> the node."""

    settings: BoundsSettings
    graph: Graph
    data: Dataset
    choice: RegionChoice
    region: Region
    names: Mapping[str, str]
    options: Mapping[str, BoundsOptions]

    @property
    def stats(self) -> bool:
        """Whether widths are asked for instead of single bounds."""
        return self.settings.stats or self.settings.plot is not None


def execute(settings: BoundsSettings) -> int:
    """Run; returns the exit code. What cannot be written is refused before anything is computed."""
    job = prepare(settings)
    check_writable(settings.out)
    check_writable(settings.plot, "--plot")
    document = BoundsDocument(_header(job), tuple(int(k) for k in job.data.index), tuple(_bounded(job)), stats=job.stats)
    arrays = settings.out is not None and settings.out.suffix.lower() == ".npz"
    if arrays and settings.out is not None:
        with opened_file(settings.out) as file:
            write_npz(document, file)
    if not arrays or job.stats:
        with opened(None if arrays else settings.out) as stream:
            WRITERS[settings.format](document, stream)
    if settings.plot is not None:
        with opened_file(settings.plot, "--plot") as file:
            plot.draw({one.domain: one.widths for one in document.domains}, file, settings.plot.suffix, _title(job))
    return 0


def prepare(settings: BoundsSettings) -> BoundsJob:
    """Read and check everything; nothing is written. Usage errors come before files are read."""
    for file in settings.plugin:
        load_plugin(file)
    _check_usage(settings)
    choice = _region(settings)
    set_up_device(settings)
    options = {text: _options(settings, text) for text in settings.domains}
    normalisation(settings)
    check_model(settings.net)
    graph, names = _found(settings)
    warn_of(graph)
    whole = read_inputs(settings, graph)
    graph, choice = behind_normalisation(graph, settings, whole.axes), choice.seen(whole.axes, graph.input.shape)
    if not names:
        names = {name: name for name in ([node.name for node in graph.nodes] if settings.every else layers(graph))}
    data = chosen_inputs(whole, choice.clip, settings.index or "0")
    return BoundsJob(settings, graph, data, choice, choice.around(torch.from_numpy(data.inputs)), names, options)


def _region(settings: BoundsSettings) -> RegionChoice:
    """The same regions as those of `absint verify`, patches aside: they are many regions an input."""
    same = VerifySettings(settings.net, eps=settings.eps, norm=settings.norm, brightness=settings.brightness, contrast=settings.contrast)
    return parse_region(same, parse_clip(settings.clip))


def _check_usage(settings: BoundsSettings) -> None:
    if settings.format not in WRITERS:
        raise UsageError("E-FORMAT-UNKNOWN", f"there is no format '{settings.format}'", where="--format", hint=", ".join(WRITERS))
    if settings.tensors and settings.every:
        raise UsageError("E-USAGE", "--tensor and --all exclude each other", hint="name tensors, or ask for all")
    read: dict[str, Any] = {"NET": settings.net, "--data": settings.data}
    check_out(settings.out, read)
    check_out(settings.plot, {**read, "--out": settings.out}, "--plot")
    if settings.plot is not None:
        plot.check(settings.plot.suffix)


def _options(settings: BoundsSettings, text: str) -> BoundsOptions:
    return BoundsOptions(
        domain_from(text), settings.dtype, settings.device, settings.rounding, settings.batch, memory_of(settings),
        inf if settings.total_timeout is None else settings.total_timeout,
    )


def _found(settings: BoundsSettings) -> tuple[Graph, dict[str, str]]:
    """The graph and the nodes asked for, none for all or all layers; without the inexact rewrites where these removed a tensor."""
    graph = load_model(settings.net)
    if not settings.tensors:
        every = settings.every or settings.stats or settings.plot is not None
        return graph, {} if every else {graph.output.name: graph.output.name}
    removed = [name for name in settings.tensors if name not in graph.tensors]
    if removed:
        graph = load_model(settings.net, fold=False)
        _check_names(settings.tensors, graph)
        if not settings.quiet:
            sys.stderr.write(f"note: the network is taken without its rewrites, which remove {printable(_quoted(removed))}\n")
    return graph, {name: graph.tensors[name] for name in settings.tensors}


def _check_names(names: Sequence[str], graph: Graph) -> None:
    unknown = [name for name in names if name not in graph.tensors]
    if not unknown:
        return
    details = []
    for name in unknown:
        near = difflib.get_close_matches(name, graph.tensors, n=3, cutoff=0.4)
        details.append(f"'{name}'" + (f": did you mean {_quoted(near)}?" if near else ""))
    raise UsageError("E-TENSOR", f"the network computes no tensor {_quoted(unknown)}", where=graph.source.path or None, details=details,
                     hint="absint inspect lists every name; constants have no bounds")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _bounded(job: BoundsJob) -> list[DomainBounds]:
    """Each domain after the other. --total-timeout holds for all of them together."""
    end = time.monotonic() + next(iter(job.options.values())).seconds
    out = []
    nodes = list(dict.fromkeys(job.names.values()))
    for text, options in job.options.items():
        begin = time.monotonic()
        left = BoundsOptions(options.domain, options.dtype, options.device, options.rounding, options.batch, options.memory,
                             max(end - begin, 1e-9))
        if not job.settings.quiet:
            sys.stderr.write(f"bounding {len(nodes)} tensors over {len(job.data)} inputs of {printable(job.data.name)} with {text}\n")
            sys.stderr.flush()
        found = bounds(job.graph, job.region, nodes, left)
        tensors = {label: found[node] for label, node in job.names.items()}
        widths = tuple(layer_widths(job.graph, node, found[node], label) for label, node in job.names.items())
        out.append(DomainBounds(text, tensors, widths, time.monotonic() - begin))
    return out


def _header(job: BoundsJob) -> dict[str, Any]:
    settings = job.settings
    domains = {text: {"class": f"{type(one.domain).__module__}.{type(one.domain).__qualname__}", "options": options_of(one.domain),
                      "source": one.domain.source} for text, one in job.options.items()}
    return {
        "command": settings.command, "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model_of(job.graph, str(settings.net)),
        "data": {"name": job.data.name, "sha256": job.data.sha256, "notes": list(job.data.notes), "bundled": settings.data is None},
        "region": {"text": _region_text(job), "norm": "linf", "eps": settings.eps, **job.choice.property,
                   "clip": None if job.choice.clip is None else list(job.choice.clip), "mean": settings.mean, "std": settings.std,
                   **layout_shown(settings, job.choice.axes, used=job.choice.by_axes)},
        "domains": domains,
        "numerics": {"device": settings.device, "dtype": settings.dtype, "rounding": settings.rounding},
        "versions": versions(),
        "assurance": "every real input of the region keeps to the bounds, in exact real arithmetic" if settings.rounding
        else "none: rounding errors are ignored (--no-rounding)",
    }


def _title(job: BoundsJob) -> str:
    count = "1 input" if len(job.data) == 1 else f"{len(job.data)} inputs"
    return f"{job.settings.net.name}\n{count} of {Path(job.data.name).name}, {_region_text(job)}"


def _region_text(job: BoundsJob) -> str:
    return job.choice.text if job.choice.photometric is not None else f"{job.choice.norm} eps {job.settings.eps}"
