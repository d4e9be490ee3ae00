"""Constants that a file computes with rounding: what is analysed is the exact network, up to errors that are charged."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from contract.claims import box_region
from onnx_models import build, node, weights

from absint.engine.context import Context
from absint.engine.forward import tensor_bounds
from absint.errors import InputError, UnsupportedError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.import_check import check_import
from absint.model.ops.computed import ComputedCoefficients, Fixed
from absint.model.reference import runtime
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.search.names import walker_of

U = Fraction(2) ** -53


def read(nodes, shape=(1, 4), constants=None, **settings):
    content = build(nodes, list(shape), constants, **settings).SerializeToString()
    return OnnxFrontEnd().read("net.onnx", fold=False, content=content)


def exactly(values):
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(np.asarray(values))


# ---- coefficients and summands, in rationals ----------------------------------------------------------------------------

A, B, C = weights(5, 3), weights(3, 4), weights(5)
# Sums that lose nine digits in float32: errors of executions are far above the roundings of the product that follows.
LOSING = np.array([[1e4, 1e4, 1.0], [-3e4, 3e4, 2.0]], np.float32)
LOST = np.array([[1.0, 0.1, 0.3, 0.7], [-1.0, -0.1, -0.3, -0.7], [0.01, 0.02, 0.03, 0.04]], np.float32) * np.float32(1 / 3)


@cache
def product(left="a", right="b"):
    pair = {"a": A, "b": B, "l": LOSING, "m": LOST}
    return read([node("MatMul", f"{left} {right}", "w"), node("Gemm", "x w", "y", transB=1)],
                constants={left: pair[left], right: pair[right]})


def shifted():
    """x + (c / 3 - c / 7)."""
    return read([node("Div", "c three", "p"), node("Div", "c seven", "q"), node("Sub", "p q", "b"), node("Add", "x b", "y")],
                constants={"c": B[0], "three": np.float32(3), "seven": np.float32(7)})


def computed(graph):
    return next(n.op for n in graph.nodes if isinstance(n.op, ComputedCoefficients))


def claims(op, coefficients, truth):
    error = exactly(coefficients) - truth
    assert all(abs(e) <= op.terms * U * abs(Fraction(float(c))) for e, c in zip(error.flat, np.asarray(coefficients).flat, strict=True))
    return error


def test_a_product_of_matrices_is_known_up_to_its_roundings():
    op = computed(product())
    assert any(claims(op, op.base.weight, exactly(A) @ exactly(B)).flat)
    assert op.terms == 1
    assert op.forward_terms == op.base.forward_terms + 1
    assert op.adjoint_terms == op.base.adjoint_terms + 1


def test_scales_and_divisors_are_known_up_to_their_roundings():
    graph = read([node("Add", "a b", "s"), node("Div", "x s", "h"), node("Div", "a c", "t"), node("Mul", "h t", "y")],
                 constants={"a": np.abs(B[0]) + 1, "b": np.abs(B[1]), "c": B[2]})
    first, second = (n.op for n in graph.nodes if isinstance(n.op, ComputedCoefficients))
    a, b = exactly(np.abs(B[0]) + 1), exactly(np.abs(B[1]))
    claims(first, first.base.scale, 1 / (a + b))
    claims(second, second.base.scale, a / exactly(B[2]))
    assert first.terms == second.terms == 1


def test_a_summand_errs_by_what_is_stated():
    op = computed(shifted())
    truth = exactly(B[0]) * (Fraction(1, 3) - Fraction(1, 7))
    error = [abs(e) for e in (exactly(op.offset) - truth).flat]
    stated = [0.0] * 4 if op.offset_error is None else op.offset_error.tolist()
    assert any(error)
    assert all(e <= Fraction(s) for e, s in zip(error, stated, strict=True))


def test_what_is_exact_stays_what_it_was():
    graph = read([node("Add", "w w", "v"), node("MatMul", "x v", "y")], constants={"w": np.float32([[1, 2], [3, 4], [5, 6], [7, 8]])})
    assert not any(isinstance(n.op, ComputedCoefficients) for n in graph.nodes)
    zero = read([node("MatMul", "z w", "p"), node("Add", "p b", "q"), node("Add", "x q", "y")],
                constants={"z": np.zeros((1, 3), np.float32), "w": weights(3, 4), "b": B[0]})
    assert not any(isinstance(n.op, ComputedCoefficients) for n in zero.nodes)


# ---- bounds -------------------------------------------------------------------------------------------------------------


def bounds(graph, x, domain, num):
    region, _ = box_region(x, x)
    with numeric_mode(), torch.no_grad():
        found = tensor_bounds(walker_of(domain), Context(graph, region, num), (graph.output.name,))[graph.output.name]
    return found.lower.flatten().tolist(), found.upper.flatten().tolist()


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly", "linear"])
def test_bounds_at_a_point_hold_the_exact_value(domain):
    x = np.array([0.7, -1e-3, 1e5, 3.0])
    lower, upper = bounds(product(), x, domain, Numerics())
    truth = exactly(A) @ exactly(B) @ exactly(x)
    assert all(Fraction(a) <= t <= Fraction(b) for a, t, b in zip(lower, truth, upper, strict=True))
    assert all(b - a <= 1e-9 * max(abs(a), abs(b), 1) for a, b in zip(lower, upper, strict=True))


def executions_within(graph, domain, points):
    for x in points:
        lower, upper = bounds(graph, x, domain, Numerics(float32_semantics=True))
        run = runtime(graph.source).run(x[None].astype(np.float32)).reshape(-1)
        assert all(a <= r <= b for a, r, b in zip(lower, run, upper, strict=True))


@pytest.mark.parametrize("domain", ["box", "deeppoly"])
def test_float32_executions_of_a_product_that_cancels_are_within(domain):
    graph = product("l", "m")
    truth = exactly(LOSING) @ exactly(LOST)
    run = exactly(LOSING @ LOST)
    assert any(abs(r - t) > 64 * 2.0**-24 * abs(t) for r, t in zip(run.flat, truth.flat, strict=True))
    executions_within(graph, domain, np.eye(4))


def test_float32_executions_of_a_summand_that_cancels_are_within():
    """Nearly a third of c less a third of it, which executions take from numbers a million times as large."""
    nodes = [node("Mul", "c big", "m"), node("Div", "m three", "p"), node("Div", "c three", "t"), node("Mul", "t big", "q"),
             node("Sub", "p q", "b"), node("Add", "x b", "y")]
    graph = read(nodes, constants={"c": B[0], "big": np.float32(1e6 + 1), "three": np.float32(3)})
    assert float(computed(graph).offset.abs().max()) < 1e-15
    assert np.abs(runtime(graph.source).run(np.zeros((1, 4), np.float32))).max() > 1e-4
    executions_within(graph, "box", np.zeros((1, 4)))
    executions_within(graph, "deeppoly", np.zeros((1, 4)))


def test_functions_of_constants_are_enclosed_by_their_own_mathematics():
    nodes = [node("Softplus", "a", "p"), node("Exp", "b", "e"), node("Softmax", "c", "s", axis=-1), node("Mul", "p e", "m"),
             node("Mul", "m s", "w"), node("Mul", "x w", "y")]
    graph = read(nodes, constants={"a": B[0], "b": B[1], "c": B[2]})
    a, b, c = (torch.tensor(v, dtype=torch.float64) for v in (B[0], B[1], B[2]))
    truth = torch.nn.functional.softplus(a) * b.exp() * c.softmax(0)
    op = computed(graph)
    assert 1 < op.terms < 200
    assert torch.allclose(op.base.scale, truth, rtol=1e-14, atol=0)
    check_import(graph, -3.0, 3.0)


def test_an_execution_that_nobody_bounds_verifies_nothing():
    # Powers of a constant are computed by each runtime in its own way.
    graph = read([node("Pow", "base a", "w"), node("Mul", "x w", "y")], constants={"base": np.float32(3), "a": B[0]})
    assert bounds(graph, np.ones(4), "box", Numerics(float32_semantics=True))[1] == [np.inf] * 4
    assert max(bounds(graph, np.ones(4), "box", Numerics())[1]) < 100


# ---- no coefficients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Max", "Greater", "Pow"])
def test_other_operators_get_them_as_tensors_of_their_own(kind):
    nodes = [node("Div", "a three", "c")]
    if kind == "Greater":
        nodes += [node("Greater", "x c", "t"), node("Where", "t x c", "y")]
    elif kind == "Max":
        nodes += [node("Max", "x c", "y")]
    else:
        nodes += [node("Pow", "c two", "d"), node("Min", "x d", "y")]
    graph = read(nodes, constants={"a": B[0], "three": np.float32(3), "two": np.float32(2)})
    assert any(isinstance(n.op, Fixed) for n in graph.nodes)
    third = exactly(B[0]) / 3
    x = np.array([0.2, -0.4, 1.0, -1.0])
    truth = {"Max": max, "Greater": max, "Pow": lambda v, c: min(v, c * c)}[kind]
    for domain in ("box", "deeppoly", "zonotope"):
        lower, upper = bounds(graph, x, domain, Numerics())
        for a, b, v, c in zip(lower, upper, exactly(x), third, strict=True):
            assert Fraction(a) <= truth(v, c) <= Fraction(b)
            assert b - a < 1e-12


def test_a_constant_that_no_rule_can_take_is_refused():
    nodes = [node("Div", "a three", "c"), node("LayerNormalization", "x c", "y")]
    with pytest.raises(UnsupportedError, match="computed with rounding"):
        read(nodes, constants={"a": B[0], "three": np.float32(3)}, opset=17)


def test_division_by_what_may_be_zero_is_refused():
    nodes = [node("Div", "one three", "p"), node("Sub", "p third", "q"), node("Sub", "q q", "z"), node("Div", "x z", "y")]
    with pytest.raises(UnsupportedError):
        read(nodes, constants={"one": np.float32([1] * 4), "three": np.float32(3), "third": np.float32(1 / 3)})


def test_comparisons_that_rounding_decides_are_refused():
    nodes = [node("Div", "a three", "p"), node("Greater", "p third", "t"), node("Where", "t p x", "y")]
    with pytest.raises(UnsupportedError, match="rounding may order either way"):
        read(nodes, constants={"a": np.float32([1] * 4), "three": np.float32(3), "third": np.float32(1 / 3)})


def test_an_infinite_mask_is_told_what_to_do_where_no_softmax_reads_it():
    mask = np.where(np.tri(4) > 0, 0, -np.inf).astype(np.float32)[:1]
    with pytest.raises(UnsupportedError) as caught:
        read([node("Add", "x m", "s"), node("ReduceMax", "s", "y", axes=[1])], constants={"m": mask})
    assert "-1e9" in str(caught.value)
    graph = read([node("Add", "x m", "s"), node("ReduceMax", "s", "y", axes=[1])], constants={"m": np.maximum(mask, -1e9)})
    assert graph.output.shape == (1,)


THIRD = [node("Div", "one three", "c")]
ROUNDED = {"one": np.float32(1), "three": np.float32(3)}
# name -> (nodes behind 'c', constants, the function in rationals of an entry of x and of the third)
ENDS = {
    "an upper end": ([node("Clip", "x zero c", "y")], {"zero": np.float32(0)}, lambda x, c: min(max(x, 0), c)),
    "a lower end": ([node("Clip", "x c", "y")], {}, max),
    "both ends": ([node("Neg", "c", "d"), node("Clip", "x d c", "y")], {}, lambda x, c: min(max(x, -c), c)),
    "ends that cross": ([node("Neg", "c", "d"), node("Clip", "x c d", "y")], {}, lambda x, c: -c),
    "a slope": ([node("PRelu", "x c", "y")], {}, lambda x, c: x if x > 0 else x * c),
    "slopes": ([node("Mul", "c w", "d"), node("PRelu", "x d", "y")], {"w": np.float32([1, 2, 4, 8])}, None),
    "a minimum": ([node("Min", "x c", "y")], {}, min),
    "a maximum": ([node("Max", "c x", "y")], {}, max),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_and_slopes_that_round_are_enclosed(name):
    nodes, constants, function = ENDS[name]
    graph = read([*THIRD, *nodes], constants={**ROUNDED, **constants})
    check_import(graph, -2.0, 2.0)
    if function is None:    # of other slopes, entry by entry
        return
    for value in (-1.5, -0.25, 0.25, 0.33333334, 1.5):
        truth = function(Fraction(value), Fraction(1, 3))
        for domain in ("box", "deeppoly", "zonotope"):
            region, _ = box_region(np.full(4, value), np.full(4, value))
            with numeric_mode(), torch.no_grad():
                found = tensor_bounds(walker_of(domain), Context(graph, region, Numerics()), (graph.output.name,))[graph.output.name]
            assert Fraction(float(found.lower.max())) <= truth <= Fraction(float(found.upper.min()))
            assert float(found.width.max()) < 1e-12


def test_parts_of_a_node_get_no_name_that_the_file_has():
    """A constant of the name that PRelu's part would have had was taken for the part."""
    nodes = [*THIRD, node("PRelu", "x c", "p"), node("Add", "p p/left", "y")]
    graph = read(nodes, constants={**ROUNDED, "p/left": np.ones(4, np.float32)})
    check_import(graph, -2.0, 2.0)
    assert "p/left" not in graph.tensors


