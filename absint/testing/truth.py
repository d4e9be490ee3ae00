"""What the conformance kit measures against: exact rational arithmetic.

Private to `absint.testing`. Every float is a dyadic rational, so whole networks are evaluated in integers with one common
exponent; smooth functions are evaluated in 110 decimal digits. Nothing here is rounded by the code under test.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.engine.domain import Domain
from absint.model.families.linear import Linear
from absint.model.families.maximum import Maximum
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.model.op import Input, Op, Shape
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.numeric.rounding import Numerics

FLOAT64 = Numerics()
MIXED = Numerics(torch.float32)
SINGLE = Numerics(torch.float32).single()
Failures = Iterator[str]
Reference = Callable[[Fraction], Fraction]
_BITS = 2400  # fixed point of transcendental values: far below the smallest float64


def formats(domain: Domain[Any]) -> tuple[Numerics, Numerics]:
    """What a domain runs in: float64, and float32 matrices or, where it keeps none, float32 throughout."""
    return (FLOAT64, MIXED) if domain.traits.mixed else (FLOAT64, SINGLE)


def format_label(num: Numerics) -> str:
    """For messages: one name, or matrix/vector."""
    names = [str(d).removeprefix("torch.") for d in (num.dtype, num.vector)]
    return names[0] if names[0] == names[1] else "/".join(names)


# ---- exact arrays -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ExactTensor:
    """An array of dyadic rationals: value (object array of Python integers) times 2**exponent."""

    value: Any
    exponent: int

    @staticmethod
    def of(values: Any) -> ExactTensor:
        """The exact values of finite floats (tensor, array or number)."""
        array = values.detach().double().cpu().numpy() if isinstance(values, Tensor) else values
        mantissa, exponent = np.frexp(np.atleast_1d(np.asarray(array, dtype=np.float64)))
        whole = (mantissa * 2.0**53).astype(np.int64).astype(object)
        shift = np.where(mantissa == 0, 0, exponent.astype(np.int64) - 53)
        low = int(shift[mantissa != 0].min()) if bool((mantissa != 0).any()) else 0
        return ExactTensor(np.asarray(whole << np.where(mantissa == 0, 0, shift - low).astype(object), dtype=object), low)

    def aligned(self, other: ExactTensor) -> tuple[Any, Any, int]:
        """Both as integers over one exponent."""
        low = min(self.exponent, other.exponent)
        return self._over(low), other._over(low), low

    def _over(self, exponent: int) -> Any:
        """The integers over an exponent that is no greater; the same array where it is its own."""
        return self.value if exponent == self.exponent else self.value * 2 ** (self.exponent - exponent)

    def __add__(self, other: ExactTensor) -> ExactTensor:
        a, b, low = self.aligned(other)
        return ExactTensor(a + b, low)

    def __sub__(self, other: ExactTensor) -> ExactTensor:
        a, b, low = self.aligned(other)
        return ExactTensor(a - b, low)

    def __mul__(self, other: ExactTensor) -> ExactTensor:
        return ExactTensor(self.value * other.value, self.exponent + other.exponent)

    def __matmul__(self, other: ExactTensor) -> ExactTensor:
        return ExactTensor(self.value @ other.value, self.exponent + other.exponent)

    def abs(self) -> ExactTensor:
        """Entry by entry."""
        return ExactTensor(np.abs(self.value), self.exponent)

    def at_most(self, other: ExactTensor) -> Any:
        """Boolean array: self <= other."""
        a, b, _ = self.aligned(other)
        return np.asarray(a <= b, dtype=bool)

    def where(self, mask: Any, other: ExactTensor) -> ExactTensor:
        """Self where mask, else other."""
        a, b, low = self.aligned(other)
        return ExactTensor(np.where(mask, a, b), low)

    def reduce(self, function: str, axis: int) -> ExactTensor:
        """`min`, `max` or `sum` along an axis."""
        return ExactTensor(getattr(np, function)(self.value, axis=axis), self.exponent)

    def reshape(self, *shape: int) -> ExactTensor:
        """The same entries."""
        return ExactTensor(self.value.reshape(*shape), self.exponent)

    def __getitem__(self, index: Any) -> ExactTensor:
        return ExactTensor(np.asarray(self.value[index], dtype=object), self.exponent)

    def fraction(self, index: int) -> Fraction:
        """One entry of the flattened array."""
        return Fraction(int(self.value.reshape(-1)[index])) * Fraction(2) ** self.exponent


def concatenate(parts: list[ExactTensor]) -> ExactTensor:
    """Joined along the first axis."""
    low = min(p.exponent for p in parts)
    return ExactTensor(np.concatenate([p._over(low) for p in parts]), low)


def outside(lower: Tensor, upper: Tensor, low: ExactTensor, high: ExactTensor) -> str | None:
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
        given, true = ExactTensor.of(bound[torch.from_numpy(index)]), truth[index]
        bad = ~(given.at_most(true) if sign > 0 else true.at_most(given))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            side, exact = "lower" if sign > 0 else "upper", true.fraction(k)
            return (f"{int(bad.sum())} of {len(flat_lower)} {side} bounds are wrong, such as entry {int(index[k])}, where the {side} bound "
                    f"is {float(bound[index[k]])!r} and the exact value {shown(exact)}, off by {shown(abs(given.fraction(k) - exact))}")
    return None


def shown(value: Fraction) -> str:
    """A rational number for messages: as a float, or in words where it is beyond all floats."""
    try:
        return f"{float(value)!r}"
    except OverflowError:
        return f"beyond {'-' * (value < 0)}1.8e308"


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


def apply_reference(reference: Reference, x: ExactTensor) -> ExactTensor:
    """The reference entry by entry, rounded to 2**-2400."""
    unit = Fraction(2) ** x.exponent
    flat = [reference(int(v) * unit) for v in x.value.reshape(-1)]
    out = np.empty(len(flat), dtype=object)
    out[:] = [(f.numerator << _BITS) // f.denominator for f in flat]
    return ExactTensor(out.reshape(x.value.shape), -_BITS)


def image(op: Nonlinear, x: ExactTensor, shape: Shape, reference: Reference | None = None) -> ExactTensor:
    """Exact value of a one-input nonlinear operator; x: (points, n) -> (points, m)."""
    zero = ExactTensor.of(0.0)
    if reference is None and isinstance(op, Relu):
        return x.where(np.asarray(x.value > 0, dtype=bool), zero)
    if reference is None and isinstance(op, LeakyRelu):
        return x.where(np.asarray(x.value > 0, dtype=bool), x * ExactTensor.of(op.alpha))
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


def evaluate(graph: Graph, points: Any) -> dict[str, ExactTensor]:
    """Exact values of every node, (points, n), at float64 inputs (points, inputs)."""
    values: dict[str, ExactTensor] = {}
    for node in graph.nodes:
        op, shapes = node.op, graph.shapes_of(node)
        if isinstance(op, Input):
            values[node.name] = ExactTensor.of(points)
        elif isinstance(op, Linear):
            parts = [values[i] @ ExactTensor.of(m) for i, m in zip(node.inputs, dense(op, shapes), strict=True)]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            if op.offset is not None:
                total = total + ExactTensor.of(op.offset.double().expand(node.shape).reshape(1, -1))
            values[node.name] = total
        else:
            assert isinstance(op, Nonlinear)
            values[node.name] = image(op, values[node.inputs[0]], shapes[0])
    return values
