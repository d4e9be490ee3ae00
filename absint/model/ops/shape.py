"""Operators that only move entries: Reshape and its kin, Transpose, Concat, Pad, selections, and identities."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from absint.model.families.linear import Linear, Monomial
from absint.model.op import OnnxNode, Op, Shape, mixes, register_import, unsupported
from absint.model.ops.step import to_whole
from absint.model.shapes import held
from absint.numeric.rounding import smallest_normal, unit_roundoff
from absint.numeric.scatter import added_at


@dataclass(frozen=True, eq=False)
class Identity(Linear):
    """y = x. A pass removes it and gives its name to its input."""

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        return shapes[0]

    def apply(self, *xs: Tensor) -> Tensor:
        """x."""
        return xs[0]

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """y."""
        return (y,)

    def monomial(self, shape: Shape) -> Monomial | None:
        """The identity."""
        return Monomial(torch.arange(prod(shape)))


@dataclass(frozen=True, eq=False)
class Narrowed(Identity):
    """y = x, kept in a format with fewer digits: the identity on the reals, but an execution rounds.

    unit, least, greatest: unit roundoff, smallest normal and largest finite number of the format. An execution errs by
    `unit |x|` or, where |x| < least, by less than `least`; beyond `greatest` it gives infinity.
    Not `exact`, so that every domain charges the error. A pass removes it where only the reals are asked about.
    """

    unit: float
    least: float
    greatest: float

    @staticmethod
    def to(dtype: torch.dtype) -> Narrowed:
        """To a format that torch has."""
        return Narrowed(unit_roundoff(dtype), smallest_normal(dtype), torch.finfo(dtype).max)

    @property
    def below_float32(self) -> bool:
        """Whether float32 numbers, too, are rounded."""
        return self.unit > unit_roundoff(torch.float32)

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    def execution_error(self, size: Tensor) -> Tensor:
        """(1 + u) for the product here; an execution's own operand may be larger by its error, hence the factor 2."""
        error = size * (2 * self.unit) + self.least
        return torch.where(size <= self.greatest / 2, error, torch.full_like(error, torch.inf))

    def monomial(self, shape: Shape) -> Monomial | None:
        """None: a monomial map passes on what it is given without any error."""
        return None


@dataclass(frozen=True, eq=False)
class Reshape(Linear):
    """The same entries in row-major order under another shape."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        """The target shape."""
        if prod(shapes[0]) != prod(self.shape):
            raise ValueError(f"{shapes[0]} has {prod(shapes[0])} entries, {self.shape} has {prod(self.shape)}")
        return self.shape

    def apply(self, *xs: Tensor) -> Tensor:
        """x under the new shape."""
        return xs[0].reshape(len(xs[0]), *self.shape)

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """y under the old shape."""
        return (y.reshape(len(y), *shapes[0]),)

    def monomial(self, shape: Shape) -> Monomial | None:
        """Flat indices stay."""
        return Monomial(torch.arange(prod(shape)))


@dataclass(frozen=True, eq=False)
class Transpose(Linear):
    """Axes permuted: output axis k is input axis axes[k], batch not counted."""

    axes: tuple[int, ...]

    def output_shape(self, *shapes: Shape) -> Shape:
        """The permuted shape."""
        if len(shapes[0]) != len(self.axes):
            raise ValueError(f"{self.axes} does not permute the axes of {shapes[0]}")
        return tuple(shapes[0][a] for a in self.axes)

    def apply(self, *xs: Tensor) -> Tensor:
        """Permuted view."""
        return xs[0].permute(0, *(a + 1 for a in self.axes))

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """The inverse permutation."""
        inverse = sorted(range(len(self.axes)), key=lambda k: self.axes[k])
        return (y.permute(0, *(a + 1 for a in inverse)),)

    def monomial(self, shape: Shape) -> Monomial | None:
        """A permutation of flat indices."""
        source = torch.arange(prod(shape)).reshape(shape).permute(self.axes).reshape(-1)
        target = torch.empty_like(source)
        target[source] = torch.arange(len(source))
        return Monomial(target)


@dataclass(frozen=True, eq=False)
class Concat(Linear):
    """Inputs joined along one axis, batch not counted."""

    axis: int
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """Sizes add up along the axis."""
        rests = {(*s[: self.axis], *s[self.axis + 1 :]) for s in shapes}
        if len(rests) != 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} cannot be joined along axis {self.axis}")
        return (*shapes[0][: self.axis], sum(s[self.axis] for s in shapes), *shapes[0][self.axis + 1 :])

    def apply(self, *xs: Tensor) -> Tensor:
        """Joined."""
        return torch.cat(xs, self.axis + 1)

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Split again."""
        return tuple(y.split([s[self.axis] for s in shapes], self.axis + 1))