# ---- as exporters write them --------------------------------------------------------------------------------------------


def weight_norm():
    nodes = [node("ReduceL2", "v", "n", axes=[1], keepdims=1), node("Div", "v n", "u"), node("Mul", "u g", "w"),
             node("Gemm", "x w b", "y", transB=1)]
    return nodes, {"v": A[:, [0, 1, 2, 0]], "g": weights(5, 1), "b": C}, (1, 4)


def batch_norm_spelt_out():
    nodes = [node("Sub", "x m", "c"), node("Add", "v e", "t"), node("Sqrt", "t", "d"), node("Div", "c d", "n"), node("Mul", "n g", "s"),
             node("Add", "s b", "y")]
    return nodes, {"m": B[0], "v": np.abs(B[1]), "e": np.float32(1e-5), "g": B[2], "b": B[0]}, (1, 4)


def positions():
    nodes = [node("Range", "zero four one", "k"), node("Div", "k four", "f"), node("Pow", "base f", "p"), node("Div", "k p", "a"),
             node("Sin", "a", "s"), node("Add", "x s", "y")]
    return nodes, {"zero": np.float32(0), "four": np.float32(4), "one": np.float32(1), "base": np.float32(10000)}, (1, 4)


def quadratic_form():
    nodes = [node("Transpose", "r", "t"), node("MatMul", "r t", "p"), node("MatMul", "x p", "px"), node("Mul", "px x", "q"),
             node("ReduceSum", "q axis", "y")]
    return nodes, {"r": weights(4, 4), "axis": np.array([1])}, (1, 4)


