"""Blocks of zonotope generators: dense, or with a single nonzero entry each (diagonals are never formed)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor

from absint.engine.domain import Budget, Context, Node
from absint.model.families.linear import Linear
from absint.model.op import Shape
from absint.model.work import work_of
from absint.numeric.rounding import Numerics, cast_up
from absint.numeric.scatter import added_at

_CHUNK_ENTRIES = 1 << 18


@dataclass(frozen=True)
class Pace:
    """How many vectors go through an operator between two looks at the clock."""

    budget: Budget
    vectors: int

    @staticmethod
    def of(node: Node, op: Linear, shapes: tuple[Shape, ...], ctx: Context, dtype: torch.dtype) -> Pace:
        """As many of that format as fit between two looks at the clock, and into memory with what a device needs for them."""
        entries = sum(map(prod, shapes)) + node.size + (0 if ctx.numerics.device.type == "cpu" else op.scratch(node.shape, shapes))
        fit = ctx.budget.rows(entries * torch.finfo(dtype).bits // 8)
        return Pace(ctx.budget, min(fit, ctx.budget.pieces(work_of(node))))

    def apply(self, run: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
        """run(*vectors), some at a time, into one tensor. vectors: one tensor an operand, of one length. Raises DeadlineError."""
        many = len(vectors[0])
        if many <= self.vectors:
            return run(*vectors)
        out: Tensor | None = None
        for start in range(0, many, self.vectors):
            self.budget.check()
            part = run(*(one[start : start + self.vectors] for one in vectors))
            out = part.new_empty((many, *part.shape[1:])) if out is None else out
            out[start : start + len(part)] = part
        assert out is not None
        return out


class GeneratorBlock(ABC):
    """Generators (batch, count, *shape) of one symbol source, in the matrix format."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of symbols."""

    @abstractmethod
    def dense(self) -> Tensor:
        """(batch, count, *shape)."""

    @abstractmethod
    def numbers(self) -> Tensor:
        """(batch, ...): every number that is stored, in any order."""

    @abstractmethod
    def spread(self, like: Tensor) -> Tensor:
        """(batch, *shape) sum of absolute values as computed (not rounded up), in the format of `like`."""

    @abstractmethod
    def scaled(self, slope: Tensor, shape: Shape) -> GeneratorBlock:
        """Entries times slope (batch, *own shape), summed over the trailing axes that `shape` lacks."""

    @abstractmethod
    def through(self, op: Linear, shape: Shape, pace: Pace) -> GeneratorBlock:
        """Image under a linear operator of one input of that shape."""

    @abstractmethod
    def images(self, op: Linear, shape: Shape) -> int:
        """How many full vectors `through` allocates for an instance."""

    @abstractmethod
    def reach(self, rows: Tensor) -> Tensor:
        """(batch, k): sum over symbols of |row . generator|; rows: (batch, k, n)."""

    @abstractmethod
    def norms(self) -> Tensor:
        """(batch, count): L1 norm of each generator."""

    @abstractmethod
    def take(self, index: Tensor) -> GeneratorBlock:
        """Instances."""

    @abstractmethod
    def pick(self, slots: Tensor, keep: Tensor) -> GeneratorBlock:
        """Symbols `slots` (batch, m) where `keep` (batch, m), zero elsewhere."""

    def plus(self, other: GeneratorBlock) -> GeneratorBlock:
        """Sum, symbol by symbol."""
        return Dense(self.dense() + other.dense())


