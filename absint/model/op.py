"""Operator families. An operator states its mathematics once; no abstract domain is named here.

Shapes never include the batch axis. Tensors passed to an operator carry it first: (batch, *shape).
An operator is a frozen dataclass, so that a graph can be shared between threads and analyses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from absint.errors import UnsupportedError
from absint.model.families.rational_linear import image
from absint.numeric.interval import Band, Interval, Relaxation
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics, is_power, lost, unit_roundoff
from absint.registry import Registry

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OnnxNode:
    """What an operator gets to know of its ONNX node, without importing onnx.

    constants: one entry per input, the tensor where it is known at import, else None.
    shapes: full ONNX shape of each input, batch axis included (as 1).  batched: whether axis 0 of it is the batch axis.
    output: which of the node's `outputs` is asked for; only operators that the front end knows to split see more than 0.
    """

    op_type: str
    attributes: Mapping[str, Any]
    opset: int
    constants: tuple[Tensor | None, ...]
    shapes: tuple[Shape, ...]
    batched: tuple[bool, ...]
    output: int = 0
    outputs: int = 1

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute or its default."""
        return self.attributes.get(name, default)

    def constant(self, position: int) -> Tensor | None:
        """The constant at an input position; None where it is absent or computed from the input."""
        return self.constants[position] if position < len(self.constants) else None

    def required(self, position: int, what: str) -> Tensor:
        """The constant at a position. Raises UnsupportedError where it is not known at import."""
        value = self.constant(position)
        if value is None:
            raise unsupported(self, f"{what} must be a constant", "export with constant folding")
        return value

    def unbatched(self, position: int) -> Shape:
        """Shape of an input without its batch axis."""
        return self.shapes[position][1:] if self.batched[position] else self.shapes[position]

    def axis(self, axis: int, position: int = 0) -> int:
        """An ONNX axis of an input as an axis of its shape without batch. Raises UnsupportedError for the batch axis."""
        rank = len(self.shapes[position])
        axis = axis + rank if axis < 0 else axis
        if not self.batched[position]:
            return axis
        if axis == 0:
            raise unsupported(self, "works along the batch axis", "keep the batch axis apart from the features")
        return axis - 1


def unsupported(node: OnnxNode, what: str, hint: str | None = None) -> UnsupportedError:
    """The error an operator raises in `from_onnx`; the front end adds where the node stands and gathers them all."""
    return UnsupportedError("E-OP-UNSUPPORTED", what, where=node.op_type, hint=hint)


class FromOnnx(Protocol):
    """Anything that turns an ONNX node into an operator (a class with `from_onnx`, or a function)."""

    def __call__(self, node: OnnxNode, /) -> Op:
        """The operator. Raises UnsupportedError where a variant is not handled."""
        ...


OPS: Registry[FromOnnx] = Registry("operator", "absint.model.ops")
C = TypeVar("C", bound="type[Op]")
F = TypeVar("F", bound=FromOnnx)


def register_op(*names: str) -> Callable[[C], C]:
    """Class decorator: `from_onnx` of the class imports the ONNX operators called `names`."""

    def enter(cls: C) -> C:
        for name in names:
            OPS.add(name, cls.from_onnx)
        return cls

    return enter


def register_import(*names: str) -> Callable[[F], F]:
    """Function decorator: the function imports the ONNX operators called `names`."""

    def enter(function: F) -> F:
        for name in names:
            OPS.add(name, function)
        return function

    return enter


