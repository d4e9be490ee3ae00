"""Random networks with all that case splits cut, their exact values at points, random paths of cuts and random hints.

What is exact is in Fractions: the operators' own rational evaluation, and operands compared with cuts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from box_search import walked
from solver_contract import build

from absint.domains.deeppoly import DeepPoly
from absint.engine.frozen.cuts import Cuts
from absint.engine.frozen.net import FrozenNet, Hints
from absint.engine.frozen.proof import Prover
from absint.engine.frozen.tables import MOST_CUTS
from absint.engine.rows import Rows
from absint.model.families.elementwise import Candidate, Curvature, Elementwise, Jump, KernelError, Knot, Piece
from absint.model.families.maximum import Maximum
from absint.model.graph import Graph
from absint.model.op import Input
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip, HardSwish, PRelu, ThresholdedRelu
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.step import Ceil, Compare, Floor, Round, Sign, Truncate
from absint.model.ops.sum import Sum
from absint.numeric.rational import Rationals, constant, whole
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec

RELAX = DeepPoly().traits.relaxations[0].relax
EXACT = 2.0**-6


@dataclass(frozen=True, eq=False)
class Off(Elementwise):
    """|x| by a kernel that is 2^-6 too high at its kink, and says so."""

    pieces = (Piece(-np.inf, 0.0, -1, Curvature.LINEAR), Piece(0.0, np.inf, 1, Curvature.LINEAR))
    knots = (Knot(0.0, -1.0, 1.0),)
    piecewise_linear = True
    error = KernelError(absolute=EXACT)
    execution = KernelError(absolute=EXACT)
    off: float = EXACT

    def evaluate(self, x):
        return torch.where(x.abs() < 1e-3, x.abs() + self.off, x.abs())

    def rational(self, *xs):
        return xs[0].where(xs[0].sign() > 0, -xs[0])

    def derivative(self, x):
        return torch.where(x > 0, torch.ones_like(x), -torch.ones_like(x))


@dataclass(frozen=True, eq=False)
class Gap(Elementwise):
    """-1 below 1/2, x above it, 3 there: the value at the jump is neither limit."""

    pieces = (Piece(-np.inf, 0.5, 0, Curvature.LINEAR), Piece(0.5, np.inf, 1, Curvature.LINEAR))
    piecewise_linear = True

    @property
    def jumps(self):
        return (Jump(0.5, -1.0, 0.5),)

    def evaluate(self, x):
        return torch.where(x > 0.5, x, torch.where(x < 0.5, -torch.ones_like(x), 3 * torch.ones_like(x)))

    def _limits(self, low, high):
        point = torch.minimum(torch.maximum(low, torch.full_like(low, 0.5)), high)
        return [Candidate(point, self.evaluate(point), 0.0), *super()._limits(low, high)]

    def rational(self, *xs):
        side = (xs[0] - constant(0.5)).sign()
        return xs[0].where(side > 0, whole(3 - 4 * (side < 0)))

    def derivative(self, x):
        return (x > 0.5).to(x.dtype)


def splittable(width):
    """Operators that are cut, over `width` entries."""
    slopes = torch.tensor([(-1) ** k * (k + 1) / 3 for k in range(width)], dtype=torch.float64)
    return (Relu(), Relu(), LeakyRelu(0.125), LeakyRelu(1.5), LeakyRelu(-0.25), Clip(-0.5, 0.75), Clip(0.0, 1 / 3), Clip(0.25), Abs(),
            Sign(), PRelu(slopes), Gap(), ThresholdedRelu(0.5),
            ThresholdedRelu(-0.25), ThresholdedRelu(0.0), Compare(torch.tensor(0.25, dtype=torch.float64), 0.0, 0.0, 1.0),
            Compare(torch.tensor(0.25, dtype=torch.float64), 1.0, 0.0, 1.0),
            Compare(torch.arange(width, dtype=torch.float64) / 4 - 0.25, 0.0, 0.0, 1.0), Off(), Off(off=-EXACT), "hard sigmoid",
            Floor(), Ceil(), Round(), Truncate(-128.0, 127.0))


# What is not cut, beside it.
OTHERS = (HardSwish(),)
# The places at which anything bends: coordinates of points, so that some operands lie on cuts.
PLACES = (0.0, 0.25, 0.5, 0.75, -0.5, -0.25, 1 / 3, 1.0, -1.0)


def gemm(rng, out, into, scale=1.0):
    """Some rows read one entry as it is, so that points lie on cuts; some weights are on a grid, some are not."""
    weight, bias = rng.normal(size=(out, into)), rng.normal(size=out) * 0.3
    if rng.random() < 0.5:
        weight, bias = np.round(2 * weight) / 2, np.round(4 * bias) / 4
    for row in range(out):
        if rng.random() < 0.4:
            weight[row], bias[row] = 0, 0
            weight[row, rng.integers(into)] = rng.choice((-1, 1, 1))
    return Gemm(torch.tensor(weight * scale), torch.tensor(bias * scale))


def network(rng, scale=None):
    """Two or three layers of operators that are cut, with residual sums, convolutions, maxima and curved ones among them.

    scale: of the first of two layers' weights; the second one's are divided by it.
    """
    inputs, width = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    layers, here = [], 0

    def add(*new):
        nonlocal here
        for one in new:
            layers.append(one)
            here += 1
        return here

    def act(size):
        ops = splittable(size)
        op = ops[rng.integers(len(ops))]
        if op == "hard sigmoid":
            return add(Affine(torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)), Clip(0.0, 1.0))
        return add(op)

    kind = rng.integers(6) if scale is None else 5
    scale = 1.0 if scale is None else scale
    if kind == 0:      # right at the input
        act(inputs)
        add(gemm(rng, width, inputs))
        act(width)
    elif kind == 1:    # a convolution
        weight = torch.tensor(np.round(4 * rng.normal(size=(2, 1, 2, 1))) / 4)
        add(gemm(rng, 4, inputs), Reshape((1, 4, 1)), Conv(weight, torch.tensor([0.25, -0.5]), (1, 1), ((1, 0), (0, 0)), (1, 1)),
            Reshape((8,)))
        act(8)
        add(gemm(rng, width, 8))
        act(width)
    elif kind == 2:    # a residual sum
        first = add(gemm(rng, width, inputs))
        act(width)
        second = add(gemm(rng, width, width))
        add((Sum(), (second, first)))
        act(width)
    elif kind == 3:    # a maximum and something curved between
        add(gemm(rng, 4, inputs))
        act(4)
        add(Reshape((2, 2)), Maximum(), gemm(rng, width, 2), OTHERS[rng.integers(len(OTHERS))], gemm(rng, width, width))
        act(width)
    elif kind == 4:    # one operator above another, and one result read twice
        first = add(gemm(rng, width, inputs)) and act(width)
        second = act(width)
        add((Sum(), (first, second)))
    else:
        add(gemm(rng, width, inputs, scale))
        act(width)
        add(gemm(rng, width, width, 1 / scale))
        act(width)
    if rng.random() < 0.7:
        add(gemm(rng, 2, layers_width(layers, inputs)))
    return build((inputs,), *layers)


def layers_width(layers, inputs):
    """Entries of the last layer."""
    return build((inputs,), *layers).output.size


def region(rng, graph, batch):
    """Boxes of places and around them, some of whose inputs are points."""
    shape = (batch, *graph.input.shape)
    center, radius = rng.choice(PLACES, shape) + rng.normal(size=shape) * 0.1, rng.uniform(0.2, 1.5, shape)
    radius[rng.random(shape) < 0.05] = 0
    low, high = center - radius, center + radius
    low = np.where(rng.random(shape) < 0.15, np.round(4 * low) / 4, low)     # ends on cuts
    return BoxRegion(torch.tensor(np.minimum(low, high)), torch.tensor(high))


def exact(graph, x):
    """{node: entries} of Fractions at a point of Fractions."""
    values: dict[str, Rationals] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node.name] = Rationals.fractions(x, graph.input.shape)
        else:
            values[node.name] = node.op.rational(*(values[name] for name in node.inputs))
    return {name: value.list() for name, value in values.items()}


@dataclass
class Root:
    """One batch of instances, frozen."""

    graph: Graph
    region: BoxRegion
    numerics: Numerics
    outputs: int = 0
    seen: dict = field(default_factory=dict, repr=False, compare=False)   # what `at` said before: points ask for the same few cuts

    @cached_property
    def ctx(self):
        batch, size = len(self.region.lower), self.graph.output.size
        spec = Spec.rows(torch.ones(batch, 1, size), torch.zeros(batch, 1))
        with torch.no_grad():
            return walked(self.graph, self.region, spec, DeepPoly(), self.numerics)[0]

    @cached_property
    def net(self):
        return FrozenNet(self.ctx, RELAX)

    @cached_property
    def cuts(self):
        return Cuts(self.net)

    def prover(self, dtype=None):
        return Prover(self.net, RELAX, self.numerics.dtype if dtype is None else dtype)

    @cached_property
    def places(self):
        """Of each entry: its node, its position, what its operator states of cuts."""
        stated = {node: self.graph[node].op.cuts(self.ctx.known[one.operand].filled) for node, one in self.net.split.items()}
        return [(node, int(entry), stated[node]) for node, one in self.net.split.items() for entry in one.entries]

    def at(self, code, instance=0):
        """The operand that a code of an instance is about, and what the function takes or tends to there, from below and from above."""
        if (code // 2, instance) not in self.seen:
            self.seen[code // 2, instance] = self._at(code, instance)
        return self.seen[code // 2, instance]

    def _at(self, code, instance):
        _, entry, cuts = self.places[code // (2 * MOST_CUTS)]
        stated = (v.flatten(2)[instance, code // 2 % MOST_CUTS, entry] for v in (cuts.at, cuts.left, cuts.here, cuts.right))
        x, left, here, right = map(float, stated)
        return Fraction(x), (left,) if here != left or here == right else (left, here), (right,) if here == left else (here, right)

    def open(self, instance):
        """Numbers of the cuts that there are of an instance."""
        there = self.cuts.there[instance if len(self.cuts.there) > 1 else 0]
        return [int(entry) * MOST_CUTS + int(place) for place, entry in there.nonzero().tolist()]

    def holds(self, code, values, instance=0):
        """Whether a point with these exact values of all nodes lies on the side of a cut that a code names."""
        node, entry, _ = self.places[code // (2 * MOST_CUTS)]
        (at, below, above), upper = self.at(code, instance), code % 2 == 1
        z, f = values[self.net.split[node].operand][entry], values[node][entry]
        if z != at:
            return (z > at) == upper
        return on_side(f, above if upper else below, self.graph[node].op)

    def entry(self, code):
        """Of all entries, the one that a code is about."""
        return code // (2 * MOST_CUTS)

    def on_cut(self, code, values, instance=0):
        """Whether a point lies on the cut itself."""
        node, entry, _ = self.places[code // (2 * MOST_CUTS)]
        return values[self.net.split[node].operand][entry] == self.at(code, instance)[0]

    def sides(self, number, values, instance=0):
        """The codes of a cut that hold at a point; at least one."""
        found = [code for code in (2 * number, 2 * number + 1) if self.holds(code, values, instance)]
        assert found, "a cut covers neither side"
        return found


def on_side(f, values, op):
    """Whether f is one of the values, within the kernel's error."""
    return any(abs(f - Fraction(v)) <= Fraction(op.error.absolute) for v in values)


