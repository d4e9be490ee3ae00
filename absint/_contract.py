"""What the conformance kit measures against: exact rational arithmetic, small networks, and boxes with their vertices.

Private to `absint.testing`. Every float is a dyadic rational, so whole networks are evaluated in integers with one common
exponent; smooth functions are evaluated in 110 decimal digits. Nothing here is rounded by the code under test.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.graph import Graph, GraphBuilder
from absint.op import Input, Linear, Nonlinear, Op, Shape
from absint.ops.affine import Affine
from absint.ops.conv import Conv
from absint.ops.gemm import Gemm
from absint.ops.maximum import Maximum
from absint.ops.pool import AveragePool, MaxPool, Window
from absint.ops.relu import LeakyRelu, Relu
from absint.ops.shape import Concat, Gather, Pad, Reshape, Transpose
from absint.ops.sigmoid import Sigmoid, Tanh
from absint.ops.sum import Sum
from absint.region import BoxRegion
from absint.spec import Spec

Reference = Callable[[Fraction], Fraction]
_BITS = 2400  # fixed point of transcendental values: far below the smallest float64


# ---- exact arrays -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Exact:
    """An array of dyadic rationals: value (object array of Python integers) times 2**exponent."""

    value: Any
    exponent: int

    @staticmethod
    def of(values: Any) -> Exact:
        """The exact values of finite floats (tensor, array or number)."""
        array = values.detach().double().cpu().numpy() if isinstance(values, Tensor) else values
        mantissa, exponent = np.frexp(np.atleast_1d(np.asarray(array, dtype=np.float64)))
        whole = (mantissa * 2.0**53).astype(np.int64).astype(object)
        shift = np.where(mantissa == 0, 0, exponent.astype(np.int64) - 53)
        low = int(shift[mantissa != 0].min()) if bool((mantissa != 0).any()) else 0
        return Exact(np.asarray(whole << np.where(mantissa == 0, 0, shift - low).astype(object), dtype=object), low)

    def aligned(self, other: Exact) -> tuple[Any, Any, int]:
        """Both as integers over one exponent."""
        low = min(self.exponent, other.exponent)
        return self.value * 2 ** (self.exponent - low), other.value * 2 ** (other.exponent - low), low

    def __add__(self, other: Exact) -> Exact:
        a, b, low = self.aligned(other)
        return Exact(a + b, low)

    def __sub__(self, other: Exact) -> Exact:
        a, b, low = self.aligned(other)
        return Exact(a - b, low)

    def __mul__(self, other: Exact) -> Exact:
        return Exact(self.value * other.value, self.exponent + other.exponent)

    def __matmul__(self, other: Exact) -> Exact:
        return Exact(self.value @ other.value, self.exponent + other.exponent)

    def abs(self) -> Exact:
        """Entry by entry."""
        return Exact(np.abs(self.value), self.exponent)

    def at_most(self, other: Exact) -> Any:
        """Boolean array: self <= other."""
        a, b, _ = self.aligned(other)
        return np.asarray(a <= b, dtype=bool)

    def where(self, mask: Any, other: Exact) -> Exact:
        """Self where mask, else other."""
        a, b, low = self.aligned(other)
        return Exact(np.where(mask, a, b), low)

    def reduce(self, function: str, axis: int) -> Exact:
        """`min`, `max` or `sum` along an axis."""
        return Exact(getattr(np, function)(self.value, axis=axis), self.exponent)

    def reshape(self, *shape: int) -> Exact:
        """The same entries."""
        return Exact(self.value.reshape(*shape), self.exponent)

    def __getitem__(self, index: Any) -> Exact:
        return Exact(np.asarray(self.value[index], dtype=object), self.exponent)

    def fraction(self, index: int) -> Fraction:
        """One entry of the flattened array."""
        return Fraction(int(self.value.reshape(-1)[index])) * Fraction(2) ** self.exponent


def concatenate(parts: list[Exact]) -> Exact:
    """Joined along the first axis."""
    low = min(p.exponent for p in parts)
    return Exact(np.concatenate([p.value * 2 ** (p.exponent - low) for p in parts]), low)


def outside(lower: Tensor, upper: Tensor, low: Exact, high: Exact) -> str | None:
    """Where [lower, upper] fails to contain [low, high]; None where it never fails. NaN bounds fail."""
    flat_lower, flat_upper = lower.detach().double().reshape(-1), upper.detach().double().reshape(-1)
    if bool(flat_lower.isnan().any() or flat_upper.isnan().any()):
        return "a bound is NaN"
    if bool((flat_lower == torch.inf).any() or (flat_upper == -torch.inf).any()):
        return "a lower bound is +inf or an upper bound is -inf"
    for bound, truth, sign in ((flat_lower, low.reshape(-1), 1), (flat_upper, high.reshape(-1), -1)):
        index = np.flatnonzero(bound.isfinite().numpy())
        if len(index) == 0:
            continue
        given, true = Exact.of(bound[torch.from_numpy(index)]), truth[index]
        bad = ~(given.at_most(true) if sign > 0 else true.at_most(given))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            excess = float(abs(given.fraction(k) - true.fraction(k)))
            side = "lower" if sign > 0 else "upper"
            return (f"{int(bad.sum())} {side} bounds are wrong: entry {int(index[k])} has {side} bound "
                    f"{float(bound[index[k]])!r}, missing the exact value by {excess:.3g}")
    return None


# ---- exact functions --------------------------------------------------------------------------------------------------


def _digits() -> decimal.Context:
    return decimal.Context(prec=110, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


def _exp(x: Fraction) -> Fraction:
    context = _digits()
    value = context.exp(context.divide(decimal.Decimal(x.numerator), decimal.Decimal(x.denominator)))
    return Fraction(value)


def sigmoid(x: Fraction) -> Fraction:
    """1 / (1 + exp(-x)) to 100 digits; beyond 2000 any value between the neighbouring floats serves."""
    q = _exp(-min(abs(x), Fraction(1500)))
    return 1 / (1 + q) if x > 0 else q / (1 + q)


def tanh(x: Fraction) -> Fraction:
    """To 70 digits, by the series near 0."""
    if abs(x) < Fraction(1, 10**36):
        return x - x**3 / 3
    q = _exp(-2 * min(abs(x), Fraction(750)))
    value = (1 - q) / (1 + q)
    return value if x > 0 else -value


def reference_of(op: Op) -> Reference | None:
    """The exact function of a built-in elementwise operator, None for a stranger's."""
    if type(op) is LeakyRelu:
        alpha = Fraction(op.alpha)
        return lambda x: x if x > 0 else alpha * x
    known: dict[type, Reference] = {Relu: lambda x: max(x, Fraction(0)), Sigmoid: sigmoid, Tanh: tanh}
    return known.get(type(op))


