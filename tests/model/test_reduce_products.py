"""ReduceLogSumExp, ReduceLogSum and ReduceProd: import, and bounds against corners and samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mpmath import mp, mpf
from onnx_models import build, compare, imported, node, weights

import absint
from absint.model.ops.log_sum_exp import LogSumExp
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics

DOUBLE = Numerics(vector=torch.float64)
# Operator, opset, axes as its attribute or input, keepdims.
CASES = {
    "log sum exp": ("ReduceLogSumExp", 13, [-1], 1),
    "log sum exp, axes as input": ("ReduceLogSumExp", 18, [1], 0),
    "log sum exp of two axes": ("ReduceLogSumExp", 13, [1, 2], 0),
    "log sum": ("ReduceLogSum", 13, [2], 0),
    "product of an odd number": ("ReduceProd", 13, [1], 0),
    "product of all": ("ReduceProd", 18, [1, 2], 1),
}


def network(op, opset, axes, keep):
    """On (3, 2) positive numbers."""
    given = {"axes": axes} if opset < 18 else {}
    names = "p" if opset < 18 else "p a"
    nodes = [node("Gemm", "x w", "g"), node("Exp", "g", "e"), node("Reshape", "e s", "p"), node(op, names, "y", keepdims=keep, **given)]
    return nodes, ["n", 4], {"w": weights(4, 6) / 2, "s": np.array([0, 3, 2]), "a": np.array(axes)}


@pytest.mark.parametrize("case", CASES)
def test_a_reduction_is_the_runtime_s_and_its_bounds_hold(tmp_path, case):
    op, opset, axes, keep = CASES[case]
    graph = imported(tmp_path, *network(op, opset, axes, keep), opset=opset)
    compare(graph, 0.0, 1.0)
    corners = 0.5 + 0.2 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    values = graph(corners).flatten(1).numpy()
    for domain in ("box", "deeppoly"):
        found = absint.bounds(graph, np.full((1, 4), 0.5), "0.2", domain=domain)[graph.output.name]
        assert (values >= np.ravel(found.lower)).all(), domain
        assert (values <= np.ravel(found.upper)).all(), domain
        assert np.isfinite(found.lower).all(), domain


def exact(x):
    numbers = [mpf(float(v)) for v in x]
    top = max(numbers)
    return top + mp.log(1 + sum(mp.exp(v - top) if v - top > -10**4 else 0 for v in numbers) - 1)


@pytest.mark.parametrize("size", [1e-30, 1.0, 700.0, 1e5, 1e30])
def test_the_range_encloses_its_corners_and_little_more(size):
    draw = np.random.default_rng([5, int(np.log10(size) + 40)])
    ends = np.sort(draw.normal(size=(2, 6, 4)) * size, axis=0)
    found = LogSumExp(4).range((Interval(*(torch.as_tensor(end) for end in ends)),), DOUBLE)
    with mp.workdps(60):
        for row in range(6):
            least, most = (exact(end[row]) for end in ends)
            lower, upper = mpf(float(found.lower[row])), mpf(float(found.upper[row]))
            slack = mpf(1e-13) * (1 + abs(least) + abs(most) + mpf(size))
            assert least - slack <= lower <= least
            assert most <= upper <= most + slack


def test_each_operand_counts_once(tmp_path):
    graph = imported(tmp_path, *network("ReduceLogSumExp", 13, [-1], 1))
    wide = absint.bounds(graph, np.full((1, 4), 0.5), "0.3", domain="box")[graph.output.name]
    corners = 0.5 + 0.3 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4)
    values = graph(corners).flatten(1).numpy()
    reach = np.ravel(wide.upper) - np.ravel(wide.lower)
    assert (reach <= 1.8 * (values.max(0) - values.min(0))).all()


def test_none_of_the_axes_is_no_reduction(tmp_path):
    nodes = [node("ReduceProd", "x", "y", noop_with_empty_axes=1)]
    compare(imported(tmp_path, nodes, ["n", 4], opset=18))
    assert build(nodes, ["n", 4], opset=18).graph.node[0].op_type == "ReduceProd"
