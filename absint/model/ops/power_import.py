"""Import of Pow with a constant exponent or a constant base, Sqrt and Reciprocal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.op import OnnxNode, Op, Shape, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Assemble, broadcast, steps
from absint.model.ops.exponential import Exp
from absint.model.ops.extremum import spread, values_of
from absint.model.ops.power import Power
from absint.model.ops.shape import Gather, Identity
from absint.model.shapes import broadcast_shape


def power(exponent: float) -> Op:
    """x ** p as an operator of the simplest family: 0 and 1 are affine."""
    if exponent == 0:
        zero = torch.zeros((), dtype=torch.float64)
        return Affine(zero, zero + 1)
    return Identity() if exponent == 1 else Power(exponent)


@dataclass(frozen=True, eq=False)
class Powers(Composite):
    """x ** p with an exponent for each entry: entries of one exponent go together. exponents: of the input's shape."""

    exponents: Tensor

    def output_shape(self, *shapes: Shape) -> Shape:
        """The input's shape."""
        if shapes[0] != tuple(self.exponents.shape):
            raise ValueError(f"exponents of shape {tuple(self.exponents.shape)} do not fit {shapes[0]}")
        return shapes[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """Entry by entry."""
        return xs[0] ** self.constant("exponents", xs[0])

    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """One power for each exponent, then every entry from its own."""
        values, which = self.exponents.reshape(-1).unique(return_inverse=True)
        parts, places, start = [], torch.zeros_like(which), 0
        for k, value in enumerate(values.tolist()):
            entries = (which == k).nonzero()[:, 0]
            places[entries] = torch.arange(start, start + len(entries))
            start += len(entries)
            chosen = build(Gather.of(entries), inputs)
            one = power(value)
            parts.append(chosen if isinstance(one, Identity) else build(one, (chosen,)))
        return build(Assemble(places.reshape(shapes[0]), 1), tuple(parts))


_MOST = 16  # different exponents in one node


@register_import("Pow")
def pow_from_onnx(node: OnnxNode) -> Op:
    """A constant exponent for all entries, a few of them, or a constant base."""
    if node.constant(0) is not None:
        return _exponential(node)
    exponent = node.required(1, "the exponent").double()
    value = float(exponent.reshape(-1)[0])
    if exponent.dim() > len(node.shapes[0]) or (exponent.numel() > 1 and broadcast_shape(exponent.shape, node.shapes[0])
                                                != torch.Size(node.shapes[0])):
        raise unsupported(node, f"an exponent of shape {tuple(exponent.shape)} broadcasts the input", "make it a scalar")
    if bool((exponent == value).all()):
        return power(value)
    if len(exponent.unique()) > _MOST:
        raise unsupported(node, f"more than {_MOST} different exponents in one node are not supported", "split the node")
    full = exponent.expand(node.shapes[0])
    return Powers((full[0] if node.batched[0] else full).contiguous())


def _exponential(node: OnnxNode) -> Op:
    """b ** x = exp(x log b) for b > 0. The logarithm is off by an ulp; runtimes compute the power in their own way."""
    given = node.required(0, "the base")
    if not given.is_floating_point():  # the result has the base's type, and is truncated to it
        raise unsupported(node, "powers of an integer base are integers", "make the base a floating-point number")
    base = given.double()
    if not bool((base > 0).all() and base.isfinite().all()):
        raise unsupported(node, "a constant base that is not positive", "only positive bases have powers of any exponent")
    sources, places = broadcast(node, (0, 1))
    logarithm = values_of(sources)[places[0]].log()
    return steps(spread(node, 1, places[1], sources), Affine(scale=logarithm, weight_terms=4, scale_inside=inf), Exp())


@register_import("Sqrt")
def sqrt_from_onnx(node: OnnxNode) -> Op:
    """x ** (1/2)."""
    return Power(0.5)


@register_import("Reciprocal")
def reciprocal_from_onnx(node: OnnxNode) -> Op:
    """x ** -1."""
    return Power(-1.0)
