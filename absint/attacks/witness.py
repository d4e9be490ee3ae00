"""From a candidate to a proved witness: exact membership, replay in onnxruntime, proof for the exact-real network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
import torch

from absint.attacks.proof import Judgement, by_intervals, in_rationals
from absint.model.graph import Graph
from absint.model.reference import Runtime, runtime
from absint.numeric.backend import numeric_mode
from absint.numeric.outward import next_above, next_below
from absint.problem.regions.region import BoxRegion, Region
from absint.problem.spec import Spec


@dataclass(frozen=True)
class Witness:
    """A point of the exact region at which the exact-real network provably violates the property.

    point: flat float64.  output: what onnxruntime returned at the nearest point of the model's format.
    distance: greatest entrywise distance between the point and what was fed (0 behind a normalisation prefix).
    """

    point: tuple[float, ...]
    output: tuple[float, ...]
    distance: float


def prove_witness(graph: Graph, region: Region, spec: Spec, instance: int, candidate: np.ndarray) -> Witness | None:
    """The witness at `candidate` (float64, *input shape) moved into the exact region, or None where any check fails.

    Sound: the returned point lies in the exact region (rationals), onnxruntime violates the property at the point's nearest
    input, and the exact-real network is proved to violate it at the point: by a zero-width analysis in float64 with outward
    rounding, or, where that meets a tie, by an evaluation in rational numbers.
    """
    reference = runtime(graph.source) if graph.source.runs else None
    for point in _inside(region, instance, candidate, reference):
        output = None if reference is None else reference.run(point[None])[0]
        if output is not None and not (np.isfinite(output).all() and spec.violated_exactly(instance, output)):
            continue
        if not _proved(graph, spec, instance, point):
            continue
        flat = tuple(point.reshape(-1).tolist())
        if reference is None or output is None:
            return Witness(flat, (), 0.0)
        distance = float(np.abs(reference.round(point) - point).max(initial=0.0)) if not reference.prefix else 0.0
        return Witness(flat, tuple(output.reshape(-1).tolist()), distance)
    return None


def is_witness(graph: Graph, region: Region, spec: Spec, values: Sequence[float]) -> bool:
    """Whether values (flat, raw input units) are a counterexample of the first instance, as a stranger claims: nothing of them is trusted.

    Sound: True only where they lie in the exact region themselves and `prove_witness` proves them.
    """
    point = np.asarray(values, dtype=np.float64)
    if not holds(region, 0, point):
        return False
    with numeric_mode(), torch.no_grad():
        return prove_witness(graph, region, spec, 0, point.reshape(graph.input.shape)) is not None


def holds(region: Region, instance: int, values: np.ndarray) -> bool:
    """Whether flat float64 values are a point of one of the exact sets; never for another number of them, NaN or infinity."""
    return values.size == prod(region.shape) and bool(np.isfinite(values).all()) and region.contains(instance, values.reshape(region.shape))


def _inside(region: Region, instance: int, candidate: np.ndarray, reference: Runtime | None) -> Iterator[np.ndarray]:
    """Points of the exact set at the candidate: one that the model can be fed without error, then any float64 one."""
    if not np.isfinite(candidate).all():
        return
    point = region.project(instance, candidate.astype(np.float64))
    if reference is not None and not reference.prefix:
        fed = _feedable(region, instance, point, reference)
        if region.contains(instance, fed):
            yield fed
            if np.array_equal(fed, point):
                return
    if region.contains(instance, point):
        yield point


def _feedable(region: Region, instance: int, point: np.ndarray, reference: Runtime) -> np.ndarray:
    """The point in the model's format; entries that rounding took out of the hull go one number back."""
    low, high = (side[instance].cpu().numpy() for side in (region.hull.lower, region.hull.upper))
    rounded = point.astype(reference.input_dtype)
    rounded = np.where(rounded > high, next_below(rounded), rounded)
    rounded = np.where(rounded < low, next_above(rounded), rounded)
    return np.asarray(rounded, dtype=np.float64)


def _proved(graph: Graph, spec: Spec, instance: int, point: np.ndarray) -> bool:
    """Intervals decide nearly always, and cost least; numbers that meet a tie are asked again in rationals."""
    tensor = torch.from_numpy(point)[None]
    found = by_intervals(graph, spec, instance, BoxRegion(tensor, tensor))
    if found is not Judgement.OPEN:
        return found is Judgement.UNSAFE
    return in_rationals(graph, spec, instance, [Fraction(v) for v in point.reshape(-1).tolist()])
