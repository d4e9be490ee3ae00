"""Solvers that lie, small networks, and the exact membership of an execution in an encoding, for the tests of solvers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from exact import matrix

from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.graph import GraphBuilder
from absint.model.op import Input
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.solvers import Claim, Engine, Presence, Solver, Status, solver
from absint.solvers.highs import Highs

F = Fraction


# ---- solvers that lie -----------------------------------------------------------------------------------------------


class Liar(Engine):
    """HiGHS, with its claim changed by `lie(claim, model)`."""

    def __init__(self, model, lie):
        self.inner, self.model, self.lie = Highs().start(model), model, lie

    def set_bounds(self, index, lower, upper):
        self.inner.set_bounds(index, lower, upper)

    def set_cost(self, cost):
        self.inner.set_cost(cost)

    def run(self, limits):
        return self.lie(self.inner.run(limits), self.model)


@dataclass(frozen=True)
class Lying(Solver):
    lie: object

    def check(self):
        return Presence(True, "planted")

    def start(self, model):
        return Liar(model, self.lie)


def wrong(rows, seed):
    return np.random.default_rng(seed).normal(size=rows) * 3


LIES = {
    "optimal at +5": lambda c, m: replace(c, status=Status.OPTIMAL, value=5.0, bound=5.0),
    "infeasible": lambda c, m: Claim(Status.INFEASIBLE),
    "infeasible with a ray": lambda c, m: Claim(Status.INFEASIBLE, ray=wrong(len(m.row_lower), 1)),
    "infeasible with a huge ray": lambda c, m: Claim(Status.INFEASIBLE, ray=1e300 * wrong(len(m.row_lower), 1)),
    "wrong multipliers": lambda c, m: replace(c, multipliers=wrong(len(m.row_lower), 2), value=9.0),
    "flipped multipliers": lambda c, m: c if c.multipliers is None else replace(c, multipliers=-c.multipliers),
    "scaled multipliers": lambda c, m: c if c.multipliers is None else replace(c, multipliers=c.multipliers * 1e200),
    "NaN": lambda c, m: Claim(Status.OPTIMAL, np.full(len(m.row_lower), np.nan), np.full(len(m.row_lower), np.nan),
                              np.full(len(m.lower), np.nan), np.nan, np.nan),
    "infinity": lambda c, m: replace(c, multipliers=np.full(len(m.row_lower), np.inf), value=np.inf, bound=np.inf),
    "wrong shapes": lambda c, m: replace(c, multipliers=np.ones(1), point=np.ones(1), ray=np.ones(1)),
    "nothing": lambda c, m: Claim(Status.OPTIMAL),
}


# ---- networks -------------------------------------------------------------------------------------------------------


def build(shape, *layers):
    """Each layer is an operator, or (operator, positions of earlier layers) with 0 for the input."""
    builder, names = GraphBuilder("x", shape), ["x"]
    for layer in layers:
        op, inputs = layer if isinstance(layer, tuple) else (layer, (len(names) - 1,))
        names.append(builder.add(op, tuple(names[k] for k in inputs)))
    return builder.graph(names[-1])


def gemm(rng, out, into, grid=None):
    """Weights on a grid make ties and dead entries; others make roundings."""
    weight, bias = rng.normal(size=(out, into)), rng.normal(size=out) * 0.3
    if grid:
        weight, bias = np.round(weight * grid) / grid, np.round(bias * grid) / grid
    return Gemm(torch.tensor(weight), torch.tensor(bias))


def networks(seed):
    """Name -> graph with at most 3 inputs and 6 kinks."""
    rng = np.random.default_rng(seed)
    tiny = gemm(rng, 3, 3)
    tiny.weight[0, 1] = 3e-10
    conv = Conv(torch.tensor(rng.normal(size=(2, 1, 2, 1))), torch.tensor(rng.normal(size=2) * 0.2), (1, 1), ((0, 0), (0, 0)), (1, 1))
    return {
        "relu": build((3,), gemm(rng, 4, 3), Relu(), gemm(rng, 2, 4), Relu(), gemm(rng, 2, 2)),
        "ties": build((2,), gemm(rng, 3, 2, 2), Relu(), gemm(rng, 3, 3, 2), Relu(), gemm(rng, 2, 3, 2)),
        "tiny weights": build((3,), tiny, Relu(), gemm(rng, 2, 3)),
        "leaky": build((3,), gemm(rng, 3, 3), LeakyRelu(0.1), gemm(rng, 3, 3), LeakyRelu(1.5), gemm(rng, 2, 3)),
        "residual": build((2,), gemm(rng, 3, 2), Relu(), gemm(rng, 3, 3), (Sum(), (3, 2)), Relu(), gemm(rng, 3, 3),
                          (Sum(), (6, 4)), gemm(rng, 2, 3)),
        "pool": build((2,), gemm(rng, 4, 2), Reshape((2, 2)), Maximum(), Relu(), gemm(rng, 2, 2)),
        "conv": build((1, 3, 1), conv, Relu(), Reshape((4,)), gemm(rng, 2, 4)),
        "linear chain": build((2,), gemm(rng, 3, 2), gemm(rng, 4, 3), gemm(rng, 3, 4), Relu(), gemm(rng, 2, 3), gemm(rng, 2, 2)),
    }


def others(seed):
    """Networks that the exact minimum does not cover: more than one knot, other turns."""
    rng = np.random.default_rng(seed)
    return {
        "abs": build((2,), gemm(rng, 3, 2), Abs(), gemm(rng, 3, 3), Abs(), gemm(rng, 2, 3)),
        "clip": build((2,), gemm(rng, 4, 2), Clip(-0.5, 0.7), gemm(rng, 3, 4), Clip(0.0, 1.0), gemm(rng, 2, 3)),
        "odd clip": build((2,), gemm(rng, 4, 2), Clip(-0.1, 1 / 3), gemm(rng, 2, 4)),
    }


def context(graph, seed, batch=1, grid=None):
    """Boxes around random points; every third has an input of zero width."""
    rng = np.random.default_rng(seed)
    center, radius = rng.normal(size=(batch, *graph.input.shape)), rng.uniform(0.1, 1.0, size=(batch, *graph.input.shape))
    if grid:
        center, radius = np.round(center * grid) / grid, np.ceil(radius * grid) / grid
    if seed % 3 == 0:
        radius.reshape(batch, -1)[:, 0] = 0
    region = BoxRegion(torch.tensor(center - radius), torch.tensor(center + radius))
    return boxes(Context(graph, region, Numerics()))


# ---- exact membership -----------------------------------------------------------------------------------------------


def evaluate(graph, x):
    """Exact values of every node, lists of Fractions."""
    values = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node.name] = list(x)
        elif isinstance(node.op, Linear):
            entries, out = matrix(node.op, graph.shapes_of(node))
            out = list(out)
            for name, part in zip(node.inputs, entries, strict=True):
                for i, j, w in part:
                    out[i] += w * values[name][j]
            values[node.name] = out
        else:
            values[node.name] = nonlinear(node.op, values[node.inputs[0]], graph.shapes_of(node)[0])
    return values


def nonlinear(op, z, shape):
    if isinstance(op, Maximum):
        return [max(z[k : k + shape[-1]]) for k in range(0, len(z), shape[-1])]
    if isinstance(op, Clip):
        return [min(max(v, F(op.low)), F(op.high)) for v in z]
    if isinstance(op, Abs):
        return [abs(v) for v in z]
    alpha = F(op.alpha) if isinstance(op, LeakyRelu) else F(0)
    return [v if v > 0 else alpha * v for v in z]


def columns(encoding, graph, values):
    """The execution's exact point of the model."""
    out = [None] * len(encoding.model.lower)
    for block in encoding.blocks:
        node = graph[block.node]
        z = values[node.inputs[0]] if node.inputs else None
        for k, (entry, column) in enumerate(zip(block.entry.tolist(), block.column.tolist(), strict=True)):
            if block.role == "value":
                out[column] = values[block.node][entry]
            elif block.role == "left":
                out[column] = max(F(block.low[k]) - z[entry], F(0))
            elif block.role == "right":
                out[column] = max(z[entry] - F(block.low[k]), F(0))
                if block.high[k] < np.inf:
                    out[column] = min(out[column], F(block.high[k]) - F(block.low[k]))
            else:
                out[column] = values[block.node][entry] - z[block.other[k]]
    return out


