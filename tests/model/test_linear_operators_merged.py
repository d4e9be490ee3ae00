"""Linear operators in a row become one matrix: the network stays the same in rational numbers, up to errors that it states."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from contract.claims import box_region, rows
from linear_chains import KINDS, chain, exact, from_the_left, gemm, numbers, plain, points
from onnx_models import build, node, stored, weights

import absint
from absint.engine.context import Context
from absint.engine.float32_executions import check_executions
from absint.engine.forward import margins, tensor_bounds
from absint.errors import UnsupportedError, UsageError
from absint.frontends.onnx_reader import OnnxFrontEnd
from absint.model import passes
from absint.model.graph import GraphBuilder
from absint.model.import_check import check_import
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum
from absint.model.passes.linear_forms import composable
from absint.model.passes.merge_linear import merge_linear
from absint.numeric.backend import numeric_mode
from absint.search.names import walker_of
from absint.testing.kit import FLOAT64, MIXED, SINGLE
from absint.testing.truth import ExactTensor, evaluate, outside

U = Fraction(2) ** -53


def affine(graph, name):
    """The exact columns and constant of a node, as a function of the input."""
    part, size = graph.upto(name), graph.input.size
    zero = torch.zeros(graph.input.shape, dtype=torch.float64)
    constant = exact(part, zero)
    columns = []
    for k in range(size):
        unit = torch.zeros(size, dtype=torch.float64)
        unit[k] = 1
        columns.append([a - b for a, b in zip(exact(part, unit), constant, strict=True)])
    return columns, constant


def claimed(whole, merged, name):
    """That a merged node is the exact map up to what it states."""
    op = next(n.op for n in merged.nodes if isinstance(n.op, Gemm) and n.name in (name, f"{name}/merged"))
    columns, constant = affine(whole, name)
    terms = op.weight_terms * U
    for column, theirs in zip(op.weight.T.tolist(), columns, strict=True):
        assert all(abs(Fraction(w) - t) <= terms * abs(Fraction(w)) for w, t in zip(column, theirs, strict=True))
    bias = [0.0] * len(constant) if op.bias is None else op.bias.tolist()
    error = [0.0] * len(constant) if op.bias_error is None else op.bias_error.tolist()
    assert all(abs(Fraction(b) - c) <= Fraction(e) for b, c, e in zip(bias, constant, error, strict=True))
    return op


SINKS = {"plain": "2", "moved": "7", "branched": "behind", "rows": None, "from the left": "2"}


@pytest.mark.parametrize("kind", KINDS)
def test_merged_networks_are_the_networks(kind):
    for seed in range(4):
        whole = KINDS[kind](seed)
        merged = merge_linear(whole)
        assert merged is not whole
        assert merged.output.name == whole.output.name
        if SINKS[kind] is not None:
            claimed(whole, merged, SINKS[kind])
        for x in points(whole, seed):
            there, here = exact(whole, x), exact(merged, x)
            assert all(abs(a - b) <= 1e-12 * (1 + abs(a)) * 2**40 for a, b in zip(there, here, strict=True))


def test_products_of_whole_numbers_keep_their_very_coefficients():
    """Selections, signs and halves, as minima of two numbers are made of: such networks stay faithful, and ties can be proved."""
    select = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    pairs = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.5]], dtype=torch.float64)
    whole = chain((2,), gemm(1, 2, 2, reach=0), Gemm(select), Gemm(pairs), Relu(), gemm(2, 1, 2))
    op = claimed(whole, merge_linear(whole), "2")
    assert op.weight_terms == 0
    assert op.bias_error is None
    assert op.faithful
    assert op.weight.shape == (2, 2)


def test_rounded_coefficients_are_counted():
    op = claimed(plain(3), merge_linear(plain(3)), "2")
    assert op.weight_terms == 1
    assert not op.faithful
    assert op.forward_terms == 4 + 1 + 1


def test_errors_of_constants_go_through_the_matrices_behind_them():
    error = torch.tensor([1e-3, 0.0, 2e-3], dtype=torch.float64)
    inner = replace(gemm(1, 3, 2), bias_error=error)
    outer = replace(gemm(2, 3, 3), bias_error=error)
    op = merge_linear(chain((2,), inner, outer, Relu(), gemm(3, 1, 3)))["1"].op
    assert bool((op.bias_error >= outer.weight.abs() @ error + error).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly", "linear"])
def test_bounds_of_merged_networks_hold_the_network(kind, domain):
    whole = KINDS[kind](11)
    merged = merge_linear(whole)
    for x in points(whole, 5, 2):
        for radius in (0.0, 1e-9):
            region, ends = box_region(x.numpy() - radius, x.numpy() + radius)
            for num in (FLOAT64, SINGLE if domain == "box" else MIXED):
                holds(walker_of(domain), merged, whole, region, ends, num)


def holds(domain, merged, whole, region, ends, num):
    """Bounds of every node that both have, and rows of the output, hold the whole network's exact values at both ends."""
    values = evaluate(whole, ends)
    names = tuple(n.name for n in merged.nodes if n.name in whole.by_name)
    size = whole.output.size
    spec = rows(np.linspace(-1.0, 2.0, size).tolist())
    with numeric_mode(), torch.no_grad():
        ctx = Context(merged, region, num)
        for name, box in tensor_bounds(domain, ctx, names).items():
            wrong = outside(box.lower, box.upper, values[name].reduce("min", 0), values[name].reduce("max", 0))
            assert wrong is None, f"{name}: {wrong}"
        found, _ = margins(domain, ctx, spec)
    row = (values[whole.output.name] @ ExactTensor.of(spec.weight[0].T)).reduce("min", 0)
    assert outside(found.lower, found.upper, row, row) is None