def points(rng, box, count):
    """Exact points of one box: corners, places at which something bends, others."""
    low, high = ([Fraction(v) for v in end] for end in box)
    for _ in range(count):
        x = []
        for a, b in zip(low, high, strict=True):
            choice = rng.integers(4)
            place = Fraction(float(rng.choice(PLACES)))
            if choice == 0 and a <= place <= b:
                x.append(place)
            elif choice == 1:
                x.append((a, b)[rng.integers(2)])
            else:
                x.append(a + (b - a) * Fraction(int(rng.integers(0, 65)), 64))
        yield x


def wild(rng, shape, like):
    """Numbers that no search would find: of any sign, huge, tiny, none."""
    kind = rng.integers(0, 8, shape)
    found = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, shape)
    found = np.where(kind == 0, 0.0, found)
    found = np.where(kind == 1, rng.choice((1e30, -1e30, 1e-30, -1e-40, 1e-45), shape), found)
    if rng.random() < 0.15:
        found = np.where(rng.random(shape) < 0.05, rng.choice((np.nan, np.inf, -np.inf), shape), found)
    return torch.tensor(found, dtype=like.dtype)


def random_hints(rng, root, instance, share, tame):
    """Hints of nodes (N,): near to those of the root where tame, otherwise whatever."""
    _, hints = root.net.root(instance, 1)
    ratio, hint = hints.ratio, hints.hint
    if not tame:
        ratio = torch.where(torch.tensor(rng.random(ratio.shape) < 0.5), ratio, wild(rng, ratio.shape, ratio))
        hint = torch.where(torch.tensor(rng.random(hint.shape) < 0.5), hint, wild(rng, hint.shape, hint))
    else:
        ratio = ratio * torch.tensor(rng.uniform(0.5, 1.2, ratio.shape), dtype=ratio.dtype)
        hint = hint + torch.tensor(rng.normal(size=hint.shape) * 0.2, dtype=hint.dtype)
    return Hints(ratio, hint, share)


def paths_of(rng, root, instance, known, depth):
    """A path of up to `depth` codes of one instance: mostly one that some point of `known` lies in."""
    numbers = root.open(instance)
    if not numbers:
        return []
    chosen = rng.choice(numbers, min(len(numbers), int(rng.integers(0, depth + 1))), replace=False).tolist()
    if known and rng.random() < 0.85:
        values = known[rng.integers(len(known))]
        return [int(rng.choice(root.sides(number, values, instance))) for number in chosen]
    return [2 * number + int(rng.integers(2)) for number in chosen]


def padded(paths):
    depth = max((len(path) for path in paths), default=0) or 1
    return torch.tensor([path + [-1] * (depth - len(path)) for path in paths], dtype=torch.int32)


def rows(root, instance, weight, bias):
    """Of nodes (N,), float64."""
    return Rows(root.graph.output.name, instance, weight.reshape(-1, *root.graph.output.shape), None, bias)
