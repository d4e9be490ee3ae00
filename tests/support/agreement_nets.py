"""Random small problems with exact answers, for the agreement of everything that proves or refutes (tests only).

A seed gives a network of at most 3 inputs and some 8 kinks, two boxes, a property, and the truth. Seeds walk through shapes of
networks, kinds of numbers, boxes and properties that have made verifiers fail: exact ties, dead and duplicate neurons, inputs
of no width, conjunctions, strict rows, weights below 1e-9, huge and small scales. Biases of the property are then moved, so
that the exact minimum is zero, or as near to it or as far from it as the seed says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import torch
from exact_cells import Net, truth
from solver_contract import build

from absint.analyses.verify import Problem
from absint.model.families.maximum import Maximum
from absint.model.op import Op
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.pool import MaxPool, PoolingWindow
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

F = Fraction
# Two boxes a problem: a batch, however small, is what most ways of mixing instances up need to show.
BATCH = 2
# Below this share of what its terms add up to, a minimum counts as a tie: nobody need decide it, but nobody may be wrong.
CLEAR = 1e-6


# ---- numbers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numbers:
    """A source of weights. kind: gauss, whole, halves, tiny, huge, small or mixed."""

    rng: np.random.Generator
    kind: str

    def draw(self, *shape):
        """An array of the kind."""
        x = self.rng.normal(size=shape)
        if self.kind == "whole":
            return np.round(1.2 * x)
        if self.kind == "halves":
            return np.round(2 * x) / 2
        if self.kind == "tiny":
            return np.where(self.rng.random(size=shape) < 0.4, x * 10.0 ** self.rng.integers(-13, -9, size=shape), x)
        if self.kind == "mixed":
            return x * 10.0 ** self.rng.integers(-4, 3, size=shape)
        return x * {"huge": 50.0, "small": 0.02}.get(self.kind, 1.0)

    def gemm(self, out, into, shift=0.3):
        """A dense layer; its first neuron is dead, or always active, in some networks."""
        weight, bias = self.draw(out, into), self.draw(out) * (1 if self.kind in ("whole", "halves") else shift)
        far = self.rng.integers(8)
        if out > 1 and far < 2:
            bias[0] = (-1) ** far * (10 + 10 * np.abs(weight[0]).sum())
        return Gemm(torch.tensor(weight), torch.tensor(bias))


def twins(numbers, out, into):
    """A layer whose second neuron repeats the first, and whose third mirrors it."""
    layer = numbers.gemm(out, into)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    weight[1], bias[1] = weight[0], bias[0]
    weight[2], bias[2] = -weight[0], -bias[0]
    return Gemm(weight, bias)


# ---- networks -------------------------------------------------------------------------------------------------------


def relu(numbers, n, outputs):
    return build((n,), numbers.gemm(4, n), Relu(), numbers.gemm(4, 4), Relu(), numbers.gemm(outputs, 4))


def wide(numbers, n, outputs):
    return build((n,), numbers.gemm(8, n), Relu(), numbers.gemm(outputs, 8))


def deep(numbers, n, outputs):
    layers = [layer for _ in range(3) for layer in (numbers.gemm(2, 2), Relu())]
    return build((n,), numbers.gemm(2, n), Relu(), *layers, numbers.gemm(outputs, 2))


def residual(numbers, n, outputs):
    sign = -1.0 if numbers.rng.random() < 0.5 else 1.0
    return build((n,), numbers.gemm(3, n), Relu(), numbers.gemm(3, 3), (Sum(sign), (3, 2)), Relu(), numbers.gemm(3, 3),
                 (Sum(), (6, 4)), numbers.gemm(outputs, 3))


def skip(numbers, n, outputs):
    """The input itself goes round the activation."""
    return build((n,), numbers.gemm(n, n), Relu(), (Sum(), (2, 0)), numbers.gemm(4, n), Relu(), numbers.gemm(outputs, 4))


def maxima(numbers, n, outputs):
    return build((n,), numbers.gemm(6, n), Reshape((2, 3)), Maximum(), numbers.gemm(2, 2), Relu(), numbers.gemm(outputs, 2))


def pool(numbers, n, outputs):
    """A convolution and overlapping windows."""
    conv = Conv(torch.tensor(numbers.draw(2, 1, 2)), torch.tensor(numbers.draw(2)), (1,), ((1, 1),), (1,))
    window = PoolingWindow((2,), (1,), ((0, 0),), (1,), False)
    return build((1, n), conv, Relu(), MaxPool(window), Reshape((2 * n,)), numbers.gemm(outputs, 2 * n))


def clip(numbers, n, outputs):
    ends = sorted(float(v) for v in numbers.rng.integers(-4, 6, size=2) / 4)
    return build((n,), numbers.gemm(3, n), Clip(-0.5, 0.75), numbers.gemm(2, 3), Clip(*ends), numbers.gemm(outputs, 2))


def absolute(numbers, n, outputs):
    return build((n,), numbers.gemm(3, n), Abs(), numbers.gemm(3, 3), Abs(), numbers.gemm(outputs, 3))


def leaky(numbers, n, outputs):
    first, second = (float(numbers.rng.choice([0.01, 0.25, 1.5, 2.0, -0.5, 1.0, 0.0])) for _ in range(2))
    return build((n,), numbers.gemm(4, n), LeakyRelu(first), numbers.gemm(3, 4), LeakyRelu(second), numbers.gemm(outputs, 3))


def medley(numbers, n, outputs):
    return build((n,), numbers.gemm(3, n), Abs(), numbers.gemm(2, 3), Clip(0.0, 1.0), numbers.gemm(2, 2), LeakyRelu(1.25),
                 numbers.gemm(4, 2), Reshape((2, 2)), Maximum(), numbers.gemm(outputs, 2))


def repeated(numbers, n, outputs):
    return build((n,), twins(numbers, 4, n), Relu(), twins(numbers, 4, 4), Relu(), numbers.gemm(outputs, 4))


NETWORKS = (relu, wide, deep, residual, skip, maxima, pool, clip, absolute, leaky, medley, repeated)
NUMBERS = ("gauss", "whole", "halves", "tiny", "gauss", "whole", "huge", "small", "mixed")
BOXES = ("plain", "grid", "point", "partly", "plain", "narrow", "grid")
PROPERTIES = ("row", "classes", "and2", "and3", "several", "strict", "mixed", "and2", "and3")
# What a disjunct's exact minimum is moved to, as a share of its scale; None leaves it where it is.
GAPS = (0.0, 3e-5, -3e-5, None, 1e-3, -1e-3, 1e-9, -1e-9, 0.01, 3e-3, 0.01, 0.05, -0.05)


def ends(rng, kind, n):
    """lower, upper: (n,)."""
    center, radius = rng.normal(size=n), rng.uniform(0.1, 1.5, size=n)
    if kind in ("grid", "partly"):
        center, radius = np.round(2 * center) / 2, np.ceil(2 * radius) / 2
    if kind == "point":
        radius = np.zeros(n)
    if kind == "partly":
        radius[rng.integers(n)] = 0
    if kind == "narrow":
        radius = radius * 10.0 ** rng.integers(-9, -2)
    return center - radius, center + radius


def rows(numbers, kind, outputs):
    """weight (rows, outputs), bias (rows,), disjunct, strict, and which rows add up to nothing: what their sum proves, none does alone."""
    groups = {"row": [1], "classes": [1] * (outputs - 1), "and2": [2], "and3": [3], "several": [1, 1, 1], "strict": [2, 1],
              "mixed": [2, 1, 3]}[kind]
    count = sum(groups)
    weight, bias = numbers.draw(count, outputs), numbers.draw(count)
    opposed = np.zeros(count, dtype=bool)
    for start, size in zip(np.cumsum([0, *groups]), groups, strict=False):
        if size > 1 and numbers.rng.random() < 0.6:
            weight[start] = -weight[start + 1 : start + size].sum(0)
            opposed[start : start + size] = True
    if kind == "classes":
        weight, bias = np.hstack([np.ones((count, 1)), -np.eye(count)]), np.zeros(count)
    disjunct = np.repeat(np.arange(len(groups)), groups)
    strict = np.ones(count, dtype=bool) if kind == "strict" else numbers.rng.random(size=count) < 0.3
    return weight, bias, disjunct, strict, opposed


# ---- problems -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A graph, BATCH boxes, the property, and per box: the `Truth`, and the scale that ties are measured by.

    kinds: what the seed chose, for messages.
    """

    seed: int
    kinds: tuple
    graph: object
    region: BoxRegion
    spec: Spec
    truths: tuple = ()
    scales: tuple = ()

    def ends(self, instance):
        """lower, upper of one box in Fractions, flat."""
        return tuple([F(v) for v in side[instance].reshape(-1).tolist()] for side in (self.region.lower, self.region.upper))

    def clear(self, instance):
        """Whether the answer is no near tie: something that claims to be exact must give it."""
        margin = self.truths[instance].margin
        return abs(margin) > F(CLEAR) * self.scales[instance]

    def problem(self, *instances):
        """The engine's problem of these instances."""
        index = torch.tensor(instances or range(len(self.truths)))
        region, spec = self.region.take(index), self.spec.take(index)
        return Problem(self.graph, region, spec.take, tuple(index.tolist()))


