"""Zonotope generators that are zero but for a window of each channel: those of single entries behind a few convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from absint.domains.generators import Dense, GeneratorBlock, Pace, Sparse
from absint.model.families.linear import Linear
from absint.model.op import Shape

# Of the image, up to which a window pays.
_MOST = 0.5
# Entries worked on at a time, so that they stay in cache.
_CHUNK_ENTRIES = 1 << 17
# Columns of a matrix are gathered for each place where symbols stand: so many times a product's cost.
_GATHER = 8
# Symbols whose windows begin in a square of this side are taken together there.
_TILE = 4


@dataclass(frozen=True, eq=False)
class WindowedBlock(GeneratorBlock):
    """R symbols of a batch, flat; each is zero outside a window of `image`, (C, *spatial), that all channels share.

    values: (R, *window, C) in the matrix format.  corner: (R, rank) int64, the window's lowest position; parts of it may lie beyond
    the image, and hold anything unless `clean`, when they hold zeros.  instance: (R,).  slots: (batch, count) int64, which of the R is
    which symbol of an instance, R for none.  shape: of the node, as many entries as the image, in the same order.
    """

    values: Tensor
    corner: Tensor
    instance: Tensor
    slots: Tensor
    image: Shape
    shape: Shape
    clean: bool = True

    @staticmethod
    def of(block: Sparse) -> WindowedBlock:
        """Windows of one entry."""
        batch, count = block.index.shape
        real = (block.value != 0)
        instance, slot = real.nonzero(as_tuple=True)
        flat, spatial = block.index[instance, slot], block.shape[1:]
        values = F.one_hot(flat // prod(spatial), block.shape[0]).to(block.value) * block.value[instance, slot][:, None]
        slots = torch.full((batch, count), len(flat), dtype=torch.int64, device=flat.device)
        slots[instance, slot] = torch.arange(len(flat), device=flat.device)
        single = values.reshape(-1, *(1,) * len(spatial), block.shape[0])
        return WindowedBlock(single, _positions(flat % prod(spatial), spatial), instance, slots, block.shape, block.shape)

    @property
    def count(self) -> int:
        """Of an instance, at most."""
        return self.slots.shape[1]

    @property
    def window(self) -> Shape:
        """Its size, along each spatial axis."""
        return tuple(self.values.shape[1:-1])

    def dense(self) -> Tensor:
        """Written out."""
        many, channels = prod(self.image[1:]), self.image[0]
        index = self.places()
        out = self.values.new_zeros(len(self.values) + 1, channels, many + 1)
        flat = self.values.flatten(1, -2).transpose(1, 2)
        out[:-1].scatter_(2, index[:, None].expand(flat.shape), flat)
        return out[..., :-1][self.slots].reshape(*self.slots.shape, *self.shape)

    def numbers(self) -> Tensor:
        """Side by side."""
        return F.pad(self.values.flatten(1), (0, 0, 0, 1))[self.slots]

    def places(self) -> Tensor:
        """(R, entries): flat positions of the windows' entries; one past the image's end for those beyond it."""
        flat = self.corner.new_zeros(len(self.corner), 1)
        inside = torch.ones_like(flat, dtype=torch.bool)
        for axis, (size, span) in enumerate(zip(self.image[1:], self.window, strict=True)):
            place = self.corner[:, axis : axis + 1] + torch.arange(span, device=flat.device)
            flat = (flat[:, :, None] * size + place[:, None]).flatten(1)
            inside = (inside[:, :, None] & ((place >= 0) & (place < size))[:, None]).flatten(1)
        return torch.where(inside, flat, prod(self.image[1:]))

    def spread(self, like: Tensor) -> Tensor:
        """Sums of what stands at each place, all channels of a symbol at once."""
        many, channels, batch = prod(self.image[1:]) + 1, self.image[0], len(self.slots)
        index = self.places() + self.instance[:, None] * many
        out = self.values.new_zeros(batch * many, channels)
        for part in self._parts():
            out = out.index_add(0, index[part].flatten(), self.values[part].abs().reshape(-1, channels))
        return out.reshape(batch, many, channels)[:, :-1].transpose(1, 2).reshape(batch, *self.shape).to(like.dtype)

    def scaled(self, slope: Tensor, shape: Shape) -> GeneratorBlock:
        """Within the windows, where the operator has one slope an entry."""
        if slope.dim() - 1 != len(shape) or slope[0].numel() != prod(self.image):
            return Dense(self.dense()).scaled(slope, shape)
        channels, many = self.image[0], prod(self.image[1:]) + 1
        table = F.pad(slope.reshape(len(slope), channels, -1), (0, 1)).transpose(1, 2).reshape(-1, channels)
        index = self.places() + self.instance[:, None] * many
        done = [self.values[part] * table[index[part].flatten()].reshape(self.values[part].shape) for part in self._parts()]
        return replace(self, values=torch.cat(done), shape=shape, clean=True)

    def through(self, op: Linear, shape: Shape, pace: Pace) -> GeneratorBlock:
        """Within wider windows, or by the columns of a matrix that symbols at one place share; else written out."""
        move = op.monomial(shape) if same_order(op, shape) else None
        if move is not None:
            moved = replace(self, shape=op.output_shape(shape))
            return moved if move.scale is None else moved.scaled(move.scale.to(self.values).reshape(1, *shape).expand(
                len(self.slots), *shape), moved.shape)
        out = op.output_shape(shape)
        if shape == self.image and patch_of(op, self.window, shape, out) is not None:
            return self._widened(op, shape, pace)
        if op.gathered(shape) and self._few_columns(prod(shape)):
            return Dense(self._by_columns(op, shape, out, pace))
        return Dense(self.dense()).through(op, shape, pace)

    def _widened(self, op: Linear, shape: Shape, pace: Pace) -> WindowedBlock:
        values = (self if self.clean else self._cleaned()).values.movedim(-1, 1)
        found = []
        for part in self._parts():
            pace.budget.check()
            found.append(op.patch(values[part], self.corner[part], shape).movedim(1, -1))
        out = op.output_shape(shape)
        return WindowedBlock(torch.cat(found), op.patch_corner(self.corner), self.instance, self.slots, out, out, clean=False)

    def _cleaned(self) -> WindowedBlock:
        """Zeros beyond the image."""
        inside = (self.places() < prod(self.image[1:])).reshape(self.values.shape[:-1])
        return replace(self, values=torch.where(inside[..., None], self.values, 0.0), clean=True)

    def _few_columns(self, entries: int) -> bool:
        """Whether the columns that tiles of symbols meet, and the products with these, cost less than products with whole vectors."""
        tiles = min(len(self.corner), prod(-(-(n + m) // _TILE) for n, m in zip(self.image[1:], self.window, strict=True)))
        size = prod(n + _TILE - 1 for n in self.window) * self.image[0]
        return (_GATHER * tiles + len(self.values)) * size < self.slots.numel() * entries

    def _by_columns(self, op: Linear, shape: Shape, out: Shape, pace: Pace) -> Tensor:
        """(batch, count, *out): the symbols that stand in one tile of the image, times the columns that they meet."""
        if not len(self.values):
            return self.values.new_zeros(*self.slots.shape, *out)
        tiles, group = self.corner.div(_TILE, rounding_mode="floor").unique(dim=0, return_inverse=True)
        image = self.values.new_zeros(len(self.values) + 1, *out)
        order = group.argsort(stable=True)
        for tile, mine in zip(tiles, order.split(group.bincount(minlength=len(tiles)).tolist()), strict=True):
            pace.budget.check()
            framed = self._framed(tile * _TILE, mine)
            inside = framed.places()[0]
            kept = (inside < prod(self.image[1:])).nonzero().flatten()
            index = (torch.arange(self.image[0], device=kept.device) * prod(self.image[1:]) + inside[kept][:, None]).flatten()
            image[mine] = framed.values.flatten(1, -2)[:, kept].flatten(1) @ op.columns(index, shape, self.values)
        return image[self.slots]

    def _framed(self, corner: Tensor, mine: Tensor) -> WindowedBlock:
        """Some symbols in one window from `corner` on, that holds those of a tile."""
        size, rank = tuple(n + _TILE - 1 for n in self.window), len(self.window)
        index: list[Tensor] = [torch.arange(len(mine), device=mine.device).reshape(-1, *(1,) * rank)]
        for axis, n in enumerate(self.window):
            place = (self.corner[mine, axis] - corner[axis])[:, None] + torch.arange(n, device=mine.device)
            index.append(place.reshape(len(mine), *(n if k == axis else 1 for k in range(rank))))
        frame = self.values.new_zeros(len(mine), *size, self.image[0]).index_put(tuple(index), self.values[mine])
        return replace(self, values=frame, corner=corner[None])

    def images(self, op: Linear, shape: Shape) -> int:
        """As many full vectors as the windows of the image take."""
        if same_order(op, shape):
            return self._vectors(self.window, shape)
        if shape != self.image or op.patch_size(self.window, shape) is None:
            return self.count
        size = patch_of(op, self.window, shape, op.output_shape(shape))
        return self.count if size is None else self._vectors(size, op.output_shape(shape))

    def _vectors(self, window: Shape, image: Shape) -> int:
        """Of an instance, in entries of so many whole images (C, *spatial)."""
        return -(-len(self.values) * prod(window) * (self.image[0] if image == self.shape else image[0]) // (len(self.slots) * prod(image)))

    def reach(self, rows: Tensor) -> Tensor:
        """Written out."""
        return Dense(self.dense()).reach(rows)

    def norms(self) -> Tensor:
        """L1 norms of what lies in the image."""
        own = (self if self.clean else self._cleaned()).values.abs().flatten(1).sum(1)
        return F.pad(own, (0, 1))[self.slots]

    def take(self, index: Tensor) -> WindowedBlock:
        """Instances."""
        return self._chosen(self.slots[index])

    def pick(self, slots: Tensor, keep: Tensor) -> WindowedBlock:
        """Some symbols of each instance."""
        return self._chosen(torch.where(keep, self.slots.gather(1, slots), len(self.values)))

    def _chosen(self, slots: Tensor) -> WindowedBlock:
        real = slots < len(self.values)
        rows = slots[real]
        renamed = torch.full_like(slots, len(rows))
        renamed[real] = torch.arange(len(rows), device=rows.device)
        instance = real.nonzero(as_tuple=True)[0]
        return replace(self, values=self.values[rows], corner=self.corner[rows], instance=instance, slots=renamed)

    def _parts(self) -> Iterator[slice]:
        size = max(1, _CHUNK_ENTRIES // max(1, prod(self.values.shape[1:])))
        for start in range(0, max(1, len(self.values)), size):
            yield slice(start, start + size)


def patch_of(op: Linear, window: Shape, shape: Shape, out: Shape) -> Shape | None:
    """The window of the result for one of an input of that shape; None where that is none, or too much of the image."""
    size = op.patch_size(window, shape)
    return size if size is not None and prod(size) <= _MOST * prod(out[1:]) else None


def same_order(op: Linear, shape: Shape) -> bool:
    """Whether each entry only becomes the one at the same flat index, scaled."""
    move = op.monomial(shape)
    return move is not None and len(move.target) == prod(op.output_shape(shape)) and bool(
        (move.target == torch.arange(len(move.target), device=move.target.device)).all())


def _positions(flat: Tensor, shape: Shape) -> Tensor:
    """(R, rank) positions of flat indices (R,) in an image."""
    found = []
    for size in reversed(shape):
        found.append(flat % size)
        flat = flat // size
    return torch.stack(found[::-1], 1)


def localised(block: GeneratorBlock, op: Linear, shape: Shape) -> GeneratorBlock:
    """Symbols of single entries as windows, where the operator widens these and they stay small; else as they are.

    On the CPU, where all of this was measured.
    """
    if not isinstance(block, Sparse) or block.shape != shape or len(shape) < 2 or block.value.device.type != "cpu":
        return block
    if op.monomial(shape) is not None or patch_of(op, (1,) * (len(shape) - 1), shape, op.output_shape(shape)) is None:
        return block
    return WindowedBlock.of(block)
