"""Selections of entries from several tensors and constants: Concat, Where and scatters; plans of several operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.op import OnnxNode, Op, Shape, mixes, register_import, unsupported
from absint.model.ops.shape import Concat, Gather, Identity, Reshape
from absint.model.shapes import held
from absint.numeric.scatter import added_at


@dataclass(frozen=True, eq=False)
class Assemble(Linear):
    """y = (x1, ..., xk, each flattened, joined)[index], and `border` where the index is -1.

    index: int64 of the output's shape.  repeats: the most often that one entry is selected.
    border: the constants at index -1, and 0 elsewhere, in the output's shape; None for zero.
    """

    index: Tensor
    repeats: int
    border: Tensor | None = None
    arity = None

    @property
    def adjoint_terms(self) -> int:
        """As many summands as the most repeated entry has."""
        return self.repeats

    @property
    def offset(self) -> Tensor | None:
        """The constants."""
        return self.border

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of the index."""
        size = sum(prod(s) for s in shapes)
        if self.index.numel() and int(self.index.max()) >= size:
            raise ValueError(f"an index reaches beyond the {size} entries of {', '.join(map(str, shapes))}")
        return tuple(self.index.shape)

    def apply(self, *xs: Tensor) -> Tensor:
        """The selected entries; the last of the joined ones is a zero, which -1 selects."""
        joined = torch.cat([*(x.reshape(len(x), prod(x.shape[1:])) for x in xs), xs[0].new_zeros(len(xs[0]), 1)], 1)
        return joined[:, self.placed("index", joined)]

    apply_abs = apply

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Entries added back to where they came from."""
        sizes = [prod(s) for s in shapes]
        index = self.placed("index", y).reshape(-1)
        back = added_at(y.reshape(len(y), len(index)), torch.where(index < 0, sum(sizes), index), sum(sizes) + 1)
        parts = back[:, :-1].split(sizes, 1)
        return tuple(part.reshape(len(y), *s) for part, s in zip(parts, shapes, strict=True))


def moved(index: Tensor, shape: Shape) -> Op:
    """y = x.flatten()[index] for x of that shape, as the simplest operator that does it."""
    index, shape = index.reshape(held(tuple(index.shape))), held(shape)
    same = index.numel() == prod(shape) and torch.equal(index.reshape(-1), torch.arange(prod(shape)))
    if not same:
        return Gather.of(index)
    return Identity() if tuple(index.shape) == shape else Reshape(tuple(index.shape))


def assembled(sources: Sequence[Tensor | Shape], index: Tensor) -> Op:
    """The entries `index` of all sources, flattened and joined. A source is a constant, or the shape of a computed tensor."""
    values, places, count = [], [], 0
    for source in sources:
        size = source.numel() if isinstance(source, Tensor) else prod(source)
        computed = not isinstance(source, Tensor)
        values.append(torch.zeros(size, dtype=torch.float64) if not isinstance(source, Tensor) else source.double().reshape(-1))
        places.append(torch.arange(count, count + size) if computed else torch.full((size,), -1))
        count += size if computed else 0
    index = index.reshape(held(tuple(index.shape)))
    chosen, border = torch.cat(places)[index], torch.cat(values)[index]
    shapes = [source for source in sources if not isinstance(source, Tensor)]
    if len(shapes) == 1 and bool((chosen >= 0).all()):
        return moved(chosen, shapes[0])
    used = chosen[chosen >= 0]
    repeats = int(torch.bincount(used).max()) if len(used) else 1
    return Assemble(chosen, repeats, border if bool((border != 0).any()) else None)


def positions(node: OnnxNode, inputs: Sequence[int]) -> tuple[list[Tensor | Shape], list[Tensor]]:
    """Sources for `assembled`, and per input the positions of its entries among them, in its full ONNX shape."""
    sources: list[Tensor | Shape] = []
    places, start = [], 0
    for k in inputs:
        constant = node.constant(k)
        sources.append(node.shapes[k] if constant is None else constant)
        size = prod(node.shapes[k])
        places.append(torch.arange(start, start + size).reshape(node.shapes[k]))
        start += size
    return sources, places


def without_batch(node: OnnxNode, index: Tensor) -> Tensor:
    """The index of a result without its batch axis. Raises UnsupportedError where that is not axis 0 of every computed input."""
    ranks = {len(shape) for shape, batched in zip(node.shapes, node.batched, strict=True) if batched}
    if not ranks:
        return index
    if ranks != {index.dim()} or index.shape[0] != 1:
        raise mixes(node, f"shapes {' and '.join(map(str, node.shapes))} do not keep the batch axis in front")
    return index[0]


def broadcast(node: OnnxNode, inputs: Sequence[int]) -> tuple[list[Tensor | Shape], list[Tensor]]:
    """`positions` of inputs broadcast against each other, the batch axis gone."""
    sources, places = positions(node, inputs)
    try:
        full = torch.broadcast_tensors(*places)
    except RuntimeError as error:
        raise unsupported(node, f"shapes {' and '.join(str(node.shapes[k]) for k in inputs)} do not broadcast",
                          "repair the model") from error
    return sources, [without_batch(node, place) for place in full]


@dataclass(frozen=True, eq=False)
class Plan(Composite):
    """Operators in turn. before: those of each input; after: the first takes all inputs, the rest what came before."""

    before: tuple[tuple[Op, ...], ...]
    after: tuple[Op, ...]
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """Through all parts."""
        heads = []
        for shape, ops in zip(shapes, self.before, strict=True):
            for op in ops:
                shape = op.output_shape(shape)  # noqa: PLW2901
            heads.append(shape)
        for op in self.after:
            heads = [op.output_shape(*heads)]
        return heads[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """Through all parts."""
        heads = []
        for x, ops in zip(xs, self.before, strict=True):
            for op in ops:
                x = op.forward(x)  # noqa: PLW2901
            heads.append(x)
        for op in self.after:
            heads = [op.forward(*heads)]
        return heads[0]

    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """One node for each part."""
        heads = []
        for name, ops in zip(inputs, self.before, strict=True):
            for op in ops:
                name = build(op, (name,))  # noqa: PLW2901
            heads.append(name)
        for op in self.after:
            heads = [build(op, tuple(heads))]
        return heads[0]


def steps(*ops: Op) -> Op:
    """Operators of one input in turn, identities left out."""
    kept = tuple(op for op in ops if not isinstance(op, Identity))
    return kept[0] if len(kept) == 1 else Plan(((),), kept or (Identity(),))


@dataclass(frozen=True, eq=False)
class OfImage(Composite):
    """`op`, which takes an axis of its operand for channels and does not say so itself."""

    op: Op
    channel_axis: int | None = 0

    def output_shape(self, *shapes: Shape) -> Shape:
        """That of `op`."""
        return self.op.output_shape(*shapes)

    def forward(self, *xs: Tensor) -> Tensor:
        """As `op`."""
        return self.op.forward(*xs)

    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """`op` itself."""
        return build(self.op, inputs)


@dataclass(frozen=True, eq=False)
class Each(Composite):
    """`op` on each of the `count` entries along axis 0, such as a convolution on each picture of a row."""

    op: Op
    count: int

    def output_shape(self, *shapes: Shape) -> Shape:
        """The results in a row."""
        if shapes[0][0] != self.count:
            raise ValueError(f"{shapes[0]} has {shapes[0][0]} entries along axis 0, not {self.count}")
        return (self.count, *self.op.output_shape(shapes[0][1:]))

    def forward(self, *xs: Tensor) -> Tensor:
        """All at once, as a batch."""
        y = self.op.forward(xs[0].flatten(0, 1))
        return y.reshape(len(xs[0]), self.count, *y.shape[1:])

    def expand(self, build: Callable[[Op, tuple[str, ...]], str], inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Select, apply, join."""
        index, row = torch.arange(prod(shapes[0])).reshape(shapes[0]), (1, *self.op.output_shape(shapes[0][1:]))
        parts = [build(self.op, (build(Gather.of(part.contiguous()), inputs),)) for part in index]
        return build(Concat(0), tuple(build(Reshape(row), (part,)) for part in parts))


