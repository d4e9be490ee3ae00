"""Which axis of its input a network takes for the channels: what the operators that read the input say.

Entries are followed from the input through operators that only move, scale or map them one by one. An operator that takes an
axis for channels (`Op.channel_axis`) and reads such entries tells where the channels lie in the input.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.graph import Graph, Node
from absint.model.layout import Axes, Shape
from absint.model.op import Input


def axes_of(graph: Graph) -> Axes | None:
    """The axes of the network's input; None where no operator tells, or two of them contradict each other."""
    shape = graph.input.shape
    origins: dict[str, Tensor | None] = {}
    said: set[Axes] = set()
    for node in graph.nodes:
        operand = None if not node.inputs else origins[node.inputs[0]]
        if node.op.channel_axis is not None:
            said |= _in_input(operand, node.op.channel_axis, shape)
        origins[node.name] = _origin(node, [origins[name] for name in node.inputs])
        for axis in node.read_as:
            said |= _in_input(origins[node.name], axis, shape)
    return said.pop() if len(said) == 1 else None


def _origin(node: Node, operands: list[Tensor | None]) -> Tensor | None:
    """Of the node's shape: the flat position in the input that each entry comes from alone, or -1. None: all are mixtures."""
    op = node.op
    if isinstance(op, Input):
        return torch.arange(node.size).reshape(node.shape)
    if all(operand is None for operand in operands):
        return None
    first = operands[0]
    if isinstance(op, Elementwise) and first is not None and tuple(first.shape) == node.shape and len(operands) == 1:
        return first
    if not isinstance(op, Linear):
        return None
    if op.forward_terms == 1 and all(operand is not None for operand in operands):
        # Entries are only moved: positions, counted from 1, are moved with them, and what is filled in is 0.
        marks = [(operand + 1).double()[None] for operand in operands if operand is not None]
        return op.apply(*marks)[0].round().long() - 1
    moves = None if first is None or len(operands) > 1 else op.monomial(tuple(first.shape))
    if moves is None or first is None:
        return None
    found = first.new_full((prod(node.shape),), -1)
    found[moves.target] = first.reshape(-1)
    return found.reshape(node.shape)


def _in_input(origin: Tensor | None, axis: int, shape: Shape) -> set[Axes]:
    """The reader's axis of channels as one of the input; nothing where it reads no image of the input's entries."""
    if origin is None or origin.dim() < 2 or axis >= origin.dim() or not bool((origin >= 0).any()):
        return set()
    ordered = _in_order(origin, axis) if origin.numel() == prod(shape) else set()
    if len(shape) == origin.dim():
        return _by_coordinates(origin, axis, shape) or ordered
    return ordered or _by_coordinates(origin, axis, shape)


def _by_coordinates(origin: Tensor, axis: int, shape: Shape) -> set[Axes]:
    """The input's axis along which one moves exactly when one moves along the reader's."""
    if len(shape) < 2:
        return set()
    known = origin >= 0
    coordinates: list[Tensor] = []
    rest = origin.clamp(min=0)
    for size in reversed(shape):
        coordinates.insert(0, rest % size)
        rest = rest // size
    slices, along = known.movedim(axis, 0).flatten(1), [c.movedim(axis, 0).flatten(1) for c in coordinates]
    whole = [_constant(c, slices, 1) for c in along]      # constant within each slice
    still = [_constant(c, slices, 0) for c in along]      # constant from slice to slice
    fits = [k for k in range(len(shape)) if whole[k] and all(still[j] for j in range(len(shape)) if j != k)]
    if origin.dim() != len(shape) and len(fits) > 1:    # one channel, of one picture among several: any axis of size 1 would fit
        return set()
    return {Axes(shape, axis if axis in fits else fits[0])} if fits else set()


def _constant(values: Tensor, known: Tensor, over: int) -> bool:
    """Whether the known values do not change over that axis."""
    high = torch.where(known, values, -1).amax(over)
    low = torch.where(known, values, torch.iinfo(values.dtype).max).amin(over)
    return bool(((low == high) | (high < 0)).all())


def _in_order(origin: Tensor, axis: int) -> set[Axes]:
    """All entries of the input as they lie in it, once the reader's channels are moved to one end."""
    rest = [k for k in range(origin.dim()) if k != axis]
    for order in ([axis, *rest], [*rest, axis]):
        view = origin.permute(order)
        if torch.equal(view.reshape(-1), torch.arange(origin.numel())):
            return {Axes(tuple(view.shape), order.index(axis))}
    return set()
