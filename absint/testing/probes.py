"""Boxes and rows whose exact bounds rounding gets visibly wrong, and networks that carry them along. Private to `absint.testing`.

Sums cancel to what rounding loses, in any order of summation; products lie just above a power of two, where a rounding costs most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch

from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Gather, Identity, Reshape, Transpose
from absint.numeric.outward import next_above, next_below

Array = Any  # numpy arrays of float64


# ---- numbers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Probe:
    """Boxes (batch, n) and rows of them, each instance with another number: instance (R,), weight (R, n), bias (R,)."""

    name: str
    lower: Array
    upper: Array
    instance: Array
    weight: Array
    bias: Array

    @staticmethod
    def of(name: str, boxes: tuple[Array, Array], rows: list[tuple[int, Array, float]]) -> Probe:
        """rows: (instance, weight, bias), in any order."""
        rows = sorted(rows, key=lambda row: row[0])
        instance, weight, bias = (np.array(part) for part in zip(*rows, strict=True))
        return Probe(name, *boxes, instance, weight.astype(np.float64), bias.astype(np.float64))

    @property
    def size(self) -> int:
        """Entries of an input."""
        return int(self.lower.shape[1])

    @property
    def text(self) -> str:
        """For messages."""
        largest = max(np.abs(self.lower).max(), np.abs(self.upper).max())
        return f"probe '{self.name}' (inputs up to {largest:.3g}, weights up to {np.abs(self.weight).max():.3g})"


def held(values: Array, bits: type) -> Array:
    """Values rounded to the format, as float64."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(bits).astype(np.float64)


def both_signs(instance: int, weight: Array, bias: float = 0.0) -> list[tuple[int, Array, float]]:
    """The row and its negation: what one side loses, the other gains: a rounding to nearest is wrong for one of them."""
    return [(instance, weight, bias), (instance, -weight, -bias)]


def triples(bits: type) -> Probe:
    """Points with x + y - z tiny against x, y and z: z is the rounded sum, and the exact result what it lost. Every order."""
    random = np.random.default_rng(41)
    pairs = [(0.1, 0.2), (1 / 3, 2 / 3), (1e16, 1.0), *((1.0, 2.0**-k * 1.37) for k in range(12, 60, 7)), *random.random(size=(20, 2))]
    points: list[Array] = []
    rows: list[tuple[int, Array, float]] = []
    for x, y in held(pairs, bits):
        for order in permutations(range(3)):
            weight = np.array([1.0, 1.0, -1.0])[list(order)]
            instance, point = len(points), np.array([x, y, float(held(x + y, bits))])[list(order)]
            points.append(point)
            rows += both_signs(instance, weight)
            if instance % 2:  # z as a bias
                rows += both_signs(instance, np.maximum(weight, 0), -float(held(x + y, bits)))
    return Probe.of("cancelling triples", (np.array(points), np.array(points)), rows)