def convolution():
    nodes = [node("Mul", "k s", "w"), node("Div", "c s", "b"), node("Conv", "x w b", "y")]
    return nodes, {"k": weights(3, 1, 2, 2), "s": np.float32(1 / 3), "c": weights(3)}, (1, 1, 3, 3)


EXPORTED = {make.__name__: make for make in (weight_norm, batch_norm_spelt_out, positions, quadratic_form, convolution)}


@pytest.mark.parametrize("name", EXPORTED)
def test_networks_as_exporters_write_them(name):
    nodes, constants, shape = EXPORTED[name]()
    graph = read(nodes, shape, constants)
    assert any(isinstance(n.op, ComputedCoefficients) for n in graph.nodes)
    x = np.random.default_rng(3).uniform(-1, 1, graph.input.shape)
    executions_within(graph, "deeppoly", x[None])
    lower, upper = bounds(graph, x, "deeppoly", Numerics())
    assert all(b - a < 1e-9 for a, b in zip(lower, upper, strict=True))


def test_cast_like_is_the_cast_that_it_is():
    graph = read([node("CastLike", "k x", "c"), node("Mul", "x c", "y")], constants={"k": np.array([1, 2, 3, 4])}, opset=17)
    assert torch.equal(graph(torch.ones(1, 4)), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))


