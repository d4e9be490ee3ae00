"""Rows that see a part of the image only: single entries of early convolutions, substituted within their windows.

A row of an early layer has zeros for all but a window of each node below. All undecided channels at one position share the window,
so that one position of one instance is treated as an instance of its own: the walk is the dense one, on tensors as large as the
window, and what it reads of a node (slopes, offsets, ends) is cut out at that position. Entries beyond the image are zero rows.
Where a window is most of the image, or an operator does not say what it reads, the walk goes on with whole images.

Sound as the dense walk is, by the same charges: a sum over a window leaves out zeros only. Source of the idea: patches in
Xu et al., Automatic Perturbation Analysis for Scalable Certified Robustness and Beyond, NeurIPS 2020, appendix.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from absint.engine.backward.block import Block, BlockWalk
from absint.engine.backward.charges import ChargedStep, Charges
from absint.engine.rows import Rows
from absint.errors import InternalError
from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph, Node
from absint.model.op import Shape
from absint.model.window import Window

# Of the image, up to which a window pays; and of the entries of a whole walk, which they must save.
_MOST, _SAVED = 0.5, 0.5

Windows = dict[str, Window | None]


def windows_below(graph: Graph, start: Node, stop: str, *, whole_stop: bool) -> Windows | None:
    """The window of a single entry of `start` at each node below, None where the whole image is walked; None where none pays.

    stop: the last node walked.  whole_stop: whether rows must be whole images there.
    """
    if len(start.shape) < 2:
        return None
    reached: dict[str, list[Window | None]] = {start.name: [Window.of_one(len(start.shape) - 1)]}
    found: Windows = {}
    whole = kept = 0
    for node in reversed(graph.nodes[: graph.position[start.name] + 1]):
        if node.name not in reached:
            continue
        window = _met(graph, node, reached.pop(node.name))
        window = found[node.name] = None if whole_stop and node.name == stop else window
        whole += node.size
        kept += node.size if window is None else node.shape[0] * window.entries
        if node.name == stop:
            break
        below = None if window is None else _read(graph, node, window)
        for k, name in enumerate(node.inputs):
            reached.setdefault(name, []).append(None if below is None else below[k])
    return found if kept < _SAVED * whole else None


def share_walked(graph: Graph, windows: Windows) -> float:
    """How large the widest tensor of a row is, as a share of the widest node."""
    sizes = [graph[name].size if window is None else graph[name].shape[0] * window.entries for name, window in windows.items()]
    return max(sizes) / max(node.size for node in graph.nodes[: max(graph.position[name] for name in windows) + 1])


def _met(graph: Graph, node: Node, windows: list[Window | None]) -> Window | None:
    """Around all that arrive at a node; None where one is the whole image, where the least around them nearly is, and at operators
    whose slopes are not one an entry: those of a maximum, say, have an axis more.
    """
    if isinstance(node.op, Nonlinear) and not _entrywise(graph, node):
        return None
    total: Window | None = None
    for window in windows:
        if window is None:
            return None
        total = window if total is None else total.joined(window)
        if total is None:
            return None
    assert total is not None
    return total if len(node.shape) == len(total.size) + 1 and total.entries < _MOST * prod(node.shape[1:]) else None


def _entrywise(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, Elementwise) and all(shape == node.shape for shape in graph.shapes_of(node))


def _read(graph: Graph, node: Node, window: Window) -> tuple[Window, ...] | None:
    if isinstance(node.op, Linear):
        return node.op.windows(window, graph.shapes_of(node))
    return (window,) * len(node.inputs) if _entrywise(graph, node) else None


def position_of(flat: Tensor, shape: Shape) -> Tensor:
    """(B, rank) positions of flat indices (B,) in an image. torch.unravel_index imports half a second of symbolic algebra."""
    found = []
    for size in reversed(shape):
        found.append(flat % size)
        flat = flat // size
    return torch.stack(found[::-1], 1)


class Tables:
    """What rows read of each node, laid out so that windows are cut by one gather: shared by all blocks of one substitution. Mutable."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Tensor] = {}

    def of(self, key: tuple[str, str], values: list[Tensor], entries: int) -> Tensor:
        """(batch, entries + 1, k): values (batch, ..., entries) side by side; the last row is padding, all zeros.

        key: what the values are, and of which node.
        """
        if key not in self._kept:
            flat = torch.cat([value.reshape(len(value), -1, entries) for value in values], 1)
            self._kept[key] = F.pad(flat, (0, 1)).transpose(1, 2).contiguous()
        return self._kept[key]


@dataclass(frozen=True, eq=False)
class Places:
    """Where the pseudo-instances of a block stand. instance: (B,).  position: (B, rank)."""

    instance: Tensor
    position: Tensor
    tables: Tables
    indices: dict[tuple[Window, Shape], Tensor] = field(default_factory=dict)

    def index(self, window: Window, shape: Shape) -> Tensor:
        """(B, entries) flat indices of the window's entries in the image `shape`; one past its end for padding."""
        if (window, shape) not in self.indices:
            self.indices[window, shape] = self._index(window, shape)
        return self.indices[window, shape]

    def _index(self, window: Window, shape: Shape) -> Tensor:
        flat = torch.zeros(len(self.instance), 1, dtype=torch.int64, device=self.instance.device)
        inside = torch.ones_like(flat, dtype=torch.bool)
        for axis, (scale, low, size) in enumerate(zip(window.scale, window.low, window.size, strict=True)):
            place = self.position[:, axis : axis + 1] * scale + torch.arange(low, low + size, device=flat.device)
            flat = (flat[:, :, None] * shape[axis] + place[:, None]).flatten(1)
            inside = (inside[:, :, None] & ((place >= 0) & (place < shape[axis]))[:, None]).flatten(1)
        return torch.where(inside, flat, prod(shape))

    def cut(self, what: str, values: list[Tensor], window: Window, node: Node) -> Tensor:
        """(B, k, entries) of the window at a node, from values (batch, ..., *spatial) side by side; zero for padding."""
        shape = node.shape[1:]
        table = self.tables.of((what, node.name), values, prod(shape))
        return table[self.instance[:, None], self.index(window, shape)].transpose(1, 2)

    def spread(self, part: Tensor, window: Window, shape: Shape) -> Tensor:
        """(B K, C, *shape), the whole images of rows (B K, C, *window)."""
        many, rows = len(self.instance), part.reshape(len(self.instance), -1, window.entries)
        index = self.index(window, shape)[:, None].expand(-1, rows.shape[1], -1)
        whole = part.new_zeros(many, rows.shape[1], prod(shape) + 1).scatter_(2, index, rows)
        return whole[:, :, :-1].reshape(*part.shape[:2], *shape)


