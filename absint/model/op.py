"""Operator families. An operator states its mathematics once; no abstract domain is named here.

Shapes never include the batch axis. Tensors passed to an operator carry it first: (batch, *shape).
An operator is a frozen dataclass, so that a graph can be shared between threads and analyses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from absint.errors import UnsupportedError
from absint.model.constants import KEPT as _KEPT
from absint.model.constants import NOTHING, Entry, keep, of_one, sources, unchanged
from absint.numeric.rational import Rationals
from absint.numeric.rounding import is_power, unit_roundoff
from absint.registry import Registry

Shape = tuple[int, ...]
_PART = 1 << 18  # constants are compared in parts that stay in cache


@dataclass(frozen=True)
class OnnxNode:
    """What an operator gets to know of its ONNX node, without importing onnx.

    constants: one entry per input, the tensor where it is known at import, else None.
    shapes: full ONNX shape of each input, batch axis included (as 1).
    batched: whether axis 0 of it, of size 1, is kept apart and the operator must leave it alone (see `mixes`); a graph holds such a
    value without it. Otherwise all axes are alike, and the operator follows what ONNX says of that very shape.
    output: which of the node's `outputs` is asked for; only operators that the front end knows to split see more than 0.
    whole: ONNX's number of the type of the result, where that is one of integers, else 0.
    """

    op_type: str
    attributes: Mapping[str, Any]
    opset: int
    constants: tuple[Tensor | None, ...]
    shapes: tuple[Shape, ...]
    batched: tuple[bool, ...]
    output: int = 0
    outputs: int = 1
    whole: int = 0

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
            raise mixes(self, "works along the batch axis")
        return axis - 1


def unsupported(node: OnnxNode, what: str, hint: str | None = None) -> UnsupportedError:
    """The error an operator raises in `from_onnx`; the front end adds where the node stands and gathers them all."""
    return UnsupportedError("E-OP-UNSUPPORTED", what, where=node.op_type, hint=hint)


class MixedAxesError(UnsupportedError):
    """An import rule does not leave axis 0 alone where it is kept apart: with all axes alike it may import the node."""


def mixes(node: OnnxNode, what: str) -> MixedAxesError:
    """The error of a rule for a node that moves, merges or works along an axis 0 that is kept apart: it is asked again with all alike."""
    return MixedAxesError("E-OP-UNSUPPORTED", what, where=node.op_type)


class SeveralInstancesError(UnsupportedError):
    """An import rule knows the operator for one instance only, where axis 0 counts several that ONNX treats one by one."""


def one_by_one(node: OnnxNode, axes: str, rank: int) -> UnsupportedError:
    """The error of a rule whose operator acts on each instance along axis 0, where that axis is not kept apart.

    axes: those that it needs, in words.  rank: how many that is.
    """
    kind = SeveralInstancesError if len(node.shapes[0]) == rank else UnsupportedError
    return kind("E-OP-UNSUPPORTED", f"needs an input ({axes})", where=node.op_type, hint="give it the axes that ONNX asks for")


class FromOnnx(Protocol):
    """Anything that turns an ONNX node into an operator (a class with `from_onnx`, or a function)."""

    def __call__(self, node: OnnxNode, /) -> Op:
        """The operator. Raises UnsupportedError where a variant is not handled."""
        ...


OPS: Registry[FromOnnx] = Registry("operator", "absint.ops")
C = TypeVar("C", bound="type[Op]")
F = TypeVar("F", bound=FromOnnx)
T = TypeVar("T")


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


class Smoothness(Enum):
    """Where an operator is twice continuously differentiable.

    KINKED: not everywhere, or nobody says.  INSIDE: all over the interior of where it is defined, but not at an end of that where it
    is still defined, as sqrt is not at 0.  SMOOTH: wherever it is defined.
    """

    KINKED = "kinked"
    INSIDE = "inside"
    SMOOTH = "smooth"


class Op(ABC):
    """Base of all operators.

    arity: how many computed operands it takes, None for any number. A graph with another number is refused, so that an
    operand that an import rule takes for a constant is never dropped.
    channel_axis: the axis of its first operand, batch not counted, that it takes for the channels of an image; None where it
    treats all axes alike, or does not tell.
    live: whether its constants are the parameters of a step in training: nothing made of them is kept, whatever becomes of them.
    """

    arity: int | None = 1
    channel_axis: int | None = None
    live: ClassVar[bool] = False

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> Op:
        """Build from an ONNX node. Raises UnsupportedError (see `unsupported`) where a variant is not handled.

        Default: the operator without parameters.
        """
        return cls()

    @property
    def smoothness(self) -> Smoothness:
        """Default: nothing is known, which counts as kinked. A subclass states a class attribute, or overrides the property.

        One that is smooth is evaluated by `forward` so that torch differentiates it twice, at every point.
        """
        return Smoothness.KINKED

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result for inputs of the given shapes. Raises ValueError where they do not fit."""

    @abstractmethod
    def forward(self, *xs: Tensor) -> Tensor:
        """Concrete value, in the inputs' format; differentiable."""

    @property
    def jumps_somewhere(self) -> bool:
        """Whether `guided` has gradients that `forward` lacks. Default: no."""
        return False

    def guided(self, *xs: Tensor) -> Tensor:
        """`forward`, bit by bit, with gradients that a search can follow where those of `forward` vanish. Default: `forward` itself."""
        return self.forward(*xs)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """The exact value at one point; xs and the result have no batch axis.

        None where it is not stated: irrational or undefined there, or constants that were rounded. Witnesses on a tie rest on it.
        """
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes get the constants alone: what is kept here goes by the versions of these very tensors."""
        return {name: value for name, value in vars(self).items() if name != _KEPT}

    def _held(self, key: Hashable) -> Any:
        """What is kept under a key, if it was made of the constants as they are now; else None (see `absint.model.constants`)."""
        entry: Entry | None = self.__dict__.get(_KEPT, NOTHING).get(key)
        if entry is None or self.live:
            return None
        value, direct, inner = entry
        own = self.__dict__
        for name, tensor, version in direct:    # on the way of every product: no call, and no look more than it takes
            if own.get(name) is not tensor or tensor._version != version or tensor.requires_grad:
                return None
        return None if inner and not unchanged(inner) else value

    def constant(self, name: str, like: Tensor, *, absolute: bool = False) -> Tensor:
        """The attribute `name` in the format and on the device of `like`, or its absolute value; kept while the constants stay."""
        key = (name, like.dtype, like.device, absolute)
        found: Tensor | None = self._held(key)
        if found is None:
            made_of = sources(self)
            value: Tensor = getattr(self, name)
            found = (value.abs() if absolute else value).to(dtype=like.dtype, device=like.device)
            keep(self, key, found, of_one(made_of, value))
        return found

    def placed(self, name: str, like: Tensor) -> Tensor:
        """The attribute `name`, whole numbers, on the device of `like`; kept there while the constants stay."""
        key = (name, like.device)
        found: Tensor | None = self._held(key)
        if found is None:
            made_of = sources(self)
            value: Tensor = getattr(self, name)
            found = value.to(like.device)
            keep(self, key, found, of_one(made_of, value))
        return found

    def derived(self, key: Hashable, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """A tensor computed from the constants, kept under `key` per format and device while they stay.

        What else `make` reads must follow from `key` and from the format and device of `like`.
        """
        return self.known((key, like.dtype, like.device), make)

    def known(self, key: Hashable, make: Callable[[], T]) -> T:
        """What follows from the constants and from `key` alone, kept under it while they stay; nothing that `make` returns is None."""
        found: T | None = self._held(key)
        if found is None:
            made_of = sources(self)
            found = make()
            keep(self, key, found, made_of)
        return found

    def constants(self) -> tuple[Tensor, ...]:
        """All floating-point coefficients among the attributes (not the error bounds that passes left beside them)."""
        names = (n for n in getattr(self, "__dataclass_fields__", {}) if not n.endswith(("_error", "_magnitude")))
        values = (getattr(self, name) for name in names)
        return tuple(v for v in values if isinstance(v, Tensor) and v.is_floating_point())

    def fits(self, dtype: torch.dtype) -> bool:
        """Whether every constant survives the conversion to `dtype` with a relative error of at most u (no underflow)."""
        return self.known(("fits", dtype), lambda: all(_survives(value, dtype) for value in self.constants()))


def _survives(value: Tensor, dtype: torch.dtype) -> bool:
    parts = value.detach().flatten().split(_PART)
    if dtype in (value.dtype, torch.float64):   # holds every number
        return all(bool(part.isfinite().all()) for part in parts)
    for part in parts:
        exact = part.double()
        error = (part.to(dtype).double() - exact).abs()
        if not bool((error <= unit_roundoff(dtype) * exact.abs()).all()):
            return False
    return True


@dataclass(frozen=True, eq=False)
class Input(Op):
    """The network's input."""

    shape: Shape
    arity = 0
    smoothness = Smoothness.SMOOTH

    def output_shape(self, *shapes: Shape) -> Shape:
        """The declared shape."""
        return self.shape

    def forward(self, *xs: Tensor) -> Tensor:
        """Identity."""
        return xs[0]


def one_power_a_row(matrix: Tensor) -> bool:
    """Whether every row of a matrix has at most one nonzero entry, and that is +-2^k: see `Linear.single`."""
    # The first row tells of most matrices.
    return all(bool((torch.count_nonzero(part, 1) <= 1).all()) for part in (matrix[:1], matrix)) and bool(is_power(matrix).all())


def widened(constant: Tensor) -> Tensor:
    """A coefficient in float64, exactly; one that training changes as it is, since a step has no use for more digits."""
    return constant if constant.requires_grad else constant.double()


def no_offset(offset: Tensor | None, error: Tensor | None) -> bool:
    """Whether a constant is zero, and known to be."""
    return all(part is None or not bool(part.any()) for part in (offset, error))


def unerring(error: Tensor | None) -> bool:
    """Whether an error bound says that there is none."""
    return error is None or not bool(error.any())