def test_boxes_are_those_of_the_composed_map():
    ones = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    whole = chain((2,), Gemm(ones), Gemm(ones), Relu(), Gemm(torch.ones(1, 2, dtype=torch.float64)))
    region, _ = box_region([-1.0, -1.0], [1.0, 1.0])
    box = walker_of("box")
    widths = [float(tensor_bounds(box, Context(graph, region, FLOAT64), ("1",))["1"].upper.max()) for graph in (whole, merge_linear(whole))]
    assert widths[0] >= 4
    assert 2 <= widths[1] <= 2.0000001


# ---- what stays as it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e-310, 1e-100, 1e200])
def test_extreme_magnitudes_are_left_alone(value):
    wild = gemm(1, 3, 3)
    wild.weight[0, 0] = value
    whole = chain((3,), wild, gemm(2, 3, 3), Relu(), gemm(3, 1, 3))
    assert merge_linear(whole) is whole


def test_what_float32_does_not_hold_is_left_alone():
    small = Gemm(torch.full((2, 2), 2.0**-80, dtype=torch.float64))
    whole = chain((2,), small, small, Relu(), gemm(3, 1, 2))
    assert whole.fits(torch.float32)
    assert merge_linear(whole) is whole


def test_coefficients_that_were_rounded_before_are_left_alone():
    for first, second in ((replace(gemm(1, 3, 3), weight_terms=1), gemm(2, 3, 3)), (gemm(1, 3, 3), replace(gemm(2, 3, 3), weight_terms=1))):
        whole = chain((3,), first, second, Relu(), gemm(3, 1, 3))
        assert merge_linear(whole) is whole
    assert not composable(Affine(torch.full((3,), 0.3, dtype=torch.float64)))
    assert not composable(Affine(torch.full((3,), 2.0, dtype=torch.float64), weight_terms=1))


def test_parameters_in_training_are_left_alone():
    trained = gemm(1, 3, 3)
    trained.weight.requires_grad_()
    whole = chain((3,), trained, gemm(2, 3, 3), Relu(), gemm(3, 1, 3))
    assert merge_linear(whole) is whole


def test_bottlenecks_and_convolutions_are_left_alone():
    narrow = chain((12,), gemm(1, 2, 12), gemm(2, 12, 2), Relu(), gemm(3, 1, 12))
    assert merge_linear(narrow) is narrow
    kernel = Conv(numbers(1, 2, 1, 2, 2), None, (1, 1), ((0, 0), (0, 0)), (1, 1))
    convolved = chain((1, 3, 3), kernel, Reshape((8,)), gemm(2, 4, 8), Relu(), gemm(3, 1, 4))
    assert merge_linear(convolved) is convolved


