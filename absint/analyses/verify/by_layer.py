"""Widths by layer beside the verdicts: bounds of a few instances, found once more after everything is decided, and no verdict's.

What decides differs from instance to instance (searches for counterexamples, several domains, case splits), so that there is no one
pass whose widths would be those of the run. This is one more pass, of one domain, and the section says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import inf
from typing import Any

import torch

from absint.analyses.bounds.record import TensorBounds
from absint.analyses.bounds.summary import figure, stacked, table
from absint.analyses.bounds.widths import BoundingSettings, batches, compared, groups_of, layer_widths, layers
from absint.analyses.verify.options import VerifyOptions
from absint.contract.document import Facts, Section
from absint.contract.run import Run
from absint.errors import AbsintError, InternalError, PluginError, ResourceError
from absint.problem.regions.region import Region
from absint.search.names import called, domain_of, strategy_of, walker_of
from absint.search.strategy import Strategy
from absint.verdict import InstanceResult, Verdict

SECONDS = 5.0           # of one domain
_EACH = 4               # instances of a verdict
_ENTRIES = 1 << 22      # of all layers and instances together: their bounds are in memory at the same time
_ORDER = (Verdict.UNKNOWN, Verdict.LIKELY, Verdict.FALSIFIED, Verdict.VERIFIED)
_TITLE = "Widths by layer"
_MEANING = ("found once more, after everything was decided, by one pass of one domain over each whole region: no verdict rests on these "
            "bounds, and none was changed by them")
_LATE = f"the limit of {SECONDS:g} s, or that of the run, passed before any bounds were found"
_CHOSEN = f"at most {_EACH} of each verdict, those of the smallest certified margin first; misclassified ones are left out"


@dataclass(frozen=True)
class _Bounder:
    """A domain, and what to call it in a report."""

    domain: Any
    name: str


def widths_section(records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> Section:
    """Table and figure of the widths, or why there are none. Raises InternalError and PluginError, which are no matter of limits."""
    chosen = _chosen(records)
    why = _reason(chosen, run)
    if why:
        return _left_out(why)
    run.stage("widths by layer")
    tried = []
    for bounder in _bounders(run, _regions(run, chosen)):
        try:
            found = _found(bounder, chosen, run)
        except (InternalError, PluginError):
            raise
        except AbsintError as error:
            tried.append(f"{bounder.name}: {_LATE if error.code == 'E-TIMEOUT' else error.what}")
        else:
            return _shown(bounder, chosen, found, run)
    return _left_out("; ".join(tried))


def _reason(chosen: Sequence[InstanceResult], run: Run[VerifyOptions]) -> str:
    """Why nothing is bounded; empty where something can be."""
    if not chosen:
        return "no instance was bounded"
    if run.problem.choice is not None and run.problem.choice.patches is not None:
        return "of a patch, each position is a region of its own"
    if run.over:
        return "the time of the whole run is over"
    return ""


def _left_out(why: str) -> Section:
    return Section(_TITLE, (Facts((("left out", why),)),), detail=True)


def _chosen(records: Sequence[InstanceResult]) -> list[InstanceResult]:
    """The hardest of each verdict, those that are not decided first."""
    def hard(record: InstanceResult) -> tuple[float, int]:
        return (inf if record.margin is None else record.margin, record.index)

    best = [nsmallest(_EACH, (one for one in records if one.verdict is verdict), key=hard) for verdict in _ORDER]
    # In turn, so that a limit of entries or of time leaves some of each.
    return [group[place] for place in range(_EACH) for group in best if place < len(group)]


def _bounders(run: Run[VerifyOptions], region: Region) -> Iterator[_Bounder]:
    """The domain that stands for the one stated; where its limit passes, the first of the schedule that takes such regions."""
    method = domain_of(run.domain)
    name = called(method)
    yield _Bounder(walker_of(method), f"the domain that stands for {name}" if isinstance(method, Strategy) else name)
    stages = strategy_of(method).stages()
    first = next((stage for stage in stages if bool(stage.takes(run.network, region).any())), stages[0])
    if first.domain != walker_of(method):
        yield _Bounder(first.domain, f"{first.label}, the first domain of {name}")


def _regions(run: Run[VerifyOptions], chosen: Sequence[InstanceResult]) -> Region:
    place = {index: slot for slot, index in enumerate(run.problem.index)}
    region: Region = run.problem.region
    return region.take(torch.tensor([place[one.index] for one in chosen], dtype=torch.int64))


def _found(bounder: _Bounder, chosen: Sequence[InstanceResult], run: Run[VerifyOptions]) -> list[dict[str, TensorBounds]]:
    """Bounds of the layers, instance by instance: of as many of the first as there is room and time for, of one at least.

    Raises ResourceError E-TIMEOUT where not even the first one's were found in time, and what else bounds raise.
    """
    graph, options, nodes = run.network, run.options, layers(run.network)
    end = time.monotonic() + min(SECONDS, run.left)
    most = max(1, _ENTRIES // max(1, sum(graph[name].size for name in nodes)))
    region = _regions(run, chosen[:most])
    compared(graph, region, end)
    settings = BoundingSettings(bounder.domain, "float64", options.device, options.rounding, options.batch,
                                options.memory if isinstance(options.memory, int) else None, max(end - time.monotonic(), 1e-9))
    found: list[dict[str, TensorBounds]] = []
    try:
        for batch in batches(graph, region, nodes, settings, groups_of(graph, nodes, settings, region.batch)):
            if batch.found is not None:
                found += [{name: batch.found[name].at(place) for name in nodes} for place in range(len(batch.places))]
    except ResourceError as error:
        if error.code != "E-TIMEOUT" or not found:
            raise
    return found


def _shown(bounder: _Bounder, chosen: Sequence[InstanceResult], found: Sequence[dict[str, TensorBounds]], run: Run[VerifyOptions]
           ) -> Section:
    """By verdict. found: of the first of those chosen, in their order."""
    of = {verdict: [place for place in range(len(found)) if chosen[place].verdict is verdict] for verdict in _ORDER}
    widths = {f"{verdict.value} ({len(places)})":
              [layer_widths(run.network, name, stacked([found[place][name] for place in places])) for name in layers(run.network)]
              for verdict, places in of.items() if places}
    spoken = [f"{verdict.value} {', '.join(str(chosen[place].index) for place in places)}" for verdict, places in of.items() if places]
    rounding = "outward rounding" if run.options.rounding else "NO ROUNDING: these are no bounds"
    said = Facts((("bounds of", f"{bounder.name}, float64, {rounding}"), ("meaning", _MEANING), ("inputs", "; ".join(spoken)),
                  ("", _CHOSEN), ("limit", f"{SECONDS:g} s; {len(found)} of these {len(chosen)} are bounded: room and time decide")))
    return Section(f"{_TITLE}: bounds of {bounder.name}, not what each verdict rests on",
                   (said, figure(widths, "Width by layer, by verdict (number of inputs)"), table(widths, "verdict", "widths")), detail=True)