@dataclass(frozen=True, eq=False)
class Dense(GeneratorBlock):
    """Every entry stored."""

    generators: Tensor

    @property
    def count(self) -> int:
        """Number of symbols."""
        return self.generators.shape[1]

    def dense(self) -> Tensor:
        """As stored."""
        return self.generators

    numbers = dense

    def spread(self, like: Tensor) -> Tensor:
        """One pass in chunks that stay in cache (torch's vector_norm along this axis was 4 to 40 times slower)."""
        batch, count = self.generators.shape[:2]
        entries = _CHUNK_ENTRIES if self.generators.device.type == "cpu" else _CHUNK_ENTRIES << 6
        size = max(8, entries // max(1, batch * self.generators[0, 0].numel()) if count else 8)
        total = self.generators.new_zeros(batch, *self.generators.shape[2:])
        for part in self.generators.split(size, 1):
            total = total + part.abs().sum(1)
        return total.to(like.dtype)

    def scaled(self, slope: Tensor, shape: Shape) -> Dense:
        """One product per entry."""
        product = self.generators * slope[:, None]
        extra = product.dim() - 2 - len(shape)
        return Dense(product if extra == 0 else product.flatten(2 + len(shape)).sum(-1))

    def through(self, op: Linear, shape: Shape, pace: Pace) -> Dense:
        """Symbols as a batch of vectors."""
        batch, count = self.generators.shape[:2]
        image = pace.apply(op.apply, self.generators.reshape(batch * count, *shape))
        return Dense(image.reshape(batch, count, *image.shape[1:]))

    def images(self, op: Linear, shape: Shape) -> int:
        """One a symbol."""
        return self.count

    def reach(self, rows: Tensor) -> Tensor:
        """One batched product."""
        return (rows @ self.generators.flatten(2).transpose(1, 2)).abs().sum(2)

    def norms(self) -> Tensor:
        """L1 norms."""
        return self.generators.flatten(2).abs().sum(2)

    def take(self, index: Tensor) -> Dense:
        """Instances."""
        return Dense(self.generators[index])

    def pick(self, slots: Tensor, keep: Tensor) -> Dense:
        """A gather along the symbols."""
        view = (*slots.shape, *(1,) * (self.generators.dim() - 2))
        full = slots.reshape(view).expand(*slots.shape, *self.generators.shape[2:])
        return Dense(self.generators.gather(1, full) * keep.reshape(view))


@dataclass(frozen=True, eq=False)
class Sparse(GeneratorBlock):
    """One nonzero entry per symbol: value (batch, count) at flat position index (batch, count). Padding has value 0.

    No two symbols of nonzero value share a position where `spread` must be exact; sums are still rounded up by users.
    """

    index: Tensor
    value: Tensor
    shape: Shape

    @property
    def count(self) -> int:
        """Number of symbols."""
        return self.index.shape[1]

    def dense(self) -> Tensor:
        """Written out."""
        batch, count = self.index.shape
        out = self.value.new_zeros(batch, count, prod(self.shape))
        return out.scatter(2, self.index[..., None], self.value[..., None]).reshape(batch, count, *self.shape)

    def numbers(self) -> Tensor:
        """The values."""
        return self.value

    def spread(self, like: Tensor) -> Tensor:
        """A scatter."""
        return added_at(self.value.abs().to(like.dtype), self.index, prod(self.shape)).reshape(-1, *self.shape)

    def scaled(self, slope: Tensor, shape: Shape) -> Sparse:
        """Still one entry per symbol; trailing axes collapse onto their group."""
        value = self.value * slope.flatten(1).gather(1, self.index)
        group = prod(self.shape) // max(1, prod(shape))
        return Sparse(self.index // group, value, shape)

    def through(self, op: Linear, shape: Shape, pace: Pace) -> GeneratorBlock:
        """Monomial maps keep the form; others scale the operator's columns."""
        move = op.monomial(shape)
        if move is not None:
            value = self.value
            if move.scale is not None:
                value = value * move.scale.to(value)[self.index]
            return Sparse(move.target.to(self.index.device)[self.index], value, op.output_shape(shape))
        batch, count = self.index.shape
        if bool((self.index == self.index[:1]).all()):
            columns = pace.apply(lambda index: op.columns(index, shape, self.value), self.index[0])[None]
        else:
            columns = pace.apply(lambda index: op.columns(index, shape, self.value), self.index.reshape(-1))
            columns = columns.reshape(batch, count, *columns.shape[1:])
        return Dense(columns * self.value.reshape(batch, count, *(1,) * (columns.dim() - 2)))

    def images(self, op: Linear, shape: Shape) -> int:
        """The columns, and the columns scaled."""
        return 2 * self.count if op.monomial(shape) is None else 0

    def reach(self, rows: Tensor) -> Tensor:
        """A gather of the rows' entries."""
        picked = rows.gather(2, self.index[:, None].expand(-1, rows.shape[1], -1))
        return (picked * self.value[:, None]).abs().sum(2)

    def norms(self) -> Tensor:
        """The entries."""
        return self.value.abs()

    def take(self, index: Tensor) -> Sparse:
        """Instances."""
        return Sparse(self.index[index], self.value[index], self.shape)

    def pick(self, slots: Tensor, keep: Tensor) -> Sparse:
        """A gather along the symbols."""
        return Sparse(self.index.gather(1, slots), self.value.gather(1, slots) * keep, self.shape)


def fresh_symbols(radius: Tensor, mask: Tensor, num: Numerics) -> tuple[Sparse | None, Tensor]:
    """One new symbol per masked entry of finite radius; what is left of the radius goes to the remainder.

    Symbols are padded to the most that an instance of the batch needs.
    """
    value = cast_up(radius, num.dtype)
    mask = mask & value.isfinite() & (value > 0)
    left = torch.where(mask, torch.zeros_like(radius), radius)
    count = mask.flatten(1).sum(1)
    most = int(count.max()) if len(count) else 0
    if most == 0:
        return None, left
    shape = tuple(radius.shape[1:])
    if bool(mask.all()):
        every = torch.arange(prod(shape), device=radius.device).expand(len(radius), -1)
        return Sparse(every, value.flatten(1), shape), left
    instance, entry = mask.flatten(1).nonzero(as_tuple=True)
    slot = torch.arange(len(instance), device=radius.device) - (count.cumsum(0) - count)[instance]
    index = torch.zeros(len(radius), most, dtype=torch.int64, device=radius.device)
    index[instance, slot] = entry
    filled = value.new_zeros(len(radius), most).index_put((instance, slot), value.flatten(1)[instance, entry])
    return Sparse(index, filled, shape), left


def join(op: Linear, parts: list[GeneratorBlock | None], shapes: tuple[Shape, ...], pace: Pace) -> GeneratorBlock:
    """Image of one symbol source that occurs in some of a linear operator's inputs."""
    if len(parts) == 1:
        assert parts[0] is not None
        return parts[0].through(op, shapes[0], pace)
    images: list[Tensor] = []
    for position, part in enumerate(parts):
        if part is not None:
            full = part.dense()
            batch, count = full.shape[:2]
            image = pace.apply(partial(_part, op, position, shapes), full.reshape(batch * count, *shapes[position]))
            images.append(image.reshape(batch, count, *image.shape[1:]))
    total = images[0]
    for image in images[1:]:
        total = total + image
    return Dense(total)


def _part(op: Linear, position: int, shapes: tuple[Shape, ...], vectors: Tensor) -> Tensor:
    return op.part(position, vectors, shapes)


def merge_smallest(blocks: dict[Hashable, GeneratorBlock], limit: int, like: Tensor) -> tuple[dict[Hashable, GeneratorBlock], Tensor]:
    """Instances of more than `limit` symbols keep the `limit // 2` of largest L1 norm; returns what is kept and the
    spread of the rest (as computed, not rounded up).

    Halving leaves room before the next reduction. Works on ranks over all blocks, batched.
    """
    names = list(blocks)
    norms = torch.cat([blocks[name].norms() for name in names], 1)
    keep_count = min(norms.shape[1], max(1, limit // 2))
    chosen = torch.zeros_like(norms, dtype=torch.bool).scatter(1, norms.topk(keep_count, 1).indices, True)
    chosen = (chosen | ((norms > 0).sum(1, keepdim=True) <= limit)) & ~(norms == 0)
    kept: dict[Hashable, GeneratorBlock] = {}
    dropped = torch.zeros_like(like)
    start = 0
    for name in names:
        block = blocks[name]
        mine = chosen[:, start : start + block.count]
        start += block.count
        order = mine.to(torch.int8).sort(dim=1, descending=True, stable=True).indices
        most = int(mine.sum(1).max())
        if most:
            kept[name] = block.pick(order[:, :most], mine.gather(1, order[:, :most]))
        dropped = dropped + block.pick(order, ~mine.gather(1, order)).spread(like)
    return kept, dropped
