"""Pad: with a constant (Pad itself), or with entries of the tensor (a selection)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from absint.model.op import OnnxNode, Op, mixes, register_import, unsupported
from absint.model.ops.assemble import moved
from absint.model.ops.shape import Pad

Pairs = list[tuple[int, int]]


def _pairs(node: OnnxNode) -> Pairs:
    """(begin, end) per axis of the input without its batch axis."""
    pads = node.attribute("pads", node.attribute("paddings", None))
    flat = [int(v) for v in (node.required(1, "the pads").reshape(-1) if pads is None else pads)]
    rank = len(node.shapes[0])
    chosen = node.constant(3)
    axes = list(range(rank)) if chosen is None else [int(a) % rank for a in chosen.reshape(-1)]
    if len(flat) != 2 * len(axes):
        raise unsupported(node, f"{len(flat)} pads for {len(axes)} axes", "repair the model")
    pairs = [(0, 0)] * rank
    for k, axis in enumerate(axes):
        pairs[axis] = (flat[k], flat[k + len(axes)])
    if not node.batched[0]:
        return pairs
    if pairs[0] != (0, 0):
        raise mixes(node, "pads the batch axis")
    return pairs[1:]


@register_import("Pad")
def pad_from_onnx(node: OnnxNode) -> Op:
    """Modes constant, reflect, edge and wrap, in attribute or input form."""
    pairs, mode = _pairs(node), node.attribute("mode", "constant")
    if mode in _SOURCES:
        return moved(_selected(node, pairs, mode), node.unbatched(0))
    if mode != "constant":
        raise unsupported(node, f"mode={mode} is not supported", "pad with a constant")
    value = float(node.attribute("value", 0.0))
    if node.constant(2) is not None:
        value = float(node.required(2, "the padding value"))
    border = None
    if value != 0:
        ones = torch.ones(1, *node.unbatched(0), dtype=torch.float64)
        border = (1 - F.pad(ones, [p for pair in reversed(pairs) for p in pair]))[0] * value
    return Pad(tuple(pairs), border)


def _reflected(at: Tensor, size: int) -> Tensor:
    period = max(2 * size - 2, 1)
    at = at % period
    return torch.where(at < size, at, period - at)


_SOURCES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": _reflected,
    "edge": lambda at, size: at.clamp(0, size - 1),
    "wrap": torch.remainder,
}


def _selected(node: OnnxNode, pairs: Pairs, mode: str) -> Tensor:
    """The entry that each entry of the result repeats."""
    shape = node.unbatched(0)
    index = torch.arange(torch.Size(shape).numel()).reshape(shape)
    for axis, (size, (begin, end)) in enumerate(zip(shape, pairs, strict=True)):
        if mode == "reflect" and max(begin, end) >= max(size, 1):
            raise unsupported(node, f"reflects {max(begin, end)} entries of an axis of {size}", "runtimes disagree here; pad less")
        if min(begin, end) < 0 < max(begin, end):
            raise unsupported(node, "crops one end of an axis and pads the other by its entries",
                              "runtimes disagree here; use Slice and Pad")
        index = index.index_select(axis, _SOURCES[mode](torch.arange(-begin, size + end), size))
    return index
