"""Robustness verification, or any property, of a batch of instances: the public entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from absint.analyses.verify.options import VerifyOptions
from absint.analyses.verify.portfolio import Portfolio
from absint.model.import_check import check_import
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.problem.problem import Problem, robustness
from absint.verdict import InstanceResult

_VAST, _LARGE = 1e30, 1e6

__all__ = ["Problem", "VerifyOptions", "robustness", "verify"]


def verify(problem: Problem, options: VerifyOptions,
           on_result: Callable[[InstanceResult], None] | None = None) -> list[InstanceResult]:
    """One result per instance, in order. `on_result` is called as soon as an instance is decided or given up.

    The graph is compared with the user's model in onnxruntime on points of the very regions first.
    Sound: VERIFIED only if the domain's outward-rounded bounds prove the property for every real input of the region;
    FALSIFIED only with a proved and replayed witness. Everything else is UNKNOWN with its reason. Verdicts do not
    depend on batch composition, order, threads or chunk size; margins agree within the rounding slack.
    Raises UnsupportedError E-IMPORT-MISMATCH, and PluginError where a domain raises or contradicts a concrete
    execution. KeyboardInterrupt passes through; what `on_result` was given until then stands.
    Every result's detail ends with the graph's caveats.
    """
    if problem.graph.source.model is not None and len(problem.index):
        check_import(problem.graph, region=_comparable(problem.region.hull))
    run = Portfolio(problem, options)
    results: dict[int, InstanceResult] = {}
    with numeric_mode():
        for position, given in run.results():
            result = results[position] = _with_caveats(given, problem.graph.source.caveats)
            if on_result is not None:
                on_result(result)
    return [results[k] for k in range(len(problem.index))]


def _comparable(hull: Interval) -> Interval:
    """The boxes, with ends beyond which executions overflow drawn in: there the comparison would be of infinities."""
    lower, upper = hull.lower.clamp(-_LARGE, _LARGE), hull.upper.clamp(-_LARGE, _LARGE)
    vast = (hull.upper - hull.lower) > _VAST
    return Interval(torch.where(vast, lower, hull.lower), torch.where(vast, upper, hull.upper))


def _with_caveats(result: InstanceResult, caveats: tuple[str, ...]) -> InstanceResult:
    return replace(result, detail="; ".join(filter(None, (result.detail, *caveats)))) if caveats else result
