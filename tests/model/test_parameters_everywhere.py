"""A view changes a constant everywhere or is refused: one with the new numbers here and the old ones there is no network at all."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.errors import AbsintError
from absint.model.frontend import load_model
from absint.model.graph import chain
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

SIZE = 4
ROW = np.array([-1.0, 2.0, -3.0, 4.0], np.float32)
node = helper.make_node


def content(nodes, constants):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", SIZE])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def draws(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weight(seed):
    return draws(seed, SIZE, SIZE)


TIED = ([node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("Transpose", ["w"], ["turned"], perm=[1, 0]),
         node("MatMul", ["r", "turned"], ["y"])], {"w": weight(0)}, {"w": weight(1)})
PRODUCT = ([node("Mul", ["s", "t"], ["both"]), node("Mul", ["x", "both"], ["h"]), node("Mul", ["h", "s"], ["y"])],
           {"s": ROW, "t": ROW}, {"s": 3 * ROW})
SHIFT = ([node("Add", ["x", "t"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "w"], ["k"]), node("Add", ["k", "t"], ["y"])],
         {"w": weight(0), "t": np.zeros(SIZE, np.float32)}, {"t": ROW})


@pytest.mark.parametrize(("nodes", "held", "given"), [TIED, PRODUCT], ids=["tied", "product"])
def test_a_constant_that_other_constants_are_made_of_is_no_parameter(nodes, held, given):
    graph = load_model("g.onnx", content=content(nodes, held), fold=False)
    assert not given.keys() & graph.parameters.keys()
    with pytest.raises(AbsintError, match="made of its numbers") as raised:
        graph.with_parameters({name: torch.from_numpy(value) for name, value in given.items()})
    assert raised.value.code == "E-PARAMETER"


def test_a_constant_that_a_rewrite_folded_at_one_place_is_refused_at_all():
    nodes, held, given = SHIFT
    view = load_model("g.onnx", content=content(nodes, held), fold=False).with_parameters({"t": torch.from_numpy(given["t"])})
    other = load_model("g.onnx", content=content(nodes, {**held, **given}), fold=False)
    x = torch.from_numpy(draws(2, 5, SIZE)).double()
    assert torch.equal(view(x), other(x))
    with pytest.raises(AbsintError, match="made of its numbers") as raised:
        load_model("g.onnx", content=content(nodes, held)).with_parameters({"t": torch.from_numpy(given["t"])})
    assert "fold=False" in raised.value.hint


def test_constants_without_names_stay_beside_those_that_change():
    nodes = [node("Neg", ["h"], ["high"]), node("Clip", ["x", "low", "high"], ["c"]), node("Identity", ["b"], ["again"]),
             node("Gemm", ["c", "w", "again"], ["y"])]
    held = {"h": np.float32(-0.3), "low": np.float32(-1), "b": ROW, "w": weight(0)}
    given = {"low": np.float32(0.1), "w": weight(1)}
    view = load_model("g.onnx", content=content(nodes, held), fold=False).with_parameters(
        {name: torch.from_numpy(np.asarray(value)) for name, value in given.items()})
    other = load_model("g.onnx", content=content(nodes, {**held, **given}), fold=False)
    x = torch.from_numpy(draws(2, 5, SIZE)).double()
    assert torch.equal(view(x), other(x))


def test_a_name_that_two_networks_of_a_chain_have_is_neither_ones():
    one = load_model("g.onnx", content=content([node("MatMul", ["x", "w"], ["y"])], {"w": weight(0)}), fold=False)
    two = load_model("g.onnx", content=content([node("MatMul", ["x", "v"], ["h"]), node("MatMul", ["h", "w"], ["y"])],
                                               {"v": weight(1), "w": weight(2)}), fold=False)
    both = chain(one, two)
    assert set(both.parameters) == {"v"}
    with pytest.raises(AbsintError) as raised:
        both.with_parameters({"w": torch.from_numpy(weight(3))})
    assert raised.value.code == "E-PARAMETER"


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounded_bounds_of_scaled_constants_hold_while_they_are_trained(dtype, trained):
    """In float32 the factors of Gemm round far more than the bounds allow for."""
    alpha, beta, w, b, x = np.float32(0.3), np.float32(0.7), weight(0), ROW / 3, draws(1, 1, SIZE).astype(np.float64)
    graph = load_model("g.onnx", content=content([node("Gemm", ["x", "w", "b"], ["y"], alpha=float(alpha), beta=float(beta))],
                                                 {"w": w, "b": b}), fold=False)
    view = graph.with_parameters({"w": torch.from_numpy(w).requires_grad_(trained), "b": torch.from_numpy(b).requires_grad_(trained)})
    point = torch.from_numpy(x)
    with numeric_mode(), torch.no_grad():
        found = boxes(Context(view, BoxRegion(point, point), Numerics(dtype, dtype))).known[view.output.name]
    exact = [Fraction(float(alpha)) * sum(Fraction(float(w[i, j])) * Fraction(float(x[0, i])) for i in range(SIZE))
             + Fraction(float(beta)) * Fraction(float(b[j])) for j in range(SIZE)]
    ends = zip(found.lower[0].tolist(), found.upper[0].tolist(), exact, strict=True)
    assert all(Fraction(low) <= value <= Fraction(high) for low, high, value in ends)