def sums(bits: type) -> Probe:
    """Points whose weighted sum of 4 to 33 products is cancelled by the last entry, by the bias, or by mirrored products."""
    random = np.random.default_rng(42)
    n = 33
    points: list[Array] = []
    rows: list[tuple[int, Array, float]] = []
    for terms in (4, 5, 9, 17, 32):
        for scale in (1.0, 1e6):
            point = held(random.random(n) + 0.1, bits)
            point[-1] = 1.0
            weight = np.where(np.arange(n) < terms, held(random.normal(size=n) * scale, bits), 0.0)
            total = float(held(weight @ point, bits))
            closed = weight.copy()
            closed[-1] = -total
            instance = len(points)
            points.append(point)
            rows += both_signs(instance, closed)
            rows += both_signs(instance, weight, -total)
            rows += both_signs(instance, random.permutation(held(random.normal(size=n), np.float64)) / 3)
    mirrored = np.tile(held(random.random(n // 2) + 0.1, bits), 2)
    points.append(np.append(mirrored, 0.5))
    half = random.normal(size=n // 2) * 1e3
    rows += both_signs(len(points) - 1, np.concatenate([half, -half * (1 + 1e-9), [0.0]]))
    return Probe.of("cancelling sums", (np.array(points), np.array(points)), rows)


def drowned(bits: type) -> Probe:
    """A thousand terms of nearly half an ulp of one beside 64 ones: whatever is added to a sum that holds a one is lost."""
    point = np.concatenate([np.ones(64), np.full(960, 0.9 * float(np.finfo(bits).eps) / 2)])[None]
    return Probe.of("many small terms", (held(point, bits), held(point, bits)), both_signs(0, np.ones(point.shape[1])))


def boxes(bits: type) -> Probe:
    """Boxes an ulp wide, lopsided, around zero and wide: centres and radii that no float is; rows of any sign, with a bias."""
    random = np.random.default_rng(43)
    one: Array = bits(1)
    ends = [(1.0, float(next_above(np.asarray(one)))), (float(next_below(np.asarray(one))), 1.0), (-1.0, 2.0**-60), (-(2.0**-60), 1.0),
            (0.1, 0.7), (-0.3, 0.1), (0.1, 1e6), (-1e6, 0.1), (0.0, 1 / 3), (1 / 3, 1 / 3)]
    low, high = held([a for a, _ in ends], bits), held([b for _, b in ends], bits)
    lower, upper, rows = [low], [high], []
    for width in (1e-15, 1e-7, 1e-3, 1.0, 1e3):
        center = random.normal(size=len(ends))
        radius = width * random.random(len(ends))
        lower.append(held(center - radius, bits))
        upper.append(np.maximum(held(center + radius, bits), lower[-1]))
    for instance in range(len(lower)):
        for _ in range(1 + instance % 3):
            rows += both_signs(instance, random.normal(size=len(ends)), float(random.normal()))
            rows += both_signs(instance, np.where(random.random(len(ends)) < 0.2, random.choice([-1.0, 1.0], size=len(ends)), 0.0))
    return Probe.of("boxes", (np.array(lower), np.array(upper)), rows)


def products(bits: type) -> Probe:
    """Single products just above a power of two, where a rounding costs most: w x, and w x + b with the rounded product as b."""
    random = np.random.default_rng(44)
    points, rows = held(1 + 0.05 * random.random(size=(8, 6)), bits), []
    for instance, point in enumerate(points):
        for k, x in enumerate(point):
            weight = np.zeros(len(point))
            weight[k] = 1 + 0.05 * random.random()
            rows += both_signs(instance, weight)
            rows += both_signs(instance, weight, -float(held(weight[k] * x, bits)))
    return Probe.of("single products", (points, points), rows)


def magnitudes(bits: type) -> Probe:
    """Large times small, large times large (overflow), small times small (underflow), and all of it in one row."""
    random = np.random.default_rng(45)
    big = 1e30 if bits is np.float32 else 1e200
    lower, upper, rows = [], [], []
    for x, w in ((big, 1 / big), (1 / big, big), (1 / big, 1 / big), (big, big), (1.0, big), (1.0, 1 / big), (big, 1.0)):
        for width in (0.0, 1.0):
            center = random.normal(size=4) * x
            radius = width * x * random.random(4)
            lower.append(held(center - radius, bits))
            upper.append(np.maximum(held(center + radius, bits), lower[-1]))
            rows += both_signs(len(lower) - 1, random.normal(size=4) * w)
            rows += both_signs(len(lower) - 1, random.normal(size=4) * w * 10.0 ** np.array([0, -6, 6, 0]), float(random.normal() * x))
    return Probe.of("magnitudes", (np.array(lower), np.array(upper)), rows)


# ---- networks ---------------------------------------------------------------------------------------------------------


def chain(n: int, *ops: Op) -> Graph:
    """The operators one after the other on an input of n entries."""
    build, last = GraphBuilder("x", (n,)), "x"
    for op in ops:
        last = build.add(op, (last,))
    return build.graph(last)


def _order(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(n).permutation(n))


def _tiled(n: int) -> tuple[Op, ...]:
    """A matrix and its transpose; one row where n is odd."""
    left = 2 if n % 2 == 0 else 1
    return Reshape((left, n // left)), Transpose((1, 0)), Reshape((n,))


IDENTITIES: dict[str, Callable[[int], tuple[Op, ...]]] = {
    "y = x": lambda n: (Identity(),),
    "y = x, reshaped and transposed": _tiled,
    "y = x, permuted": lambda n: (Gather.of(_order(n)),),
    "y = 1 x": lambda n: (Affine(torch.ones((), dtype=torch.float64)),),
    "y = I x": lambda n: (Gemm(torch.eye(n, dtype=torch.float64)[_order(n)]),),
}
POSITIVE: dict[str, Callable[[int], tuple[Op, ...]]] = {"y = relu(x) at x >= 0": lambda n: (Relu(),)}


def _factors(n: int) -> torch.Tensor:
    """Just above 1, where a product loses most."""
    return torch.from_numpy(1 + 0.1 * np.random.default_rng(46).random(n))


SCALED: dict[str, Callable[[int], tuple[Op, ...]]] = {
    "y = a x": lambda n: (Affine(_factors(n)),),
    "y = x + b": lambda n: (Affine(shift=_factors(n) - 1.05),),
    "y = -2 x": lambda n: (Affine(torch.tensor(-2.0, dtype=torch.float64)),),
}
OFF: dict[str, Callable[[int], tuple[Op, ...]]] = {
    "y = x + (b within e)": lambda n: (Affine(shift=_factors(n) - 1.05, shift_error=_factors(n) * 1e-3),),
    "y = I x + (0 within e)": lambda n: (Gemm(torch.eye(n, dtype=torch.float64), None, 0, _factors(n) * 1e-3),),
}
