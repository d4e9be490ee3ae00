"""Entries divided by a norm of theirs: what is known of them however it is spelt, and what is said where the norm may be 0."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from contract.claims import box_region
from mpmath import mp, mpf
from onnx_models import build, node, weights

import absint
from absint.engine.context import Context
from absint.engine.forward import tensor_bounds
from absint.errors import AbsintError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.ops.norms import DividedByNorm, WithinNorm
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.search.names import walker_of

FIRST = node("MatMul", "x q", "a")
EPS, TWO, AXIS = np.array([1e-6], np.float32), np.float32(2), np.array([1])
MINUS = np.array([-1e-6], np.float32)
NORM = node("ReduceL2", "a", "n", axes=[1], keepdims=1)
SQUARES = [node("Mul", "a a", "b"), node("ReduceSum", "b i", "s", keepdims=1)]
# name -> (nodes, constants, what the magnitudes are at most). Four entries.
SPELT = {
    "clipped": ([NORM, node("Clip", "n e", "m"), node("Div", "a m", "y")], {"e": np.float32(1e-12)}, 1),
    "expanded": ([NORM, node("Clip", "n e", "m"), node("Expand", "m shape", "k"), node("Div", "a k", "y")],
                 {"e": np.float32(1e-12), "shape": np.array([1, 4])}, 1),
    "maximum": ([NORM, node("Max", "n e", "m"), node("Div", "a m", "y")], {"e": EPS}, 1),
    "added": ([NORM, node("Add", "n e", "m"), node("Div", "a m", "y")], {"e": EPS}, 1),
    "sum of magnitudes": ([node("ReduceL1", "a", "n", axes=[1], keepdims=1), node("Add", "n e", "m"), node("Div", "a m", "y")],
                          {"e": EPS}, 1),
    "spelt out": ([*SQUARES, node("Add", "s e", "t"), node("Sqrt", "t", "n"), node("Div", "a n", "y")], {"e": EPS, "i": AXIS}, 1),
    "root of the mean": ([node("Pow", "a two", "b"), node("ReduceMean", "b", "s", axes=[1], keepdims=1), node("Add", "s e", "t"),
                          node("Sqrt", "t", "n"), node("Reciprocal", "n", "r"), node("Mul", "a r", "y")], {"e": EPS, "two": TWO}, 2),
}
# Nothing is known of these but what a product says.
OTHERS = {
    "less than the norm": ([NORM, node("Add", "n e", "m"), node("Div", "a m", "y")], {"e": MINUS}),
    "less than a root": ([*SQUARES, node("Add", "s e", "t"), node("Sqrt", "t", "n"), node("Div", "a n", "y")], {"e": MINUS, "i": AXIS}),
    "another's norm": ([node("Add", "a one", "c"), node("ReduceL2", "c", "n", axes=[1], keepdims=1), node("Add", "n e", "m"),
                        node("Div", "a m", "y")], {"e": EPS, "one": np.float32(1)}),
    "cut off above": ([NORM, node("Clip", "n e t", "m"), node("Div", "a m", "y")], {"e": np.float32(1e-6), "t": np.float32(0.5)}),
    "the sum of squares": ([*SQUARES, node("Add", "s e", "t"), node("Div", "a t", "y")], {"e": EPS, "i": AXIS}),
    "the root of magnitudes": ([node("ReduceL1", "a", "s", axes=[1], keepdims=1), node("Add", "s e", "t"), node("Sqrt", "t", "n"),
                                node("Div", "a n", "y")], {"e": EPS}),
}


@cache
def network(name):
    nodes, constants, *_ = (SPELT | OTHERS)[name]
    return read(nodes, constants)


def read(nodes, constants):
    content = build([FIRST, *nodes], ["N", 3], {"q": weights(3, 4), **constants}).SerializeToString()
    return OnnxFrontEnd().read("net.onnx", content=content)


def bounds(graph, middle, radius, domain):
    region, _ = box_region(np.full(3, middle - radius), np.full(3, middle + radius))
    with numeric_mode(), torch.no_grad():
        return tensor_bounds(walker_of(domain), Context(graph, region, Numerics()), (graph.output.name,))[graph.output.name]


def points(middle, radius):
    draw = torch.rand(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    draw[:100] = draw[:100].sign()
    draw[100:200] *= 1e-6
    return middle + radius * draw


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
@pytest.mark.parametrize("name", SPELT)
def test_around_0_a_quotient_is_no_more_than_its_norm_allows(name, domain):
    graph, most = network(name), SPELT[name][2] * (1 + 1e-9)
    found = bounds(graph, 0.0, 0.3, domain)
    assert float(found.lower.min()) >= -most
    assert float(found.upper.max()) <= most
    values = graph(points(0.0, 0.3))
    assert bool((found.lower <= values).all() and (values <= found.upper).all())
    away = bounds(graph, 0.5, 0.2, domain)
    values = graph(points(0.5, 0.2))
    assert bool((away.lower <= values).all() and (values <= away.upper).all())


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_divided_by_less_is_not_taken_for_it(name):
    graph = network(name)
    assert all(one.closed is None for one in graph.nodes)
    found = bounds(graph, 0.5, 0.2, "deeppoly")
    values = graph(points(0.5, 0.2))
    assert bool((found.lower <= values).all() and (values <= found.upper).all())


def test_a_norm_that_may_be_0_is_said_to_be():
    """0 / 0 is in the region, or may be: that is no fault of the model's reading, and where the region is apart from it all is well."""
    graph = read([NORM, node("Div", "a n", "y")], {})
    away = absint.bounds(graph, np.full((1, 3), 0.5), "0.2")[graph.output.name]
    assert np.abs(np.asarray([away.lower, away.upper])).max() <= 1 + 1e-9
    with pytest.raises(AbsintError) as caught:
        absint.bounds(graph, np.zeros((1, 3)), "0")
    assert caught.value.code == "E-REGION-UNDEFINED"
    around = bounds(graph, 0.0, 0.3, "deeppoly")
    assert bool((around.lower == -np.inf).all() and (around.upper == np.inf).all())


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-30, 1.0, 1e30, 1e160, 1e307])
def test_the_closed_form_holds_at_vertices(norm, size):
    draw = torch.Generator().manual_seed(7)
    ends = (torch.rand(2, 8, 3, generator=draw, dtype=torch.float64) * 2 - 1) * size
    ends[:, :3] = ends[:, :3].abs()
    ends[:, 5:, 0] *= 1e-100    # beside others whose squares overflow
    low, high = ends.amin(0), ends.amax(0)
    low = torch.where(torch.rand(8, 3, generator=draw) < 0.2, high, low)
    inverse = Interval(torch.zeros_like(low), torch.ones_like(low))
    with numeric_mode(), torch.no_grad(), mp.workdps(60):
        found = DividedByNorm(norm).enclosure((Interval(low, high),), Numerics())
        within = WithinNorm(0, norm, exact=False, limit=2.0).enclosure((Interval(low, high), inverse), Numerics())
        for row in range(8):
            for x in product(*[(mpf(a), mpf(b)) for a, b in zip(low[row].tolist(), high[row].tolist(), strict=True)]):
                total = mp.fsum(map(abs, x)) if norm == "L1" else mp.sqrt(mp.fsum(v * v for v in x))
                for k, v in enumerate(x):
                    share = v / total if total else mpf(0)
                    assert float(found.lower[row, k]) <= share <= float(found.upper[row, k])
                    for part in (mpf(0), mpf(0.3), mpf(1)):
                        assert float(within.lower[row, k]) <= 2 * part * share <= float(within.upper[row, k])
        assert float(found.upper.max()) <= 1


def test_sums_of_squares_are_not_below_0():
    """Rounded outward the bound of the sum would be, and its root undefined."""
    nodes = [node("ReduceL2", "a", "n", axes=[1], keepdims=1), node("Neg", "n", "y")]
    found = bounds(read(nodes, {}), 0.0, 0.3, "box")
    assert float(found.upper.max()) <= 1e-150
    assert float(found.lower.min()) > -10
