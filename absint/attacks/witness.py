"""From a candidate to a proved witness: exact membership, replay in onnxruntime, proof by interval arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from absint.context import Context
from absint.graph import Graph
from absint.interpret import boxes
from absint.reference import Runtime, runtime
from absint.region import BoxRegion, Region
from absint.rounding import Numerics
from absint.spec import Spec


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

    Sound: the returned point lies in the exact region (rationals), onnxruntime violates the property at the point's
    nearest input, and a zero-width analysis in float64 with outward rounding proves the violation for real arithmetic.
    """
    reference = None if graph.source.model is None else runtime(graph.source)
    for point in _inside(region, instance, candidate, reference):
        if not _proved(graph, spec, instance, point):
            continue
        if reference is None:
            return Witness(tuple(point.reshape(-1).tolist()), (), 0.0)
        output = reference.run(point[None])
        if np.isfinite(output).all() and spec.violated_exactly(instance, output[0]):
            distance = float(np.abs(reference.round(point) - point).max(initial=0.0)) if not reference.prefix else 0.0
            return Witness(tuple(point.reshape(-1).tolist()), tuple(output[0].reshape(-1).tolist()), distance)
    return None


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
    limit = rounded.dtype.type(np.inf)
    rounded = np.where(rounded > high, np.nextafter(rounded, -limit), rounded)
    rounded = np.where(rounded < low, np.nextafter(rounded, limit), rounded)
    return np.asarray(rounded, dtype=np.float64)


def _proved(graph: Graph, spec: Spec, instance: int, point: np.ndarray) -> bool:
    """Box steps in float64 enclose the exact output; rationals over that box show every row of some disjunct unsafe."""
    tensor = torch.from_numpy(point)[None]
    known = boxes(Context(graph, BoxRegion(tensor, tensor), Numerics())).known[graph.output.name]
    if not bool(known.lower.isfinite().all() and known.upper.isfinite().all()):
        return False
    low, high = ([Fraction(v) for v in side[0].flatten().tolist()] for side in (known.lower, known.upper))
    unsafe = dict.fromkeys(range(spec.disjuncts), True)
    for row, disjunct in enumerate(spec.disjunct.tolist()):
        upper = Fraction(float(spec.bias[instance, row]))
        for weight, a, b in zip(spec.weight[instance, row].tolist(), low, high, strict=True):
            upper += Fraction(weight) * (b if weight > 0 else a)
        unsafe[disjunct] &= upper < 0 if bool(spec.strict[row]) else upper <= 0
    return any(unsafe.values())
