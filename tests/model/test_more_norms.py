"""Group and root-mean-square normalisation, MeanVarianceNormalization, LRN, pooling by powers: closed forms, bounds, import."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from onnx_models import build, node, weights

from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import tensor_bounds
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.ops.more_norms import Deviations, RootMeanSquare
from absint.model.ops.norms import DividedByNorm
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

DOUBLE = Numerics()


def rows(count=60, n=3):
    """Boxes of many sizes, some of them points in an entry, some beyond what can be squared."""
    random = np.random.default_rng(5)
    size = random.choice([1e-160, 1e-3, 1.0, 30.0, 1e6, 1e160], size=(count, 1))
    one, two = (random.standard_normal((count, n)) * size for _ in range(2))
    two = np.where(random.random((count, n)) < 0.3, one, two)
    return torch.from_numpy(np.minimum(one, two)), torch.from_numpy(np.maximum(one, two))


def vertices(low, high):
    ends = [(mpf(a), mpf(b), (mpf(a) + mpf(b)) / 2) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    return [(x, y, z) for x in ends[0] for y in ends[1] for z in ends[2]]


def scaled(x, epsilon):
    root = mpmath.sqrt(mpmath.fsum(v * v for v in x) / len(x) + mpf(epsilon))
    return [v / root for v in x]


def deviations(x, epsilon):
    mean = mpmath.fsum(x) / len(x)
    root = mpmath.sqrt(mpmath.fsum((v - mean) ** 2 for v in x) / len(x)) + mpf(epsilon)
    return [(v - mean) / root for v in x]


def closed_form_holds(op, exact):
    """At vertices, middles of edges and of the box; returns how far the bounds are beyond those, at most, in sizes between 1e-3 and 1e6."""
    low, high = rows()
    with numeric_mode():
        found = op.enclosure((Interval(low, high),), DOUBLE)
    beyond = 0.0
    with mpmath.workdps(60):
        for k in range(len(low)):
            values = [exact(x, op.epsilon) for x in vertices(low[k], high[k])]
            for i, (least, most) in enumerate(zip(found.lower[k].tolist(), found.upper[k].tolist(), strict=True)):
                assert mpf(least) <= min(v[i] for v in values)
                assert max(v[i] for v in values) <= mpf(most)
                if 1e-4 < float(high[k].abs().max()) < 1e8:
                    beyond = max(beyond, float(min(v[i] for v in values) - mpf(least)), float(mpf(most) - max(v[i] for v in values)))
    return beyond


@pytest.mark.parametrize("epsilon", [1e-5, 1e-12, 0.5])
def test_root_mean_squares_hold(epsilon):
    closed_form_holds(RootMeanSquare(epsilon), scaled)


def root_mean_squares_are_attained():
    """Where no entry crosses 0, extremes lie at vertices: nothing but rounding is lost."""
    low, high = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64), torch.tensor([[1.5, -1.0, 4.0]], dtype=torch.float64)
    with numeric_mode():
        found = RootMeanSquare(1e-5).enclosure((Interval(low, high),), DOUBLE)
    values = torch.tensor([[float(v) for v in scaled(x, 1e-5)] for x in vertices(low[0], high[0])], dtype=torch.float64)
    assert float((values.amin(0) - found.lower[0]).abs().max()) < 1e-12
    assert float((values.amax(0) - found.upper[0]).abs().max()) < 1e-12


def test_root_mean_squares_are_attained():
    root_mean_squares_are_attained()


def test_deviations_hold():
    closed_form_holds(Deviations(1e-9), deviations)


def test_a_mean_square_that_may_be_zero_claims_nothing():
    box = Interval(torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64))
    assert not bool(RootMeanSquare(0.0).enclosure((box,), DOUBLE).upper.isfinite().any())


IMAGE = [1, 4, 4, 4]
NETS = {
    "group 18": (18, node("GroupNormalization", "c s b", "y", num_groups=2), {"s": weights(2), "b": weights(2, seed=1)}),
    "group 21": (21, node("GroupNormalization", "c s b", "y", num_groups=2, epsilon=0.01), {"s": weights(4), "b": weights(4, seed=1)}),
    "root mean square": (23, node("RMSNormalization", "c s", "y"), {"s": weights(4)}),
    "root mean square of an image": (24, node("RMSNormalization", "c s", "y", axis=1, epsilon=0.1), {"s": weights(4, 4, 4)}),
    "mean and variance": (13, node("MeanVarianceNormalization", "c", "y", axes=[1]), {}),
    "mean and variance of rows": (9, node("MeanVarianceNormalization", "c", "y", axes=[1, 3]), {}),
    "local response": (13, node("LRN", "c", "y", size=3, alpha=0.5, beta=0.6, bias=1.5), {}),
    "pool of 2": (18, node("LpPool", "c", "y", kernel_shape=[2, 2], strides=[2, 2]), {}),
    "pool of 1": (13, node("LpPool", "c", "y", kernel_shape=[3, 3], p=1, pads=[1, 1, 1, 1]), {}),
    "pool of 3": (18, node("LpPool", "c", "y", kernel_shape=[2, 2], p=3, dilations=[2, 2]), {}),
    "global pool": (13, node("GlobalLpPool", "c", "y"), {}),
    "global pool of 3": (13, node("GlobalLpPool", "c", "y", p=3), {}),
    "norm": (13, node("ReduceL2", "c", "y", axes=[1]), {}),
    "cube": (13, node("Pow", "a three", "y"), {"three": np.float32(3)}),
}


def read(name):
    """Behind a convolution, whose value is constant nowhere."""
    opset, last, constants = NETS[name]
    first = [node("Conv", "x w v", "d", pads=[1, 1, 1, 1]), node("Add", "d o", "c")]
    first += [node("Abs", "c", "a")] if "a" in last.input else []
    constants = {"w": weights(4, 4, 3, 3) / 3, "v": weights(4), "o": weights(1, 4, 4, 4, seed=2), **constants}
    return OnnxFrontEnd().read("made.onnx", content=build([*first, last], IMAGE, constants, opset=opset).SerializeToString())


def bounds_hold(name, radii=(0.02, 0.5, 30.0)):
    graph = read(name)
    coverage = graph.source.node_check
    assert coverage.nodes == coverage.total
    random = torch.Generator().manual_seed(3)
    share = torch.rand(200, *graph.input.shape, generator=random, dtype=torch.float64)
    share[::2] = share[::2].round()
    with numeric_mode(), torch.no_grad():
        for radius in radii:
            low, high = torch.full((1, *graph.input.shape), 0.4 - radius, dtype=torch.float64), None
            high = low + 2 * radius
            y = graph(torch.minimum(low + 2 * radius * share, high))
            for domain in ("box", "zonotope", "deeppoly"):
                ctx = Context(graph, BoxRegion(low, high), DOUBLE)
                found = tensor_bounds(DOMAINS.get(domain)(), ctx, (graph.output.name,))[graph.output.name]
                slack = 1e-11 * (1 + y.abs())
                assert bool((found.lower <= y + slack).all() and (y <= found.upper + slack).all()), (domain, radius)
                assert bool(found.lower.isfinite().all() and found.upper.isfinite().all()), (domain, radius)


@pytest.mark.parametrize("name", NETS)
def test_it_is_what_onnxruntime_computes_and_bounds_hold(name):
    bounds_hold(name)


def test_pooling_by_powers_as_torch_writes_it():
    """sign(m) relu(|m|) of a mean m of squares is m, whose root is defined: the bounds are those of the pool."""
    nodes = [node("Pow", "x two", "p"), node("AveragePool", "p", "m", kernel_shape=[2, 2], strides=[2, 2]), node("Sign", "m", "s"),
             node("Abs", "m", "a"), node("Relu", "a", "r"), node("Mul", "s r", "t"), node("Mul", "t four", "u"), node("Pow", "u half", "y")]
    constants = {"two": np.float32(2), "four": np.float32(4), "half": np.float32(0.5)}
    graph = OnnxFrontEnd().read("made.onnx", content=build(nodes, IMAGE, constants).SerializeToString())
    low = torch.full((1, *graph.input.shape), -1.0, dtype=torch.float64)
    with numeric_mode():
        found = tensor_bounds(DOMAINS.get("box")(), Context(graph, BoxRegion(low, -low), DOUBLE), (graph.output.name,))[graph.output.name]
    assert float(found.lower.min()) >= 0
    assert float(found.upper.max()) <= 2 + 1e-9


def shares_hold():
    """Of |x_i| in their sum, at boxes that cross 0 nowhere: there rounding is all that bounds may lose."""
    random = np.random.default_rng(8)
    one, two = random.uniform(0.1, 3, size=(2, 200, 3)) * random.choice([-1.0, 1.0], size=(1, 200, 3))
    low, high = torch.from_numpy(np.minimum(one, two)), torch.from_numpy(np.maximum(one, two))
    with numeric_mode():
        found = DividedByNorm("L1").enclosure((Interval(low, high),), DOUBLE)
    with mpmath.workdps(60):
        for k in range(len(low)):
            values = [[v / mpmath.fsum(map(abs, x)) for v in x] for x in vertices(low[k], high[k])]
            for i, (least, most) in enumerate(zip(found.lower[k].tolist(), found.upper[k].tolist(), strict=True)):
                assert mpf(least) <= min(v[i] for v in values)
                assert max(v[i] for v in values) <= mpf(most)


def test_shares_hold():
    shares_hold()
