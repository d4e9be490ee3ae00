"""Verdicts on a batch of instances: the network is compared with the user's model first, then the portfolio decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from math import inf

import torch

from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.settings import ProofSettings
from absint.analyses.verify.undecided import out_of_time
from absint.model.import_check import check_import
from absint.numeric.backend import Budget, DeadlineError, in_numeric_mode
from absint.numeric.interval import Interval
from absint.problem.problem import Problem
from absint.verdict import InstanceResult

_VAST, _LARGE = 1e30, 1e6


def verify(problem: Problem, settings: ProofSettings,
           on_result: Callable[[InstanceResult], None] | None = None) -> list[InstanceResult]:
    """One result per instance, in order: what `decided` yields. `on_result` is called with each as soon as it is known.

    KeyboardInterrupt passes through; what `on_result` was given until then stands.
    """
    results: dict[int, InstanceResult] = {}
    for position, result in _decided(problem, settings):
        results[position] = result
        if on_result is not None:
            on_result(result)
    return [results[k] for k in range(len(problem.index))]


def decided(problem: Problem, settings: ProofSettings) -> Generator[InstanceResult, None, None]:
    """One result per instance, the moment it is decided or given up: first the misclassified and those with a witness, then proofs.

    The graph is compared with the user's model in onnxruntime on points of the very regions first.
    Sound: VERIFIED only if the domain's outward-rounded bounds prove the property for every real input of the region;
    FALSIFIED only with a proved and replayed witness. Everything else is UNKNOWN with its reason. Verdicts do not
    depend on batch composition, order, threads or chunk size; margins agree within the rounding slack.
    What the caller does between two results counts for `total_timeout` alone. What the total limit cut says so (`cut`).
    Closing the iterator early, or KeyboardInterrupt, leaves nothing running.
    Raises UnsupportedError E-IMPORT-MISMATCH, and PluginError where a domain raises or contradicts a concrete
    execution. Every result's notes end with the graph's caveats.
    """
    for _, result in _decided(problem, settings):
        yield result


def _decided(problem: Problem, settings: ProofSettings) -> Generator[tuple[int, InstanceResult], None, None]:
    end = time.monotonic() + settings.total_timeout
    caveats = problem.graph.source.caveats
    if problem.graph.source.runs and len(problem.index):
        try:
            check_import(problem.graph, region=_comparable(problem.region.hull), budget=Budget(deadline=end))
        except DeadlineError:
            # Not compared, not analysed.
            for k in range(len(problem.index)):
                yield k, _with_caveats(out_of_time(problem, k), caveats)
            return
    left = settings.total_timeout if end == inf else max(end - time.monotonic(), 1e-9)
    run = Portfolio(problem, replace(settings, total_timeout=left))
    for found in in_numeric_mode(run.groups()):     # to enter the mode costs a millisecond
        for position, result in found:
            yield position, _with_caveats(result, caveats)


def _comparable(hull: Interval) -> Interval:
    """The boxes, with ends beyond which executions overflow drawn in: there the comparison would be of infinities."""
    lower, upper = hull.lower.clamp(-_LARGE, _LARGE), hull.upper.clamp(-_LARGE, _LARGE)
    vast = (hull.upper - hull.lower) > _VAST
    return Interval(torch.where(vast, lower, hull.lower), torch.where(vast, upper, hull.upper))


def _with_caveats(result: InstanceResult, caveats: tuple[str, ...]) -> InstanceResult:
    return replace(result, notes=tuple(dict.fromkeys((*result.notes, *caveats)))) if caveats else result