def test_the_matrices_before_a_bottleneck_are_merged():
    whole = chain((12,), gemm(1, 12, 12), gemm(2, 1, 12), gemm(3, 12, 1), Relu(), gemm(4, 1, 12))
    merged = merge_linear(whole)
    assert [n.name for n in merged.nodes] == ["x", "1", "2", "3", "4"]
    assert merged["1"].op.weight.shape == (1, 12)


def test_what_others_read_is_left_alone():
    build = GraphBuilder("x", (3,))
    first = build.add(gemm(1, 3, 3), ("x",), "first")
    second = build.add(gemm(2, 3, 3), (first,), "second")
    left, right = build.add(Relu(), (second,), "left"), build.add(Relu(), (first,), "right")
    whole = build.graph(build.add(Sum(), (left, right), "y"))
    assert merge_linear(whole) is whole


# ---- what is said of it -----------------------------------------------------------------------------------------------


def in_a_row():
    """A file: two matrices in a row, then a ReLU and another one."""
    nodes = [node("MatMul", "x a", "m"), node("Add", "m b", "h"), node("Gemm", "h c d", "s", transB=1), node("Relu", "s", "r"),
             node("Gemm", "r e", "y")]
    return build(nodes, [1, 3], {"a": weights(3, 4), "b": weights(4), "c": weights(5, 4), "d": weights(5), "e": weights(5, 2)})


def test_files_are_merged_and_inner_tensors_stay_askable(tmp_path):
    path = stored(tmp_path, in_a_row())
    graph = OnnxFrontEnd().read(path)
    assert graph.source.passes == ("fold-affine", "merge-linear")
    assert "h" not in graph.tensors
    assert "s" in graph.tensors
    found = absint.bounds(path, np.zeros((1, 3)), eps=0.1, clip=None, tensors="h", domain="deeppoly")
    theirs = OnnxFrontEnd().read(path, fold=False).evaluate(torch.zeros(1, 3, dtype=torch.float64), ("h",))["h"]
    assert bool((found["h"].lower <= theirs.numpy()).all() and (theirs.numpy() <= found["h"].upper).all())


def test_float32_executions_are_refused_of_merged_graphs(tmp_path):
    path = stored(tmp_path, in_a_row())
    with pytest.raises(UsageError, match="merge-linear"):
        check_executions(OnnxFrontEnd().read(path))
    check_executions(OnnxFrontEnd().read(path, fold=False))


def test_a_pass_is_named_even_where_as_many_nodes_are_left():
    """Two matrices of rows become a reshape, a matrix and a reshape: float32 semantics must hear of it."""
    whole = from_the_left(2)
    merged = passes.apply_passes(whole)
    assert len(merged.nodes) == len(whole.nodes)
    assert "merge-linear" in merged.source.passes
    assert passes.apply_passes(whole, fold=False).source.passes == ()


def test_the_import_check_allows_for_what_cancels(tmp_path):
    """Executions add numbers of 1e4 whose difference is what is left; a wrong coefficient is seen all the same."""
    first = (np.ones((2, 3)) * 1e4 + weights(2, 3)).astype(np.float32)
    nodes = [node("Gemm", "x a", "h", transB=1), node("Gemm", "h c", "s", transB=1), node("Relu", "s", "r"), node("Gemm", "r e", "y")]
    constants = {"a": first, "c": np.array([[1, -1], [-1, 1]], np.float32), "e": weights(2, 1)}
    graph = OnnxFrontEnd().read(stored(tmp_path, build(nodes, [1, 3], constants)))
    assert "merge-linear" in graph.source.passes
    op = graph["s"].op
    assert op.weight_magnitude is not None
    assert float(op.weight_magnitude.min()) > 1e4 > float(op.weight.abs().max())
    check_import(graph, -3.0, 3.0)
    wrong = replace(op, weight=op.weight * 2)
    changed = replace(graph, nodes=tuple(replace(n, op=wrong) if n.name == "s" else n for n in graph.nodes))
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):
        check_import(changed, -3.0, 3.0)


def test_constants_of_merged_operators_are_no_parameters(tmp_path):
    graph = OnnxFrontEnd().read(stored(tmp_path, in_a_row()))
    assert set(graph.parameters) == {"e"}
    with pytest.raises(UsageError, match="fold=False"):
        graph.with_parameters({"c": torch.zeros(5, 4)})
