"""The bilinear family: y = x z of two computed tensors, and what expands into it (MatMul, Div)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.families.bilinear import Times
from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Op, Shape, mixes
from absint.model.ops.power import Power
from absint.model.ops.shape import Gather, Reshape
from absint.model.shapes import broadcast_shape

Build = Callable[[Op, tuple[str, ...]], str]


def broadcast(build: Build, name: str, shape: Shape, target: Shape) -> str:
    """The node repeated to a larger shape by NumPy's rules."""
    if shape == target:
        return name
    index = torch.arange(prod(shape)).reshape(shape).expand(target)
    return build(Gather.of(index.contiguous()), (name,))


def aligned(*xs: Tensor) -> tuple[Tensor, ...]:
    """Batches of tensors, those of fewer axes with axes of size 1 behind the batch: they then broadcast by NumPy's rules."""
    rank = max(x.dim() for x in xs)
    return tuple(x.reshape(len(x), *(1,) * (rank - x.dim()), *x.shape[1:]) for x in xs)


@dataclass(frozen=True, eq=False)
class Multiply(Composite):
    """x z with broadcasting."""

    arity = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """The broadcast shape."""
        return _broadcast_shape(*shapes)

    def forward(self, *xs: Tensor) -> Tensor:
        """x z, axes aligned from the right."""
        a, b = aligned(*xs)
        return a * b

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Broadcast both, then multiply; a tensor times itself is its square."""
        if inputs[0] == inputs[1]:
            return build(Power(2.0), inputs[:1])
        target = self.output_shape(*shapes)
        first, second = (broadcast(build, name, shape, target) for name, shape in zip(inputs, shapes, strict=True))
        return build(Times(), (first, second))


@dataclass(frozen=True, eq=False)
class MatMul(Composite):
    """Matrix product of two computed tensors: all products x_ik z_kj, then their sums over k."""

    arity = 2

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., m, k), (..., k, n) -> (..., m, n)."""
        x, z = shapes
        if len(x) < 2 or len(z) < 2 or x[-1] != z[-2]:
            raise ValueError(f"shapes {x} and {z} cannot be multiplied")
        return (*_broadcast_shape(x[:-2], z[:-2]), x[-2], z[-1])

    def forward(self, *xs: Tensor) -> Tensor:
        """x z, leading axes aligned from the right."""
        return torch.matmul(*aligned(*xs))

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Gathers to (..., m, n, k), Times, sum over the last axis."""
        out = self.output_shape(*shapes)
        x, z = shapes
        inner = x[-1]
        left = torch.arange(prod(x)).reshape(*x[:-1], 1, inner).expand(*out, inner)
        right = torch.arange(prod(z)).reshape(z).transpose(-1, -2)
        right = right.reshape(*z[:-2], 1, z[-1], inner).expand(*out, inner)
        pair = tuple(build(Gather.of(index.contiguous()), (name,)) for index, name in zip((left, right), inputs, strict=True))
        products = build(Times(), (pair[0], pair[1]))
        return sum_last(build, products, (*out, inner))


@dataclass(frozen=True, eq=False)
class SumLast(Linear):
    """Sum over the last axis, which stays with size 1."""

    count: int
    nonnegative = True

    @property
    def faithful(self) -> bool:
        """Ones."""
        return True

    @property
    def forward_terms(self) -> int:
        """The summands; two at least, because only 1 means that nothing is rounded."""
        return max(2, self.count)

    def output_shape(self, *shapes: Shape) -> Shape:
        """(..., n) -> (..., 1)."""
        if not shapes[0] or shapes[0][-1] != self.count:
            raise ValueError(f"{shapes[0]} does not end in an axis of {self.count}")
        return (*shapes[0][:-1], 1)

    def apply(self, *xs: Tensor) -> Tensor:
        """The sum."""
        return xs[0].sum(-1, keepdim=True)

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Copied along the axis."""
        return (y.expand(len(y), *shapes[0]).contiguous(),)


def same_axes(node: OnnxNode) -> None:
    """Two computed operands broadcast from the right: with a batch axis in front, both need it, and the same rank."""
    if node.batched[0] != node.batched[1] or (node.batched[0] and len(node.shapes[0]) != len(node.shapes[1])):
        raise mixes(node, f"operands of shapes {node.shapes[0]} and {node.shapes[1]} are not aligned at the batch axis")


def sum_last(build: Build, name: str, shape: Shape) -> str:
    """Sum over the last axis of a node of that shape."""
    return build(Reshape(shape[:-1]), (build(SumLast(shape[-1]), (name,)),))


def _broadcast_shape(*shapes: Shape) -> Shape:
    try:
        return broadcast_shape(*shapes)
    except RuntimeError as error:
        raise ValueError(f"shapes {' and '.join(map(str, shapes))} do not broadcast") from error
