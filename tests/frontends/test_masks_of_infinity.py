"""Masks of -inf in front of a softmax: the hidden entries take no part, and nothing else is said of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from contract.claims import box_region
from onnx import helper
from onnx_models import build, node, weights

from absint.engine.context import Context
from absint.engine.forward import tensor_bounds
from absint.errors import AbsintError
from absint.frontends.onnx_masks import behind, hidden_in
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.frontends.onnx_values import NodeProblemError
from absint.model.import_check import check_import
from absint.model.ops.masked import MaskedSoftmax
from absint.model.ops.relu import Relu
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.search.names import walker_of

N, D = 3, 4
CAUSAL = np.triu(np.ones((N, N), np.bool_), 1)
INFINITE = np.where(CAUSAL, -np.inf, 0).astype(np.float32)
FIRST, REST = CAUSAL & (np.arange(N) < 2), np.where(CAUSAL & (np.arange(N) >= 2), -np.inf, 0).astype(np.float32)
BELOW, ZERO = np.float32(-np.inf), np.float32(0)
SCORES = [node("MatMul", "x q", "a"), node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "a t", "s")]
VALUES = [node("MatMul", "p x", "v"), node("Flatten", "v", "f"), node("MatMul", "f o", "y")]
SOFTMAX = node("Softmax", "m", "p", axis=-1)

# name -> (nodes between the scores 's' and the shares 'p', constants); all of them mean the same network.
SPELT = {
    "added": ([node("Add", "s k", "m"), SOFTMAX], {"k": INFINITE}),
    "added in front": ([node("Add", "k s", "m"), SOFTMAX], {"k": INFINITE}),
    "filled": ([node("Where", "c below s", "m"), SOFTMAX], {"c": CAUSAL, "below": BELOW}),
    "filled, a tensor of -inf": ([node("Where", "c below s", "m"), SOFTMAX],
                                 {"c": CAUSAL[None], "below": np.full((1, N, N), -np.inf, np.float32)}),
    "selected": ([node("Where", "c s below", "m"), SOFTMAX], {"c": ~CAUSAL, "below": BELOW}),
    "made of truth values": ([node("Where", "c below zero", "k"), node("Unsqueeze", "k first", "u"), node("Add", "s u", "m"), SOFTMAX],
                             {"c": CAUSAL, "below": BELOW, "zero": ZERO, "first": np.array([0])}),
    "two masks": ([node("Where", "c below zero", "k"), node("Add", "k j", "u"), node("Add", "s u", "m"), SOFTMAX],
                  {"c": FIRST, "j": REST, "below": BELOW, "zero": ZERO}),
    "masked twice": ([node("Where", "c below s", "i"), node("Add", "i j", "m"), SOFTMAX], {"c": FIRST, "j": REST, "below": BELOW}),
    "along another axis": ([node("Add", "s k", "i"), node("Transpose", "i", "m", perm=[0, 2, 1]), node("Softmax", "m", "r", axis=1),
                            node("Transpose", "r", "p", perm=[0, 2, 1])], {"k": INFINITE}),
    "moved": ([node("Add", "s k", "i"), node("Reshape", "i shape", "m"), node("Softmax", "m", "r", axis=-1),
               node("Reshape", "r back", "p")], {"k": INFINITE, "shape": np.array([1, 1, N, N]), "back": np.array([1, N, N])}),
    "scaled": ([node("Add", "d k", "i"), node("Div", "i two", "m"), SOFTMAX], {"k": INFINITE, "two": np.float32(2)}),
    "guarded": ([node("Add", "s k", "m"), node("Softmax", "m", "r", axis=-1), node("IsNaN", "r", "g"), node("Where", "g zero r", "p")],
                {"k": INFINITE, "zero": ZERO}),
}


def read(nodes, constants, shape=(1, N, D)):
    return OnnxFrontEnd().read("net.onnx", content=build(nodes, list(shape), constants).SerializeToString())


@cache
def network(name):
    between, constants = SPELT[name]
    scores = [*SCORES, node("Add", "s s", "d")] if name == "scaled" else SCORES
    return read([*scores, *between, *VALUES], {"q": weights(D, D), "o": weights(N * D, 2), **constants})


def truth(x):
    """The network in float64, by the definition: shares of what is visible."""
    q, o = (torch.from_numpy(weights(*s)).double() for s in ((D, D), (N * D, 2)))
    scores = (x @ q) @ x.transpose(-1, -2)
    shares = torch.softmax(scores.masked_fill(torch.from_numpy(CAUSAL), -torch.inf), -1)
    return (shares @ x).flatten(1) @ o


@pytest.mark.parametrize("name", SPELT)
def test_it_is_the_softmax_of_what_is_visible(name):
    graph = network(name)
    x = torch.randn(50, N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2
    assert torch.allclose(graph(x), truth(x), rtol=1e-12, atol=1e-12)
    check_import(graph, -3.0, 3.0)


def bounds(graph, lower, upper, domain):
    region, _ = box_region(lower, upper)
    with numeric_mode(), torch.no_grad():
        return tensor_bounds(walker_of(domain), Context(graph, region, Numerics()), (graph.output.name,))[graph.output.name]


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_bounds_hold_and_a_hidden_entry_moves_nothing(domain):
    """y is the first row of shares: of x0 alone, so that it is 1, 0, 0 whatever x is."""
    nodes = [node("Add", "x k", "m"), SOFTMAX, node("Identity", "p", "y")]
    graph = read(nodes, {"k": INFINITE[None]}, (1, N, N))
    low, high = np.full((N, N), -1.0), np.full((N, N), 2.0)
    found = bounds(graph, low, high, domain)
    draws = torch.rand(400, N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    corners = torch.where(draws > 0.7, 2.0, torch.where(draws < 0.3, -1.0, draws * 3 - 1))
    shares = torch.softmax(corners.masked_fill(torch.from_numpy(CAUSAL), -torch.inf), -1)
    assert bool((found.lower <= shares).all() and (shares <= found.upper).all())
    assert found.lower[0, 0].tolist() == pytest.approx([1, 0, 0], abs=1e-12)
    assert found.upper[0][torch.from_numpy(CAUSAL)].tolist() == [0, 0, 0]
    two = torch.softmax(torch.tensor([2.0, -1.0], dtype=torch.float64), 0)
    assert float(found.upper[0, 1, 0]) == pytest.approx(float(two[0]), rel=1e-9)
    assert float(found.lower[0, 1, 0]) == pytest.approx(float(two[1]), rel=1e-9)


def test_bounds_of_a_whole_attention_hold():
    graph = network("added")
    centre = torch.linspace(-1, 1, N * D, dtype=torch.float64).reshape(N, D)
    found = bounds(graph, (centre - 0.1).numpy(), (centre + 0.1).numpy(), "deeppoly")
    draws = torch.rand(300, N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    values = truth(centre + 0.2 * (draws.round(decimals=0) - 0.5))
    assert bool((found.lower <= values).all() and (values <= found.upper).all())
    assert float(found.width.max()) < 4


def test_no_bounds_go_by_the_name_of_a_masked_tensor():
    graph = network("added")
    assert any(isinstance(n.closed.op, MaskedSoftmax) for n in graph.nodes if n.closed is not None)
    assert "m" not in graph.tensors
    assert {"s", "p"} <= set(graph.tensors)


REFUSED = {
    "a row that sees nothing": ([node("Add", "x k", "m"), node("Softmax", "m", "y", axis=-1)], {"k": BELOW.reshape(1, 1)},
                                "masked by -inf, so that its softmax is NaN"),
    "a mask that depends on the input": ([node("Greater", "x zero", "c"), node("Where", "c below x", "m"),
                                          node("Softmax", "m", "y", axis=-1)],
                                         {"zero": ZERO, "below": BELOW}, "depends on the input"),
    "a maximum": ([node("Add", "x k", "m"), node("ReduceMax", "m", "y", axes=[1])], {"k": INFINITE[:1]}, "until a Softmax"),
    "logarithms": ([node("Add", "x k", "m"), node("LogSoftmax", "m", "y", axis=-1)], {"k": INFINITE[:1]}, "until a Softmax"),
    "taken away": ([node("Sub", "x k", "m"), node("Softmax", "m", "y", axis=-1)], {"k": INFINITE[:1]}, "until a Softmax"),
    "scaled by 0": ([node("Add", "x k", "m"), node("Mul", "m zero", "n"), node("Softmax", "n", "y", axis=-1)],
                    {"k": INFINITE[:1], "zero": ZERO}, "no positive constant"),
    "a weight": ([node("Gemm", "x k", "y")], {"k": INFINITE}, "until a Softmax"),
    "the output": ([node("Add", "x k", "y")], {"k": INFINITE[:1]}, "the output 'y' is -inf"),
    "folded with numbers": ([node("Mul", "k two", "j"), node("Add", "x j", "m"), node("Softmax", "m", "y", axis=-1)],
                            {"k": INFINITE[:1], "two": np.float32(2)}, "until a Softmax"),
    "NaN asked for behind a logarithm": ([node("Log", "x", "l"), node("IsNaN", "l", "g"), node("Where", "g zero x", "y")], {"zero": ZERO},
                                         "not defined everywhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_mask_may_not_be_is_refused(name):
    nodes, constants, text = REFUSED[name]
    with pytest.raises(AbsintError) as caught:
        read(nodes, constants, (1, N))
    assert text in str(caught.value)
    if "NaN asked" not in name:
        assert "-1e9" in str(caught.value)


def test_a_softmax_of_another_kind_is_asked_for_no_mask():
    """What reads hidden entries as numbers may not stand behind a mask, whatever its name: a plug-in may be registered under any."""
    hidden = np.array([[False, True, False]])
    with pytest.raises(NodeProblemError):
        behind(Relu(), "Softmax", hidden, batched=True)
    with pytest.raises(NodeProblemError):
        hidden_in(helper.make_node("Softmax", ["m"], ["y"], domain="of.a.plug.in"), {"m": hidden}, {}, {"m": (1, 3)}, 13)