def violations(model, x):
    """Rows and columns that the exact point violates."""
    found = [f"column {k}" for k, v in enumerate(x) if not model.lower[k] <= v <= model.upper[k]]
    a = model.matrix
    for i in range(a.shape[0]):
        part = slice(a.indptr[i], a.indptr[i + 1])
        image = sum((F(float(w)) * x[j] for j, w in zip(a.indices[part].tolist(), a.data[part], strict=True)), F(0))
        if not model.row_lower[i] <= image <= model.row_upper[i]:
            found.append(f"row {i}")
    return found


def holding(choices, x):
    """(A,) bool: alternatives that hold at the exact point."""
    return np.array([lo <= x[c] <= up for c, lo, up in zip(choices.column.tolist(), choices.lower, choices.upper, strict=True)], dtype=bool)


def points(region, count, seed):
    """Exact points of the first instance's box: all corners, then random ones."""
    low, high = (v[0].reshape(-1).tolist() for v in (region.hull.lower, region.hull.upper))
    rng = np.random.default_rng(seed)
    corners = np.array(np.meshgrid(*[[0, 1]] * len(low))).reshape(len(low), -1).T.tolist()
    for share in [*corners, *rng.integers(0, 1001, (count, len(low))).tolist()]:
        unit = 1 if share in corners else 1000
        yield [F(a) + (F(b) - F(a)) * F(int(s), unit) for a, b, s in zip(low, high, share, strict=True)]


def usable(name):
    """The solver of that name; the test is skipped where it is not usable."""
    if not solver(name).check().usable:
        pytest.skip(f"{name} is not usable here: {solver(name).check().found}")
    return solver(name)
