"""Constants that a file computes: zeros that are none, products that underflow, scatters that add, and steps beside an interval."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from contract.claims import box_region
from onnx_models import build, node

from absint.engine.context import Context
from absint.engine.forward import tensor_bounds
from absint.errors import UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.ops.step import Ceil, Floor
from absint.numeric.backend import numeric_mode
from absint.numeric.enclosed import Enclosed, NotEnclosedError, matmul, multiply
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.search.names import walker_of


def bounds(nodes, constants, x):
    graph = OnnxFrontEnd().read("net.onnx", content=build(nodes, [1, len(x)], constants).SerializeToString())
    with numeric_mode(), torch.no_grad():
        found = tensor_bounds(walker_of("box"), Context(graph, box_region(x, x)[0], Numerics()), (graph.output.name,))[graph.output.name]
    return found.lower.double().flatten().tolist(), found.upper.double().flatten().tolist()


TINY, HUGE = np.float32(1e-36), np.float32(1e36)
# c = ((1/3 + t) - 1/3) h, of which every runtime and every leading word makes 0.
CANCELLED = [node("Div", "one k", "p"), node("Add", "p t", "q"), node("Sub", "q p", "z"), node("Mul", "z h", "c")]
STORED = {"one": np.ones((1, 2), np.float32), "k": np.full(2, 3, np.float32), "t": np.full(2, TINY), "h": np.full(2, HUGE)}


@pytest.mark.parametrize(("last", "more", "places"), [
    ([node("Concat", "x c", "y", axis=1)], {}, (2, 3)),
    ([node("Concat", "c x", "y", axis=1)], {}, (0, 1)),
    ([node("Relu", "x", "r"), node("Concat", "x r c", "y", axis=1)], {}, (4, 5)),
    ([node("Where", "m x c", "y")], {"m": np.array([True, False])}, (1,)),
])
def test_zeros_with_an_error_keep_it(last, more, places):
    lower, upper = bounds([*CANCELLED, *last], {**STORED, **more}, np.array([0.5, -0.5]))
    truth = Fraction(float(TINY)) * Fraction(float(HUGE))
    assert all(Fraction(lower[k]) <= truth <= Fraction(upper[k]) for k in places)


def test_products_that_underflow_are_not_taken_for_zeros():
    small = Enclosed.exactly(np.array([[1e-200, 1.1]]))
    with pytest.raises(NotEnclosedError):
        multiply(small, small)
    with pytest.raises(NotEnclosedError):
        matmul(small, Enclosed.exactly(np.array([[1e-200], [0.0]])))


@pytest.mark.parametrize("reduction", ["add", "mul"])
def test_what_a_scatter_adds_is_not_taken_for_exact(reduction):
    nodes = [node("ScatterElements", "d i u", "s", axis=0, reduction=reduction), node("Add", "x s", "y")]
    constants = {"d": np.array([0.1, 0.2], np.float32), "i": np.array([0]), "u": np.array([3.3], np.float32)}
    with pytest.raises(UnsupportedError, match="scatters"):
        OnnxFrontEnd().read("net.onnx", content=build(nodes, [1, 2], constants).SerializeToString())


@pytest.mark.parametrize("op", [Floor(), Ceil()], ids=["floor", "ceil"])
def test_steps_beside_an_interval_are_none_of_it(op):
    low = torch.tensor([[1e-20, -(2.0**49 - 2.0**-4), float(np.nextafter(-(2.0**20), 0)), -40.0]], dtype=torch.float64)
    high = low + torch.tensor([[40.0, 2.0**49, 2.0**20, 80 - 2.0**-40]], dtype=torch.float64)
    at = op.cuts(Interval(low, high)).at
    inside = (at >= low[:, None]) & (at <= high[:, None])
    assert bool((inside | torch.isinf(at)).all())
    assert bool(inside.any())
