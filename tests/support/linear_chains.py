"""Networks with linear operators in a row, and their exact affine maps in rational numbers, for the tests of merging."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from exact import evaluate

from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Concat, Gather, Reshape, Transpose
from absint.model.ops.sum import Sum


def numbers(seed, *shape, reach=6):
    """float32 numbers of many sizes, a fifth of them zero, as float64."""
    random = np.random.default_rng([seed, *shape])
    values = random.standard_normal(shape) * 2.0 ** random.integers(-reach, reach + 1, shape) * (random.random(shape) > 0.2)
    return torch.from_numpy(values.astype(np.float32).astype(np.float64))


def gemm(seed, out, size, **keywords):
    return Gemm(numbers(seed, out, size, **keywords), numbers(seed + 1000, out, **keywords))


def chain(shape, *ops):
    """One operator behind the other; tensors go by 0, 1, 2, ..."""
    build, name = GraphBuilder("x", shape), "x"
    for k, op in enumerate(ops):
        name = build.add(op, (name,), str(k), (str(k),))
    return build.graph(name)


def plain(seed):
    """Three matrices, the last one behind a ReLU of its own."""
    return chain((4,), gemm(seed, 5, 4), gemm(seed + 1, 6, 5), gemm(seed + 2, 5, 6), Relu(), gemm(seed + 3, 2, 5))


def moved(seed):
    """Entries moved, scaled by powers of two and shifted between matrices."""
    scale = torch.tensor([2.0, -0.5, 1.0, 4.0, 0.0, 1.0], dtype=torch.float64)
    return chain((2, 2), Reshape((4,)), gemm(seed, 6, 4), Affine(scale, numbers(seed + 7, 6)), Reshape((2, 3)), Transpose((1, 0)),
                 Reshape((6,)), Gather.of(torch.tensor([5, 0, 2, 2, 1])), gemm(seed + 1, 4, 5), Relu(), gemm(seed + 2, 2, 4))


def branched(seed):
    """Branches that meet again: sums, and joined ones."""
    build = GraphBuilder("x", (4,))
    one, two = build.add(gemm(seed, 3, 4), ("x",), "a"), build.add(gemm(seed + 1, 3, 4), ("x",), "b")
    three = build.add(Sum(-1.0), (one, two), "difference")
    joined = build.add(Concat(0), (three, one), "joined")
    last = build.add(gemm(seed + 2, 4, 6), (joined,), "behind")
    return build.graph(build.add(gemm(seed + 3, 2, 4), (build.add(Relu(), (last,), "relu"),), "y"))


def rows(seed):
    """Matrices along the last axis of several rows, and one from the left."""
    return chain((3, 2), gemm(seed, 4, 2), gemm(seed + 1, 3, 4), Relu(), LeftMatMul(numbers(seed + 2, 2, 3)), Relu(), gemm(seed + 3, 1, 3))


def from_the_left(seed):
    """Matrices from both sides, which are one matrix of all entries."""
    return chain((2, 2), LeftMatMul(numbers(seed, 4, 2)), gemm(seed + 1, 4, 2), LeftMatMul(numbers(seed + 2, 2, 4)), Relu(), Reshape((8,)),
                 gemm(seed + 3, 1, 8))


KINDS = {"plain": plain, "moved": moved, "branched": branched, "rows": rows, "from the left": from_the_left}


def exact(graph, x):
    """The output at a point of floats, in Fractions."""
    return [value.constant for value in evaluate(graph, [Fraction(v) for v in x.flatten().tolist()])]


def points(graph, seed, count=4):
    """Points of one instance each, some of their entries huge and some tiny."""
    return [numbers(seed + 31 * k, *graph.input.shape, reach=12) for k in range(count)]
