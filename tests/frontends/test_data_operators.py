"""Operators on data that exporters write around networks: selections by size, questions for NaN, casts, products of computed tensors."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto
from onnx_models import compare, node, stored, weights
from several_inputs import ml, model

import absint
from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.errors import AbsintError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model.import_check import check_import
from absint.model.ops.largest import Largest, comparisons
from absint.model.reference import runtime
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion

W = weights(4, 3)


def read(folder, made, **options):
    return OnnxFrontEnd().read(stored(folder, made), **options)


def one(nodes, constants=None, shape=("N", 4), opset=13, **more):
    made = model(nodes, {"x": list(shape)} if isinstance(shape, tuple) else shape, {"y": 0}, constants, **more)
    made.opset_import[0].version = opset
    return made


# ---- TopK --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 9))
def test_a_network_of_comparisons_selects_the_largest(count):
    """By the 0-1 principle (Knuth, section 5.3.4) those of zeros and ones tell of all."""
    for kept in range(1, count + 1):
        for bits in itertools.product((0, 1), repeat=count):
            x = list(bits)
            for layer in comparisons(count, kept):
                assert len({place for pair in layer for place in pair}) == 2 * len(layer)
                for i, j in layer:
                    x[i], x[j] = max(x[i], x[j]), min(x[i], x[j])
            assert x[:kept] == sorted(bits, reverse=True)[:kept]


def top(k, shape=("N", 4), **attributes):
    return one([node("TopK", "x k", "y i", **attributes)], {"k": np.array([k])}, shape)


TOPS = {
    "two of four": top(2, axis=1),
    "the least three": top(3, axis=1, largest=0),
    "all of four": top(4, axis=-1),
    "one": top(1, axis=1),
    "the least one": top(1, axis=1, largest=0),
    "along another axis": top(2, ("N", 3, 2), axis=1),
    "unsorted, but one": top(1, axis=1, sorted=0),
    "rows of a fixed batch": top(2, (3, 4), axis=1),
}


@pytest.mark.parametrize("name", TOPS)
def test_the_largest_entries_in_order(name, tmp_path):
    graph = read(tmp_path, TOPS[name])
    assert graph.source.node_check.nodes == graph.source.node_check.total
    compare(graph)


def test_bounds_of_the_largest(tmp_path):
    """Each is between the same entry of the sorted ends, which box bounds reach at worst."""
    graph = read(tmp_path, top(3, ("N", 5), axis=1))
    found = absint.bounds(graph, np.array([[0.0, 1.0, 0.5, -1.0, 0.25]]), 0.4, clip=None, domain="box")[graph.output.name]
    draw = torch.Generator().manual_seed(1)
    x = torch.tensor([[0.0, 1.0, 0.5, -1.0, 0.25]]) + (torch.rand(500, 5, generator=draw) * 2 - 1) * 0.4
    y = Largest(3).forward(x.double()).numpy()
    assert (found.lower.ravel() <= y).all()
    assert (y <= found.upper.ravel()).all()
    np.testing.assert_allclose(found.lower.ravel(), [0.6, 0.1, -0.15], atol=1e-6)
    np.testing.assert_allclose(found.upper.ravel(), [1.4, 0.9, 0.65], atol=1e-6)


# ---- what is imported, and agrees with onnxruntime ----------------------------------------------------------------------

ZERO = {"z": np.zeros(1, np.float32)}
GRID = np.random.default_rng(3).uniform(-1.3, 1.3, (1, 4, 5, 2)).astype(np.float32)


def product(*inputs, constants=None, **attributes):
    known = {"x": ["N", 4], "b": ["N", 3], "m": [4, 3], "c": [4, 4], "d": [4, 4]}
    shapes = {name: shape for name, shape in known.items() if name in inputs}
    if "m" in inputs:
        shapes["x"] = [4, 4]
    return one([node("Gemm", " ".join(inputs), "y", **attributes)], constants, shapes)


def sampled(shape=("N", 2, 5, 7), **attributes):
    return one([node("GridSample", "x g", "y", **attributes)], {"g": GRID}, shape, opset=16)


def put_together(rows, columns, image, block=(2, 2), **attributes):
    constants = {"i": np.array(image), "b": np.array(block)}
    return one([node("Col2Im", "x i b", "y", **attributes)], constants, ("N", rows, columns), opset=18)


MODELS = {
    "a computed bias": product("x", "w", "b", constants={"w": W}, alpha=-2.0, beta=0.75),
    "a bias for all": one([node("ReduceSum", "x a", "s"), node("Gemm", "x w s", "y", beta=3.0)], {"w": W, "a": np.array([1])}),
    "a bias of one number": one([node("ReduceSum", "x", "n"), node("Gemm", "x w n", "y")], {"w": W}, (4, 4)),
    "a softmax of old over axes of size 1": one([node("Softmax", "x", "y", axis=1)], shape=("N", 3, 1, 1), opset=8),
    "a softmax of old over several axes": one([node("LogSoftmax", "x", "y", axis=1)], shape=("N", 3, 2), opset=11),
    "two computed matrices": product("x", "m"),
    "two computed matrices, turned, and a bias": product("c", "d", "v", constants={"v": W[:, 0]}, transA=1, transB=1, alpha=0.5),
    "a question for infinity": one([node("IsInf", "x", "n"), node("Where", "n z x", "y")], ZERO),
    "both questions": one([node("Relu", "x", "r"), node("IsNaN", "r", "n"), node("IsInf", "r", "i"), node("Or", "n i", "o"),
                           node("Where", "o z r", "y")], ZERO),
    "a question about constants": one([node("IsNaN", "z", "n"), node("Where", "n z x", "y")], ZERO),
    "doubles in between": one([node("MatMul", "x w", "s"), node("Cast", "s", "c", to=1), node("Cast", "c", "d", to=11),
                               node("Relu", "d", "y")], {"w": W.astype(float)}, dtype=TensorProto.DOUBLE),
    "blocks": put_together(4, 5, (2, 6)),
    "blocks apart, padded and spread": put_together(12, 15, (4, 7), pads=[1, 0, 1, 0], strides=[2, 1], dilations=[1, 2]),
    **{f"places, {aligned}, {padding}": sampled(align_corners=aligned, padding_mode=padding)
       for aligned in (0, 1) for padding in ("zeros", "border")},
}


@pytest.mark.parametrize("name", MODELS)
def test_they_agree_with_onnxruntime(name, tmp_path):
    graph = read(tmp_path, MODELS[name])
    assert graph.source.node_check.nodes == graph.source.node_check.total
    compare(graph)


def test_places_between_pixels_by_hand(tmp_path):
    """A grid of one place a quarter of the way between two pixels, and one beyond the corner, where zeros are."""
    grid = np.float32([[[[-0.75, 0.0], [2.0, 2.0]]]])
    graph = read(tmp_path, one([node("GridSample", "x g", "y", align_corners=1)], {"g": grid}, ("N", 1, 3, 3), opset=16))
    x = torch.arange(9.0, dtype=torch.float64).reshape(1, 1, 3, 3)
    np.testing.assert_allclose(graph(x).ravel(), [3.25, 0.0])


def cast_in_between(factor=1.0, kind=10):
    """The product is kept in another format, and beside it read as it is."""
    return one([node("MatMul", "x w", "s"), node("Cast", "s", "c", to=kind), node("Cast", "c", "d", to=1), node("Relu", "d", "r"),
                node("Mul", "r f", "q"), node("Sub", "q s", "y")], {"w": W, "f": np.float32([factor])})


CASTS = {
    "there and back": one([node("MatMul", "x w", "s"), node("Cast", "s", "c", to=10), node("Cast", "c", "y", to=1)], {"w": W * 100}),
    "at the input": one([node("Cast", "x", "c", to=10), node("Cast", "c", "d", to=1), node("MatMul", "d w", "y")], {"w": W}),
    "float16, beside what is not cast": cast_in_between(),
    "bfloat16, beside what is not cast": cast_in_between(kind=16),
}


@pytest.mark.parametrize("name", CASTS)
def test_a_cast_is_what_executions_err_by(name, tmp_path):
    """Rounding to 8 digits is explained, and nothing more."""
    assert 1e-5 < check_import(read(tmp_path, CASTS[name]), -2.0, 3.0, points=40) < 2.0**-7


def test_a_cast_explains_no_other_factor(tmp_path):
    graph, other = (read(tmp_path, cast_in_between(factor)) for factor in (1.0, 1.02))
    with pytest.raises(AbsintError) as caught:
        check_import(replace(graph, source=other.source), -2.0, 3.0)
    assert caught.value.code == "E-IMPORT-MISMATCH"


def test_a_cast_to_fewer_digits_is_said(tmp_path):
    (said,) = read(tmp_path, CASTS["there and back"]).source.caveats
    assert said.startswith("E-MODEL-CAST: a cast to float16 ('c')")
    assert read(tmp_path, MODELS["doubles in between"]).source.caveats == ()


# ---- what is refused -----------------------------------------------------------------------------------------------------

LOG = [node("Log", "x", "l"), node("IsInf", "l", "n"), node("Where", "n z l", "y")]
REFUSED = {
    "infinity behind a logarithm": (one(LOG, ZERO), "E-OP-UNSUPPORTED", "not defined everywhere"),
    "open order": (top(2, axis=1, sorted=0), "E-OP-UNSUPPORTED", "sorted=1"),
    "too many": (top(50, ("N", 400), axis=1), "E-OP-UNSUPPORTED", "comparisons"),
    "places of the largest": (one([node("TopK", "x k", "v i", axis=1), node("Cast", "i", "y", to=1)], {"k": np.array([2])}),
                              "E-OP-UNSUPPORTED", "its output 'i' is used"),
    "nearest places": (sampled(mode="nearest"), "E-OP-UNSUPPORTED", "bilinearly"),
    "a grid for each image": (one([node("GridSample", "x g", "y")], {"g": np.concatenate([GRID, GRID])}, (2, 2, 5, 7), opset=16),
                              "E-OP-UNSUPPORTED", "grid"),
    "blocks of another number": (put_together(4, 6, (2, 6)), "E-OP-UNSUPPORTED", "do not make images"),
    "beyond float16": (one([node("Mul", "x f", "s"), node("Cast", "s", "c", to=10), node("Cast", "c", "y", to=1)],
                           {"f": np.float32([1e6])}), "E-REGION-OVERFLOW", "'c' is kept in"),
    "a kernel that onnxruntime lacks": (one([ml("Imputer", "x", "y", imputed_value_floats=[1.0], replaced_value_float=float("nan"))],
                                            dtype=TensorProto.DOUBLE), "E-IMPORT-RUNTIME", "float32 inputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why(case, tmp_path):
    made, code, text = REFUSED[case]
    with pytest.raises(AbsintError) as caught:
        read(tmp_path, made)
    assert caught.value.code == code
    assert text in str(caught.value)


# ---- Numbers that an execution does not hold ------------------------------------------------------------------------------


def asked(**attributes):
    """x where 1e30 x^3 is a float32, else -x."""
    steps = [node("Mul", "x x", "s"), node("Mul", "s x", "c"), node("Mul", "c f", "l"), node("IsInf", "l", "i", **attributes),
             node("Neg", "x", "m"), node("Where", "i m x", "y")]
    return one(steps, {"f": np.float32([1e30])})


@pytest.mark.parametrize("attributes", [{}, {"detect_negative": 0}, {"detect_positive": 0}, {"detect_negative": 0, "detect_positive": 0}])
def test_what_overflows_takes_the_branch_for_infinity(attributes, tmp_path):
    """1e30 x^3 leaves float32 from |x| = 698 on."""
    graph = read(tmp_path, asked(**attributes))
    x = np.linspace(-1000, 1000, 41, dtype=np.float32)[:, None].repeat(4, 1)
    theirs = runtime(graph.source).run(x)
    assert (theirs == graph(torch.as_tensor(x, dtype=torch.float64)).numpy()).all()
    assert bool((theirs != x).any()) == any(attributes.get(name, 1) for name in ("detect_negative", "detect_positive"))


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_both_branches_count_where_some_inputs_overflow(semantics, tmp_path):
    graph, ends = read(tmp_path, asked()), (torch.full((1, 4), value, dtype=torch.float64) for value in (600.0, 800.0))
    found = boxes(Context(graph, BoxRegion(*ends), Numerics(float32_semantics=semantics == "float32"))).known[graph.output.name]
    assert bool((found.lower <= -800).all())
    assert bool((found.upper >= 690).all())


LOGIC = {kind: one([node("Greater", "x z", "g"), node(kind, "g t", "o"), node("Cast", "o", "y", to=1)],
                   {"z": np.float32([0.5]), "t": np.array([True, False, True, False])}) for kind in ("And", "Or", "Xor")}


@pytest.mark.parametrize("kind", LOGIC)
def test_truth_values_beside_constant_ones(kind, tmp_path):
    graph = read(tmp_path, LOGIC[kind])
    x = np.array(list(itertools.product((0.0, 1.0), repeat=4)), np.float32)
    assert (runtime(graph.source).run(x) == graph(torch.as_tensor(x, dtype=torch.float64)).numpy()).all()