class WindowedWalk(BlockWalk):
    """One block of unit rows, B places by K channels. Its frontier holds windows, or whole images where `windows` says None."""

    def __init__(self, plan: Charges, rows: Rows, block: Block, signs: tuple[float, ...], places: Places, windows: Windows) -> None:
        self.places, self.windows = places, windows
        self.arrived: dict[str, list[Window | None]] = {}
        super().__init__(plan, rows, replace(block, instance=places.instance), signs)

    def _enter(self) -> None:
        """The rows at their own position, each one entry of one channel."""
        assert self.units is not None
        node, rank = self.start, len(self.start.shape) - 1
        channel = self.units // prod(node.shape[1:])
        out = torch.zeros(len(channel), node.shape[0], dtype=self.num.dtype, device=self.num.device)
        out.scatter_(1, channel[:, None], 1.0)
        self.frontier[node.name] = [self._signed(out.reshape(*out.shape, *(1,) * rank))]
        self.arrived[node.name] = [Window.of_one(rank)]

    def _gather(self, node: Node) -> Tensor:
        """Sums within the window around all that arrive, or of whole images."""
        window = self.windows[node.name]
        pairs = zip(self.frontier[node.name], self.arrived.pop(node.name), strict=True)
        self.frontier[node.name] = [self._fitted(part, own, node) for part, own in pairs]
        total = super()._gather(node)
        # Padding is no entry of the image: what was read there counts for nothing. A nonlinear node multiplies it by zeros.
        return total * self._inside(node, window) if window is not None and isinstance(node.op, Linear) else total

    def _fitted(self, part: Tensor, own: Window | None, node: Node) -> Tensor:
        window = self.windows[node.name]
        if own is None or own == window:
            return part
        if window is None:
            return self.places.spread(part, own, node.shape[1:])
        return F.pad(part, [n for pair in reversed(window.rims(own)) for n in pair])

    def _inside(self, node: Node, window: Window) -> Tensor:
        """(B K, 1, *window): 1 for entries of the image, else 0."""
        inside = self.places.index(window, node.shape[1:]) < prod(node.shape[1:])
        return inside.to(self.num.dtype).repeat_interleave(self.shape[1], 0).reshape(-1, 1, *window.size)

    def _linear(self, node: Node, op: Linear, adjoint: Tensor) -> None:
        """Within windows where the operator says what it reads, else of whole images."""
        window, shapes = self.windows[node.name], self.ctx.graph.shapes_of(node)
        below = None if window is None else op.windows(window, shapes)
        if window is None or below is None:
            whole = adjoint if window is None else self.places.spread(adjoint, window, node.shape[1:])
            self._arrive(node, (None,) * len(node.inputs))
            self._pulled(node, op, adjoint, op.adjoint(whole, shapes))  # charged where it stands
        else:
            self._arrive(node, below)
            self._pulled(node, op, adjoint, op.adjoint_within(adjoint, window))

    def _nonlinear(self, node: Node, op: Nonlinear, adjoint: Tensor) -> None:
        """As the walk does, on what `_step` cuts out."""
        self._arrive(node, (self.windows[node.name],) * len(node.inputs))
        super()._nonlinear(node, op, adjoint)

    def _arrive(self, node: Node, windows: tuple[Window | None, ...]) -> None:
        for name, window in zip(node.inputs, windows, strict=True):
            self.arrived.setdefault(name, []).append(window)

    def _step(self, node: Node, op: Nonlinear) -> ChargedStep:
        """The node's slopes and offsets at the block's places."""
        step, window = super()._step(node, op), self.windows[node.name]
        if window is None:
            return step
        if any(slope.shape[1:] != node.shape for slope in (*step.low, *step.high)):
            raise InternalError("E-WINDOW", f"slopes of '{node.name}' are not one an entry", hint="this is a bug in absint, and no verdict")
        cut = self.places.cut("step", [*step.low, *step.high, step.below, step.above], window, node)
        inputs, size = len(step.low), (len(cut), -1, node.shape[0] * window.entries)
        every = cut.reshape(size)  # (B, slopes and vectors, entries)
        low, high = (tuple(every[:, k].reshape(len(cut), node.shape[0], *window.size) for k in range(start, start + inputs))
                     for start in (0, inputs))
        below, above = every[:, 2 * inputs :].chunk(2, 1)
        return ChargedStep(low, high, below, above, step.parallel, own=True)

    def _own(self, node: Node, what: str, vectors: Tensor) -> Tensor:
        """Cut out as well."""
        window = self.windows[node.name]
        if window is None:
            return super()._own(node, what, vectors)
        cut = self.places.cut(what, [vectors], window, node)
        return cut.reshape(len(cut), -1, node.shape[0] * window.entries)