@register_import("Concat")
def concat_from_onnx(node: OnnxNode) -> Op:
    """Computed tensors and constants along a feature axis."""
    first = next(k for k, c in enumerate(node.constants) if c is None)
    if "axis" not in node.attributes:
        raise unsupported(node, "names no axis", "repair the model")
    axis = node.axis(int(node.attributes["axis"]), first)
    if not any(c is not None for c in node.constants):
        return Concat(axis)
    sources, places = positions(node, range(len(node.shapes)))
    try:
        return assembled(sources, without_batch(node, torch.cat(places, axis + node.batched[first])))
    except (RuntimeError, IndexError) as error:
        raise unsupported(node, f"shapes {', '.join(map(str, node.shapes))} cannot be joined along axis {axis}",
                          "repair the model") from error


def selection(node: OnnxNode) -> Op:
    """Where with a constant condition: a selection of entries."""
    condition = node.required(0, "the condition").bool()
    sources, places = positions(node, (1, 2))
    try:
        index = torch.where(condition, places[0], places[1])
    except RuntimeError as error:
        raise unsupported(node, f"shapes {', '.join(map(str, node.shapes))} do not broadcast", "repair the model") from error
    return assembled(sources, without_batch(node, index))


@register_import("ScatterND", "ScatterElements")
def scatter_from_onnx(node: OnnxNode) -> Op:
    """Constant indices: positions of `data`, with those of `updates` written over them, later ones last."""
    if node.attribute("reduction", "none") != "none":
        raise unsupported(node, f"reduction={node.attribute('reduction', '')} is not supported", "only plain writing is")
    index = node.required(1, "the indices").long()
    if any(node.batched):
        raise mixes(node, "writes by index along the batch axis, too")
    sources, (data, updates) = positions(node, (0, 2))
    if node.op_type == "ScatterND":
        data[index.unbind(-1)] = updates
    else:
        axis = int(node.attribute("axis", 0)) % data.dim()
        data.scatter_(axis, torch.where(index < 0, index + data.shape[axis], index), updates)
    return assembled(sources, data)
