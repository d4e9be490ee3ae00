"""No domain's margin exceeds the exact minimum, on 60 small nets: ties, dead neurons, zero-width boxes, residuals, maxima."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import exact
import numpy as np
import pytest
import torch
from walkers import WALKERS

from absint.engine.context import Context
from absint.engine.forward import margins
from absint.model.families.maximum import Maximum
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum
from absint.numeric.backend import numeric_mode
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.names import walker_of
from absint.testing.kit import FLOAT64, MIXED, SINGLE

NETS = 60  # of every remainder by 3, 4 and 5


def numbers(random, shape, kind):
    """Gaussians, or small integers so that ties and exact zeros happen."""
    values = random.integers(-2, 3, size=shape) if kind == "ties" else random.normal(size=shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


@cache
def problem(seed):
    """A graph, its box, one row, and the exact minimum of that row."""
    random = np.random.default_rng(seed)
    kind = ("plain", "ties", "dead", "point")[seed % 4]
    n = int(random.choice([1, 2, 2, 2, 3]))
    build = GraphBuilder("x", (n,))
    activation = Relu() if seed % 3 else LeakyRelu(float(random.choice([0.25, 0.01, -0.5, 2.0])))
    bias = numbers(random, 3, kind) - (100 if kind == "dead" else 0) * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    hidden = build.add(activation, (build.add(Gemm(numbers(random, (3, n), kind), bias), ("x",)),))
    if seed % 5 == 0:
        second = build.add(Gemm(numbers(random, (4, 3), kind), numbers(random, 4, kind)), (hidden,))
        last = build.add(Maximum(), (build.add(Reshape((2, 2)), (second,)),))
    else:
        second = build.add(Gemm(numbers(random, (3, 3), kind), numbers(random, 3, kind)), (hidden,))
        last = build.add(Relu(), (build.add(Sum(1.0 if seed % 2 else -1.0), (second, hidden)),))
    width = build.shape(last)[0]
    graph = build.graph(build.add(Gemm(numbers(random, (2, width), kind), numbers(random, 2, kind)), (last,)))
    center = random.integers(-1, 2, size=n).astype(float) if kind == "ties" else random.normal(size=n)
    radius = np.zeros(n) if kind == "point" else random.choice([1e-9, 0.1, 1.0], size=n)
    lower, upper = center - radius, center + radius
    weight, offset = numbers(random, 2, kind), numbers(random, 1, kind)
    truth = exact.minimum(graph, *([Fraction(float(v)) for v in side] for side in (lower, upper)), [Fraction(float(w)) for w in weight],
                          Fraction(float(offset[0])))
    region = BoxRegion(torch.from_numpy(lower)[None], torch.from_numpy(upper)[None])
    return graph, region, Spec.rows(weight.reshape(1, 1, 2), offset.reshape(1, 1)), truth


@pytest.mark.parametrize("name", WALKERS)
def test_margin_never_exceeds_the_exact_minimum(name):
    domain = walker_of(name)
    tight = 0
    for seed in range(NETS):
        graph, region, spec, truth = problem(seed)
        for num in (FLOAT64, MIXED if domain.traits.mixed else SINGLE):
            with numeric_mode(), torch.no_grad():
                lower = float(margins(domain, Context(graph, region, num), spec)[0].lower[0, 0])
            assert lower == -torch.inf or Fraction(lower) <= truth, f"net {seed}: {lower!r} > {float(truth)!r}"
            tight += lower >= float(truth) - 1e-3 * (1 + abs(float(truth)))
    assert tight >= NETS // 4, "the bounds are vacuous"


def test_minimum_is_attained_and_never_undercut():
    random = np.random.default_rng(0)
    for seed in range(0, NETS, 7):
        graph, region, spec, truth = problem(seed)
        low, high = region.hull.lower[0].numpy(), region.hull.upper[0].numpy()
        weight = [Fraction(float(w)) for w in spec.weight[0, 0]]
        for share in random.random(size=(20, len(low))):
            x = [Fraction(float(v)) for v in np.clip(low + (high - low) * share, low, high)]
            value = sum((w * y.constant for w, y in zip(weight, exact.evaluate(graph, x), strict=True)), Fraction(float(spec.bias[0, 0])))
            assert value >= truth


def test_a_known_minimum():
    build = GraphBuilder("x", (1,))
    graph = build.graph(build.add(LeakyRelu(-1.0), ("x",)))  # |x|
    assert exact.minimum(graph, [Fraction(-1)], [Fraction(2)], [Fraction(1)], Fraction(0)) == 0
    assert exact.minimum(graph, [Fraction(-1)], [Fraction(2)], [Fraction(-1)], Fraction(1, 3)) == Fraction(1, 3) - 2
