"""TopK: the k largest entries in order, by a network of comparisons, each of them the maximum and the minimum of two entries."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.families.maximum import Maximum
from absint.model.op import OnnxNode, Op, Shape, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import assembled, steps
from absint.model.ops.product import Build
from absint.model.ops.reduce import maximum_over
from absint.model.ops.shape import Gather, Identity, Reshape, Transpose
from absint.model.shapes import held

_MOST = 1024    # comparisons in one node
Layer = tuple[tuple[int, int], ...]


def comparisons(count: int, kept: int) -> tuple[Layer, ...]:
    """Pairs (i, j), i < j, of places whose larger entry goes to i, in layers of disjoint ones.

    After all of them the first `kept` are the largest, in order.

    Merge exchange for any count (Knuth, The Art of Computer Programming 3, section 5.2.2, Algorithm M), without comparisons that reach none
    of the places kept.
    """
    layers, top = list[Layer](), 1 << max(0, (count - 1).bit_length() - 1)
    p = top
    while count > 1 and p > 0:
        q, r, d = top, 0, p
        while True:
            layers.append(tuple((i, i + d) for i in range(count - d) if i & p == r))
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    wanted, found = set(range(kept)), list[Layer]()
    for layer in reversed(layers):
        used = tuple(pair for pair in layer if wanted.intersection(pair))
        wanted.update(place for pair in used for place in pair)
        found += [used] if used else []
    return tuple(reversed(found))


@dataclass(frozen=True, eq=False)
class Largest(Composite):
    """The `kept` largest entries along the last axis, in falling order: (..., n) -> (..., kept)."""

    kept: int

    def output_shape(self, *shapes: Shape) -> Shape:
        """The last axis is cut."""
        if not shapes[0] or shapes[0][-1] < self.kept:
            raise ValueError(f"{shapes[0]} does not end in an axis of {self.kept} entries at least")
        return (*shapes[0][:-1], self.kept)

    def forward(self, *xs: Tensor) -> Tensor:
        """As defined."""
        return xs[0].sort(-1, descending=True).values[..., : self.kept]

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """A layer after the other; what it does not compare stays where it is."""
        (shape,), (name,) = shapes, inputs
        for layer in comparisons(shape[-1], self.kept):
            name = _compared(build, name, shape, torch.tensor(layer))
        first = torch.arange(prod(shape)).reshape(shape)[..., : self.kept]
        return build(Gather.of(first.contiguous()), (name,))


def _compared(build: Build, name: str, shape: Shape, pairs: Tensor) -> str:
    """The larger entry of each pair of places (m, 2) at the first of them, the smaller at the second."""
    turned = Affine(-torch.ones((), dtype=torch.float64))
    places = torch.arange(prod(shape)).reshape(shape)
    both = build(Gather.of(places[..., pairs].contiguous()), (name,))
    larger = build(Maximum(), (both,))
    smaller = build(turned, (build(Maximum(), (build(turned, (both,)),)),))
    count = (*shape[:-1], len(pairs))
    index = places.clone()
    new = prod(shape) + torch.arange(2 * prod(count)).reshape(2, *count)
    index[..., pairs[:, 0]], index[..., pairs[:, 1]] = new[0], new[1]
    return build(assembled((shape, count, count), index), (name, larger, smaller))


@register_import("TopK")
def top_from_onnx(node: OnnxNode) -> Op:
    """The values, in order; k is constant. Where they are not, `sorted` does not say which of them stands where."""
    shape, axis = node.unbatched(0), node.axis(int(node.attribute("axis", -1)))
    kept = int(node.attribute("k", 0)) or int(node.required(1, "the number k").reshape(-1)[0])
    if not 0 < kept <= shape[axis]:
        raise unsupported(node, f"k={kept} of {shape[axis]} entries", "repair the model")
    if kept > 1 and not node.attribute("sorted", 1):
        raise unsupported(node, "sorted=0 leaves the order of the values open", "export with sorted=1")
    least = not node.attribute("largest", 1)
    if kept == 1:
        return maximum_over((axis,), shape, keep=True, negate=least)
    last = len(shape) - 1
    order = (*(k for k in range(last + 1) if k != axis), axis)
    inner = tuple(shape[k] for k in order)
    count = prod(inner[:-1]) * sum(map(len, comparisons(inner[-1], kept)))
    if count > _MOST:
        raise unsupported(node, f"the {kept} largest of {shape[axis]} entries take {count} comparisons, and {_MOST} are the most",
                          "analyse what it reads: name that tensor with --output (output= in Python)")
    turned = Affine(-torch.ones((), dtype=torch.float64)) if least else Identity()
    back = tuple(order.index(k) for k in range(last + 1))
    moves = (Transpose(order), Transpose(back)) if axis != last else (Identity(), Identity())
    final = held((*(s for k, s in enumerate(shape) if k < axis), kept, *shape[axis + 1 :]))
    return steps(moves[0], turned, Largest(kept), turned, moves[1], Reshape(final))