@dataclass(frozen=True, eq=False)
class Gather(Linear):
    """y = x.flatten()[index]: any selection, repetition or reordering of entries. index: int64 of the output's shape.

    repeats: the most often that one entry is selected.
    """

    index: Tensor
    repeats: int

    @staticmethod
    def of(index: Tensor) -> Gather:
        """Count the repeats."""
        flat = index.reshape(-1)
        return Gather(index, int(torch.bincount(flat).max()) if len(flat) else 1)

    @property
    def adjoint_terms(self) -> int:
        """As many summands as the most repeated entry has."""
        return self.repeats

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of the index."""
        if self.index.numel() and int(self.index.max()) >= prod(shapes[0]):
            raise ValueError(f"an index reaches beyond the {prod(shapes[0])} entries of {shapes[0]}")
        return tuple(self.index.shape)

    def apply(self, *xs: Tensor) -> Tensor:
        """The selected entries."""
        return xs[0].reshape(len(xs[0]), prod(xs[0].shape[1:]))[:, self.placed("index", xs[0])]

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Entries added back to where they came from."""
        back = added_at(y.reshape(len(y), self.index.numel()), self.placed("index", y).reshape(-1), prod(shapes[0]))
        return (back.reshape(len(y), *shapes[0]),)

    def monomial(self, shape: Shape) -> Monomial | None:
        """Where no entry is selected twice; what is not selected at all gets the factor 0."""
        if self.repeats > 1:
            return None
        index = self.index.reshape(-1)
        target = torch.zeros(prod(shape), dtype=torch.int64)
        target[index] = torch.arange(len(index))
        if len(index) == len(target):
            return Monomial(target)
        scale = torch.zeros(prod(shape), dtype=torch.float64)
        scale[index] = 1.0
        return Monomial(target, scale)