def _scale(case, instance):
    low, high = case.ends(instance)
    net = Net(case.graph)
    return max(net.size(low, high, [F(w) for w in row], F(b)) for row, b in
               zip(case.spec.weight[instance].tolist(), case.spec.bias[instance].tolist(), strict=True))


def _known(case):
    truths = tuple(truth(case.graph, *case.ends(k), case.spec, k) for k in range(BATCH))
    return replace(case, truths=truths, scales=tuple(_scale(case, k) for k in range(BATCH)))


def _moved(case, gaps):
    """Each disjunct of each instance shifted, so that its least value is at (or, where floats cannot be, next to) its gap."""
    weight, bias = case.spec.weight.clone(), case.spec.bias.clone()
    for k, which in product(range(BATCH), range(case.spec.disjuncts)):
        gap = gaps[k][which]
        if gap is not None:
            part = case.spec.disjunct == which
            wanted = F(gap) * case.scales[k] - case.truths[k].disjuncts[which]
            factor = _odd(wanted) if gap == 0 else 1
            weight[k, part] *= factor
            bias[k, part] = torch.tensor([float((F(b) + wanted) * factor) for b in bias[k, part].tolist()], dtype=torch.float64)
    return _known(replace(case, kinds=(*case.kinds, gaps), spec=replace(case.spec, weight=weight, bias=bias)))