# ---- sequences ----------------------------------------------------------------------------------------------------------


def at(k):
    return {f"i{k}": np.array(k)}


@pytest.mark.parametrize(("split", "expected"), [
    (np.array(3), [[0, 1, 2], [3]]), (np.array([1, 3]), [[0], [1, 2, 3]]), (None, [[0], [1], [2], [3]]),
])
def test_split_into_a_sequence(split, expected):
    constants = {**at(0), **at(-1), **({} if split is None else {"s": split})}
    nodes = [node("SplitToSequence", "x" if split is None else "x s", "q", axis=1), node("SequenceAt", "q i0", "a"),
             node("SequenceAt", "q i-1", "b"), node("Concat", "b a", "y", axis=1)]
    graph = read(nodes, constants=constants)
    x = torch.arange(4.0)[None]
    assert graph(x).flatten().tolist() == [*expected[-1], *expected[0]]


def test_sequences_put_together():
    nodes = [node("SequenceConstruct", "x x", "q"), node("Neg", "x", "n"), node("SequenceInsert", "q n i0", "r"),
             node("SequenceErase", "r i1", "t"), node("ConcatFromSequence", "t", "y", axis=1)]
    graph = read(nodes, constants={**at(0), **at(1)})
    assert graph(torch.arange(4.0)[None]).flatten().tolist() == [0, -1, -2, -3, 0, 1, 2, 3]


def test_stacked_along_a_new_axis():
    graph = read([node("SequenceConstruct", "x x", "q"), node("ConcatFromSequence", "q", "y", axis=1, new_axis=1)])
    assert graph.output.shape == (2, 4)


def test_a_position_beyond_a_sequence_is_refused():
    with pytest.raises((UnsupportedError, InputError), match="position 7"):
        read([node("SequenceConstruct", "x x", "q"), node("SequenceAt", "q i7", "y")], constants=at(7))