class Op(ABC):
    """Base of all operators.

    arity: how many computed operands it takes, None for any number. A graph with another number is refused, so that an
    operand that an import rule takes for a constant is never dropped.
    channel_axis: the axis of its first operand, batch not counted, that it takes for the channels of an image; None where it
    treats all axes alike, or does not tell.
    """

    arity: int | None = 1
    channel_axis: int | None = None

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Op:
        """Build from an ONNX node. Raises UnsupportedError (see `unsupported`) where a variant is not handled.

        Default: the operator without parameters.
        """
        return cls()

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result for inputs of the given shapes. Raises ValueError where they do not fit."""

    @abstractmethod
    def forward(self, *xs: Tensor) -> Tensor:
        """Concrete value, in the inputs' format; differentiable."""

    def rational(self, *xs: Rationals) -> Rationals | None:
        """The exact value at one point; xs and the result have no batch axis.

        None where it is not stated: irrational or undefined there, or constants that were rounded. Witnesses on a tie rest on it.
        """
        return None

    @cached_property
    def _casts(self) -> dict[tuple[str, torch.dtype, torch.device, bool], Tensor]:
        return {}

    def constant(self, name: str, like: Tensor, *, absolute: bool = False) -> Tensor:
        """The attribute `name` in the format and on the device of `like`, or its absolute value; computed once."""
        key = (name, like.dtype, like.device, absolute)
        found = self._casts.get(key)
        if found is None:
            value: Tensor = getattr(self, name)
            found = (value.abs() if absolute else value).to(dtype=like.dtype, device=like.device)
            self._casts[key] = found
        return found

    def derived(self, key: Hashable, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """A tensor computed from the constants, kept under `key` per format and device."""
        full = (key, like.dtype, like.device)
        found = self._derived.get(full)
        if found is None:
            found = self._derived[full] = make()
        return found

    @cached_property
    def _derived(self) -> dict[Hashable, Tensor]:
        return {}

    def constants(self) -> tuple[Tensor, ...]:
        """All floating-point coefficients among the attributes (not the error bounds that passes left beside them)."""
        names = (n for n in getattr(self, "__dataclass_fields__", {}) if not n.endswith(("_error", "_magnitude")))
        values = (getattr(self, name) for name in names)
        return tuple(v for v in values if isinstance(v, Tensor) and v.is_floating_point())

    def fits(self, dtype: torch.dtype) -> bool:
        """Whether every constant survives the conversion to `dtype` with a relative error of at most u (no underflow)."""
        for value in self.constants():
            exact = value.double()
            error = (value.to(dtype).double() - exact).abs()
            if not bool((error <= unit_roundoff(dtype) * exact.abs()).all()):
                return False
        return True


@dataclass(frozen=True, eq=False)
class Input(Op):
    """The network's input."""

    shape: Shape
    arity = 0

    def output_shape(self, *shapes: Shape) -> Shape:
        """The declared shape."""
        return self.shape

    def forward(self, *xs: Tensor) -> Tensor:
        """Identity."""
        return xs[0]


@dataclass(frozen=True, eq=False)
class Monomial:
    """A linear map that sends the unit vector e_j to scale[j] e_target[j] (flat indices); scale None means all ones.

    Shape changes, permutations, paddings and entrywise scalings are of this kind: diagonal generators stay diagonal.
    """

    target: Tensor
    scale: Tensor | None = None


class Linear(Op):
    """y = L(x1, ..., xk) + b, with L linear and b constant.

    `apply_abs` is |L| entry by entry; it is mandatory and checked against the dense matrix by `absint.testing.kit`.
    forward_terms: the most products summed into one output entry, plus one for every rounding that made a coefficient.
    adjoint_terms: the same for one input entry of the adjoint. 1 means that entries are only moved, or scaled by powers of two:
    nothing rounds but by underflow.
    """

    @property
    def forward_terms(self) -> int:
        """See the class; a subclass overrides it by a property or by a class attribute."""
        return 1

    @property
    def adjoint_terms(self) -> int:
        """See the class."""
        return 1

    @abstractmethod
    def apply(self, *xs: Tensor) -> Tensor:
        """L(x1, ..., xk), without the bias."""

    @abstractmethod
    def apply_abs(self, *rs: Tensor) -> Tensor:
        """|L|(r1, ..., rk) for r >= 0."""

    @property
    def offset(self) -> Tensor | None:
        """b in float64, broadcastable to the output shape; None for zero."""
        return None

    @property
    def offset_error(self) -> Tensor | None:
        """Bound on the absolute error of `offset` made by passes, same shape; None for exact."""
        return None

    @property
    def offset_magnitude(self) -> Tensor | None:
        """Bound on the magnitudes met when the original network adds its constants; |b| unless terms cancelled."""
        return None if self.offset is None else self.offset.abs()

    @property
    def execution_scale(self) -> float:
        """Factor by which intermediate values of a float32 execution may exceed the inputs and the result's terms."""
        return 1.0

    def execution_error(self, size: Tensor) -> Tensor | None:
        """What a float32 execution errs by beyond a dot product's rounding, at |L||x| <= size; None for nothing."""
        return None

    @property
    def exact(self) -> bool:
        """True where entries are only moved and no constant is added."""
        return self.forward_terms <= 1 and self.offset is None

    @property
    def single(self) -> bool:
        """True where every output entry is a constant, or one input entry times 0 or +-2^k: then nothing rounds but what leaves
        the normal numbers (`rounding.is_power`), and `offset` is 0 wherever an input entry counts.
        """
        return self.exact

    def lost(self, image: Tensor, xs: tuple[Tensor, ...], num: Numerics) -> Tensor:
        """Bound on |image - (L(xs) + b)| for a `single` operator and image = forward(*xs), or apply_abs(*xs) and no b."""
        if self.exact:
            return torch.zeros_like(image)
        touched = self.apply_abs(*((x != 0).to(x.dtype) for x in xs)) > 0
        error = lost(image.detach(), touched, num)
        if self.offset is None or not num.rounding:
            return error
        # The difference between a number and its cast is exact.
        return error + (self.offset - self.offset.to(image.dtype).to(self.offset)).abs().to(image)

    @property
    def faithful(self) -> bool:
        """True where `apply` and `offset` hold the network's very coefficients, none of them rounded on its way here.

        Default: where entries are only moved and the constants have no error. Other members say so from their own fields.
        """
        return self.forward_terms <= 1 and unerring(self.offset_error)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """By the images of unit vectors, which are coefficients and round nothing."""
        return image(self, xs) if self.faithful else None

    def offset_as(self, like: Tensor) -> Tensor | None:
        """`offset` in the format and on the device of `like`."""
        return None if self.offset is None else self.constant("offset", like)

    def forward(self, *xs: Tensor) -> Tensor:
        """L(x) + b."""
        y = self.apply(*xs)
        b = self.offset_as(y)
        return y if b is None else y + b

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """L^T y, one tensor per input. y: (rows, *output). Default: vector-Jacobian product of `apply`."""
        xs = [torch.zeros((len(y), *s), dtype=y.dtype, device=y.device, requires_grad=True) for s in shapes]
        with torch.enable_grad():
            image = self.apply(*xs)
            return tuple(torch.autograd.grad(image, xs, y, create_graph=y.requires_grad))

    def part(self, position: int, x: Tensor, shapes: tuple[Shape, ...]) -> Tensor:
        """L with every input but one zero. Default: by zeros."""
        zeros = [x.new_zeros((len(x), *s)) for s in shapes]
        return self.apply(*(x if k == position else z for k, z in enumerate(zeros)))

    def monomial(self, shape: Shape) -> Monomial | None:
        """The map as a monomial one for a single input of that shape, or None."""
        return None

    def columns(self, index: Tensor, shape: Shape, like: Tensor) -> Tensor:
        """L e_j for flat indices j of a single input of that shape: (len(index), *output). Default: by unit vectors."""
        units = like.new_zeros((len(index), prod(shape)))
        units[torch.arange(len(index), device=like.device), index] = 1
        return self.apply(units.reshape(len(index), *shape))

    def unit_rows(self, index: Tensor, shape: Shape, shapes: tuple[Shape, ...], like: Tensor) -> tuple[Tensor, ...]:
        """L^T e_i for flat indices i of the output (of shape `shape`): rows per input. Default: adjoint of unit vectors."""
        units = like.new_zeros((len(index), prod(shape)))
        units[torch.arange(len(index), device=like.device), index] = 1
        return self.adjoint(units.reshape(len(index), *shape), shapes)


class Nonlinear(Op):
    """Every other family: states range, undecided entries, planes and band on intervals.

    Intervals are in the vector format, not empty, possibly infinite. Everything returned is sound in floating point for
    the exact-real function when `num.rounding` is on.
    """

    @abstractmethod
    def range(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval:
        """Enclosure of the image, as tight as the family allows."""

    @abstractmethod
    def undecided(self, intervals: tuple[Interval, ...]) -> tuple[Tensor, ...]:
        """One mask per input: entries whose bounds matter, because the function is not affine over them."""

    @abstractmethod
    def planes(self, intervals: tuple[Interval, ...], num: Numerics, free: Tensor | None = None) -> Relaxation:
        """Affine bounds below and above. free: (batch, *shape) in [0, 1], the free slope where the family has one."""

    def band(self, intervals: tuple[Interval, ...], num: Numerics) -> Band:
        """Parallel affine bounds. Default: the constant band of `range`."""
        image = self.range(intervals, num)
        offset, radius = middle_radius(image.lower, image.upper, num)
        return Band(tuple(torch.zeros_like(i.lower) for i in intervals), offset, radius)

    def free_slope(self, intervals: tuple[Interval, ...]) -> Tensor | None:
        """Start value of the free slope `planes` takes; None where there is no freedom."""
        return None

    def corner_near(self, x: Tensor) -> Tensor | None:
        """Operands (batch, *shape) beside x at which the function bends or jumps, NaN where there are none: where ties may lie.

        A hint for searches, no promise. Default: None, for nothing known.
        """
        return None

    def execution_error(self, image: Interval, num: Numerics) -> Tensor | None:
        """Bound on what a float32 execution of this operator errs by (`--semantics float32`); None for nothing."""
        return None


def one_power_a_row(matrix: Tensor) -> bool:
    """Whether every row of a matrix has at most one nonzero entry, and that is +-2^k: see `Linear.single`."""
    return bool((torch.count_nonzero(matrix, 1) <= 1).all()) and bool(is_power(matrix).all())


def no_offset(offset: Tensor | None, error: Tensor | None) -> bool:
    """Whether a constant is zero, and known to be."""
    return all(part is None or not bool(part.any()) for part in (offset, error))


def unerring(error: Tensor | None) -> bool:
    """Whether an error bound says that there is none."""
    return error is None or not bool(error.any())


def middle_radius(lower: Tensor, upper: Tensor, num: Numerics) -> tuple[Tensor, Tensor]:
    """c, r with [c - r, c + r] containing [lower, upper]; r = +inf (and c = 0) where a bound is infinite."""
    # A point keeps its very value: halving a subnormal number would round.
    middle = torch.where(lower == upper, lower, lower / 2 + upper / 2)
    finite = middle.isfinite()
    middle = torch.where(finite, middle, torch.zeros_like(middle))
    radius = num.up(torch.maximum(upper - middle, middle - lower))
    return middle, torch.where((upper == lower) & finite, torch.zeros_like(radius), radius)


class Composite(Op):
    """An operator that expands into others when a graph is built."""

    def enclosure(self, intervals: tuple[Interval, ...], num: Numerics) -> Interval | None:
        """A closed-form enclosure of the result from the inputs' intervals, rounded outward, which the engine meets into what it
        knows of the result; infinite where the composite may be undefined. Default: none, the expansion says all.

        Intervals as in `Nonlinear`.
        """
        return None

    @property
    def has_enclosure(self) -> bool:
        """Whether `enclosure` is stated."""
        return type(self).enclosure is not Composite.enclosure

    @abstractmethod
    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Add the parts with `build(op, inputs) -> name` and return the name of the result."""