def _odd(number):
    """The odd part of a small denominator: multiplied by it, the number is a float, and a tie can be exact. Else 1."""
    below = number.denominator
    below //= below & -below
    return below if below < 1 << 20 else 1


def one(rng, choices):
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


@cache
def case(seed):
    """The problem of a seed. Every fifth has exact ties wherever floats can hold them."""
    rng = np.random.default_rng(seed)
    tie = seed % 5 == 0
    network, kind = NETWORKS[seed % len(NETWORKS)], one(rng, ("whole", "halves") if tie else NUMBERS)
    shapes = [one(rng, ("grid", "partly", "point", "grid") if tie else BOXES) for _ in range(BATCH)]
    asked = one(rng, PROPERTIES)
    n, outputs, numbers = int(rng.choice([1, 2, 2, 3, 3])), int(rng.choice([2, 3])), Numbers(rng, kind)
    graph = network(numbers, n, outputs)
    lower, upper = (torch.tensor(np.array(side)).reshape(BATCH, *graph.input.shape)
                    for side in zip(*(ends(rng, shape, n) for shape in shapes), strict=True))
    weight, bias, disjunct, strict, opposed = rows(numbers, asked, outputs)
    # Opposed rows meet at the centre, lest one of them decide alone.
    middle = graph(lower / 2 + upper / 2).reshape(BATCH, -1).numpy() @ weight.T
    each = torch.tensor(np.where(opposed, -middle, bias))
    spec = Spec.rows(torch.tensor(weight).expand(BATCH, *weight.shape).clone(), each, torch.tensor(disjunct), torch.tensor(strict))
    chosen = Case(seed, (network.__name__, kind, *shapes, asked), graph, BoxRegion(lower, upper), spec)
    gaps = tuple(tuple(0.0 if tie else one(rng, GAPS) for _ in range(spec.disjuncts)) for _ in range(BATCH))
    return _moved(_known(chosen), gaps)


def permuted(graph, seed):
    """The same network with the neurons between two dense layers in another order."""
    rng = np.random.default_rng(seed)
    nodes, order = list(graph.nodes), None
    for k, node in enumerate(nodes):
        op: Op = node.op
        alone = k + 2 < len(nodes) and nodes[k + 1].inputs == (node.name,) and nodes[k + 2].inputs == (nodes[k + 1].name,)
        if order is not None and isinstance(op, Gemm):
            op, order = replace(op, weight=op.weight[:, order]), None
        between = alone and isinstance(op, Gemm) and isinstance(nodes[k + 2].op, Gemm) and len(graph.consumers[node.name]) == 1
        if between and isinstance(nodes[k + 1].op, Relu | LeakyRelu | Abs | Clip) and len(graph.consumers[nodes[k + 1].name]) == 1:
            order = torch.tensor(rng.permutation(len(op.weight)))
            op = replace(op, weight=op.weight[order], bias=op.bias[order])
        nodes[k] = replace(node, op=op)
    return replace(graph, nodes=tuple(nodes))