def apply_reference(reference: Reference, x: Exact) -> Exact:
    """The reference entry by entry, rounded to 2**-2400."""
    unit = Fraction(2) ** x.exponent
    flat = [reference(int(v) * unit) for v in x.value.reshape(-1)]
    out = np.empty(len(flat), dtype=object)
    out[:] = [(f.numerator << _BITS) // f.denominator for f in flat]
    return Exact(out.reshape(x.value.shape), -_BITS)


def image(op: Nonlinear, x: Exact, shape: Shape, reference: Reference | None = None) -> Exact:
    """Exact value of a one-input nonlinear operator; x: (points, n) -> (points, m)."""
    zero = Exact.of(0.0)
    if reference is None and isinstance(op, Relu):
        return x.where(np.asarray(x.value > 0, dtype=bool), zero)
    if reference is None and isinstance(op, LeakyRelu):
        return x.where(np.asarray(x.value > 0, dtype=bool), x * Exact.of(op.alpha))
    if isinstance(op, Maximum):
        return x.reshape(len(x.value), -1, shape[-1]).reduce("max", -1)
    function = reference or reference_of(op)
    if function is None:
        raise LookupError(f"no exact reference for {type(op).__name__}")
    return apply_reference(function, x)


def dense(op: Linear, shapes: tuple[Shape, ...]) -> list[Any]:
    """Matrix (inputs, outputs) of each input of a linear operator, from `apply` on unit vectors in float64."""
    matrices = []
    for position, shape in enumerate(shapes):
        n = prod(shape)
        xs = [torch.zeros(n, *s, dtype=torch.float64) for s in shapes]
        xs[position] = torch.eye(n, dtype=torch.float64).reshape(n, *shape)
        matrices.append(op.apply(*xs).detach().reshape(n, -1).numpy())
    return matrices


def evaluate(graph: Graph, points: Any) -> dict[str, Exact]:
    """Exact values of every node, (points, n), at float64 inputs (points, inputs)."""
    values: dict[str, Exact] = {}
    for node in graph.nodes:
        op, shapes = node.op, graph.shapes_of(node)
        if isinstance(op, Input):
            values[node.name] = Exact.of(points)
        elif isinstance(op, Linear):
            parts = [values[i] @ Exact.of(m) for i, m in zip(node.inputs, dense(op, shapes), strict=True)]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            if op.offset is not None:
                total = total + Exact.of(op.offset.double().expand(node.shape).reshape(1, -1))
            values[node.name] = total
        else:
            assert isinstance(op, Nonlinear)
            values[node.name] = image(op, values[node.inputs[0]], shapes[0])
    return values


# ---- networks ---------------------------------------------------------------------------------------------------------


class Maker:
    """Builds one small network with seeded constants; biases are of the size of the input."""

    def __init__(self, shape: Shape, scale: float, seed: int) -> None:
        self.build = GraphBuilder("x", shape)
        self.random = np.random.default_rng(seed)
        self.scale = scale
        self.last = "x"

    def tensor(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normal numbers that float32 does not represent."""
        return torch.from_numpy(np.asarray(self.random.normal(size=shape) * scale, dtype=np.float64))

    def then(self, op: Op, *inputs: str) -> str:
        """Add an operator on the given nodes, or on the last one."""
        self.last = self.build.add(op, inputs or (self.last,))
        return self.last

    def gemm(self, outputs: int, source: str | None = None) -> str:
        """A dense layer."""
        name = source or self.last
        n = self.build.shape(name)[-1]
        return self.then(Gemm(self.tensor(outputs, n), self.tensor(outputs, scale=self.scale)), name)

    def graph(self) -> Graph:
        """Freeze."""
        return self.build.graph(self.last)


def _dense_net(make: Maker, activation: Op) -> None:
    for width in (5, 4):
        make.gemm(width)
        make.then(activation)
    make.gemm(3)


def _activation(activation: Op) -> Callable[[Maker], None]:
    return lambda make: _dense_net(make, activation)


def _affine_chain(make: Maker) -> None:
    make.gemm(5)
    make.gemm(3)


def _conv(make: Maker) -> None:
    make.then(Conv(make.tensor(4, 1, 3, 3), make.tensor(4, scale=make.scale), (2, 1), ((1, 1), (1, 0)), (1, 1), 2))
    make.then(Relu())
    make.then(Conv(make.tensor(2, 4, 2, 2), make.tensor(2, scale=make.scale), (1, 1), ((0, 0), (0, 0)), (1, 2)))
    make.then(Reshape((prod(make.build.shape(make.last)),)))
    make.gemm(3)


def _residual(make: Maker) -> None:
    left = make.then(Relu(), make.gemm(4))
    right = make.gemm(4)
    both = make.then(Relu(), make.then(Sum(), left, right))
    make.then(Sum(-1.0), both, make.gemm(4, "x"))
    make.then(Sum(), make.last, make.last)
    make.gemm(3)


def _joined(make: Maker) -> None:
    left = make.then(Relu(), make.gemm(3))
    make.then(Concat(0), left, "x", left)
    make.then(Gather.of(torch.tensor([0, 2, 2, 8, 5, 0, 7])))
    make.then(Relu())
    make.gemm(3)


def _maximum(make: Maker) -> None:
    make.then(Reshape((1, 4, 4)), make.gemm(16))
    make.then(MaxPool(Window((2, 2), (2, 2), ((0, 1), (1, 0)), (1, 1), False)))
    make.then(Reshape((prod(make.build.shape(make.last)),)))
    make.gemm(3)
    make.then(Reshape((3, 1)))
    make.then(Concat(1), make.last, make.last)
    make.then(Maximum())


def _affine(make: Maker) -> None:
    make.then(Affine(make.tensor(3), make.tensor(3, scale=make.scale)))
    make.then(Relu())
    make.then(Affine(-torch.ones((), dtype=torch.float64), make.tensor(2, 3, scale=make.scale), fan_out=2))
    make.then(Reshape((6,)))
    make.then(Relu())
    make.then(Affine(shift=make.tensor(6, scale=make.scale)))
    make.gemm(3)


def _shapes(make: Maker) -> None:
    make.then(Reshape((2, 3)), make.gemm(6))
    make.then(Transpose((1, 0)))
    border = torch.zeros(4, 3, dtype=torch.float64)
    border[3], border[:, 0] = make.scale, -make.scale / 3
    make.then(Pad(((0, 1), (1, 0)), border))
    make.then(Relu())
    make.then(Pad(((-1, 0), (0, 0))))
    make.then(Reshape((9,)))
    make.gemm(3)


def _average(make: Maker) -> None:
    window = Window((2, 2), (1, 1), ((1, 0), (0, 0)), (1, 1), False)
    weight = torch.full((4, 3), 0.25, dtype=torch.float64)
    weight[0] = 1 / 3
    make.then(AveragePool(window, weight))
    make.then(Relu())
    make.then(Reshape((12,)))
    make.gemm(3)


def _fan_out(make: Maker) -> None:
    make.then(Concat(0), *(["x"] * 8))
    make.gemm(4)
    make.then(Relu())
    make.gemm(3)


def _cancelling(make: Maker) -> None:
    """Large weights whose products cancel: an omitted rounding term is wrong by more than the result."""
    weight = make.tensor(4, 48, scale=1e4)
    make.then(Gemm(torch.cat([make.tensor(24, 3, scale=1e3)] * 2)))
    make.then(Gemm(torch.cat([weight[:, :24], -weight[:, :24] + make.tensor(4, 24, scale=1e-4)], 1), make.tensor(4, scale=make.scale)))
    make.then(Relu())
    make.gemm(3)


def _tiny(make: Maker) -> None:
    """Products that underflow (in float32 at scale 1e-30), magnified afterwards."""
    make.then(Gemm(make.tensor(4, 3, scale=1e-12)))
    make.then(Relu())
    make.then(Gemm(make.tensor(4, 4, scale=1e30)))
    make.then(Relu())
    make.gemm(3)


def _huge(make: Maker) -> None:
    make.then(Gemm(make.tensor(6, 3, scale=1e300)))
    make.gemm(3)


def _wide(make: Maker) -> None:
    """Long sums of constants that float32 represents."""
    make.then(Gemm(make.tensor(4, 96).float().double(), make.tensor(4).float().double()))
    make.then(Relu())
    make.then(Gemm(make.tensor(2, 4).float().double(), make.tensor(2).float().double()))


NETS: dict[str, tuple[Shape, Callable[[Maker], None]]] = {
    "gemm": ((3,), _affine_chain),
    "relu": ((3,), _activation(Relu())),
    "conv": ((2, 4, 4), _conv),
    "residual": ((3,), _residual),
    "concat-gather": ((3,), _joined),
    "maximum": ((3,), _maximum),
    "affine": ((3,), _affine),
    "shapes": ((3,), _shapes),
    "average-pool": ((1, 4, 4), _average),
    "leaky-0.01": ((3,), _activation(LeakyRelu(0.01))),
    "leaky-0": ((3,), _activation(LeakyRelu(0.0))),
    "leaky-2.5": ((3,), _activation(LeakyRelu(2.5))),
    "leaky-negative": ((3,), _activation(LeakyRelu(-0.7))),
    "sigmoid": ((3,), _activation(Sigmoid())),
    "tanh": ((3,), _activation(Tanh())),
    "fan-out": ((3,), _fan_out),
    "cancelling": ((3,), _cancelling),
    "tiny": ((3,), _tiny),
}
EXTRA: dict[str, tuple[Shape, Callable[[Maker], None]]] = {"huge": ((3,), _huge), "wide": ((96,), _wide)}  # for single checks
SCALES = (1e-30, 1e-6, 1.0, 1e6, 1e30)
WIDTHS = (0.0, 1e-12, 1e-2, 1.0)  # relative to the scale: one instance each


def network(name: str, scale: float) -> Graph:
    """A fresh graph (its caches empty); the same name and scale give the same constants."""
    shape, fill = (NETS | EXTRA)[name]
    make = Maker(shape, scale, 1000 + [*NETS, *EXTRA].index(name))
    fill(make)
    return make.graph()


# ---- boxes with their exact images ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """Boxes (one instance per width), a property, and the exact range over vertices and samples of every node.

    low, high: node -> (batch, n).  rows: (batch, rows) exact minimum of each row of the property.
    points: (batch, points, inputs).
    """

    name: str
    scale: float
    region: BoxRegion
    spec: Spec
    points: Any
    low: dict[str, Exact]
    high: dict[str, Exact]
    rows: Exact


def corners(graph: Graph, lower: Any, upper: Any, random: np.random.Generator) -> Any:
    """(points, inputs): random vertices, samples, and the vertices that linearised outputs point at."""
    n = len(lower)
    signs = [random.integers(0, 2, size=(6, n)).astype(bool), np.zeros((1, n), dtype=bool), np.ones((1, n), dtype=bool)]
    middle = torch.from_numpy(lower / 2 + upper / 2).reshape(1, *graph.input.shape)
    wanted = [node.name for node in graph.nodes[1:3]] + [graph.output.name]

    def outputs(x: Tensor) -> Tensor:
        found = graph.evaluate(x, wanted)
        return torch.cat([found[name].reshape(-1)[:6] for name in wanted])

    slope = torch.autograd.functional.jacobian(outputs, middle).reshape(-1, n).numpy()
    signs += [slope > 0, slope < 0]
    mask = np.unique(np.concatenate(signs), axis=0)
    inside = lower + (upper - lower) * random.random(size=(3, n))
    return np.concatenate([np.where(mask, upper, lower), np.clip(inside, lower, upper)])


@cache
def case(name: str, scale: float) -> Case:
    """The boxes of one network, computed once."""
    graph = network(name, scale)
    random = np.random.default_rng(7)
    n = graph.input.size
    center = random.normal(size=(len(WIDTHS), n)) * scale
    radius = np.array(WIDTHS)[:, None] * scale * (0.5 + random.random(size=(len(WIDTHS), n)))
    lower, upper = center - radius, center + radius
    many = [corners(graph, low, high, random) for low, high in zip(lower, upper, strict=True)]
    weight = torch.from_numpy(random.normal(size=(len(WIDTHS), 3, graph.output.size)))
    spec = Spec.rows(weight, torch.from_numpy(random.normal(size=(len(WIDTHS), 3)) * scale))
    lows: dict[str, list[Exact]] = {node.name: [] for node in graph.nodes}
    highs: dict[str, list[Exact]] = {node.name: [] for node in graph.nodes}
    rows = []
    for instance, points in enumerate(many):
        values = evaluate(graph, points)
        for node, value in values.items():
            lows[node].append(value.reduce("min", 0).reshape(1, -1))
            highs[node].append(value.reduce("max", 0).reshape(1, -1))
        row = values[graph.output.name] @ Exact.of(weight[instance].T) + Exact.of(spec.bias[instance].reshape(1, -1))
        rows.append(row.reduce("min", 0).reshape(1, -1))
    shape = (len(WIDTHS), *graph.input.shape)
    region = BoxRegion(torch.from_numpy(lower).reshape(shape), torch.from_numpy(upper).reshape(shape))
    low, high = ({k: concatenate(v) for k, v in many_.items()} for many_ in (lows, highs))
    return Case(name, scale, region, spec, many, low, high, concatenate(rows))