@dataclass(frozen=True, eq=False)
class Pad(Linear):
    """Constant padding. pads: (begin, end) per axis, batch not counted; negative crops. border: None for zero, or the
    padding value at padded entries and 0 elsewhere, in the output's shape.
    """

    pads: tuple[tuple[int, int], ...]
    border: Tensor | None = None

    @property
    def offset(self) -> Tensor | None:
        """The padding value where there is padding."""
        return self.border

    @property
    def single(self) -> bool:
        """Every entry is one of the input's or the padding value."""
        return True

    def output_shape(self, *shapes: Shape) -> Shape:
        """Grown by the pads."""
        if len(shapes[0]) != len(self.pads):
            raise ValueError(f"pads for {len(self.pads)} axes do not fit {shapes[0]}")
        return tuple(s + a + b for s, (a, b) in zip(shapes[0], self.pads, strict=True))

    def apply(self, *xs: Tensor) -> Tensor:
        """Padded with zeros."""
        return F.pad(xs[0], [p for pair in reversed(self.pads) for p in pair])

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Cropped (padding with the negated pads)."""
        return (F.pad(y, [-p for pair in reversed(self.pads) for p in pair]),)


@register_import("Identity", "Dropout")
def identity_from_onnx(node: OnnxNode) -> Op:
    """Identity, and Dropout at inference."""
    training = node.constant(2)
    if node.op_type == "Dropout" and training is not None and bool(training.any()):
        raise unsupported(node, "Dropout in training mode is not supported", "export the model in evaluation mode")
    return Identity()


_DOUBLE = 11  # onnx TensorProto; every other floating-point format has fewer digits
_NARROW = {1: torch.float32, 10: torch.float16, 16: torch.bfloat16}


@register_import("Cast")
def cast_from_onnx(node: OnnxNode) -> Op:
    """A cast between floating-point types is the identity on the reals, where executions round unless it widens; one to an integer
    type truncates.
    """
    kind = int(node.attribute("to", 0))
    if kind == _DOUBLE:
        return Identity()
    if kind in _NARROW:
        return Narrowed.to(_NARROW[kind])
    cast = to_whole(kind)
    if cast is None:
        raise unsupported(node, f"a cast of a computed tensor to the ONNX type {kind} is not supported")
    return cast


@register_import("Flatten")
def flatten_from_onnx(node: OnnxNode) -> Op:
    """(batch, ...) -> (batch, n), or the two-axis form of a net without batch axis."""
    shape, axis = node.shapes[0], int(node.attribute("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    full = (prod(shape[:axis]), prod(shape[axis:]))
    return reshape_to(node, full)


@register_import("Reshape")
def reshape_from_onnx(node: OnnxNode) -> Op:
    """Reshape to a constant shape; 0 keeps an axis (unless allowzero), -1 is inferred."""
    asked = [int(v) for v in node.required(1, "the shape").reshape(-1)]
    shape = node.shapes[0]
    if not node.attribute("allowzero", 0):
        asked = [shape[k] if v == 0 and k < len(shape) else v for k, v in enumerate(asked)]
    if asked.count(-1) > 1:
        raise unsupported(node, f"the shape {asked} has more than one -1", "repair the model")
    known = prod(v for v in asked if v != -1)
    if -1 in asked:
        if known == 0 or prod(shape) % known:
            raise unsupported(node, f"{shape} cannot be reshaped to {asked}", "repair the model")
        asked[asked.index(-1)] = prod(shape) // known
    return reshape_to(node, tuple(asked))


def reshape_to(node: OnnxNode, full: Shape) -> Op:
    """Reshape to a full ONNX shape. Where the input has a batch axis apart, the result must keep it in front."""
    if prod(full) != prod(node.shapes[0]):
        raise unsupported(node, f"{node.shapes[0]} cannot be reshaped to {full}", "repair the model, or its batch size")
    if not node.batched[0]:
        return Reshape(held(full))
    if not full or full[0] != 1:
        raise mixes(node, f"reshaping {node.shapes[0]} to {full} mixes the batch axis with features")
    return Reshape(held(full[1:]))


def axes_of(node: OnnxNode) -> list[int] | None:
    """The axes as input 1 or as an attribute, as they are written; None where they are left out."""
    constant = node.constant(1)
    if constant is not None:
        return [int(v) for v in constant.reshape(-1)]
    given = node.attribute("axes", None)
    return None if given is None else [int(v) for v in given]


@register_import("Squeeze")
def squeeze_from_onnx(node: OnnxNode) -> Op:
    """Axes of size 1 removed; never the batch axis."""
    shape, axes = node.shapes[0], axes_of(node)
    if axes is None:
        axes = [k for k, size in enumerate(shape) if size == 1 and not (node.batched[0] and k == 0)]
    drop = {a + len(shape) if a < 0 else a for a in axes}
    if node.batched[0] and 0 in drop:
        raise mixes(node, "removes the batch axis")
    return reshape_to(node, tuple(size for k, size in enumerate(shape) if k not in drop))


@register_import("Unsqueeze")
def unsqueeze_from_onnx(node: OnnxNode) -> Op:
    """Axes of size 1 inserted; never in front of the batch axis."""
    shape, axes = node.shapes[0], axes_of(node)
    if axes is None:
        raise unsupported(node, "the axes must be constant", "export with constant folding")
    rank = len(shape) + len(axes)
    new = {a + rank if a < 0 else a for a in axes}
    if node.batched[0] and 0 in new:
        raise mixes(node, "inserts an axis before the batch axis")
    old = iter(shape)
    return reshape_to(node, tuple(1 if k in new else next(old) for k in range(rank)))


@register_import("Transpose")
def transpose_from_onnx(node: OnnxNode) -> Op:
    """A permutation. Where axes of size 1 are all that it moves, the entries stay where they are."""
    rank = len(node.shapes[0])
    perm = [int(p) for p in node.attribute("perm", list(range(rank))[::-1])]
    if not node.batched[0]:
        wide = [p for p in perm if 0 <= p < rank and node.shapes[0][p] != 1]
        idle = wide == sorted(wide) and sorted(perm) == list(range(rank))
        return Reshape(tuple(node.shapes[0][p] for p in perm)) if idle else Transpose(tuple(perm))
    if perm[0] != 0:
        raise mixes(node, f"perm={perm} moves the batch axis")
    return Transpose(tuple(p - 1 for p in perm[1:]))
