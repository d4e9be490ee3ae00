"""Selections and repetitions of entries by constant indices: Slice, Split, gathers, Expand, Tile, block moves, Trilu."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from absint.model.op import OnnxNode, Op, Shape, mixes, one_by_one, register_import, unsupported
from absint.model.ops.assemble import OfImage, assembled, moved
from absint.model.shapes import broadcast_shape


def _places(node: OnnxNode) -> Tensor:
    """Flat positions of the entries of input 0, in its shape without batch axis."""
    shape = node.unbatched(0)
    return torch.arange(prod(shape)).reshape(shape)


def _moved(node: OnnxNode, index: Tensor) -> Op:
    return moved(index, node.unbatched(0))


def _numbers(node: OnnxNode, position: int, name: str) -> list[int] | None:
    """Integers given as an attribute (old opsets) or as a constant input; None where they are left out."""
    if name in node.attributes:
        return [int(v) for v in node.attributes[name]]
    if position >= len(node.constants):
        return None
    constant = node.constant(position)
    return None if constant is None else [int(v) for v in constant.reshape(-1)]


@register_import("Slice")
def slice_from_onnx(node: OnnxNode) -> Op:
    """Any start, end and step along feature axes; along the batch axis only all of it."""
    starts, ends = _numbers(node, 1, "starts"), _numbers(node, 2, "ends")
    axes, strides = _numbers(node, 3, "axes"), _numbers(node, 4, "steps")
    if starts is None or ends is None:
        raise unsupported(node, "starts and ends must be constant", "export with constant folding")
    shape, index = node.shapes[0], _places(node)
    for start, end, axis, stride in zip(starts, ends, axes or range(len(starts)), strides or [1] * len(starts), strict=True):
        size = shape[axis]
        chosen = range(size)[slice(start, end, stride)]
        if node.batched[0] and axis % len(shape) == 0:
            # All of a batch of any size: starts[0] = 0 and an end that no batch reaches.
            if (start, stride) != (0, 1) or end < 2**31 - 1:
                raise mixes(node, "slices the batch axis")
            continue
        index = index.index_select(node.axis(axis), torch.tensor(list(chosen), dtype=torch.int64))
    return _moved(node, index)


@register_import("Split")
def split_from_onnx(node: OnnxNode) -> Op:
    """One of the parts along a feature axis: equal ones (the last may be smaller) or of given sizes."""
    full = int(node.attribute("axis", 0))
    axis, size = node.axis(full), node.shapes[0][full]
    sizes = _numbers(node, 1, "split")
    if sizes is None:
        part = -(-size // node.outputs)
        sizes = [min(part, size - k * part) for k in range(node.outputs)]
    if sum(sizes) != size or len(sizes) != node.outputs or min(sizes) < 0:
        raise unsupported(node, f"parts of {sizes} do not make {size} entries in {node.outputs} outputs", "repair the model")
    return _moved(node, _places(node).narrow(axis, sum(sizes[: node.output]), sizes[node.output]))


def _wrapped(node: OnnxNode, index: Tensor, size: int) -> Tensor:
    """Negative indices count from the end."""
    if bool(((index < -size) | (index >= size)).any()):
        raise unsupported(node, f"an index lies beyond the {size} entries of its axis", "repair the model")
    return torch.where(index < 0, index + size, index)


@register_import("Gather")
def gather_from_onnx(node: OnnxNode) -> Op:
    """Slices along a feature axis by constant indices of any rank."""
    axis, shape = node.axis(int(node.attribute("axis", 0))), node.unbatched(0)
    index = _wrapped(node, node.required(1, "the indices").long(), shape[axis])
    chosen = _places(node).index_select(axis, index.reshape(-1))
    return _moved(node, chosen.reshape((*shape[:axis], *index.shape, *shape[axis + 1 :])))


@register_import("GatherElements")
def gather_elements_from_onnx(node: OnnxNode) -> Op:
    """Entry by entry along a feature axis."""
    axis, index = node.axis(int(node.attribute("axis", 0))), node.required(1, "the indices").long()
    if node.batched[0]:
        if index.shape[0] != 1:
            raise mixes(node, "indices differ along the batch axis")
        index = index[0]
    return _moved(node, _places(node).gather(axis, _wrapped(node, index, node.unbatched(0)[axis])))


@register_import("GatherND")
def gather_nd_from_onnx(node: OnnxNode) -> Op:
    """Constant multi-indices; the batch axis among the batch dimensions, or none."""
    index, dims = node.required(1, "the indices").long(), int(node.attribute("batch_dims", 0))
    if node.batched[0]:
        if dims < 1 or index.shape[0] != 1:
            raise mixes(node, "indexes the batch axis")
        index, dims = index[0], dims - 1
    places = _places(node)
    if tuple(index.shape[:dims]) != tuple(places.shape[:dims]):
        raise unsupported(node, f"the first {dims} axes of data and indices differ", "repair the model")
    groups = index.reshape(-1, *index.shape[dims:])
    parts = [part[tuple(group.unbind(-1))] for part, group in zip(places.reshape(-1, *places.shape[dims:]), groups, strict=True)]
    return _moved(node, torch.stack(parts).reshape((*index.shape[:dims], *parts[0].shape)))


@register_import("Expand")
def expand_from_onnx(node: OnnxNode) -> Op:
    """Repeated along axes of size 1; the batch axis stays."""
    target, shape = [int(v) for v in node.required(1, "the shape").reshape(-1)], node.shapes[0]
    if node.batched[0] and (len(target) > len(shape) or (len(target) == len(shape) and target[0] != 1)):
        raise mixes(node, f"expanding {shape} to {tuple(target)} repeats the batch axis")
    try:
        full: Shape = broadcast_shape(shape, tuple(target))
    except RuntimeError as error:
        raise unsupported(node, f"{shape} does not expand to {tuple(target)}", "repair the model") from error
    return _moved(node, _places(node).expand(full[1:] if node.batched[0] else full))


@register_import("Tile")
def tile_from_onnx(node: OnnxNode) -> Op:
    """The whole tensor repeated along feature axes."""
    repeats = [int(v) for v in node.required(1, "the repeats").reshape(-1)]
    if len(repeats) != len(node.shapes[0]):
        raise unsupported(node, f"{len(repeats)} repeats for {len(node.shapes[0])} axes", "repair the model")
    if node.batched[0]:
        if repeats[0] != 1:
            raise mixes(node, "repeats the batch axis")
        repeats = repeats[1:]
    return _moved(node, _places(node).repeat(repeats or (1,)).reshape([s * r for s, r in zip(node.unbatched(0), repeats, strict=True)]))


@register_import("DepthToSpace", "SpaceToDepth")
def blocks_from_onnx(node: OnnxNode) -> Op:
    """Channels to square blocks of pixels and back; of channels in the order depth, column, row, or column, row, depth."""
    mode = node.attribute("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise unsupported(node, f"mode={mode} is not supported", "use DCR or CRD")
    if not node.batched[0] or len(node.shapes[0]) != 4:
        raise one_by_one(node, "batch, channels, height, width", 4)
    size, (channels, height, width) = int(node.attribute("blocksize", 0)), node.unbatched(0)
    places = _places(node)
    try:
        if node.op_type == "SpaceToDepth":
            blocks = places.reshape(channels, height // size, size, width // size, size)
            blocks = blocks.permute(2, 4, 0, 1, 3) if mode == "DCR" else blocks.permute(0, 2, 4, 1, 3)
            return OfImage(_moved(node, blocks.reshape(-1, height // size, width // size)))
        if mode == "DCR":
            blocks = places.reshape(size, size, -1, height, width).permute(2, 3, 0, 4, 1)
        else:
            blocks = places.reshape(-1, size, size, height, width).permute(0, 3, 1, 4, 2)
    except (RuntimeError, ZeroDivisionError) as error:
        raise unsupported(node, f"blocks of {size} x {size} do not divide {node.shapes[0]}", "repair the model") from error
    return OfImage(_moved(node, blocks.reshape(-1, height * size, width * size)))


@register_import("Trilu")
def trilu_from_onnx(node: OnnxNode) -> Op:
    """One triangle of the last two axes, the rest zero."""
    diagonals = _numbers(node, 1, "k") or [0]
    shape = node.unbatched(0)
    if len(node.shapes[0]) < 2:
        raise unsupported(node, f"needs two axes, not {node.shapes[0]}", "repair the model")
    if len(shape) < 2:
        raise mixes(node, f"needs two feature axes, not {node.shapes[0]}")
    keep = torch.ones(shape, dtype=torch.bool)
    keep = keep.triu(diagonals[0]) if node.attribute("upper", 1) else keep.tril(diagonals[0])
    return assembled((shape, torch.zeros(1, dtype=torch.float64)), torch.where(keep, _places(node), prod(shape)))
