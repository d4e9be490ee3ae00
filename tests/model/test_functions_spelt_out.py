"""Functions that exporters spell out: the operator that takes their place is the same function, and its bounds are narrow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contract.claims import box_region
from onnx_models import build, node, stored

from absint.engine.context import Context
from absint.engine.forward import tensor_bounds
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.import_check import check_import
from absint.model.ops.piecewise import HardSwish
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Identity
from absint.model.ops.smooth import Gelu, Mish, Softsign, Swish
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.search.names import walker_of

ROOT2, HALF = np.float32(2**0.5), np.float32(0.5)
ONE, THREE, SIX, LEAK, QUICK = (np.float32(v) for v in (1.0, 3.0, 6.0, 0.01, 1.702))


def erf_of(x):
    return torch.erf(x / float(ROOT2))


# name -> (nodes from 'x' to 'y', constants, the operator that must appear, the function)
SPELT = {
    "swish": ([node("Sigmoid", "x", "s"), node("Mul", "x s", "y")], {}, Swish, F.silu),
    "swish, gate first": ([node("Sigmoid", "x", "s"), node("Mul", "s x", "y")], {}, Swish, F.silu),
    "swish of a multiple": ([node("Mul", "x q", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s", "y")], {"q": QUICK}, Swish,
                            lambda x: x * torch.sigmoid(float(QUICK) * x)),
    "swish of a negative multiple": ([node("Neg", "x", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s", "y")], {}, Swish,
                                     lambda x: x * torch.sigmoid(-x)),
    "mish": ([node("Softplus", "x", "p"), node("Tanh", "p", "t"), node("Mul", "x t", "y")], {}, Mish, F.mish),
    "gelu, product halved": ([node("Div", "x c", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"), node("Mul", "x f", "g"),
                              node("Mul", "g h", "y")], {"c": ROOT2, "one": ONE, "h": HALF}, Gelu, lambda x: x * (1 + erf_of(x)) / 2),
    "gelu, gate halved": ([node("Div", "x c", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"), node("Mul", "f h", "g"),
                           node("Mul", "g x", "y")], {"c": ROOT2, "one": ONE, "h": HALF}, Gelu, lambda x: x * (1 + erf_of(x)) / 2),
    "gelu, operand halved": ([node("Mul", "x h", "k"), node("Div", "x c", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"),
                              node("Mul", "k f", "y")], {"c": ROOT2, "one": ONE, "h": HALF}, Gelu, lambda x: x * (1 + erf_of(x)) / 2),
    "softsign": ([node("Abs", "x", "a"), node("Add", "a one", "b"), node("Div", "x b", "y")], {"one": ONE}, Softsign, F.softsign),
    "hard swish": ([node("Add", "x three", "a"), node("Clip", "a zero six", "c"), node("Mul", "x c", "p"), node("Div", "p six", "y")],
                   {"three": THREE, "zero": np.float32(0), "six": SIX}, HardSwish, F.hardswish),
    "leaky relu": ([node("Greater", "x zero", "t"), node("Mul", "x leak", "l"), node("Where", "t x l", "y")],
                   {"zero": np.float32(0), "leak": LEAK}, LeakyRelu, lambda x: torch.where(x > 0, x, float(LEAK) * x)),
    "leaky relu, branches swapped": ([node("Less", "x zero", "t"), node("Mul", "x leak", "l"), node("Where", "t l x", "y")],
                                     {"zero": np.float32(0), "leak": LEAK}, LeakyRelu, lambda x: torch.where(x > 0, x, float(LEAK) * x)),
    "signed magnitude": ([node("Sign", "x", "s"), node("Abs", "x", "a"), node("Relu", "a", "r"), node("Mul", "s r", "y")], {}, Identity,
                         lambda x: x),
    "relu": ([node("Greater", "x zero", "t"), node("Where", "t x zeros", "y")],
             {"zero": np.float32(0), "zeros": np.zeros((1, 4), np.float32)}, Relu, F.relu),
}


def read(name, *, fold=True, check=True):
    nodes, constants, kind, function = SPELT[name]
    content = build(nodes, [1, 4], constants).SerializeToString()
    return OnnxFrontEnd().read("net.onnx", fold=fold, check=check, content=content), kind, function


def box(graph, lower, upper, domain):
    region, _ = box_region(np.full(4, lower), np.full(4, upper))
    with numeric_mode(), torch.no_grad():
        return tensor_bounds(walker_of(domain), Context(graph, region, Numerics()), (graph.output.name,))[graph.output.name]


@pytest.mark.parametrize("name", SPELT)
def test_it_becomes_the_operator_and_stays_the_function(name):
    graph, kind, function = read(name)
    assert any(isinstance(n.op, kind) for n in graph.nodes)
    assert "recognise" in graph.source.passes
    assert len(graph.nodes) <= 5
    x = torch.linspace(-30, 30, 4001, dtype=torch.float64)[:, None].expand(-1, 4)
    assert torch.allclose(graph(x), function(x), rtol=1e-12, atol=1e-14)
    check_import(graph, -30.0, 30.0)


@pytest.mark.parametrize("name", SPELT)
def test_bounds_are_those_of_the_function(name):
    graph, _, function = read(name, check=False)
    for lower, upper in ((-3.0, 3.0), (-1.0, -0.2), (-6.0, 1.0), (0.5, 2.0)):
        values = function(torch.linspace(lower, upper, 20001, dtype=torch.float64))
        found = box(graph, lower, upper, "box")
        assert float(found.lower.max()) <= float(values.min())
        assert float(found.upper.min()) >= float(values.max())
        assert float(found.width.max()) <= float(values.max() - values.min()) * 1.001 + 1e-9


@pytest.mark.parametrize("name", ["swish of a multiple", "gelu, product halved"])
def test_points_hold_what_the_file_says(name):
    """The scales are rounded, and say so."""
    graph, _, function = read(name, check=False)
    for value in (-2.0, -0.7, 0.3, 1.9):
        truth = float(function(torch.tensor(value, dtype=torch.float64)))
        for domain in ("box", "deeppoly", "zonotope"):
            found = box(graph, value, value, domain)
            assert float(found.lower.max()) <= truth + 1e-17
            assert truth - 1e-17 <= float(found.upper.min())
            assert float(found.width.max()) < 1e-13


def test_float32_semantics_keeps_it_as_it_is_spelt():
    graph, kind, _ = read("swish", fold=False)
    assert not any(isinstance(n.op, kind) for n in graph.nodes)


NOT_QUITE = {
    "sign of another": [node("Add", "x one", "z"), node("Sign", "z", "s"), node("Abs", "x", "a"), node("Mul", "s a", "y")],
    "another operand": [node("Sigmoid", "x", "s"), node("Neg", "x", "n"), node("Add", "n one", "m"), node("Mul", "m s", "y")],
    "a shifted gate": [node("Add", "x one", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s", "y")],
    "two and erf": [node("Erf", "x", "e"), node("Add", "e two", "f"), node("Mul", "x f", "y")],
    "a clip to one": [node("Add", "x one", "a"), node("Clip", "a zero two", "c"), node("Mul", "x c", "y")],
    "another threshold": [node("Greater", "x one", "t"), node("Mul", "x two", "l"), node("Where", "t x l", "y")],
    "steeper above": [node("Greater", "x zero", "t"), node("Mul", "x two", "l"), node("Where", "t l x", "y")],
    "a branch that is shifted": [node("Greater", "x zero", "t"), node("Add", "x two", "l"), node("Where", "t x l", "y")],
}


@pytest.mark.parametrize("name", NOT_QUITE)
def test_what_is_another_function_stays_as_it_is(name, tmp_path):
    constants = {"one": ONE, "two": np.float32(2), "zero": np.float32(0)}
    used = {i for n in NOT_QUITE[name] for i in n.input}
    path = stored(tmp_path, build(NOT_QUITE[name], [1, 4], {k: v for k, v in constants.items() if k in used}))
    assert "recognise" not in OnnxFrontEnd().read(path).source.passes


def test_a_tensor_that_is_read_elsewhere_stays():
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "x s", "m"), node("Add", "m s", "y")]
    graph = OnnxFrontEnd().read("net.onnx", content=build(nodes, [1, 4]).SerializeToString())
    assert "s" in graph.by_name
    check_import(graph, -5.0, 5.0)
