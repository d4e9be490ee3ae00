"""Images put together from given places: Col2Im, which adds up blocks, and GridSample with a constant grid, which interpolates."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import floor, inf, prod

import torch
from torch import Tensor

from absint.model.op import OnnxNode, Op, one_by_one, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Assemble, steps
from absint.model.ops.product import SumLast
from absint.model.ops.shape import Reshape

_REPAIR = "repair the model"


@register_import("Col2Im")
def blocks_from_onnx(node: OnnxNode) -> Op:
    """Every pixel is the sum of the entries of blocks that lie on it: (channels x block, blocks) -> (channels, *image)."""
    if not node.batched[0] or len(node.shapes[0]) != 3:
        raise one_by_one(node, "batch, channels x block, blocks", 3)
    image, block = (tuple(int(v) for v in node.required(k, what)) for k, what in ((1, "the image's shape"), (2, "the block's shape")))
    rank, (rows, count) = len(image), node.unbatched(0)
    strides, dilations = (_whole(node, name, rank) for name in ("strides", "dilations"))
    pads = [int(v) for v in node.attribute("pads", (0,) * 2 * rank)]
    spans = [size + pads[k] + pads[rank + k] - dilations[k] * (block[k] - 1) - 1 for k, size in enumerate(image)]
    steps_along = [span // stride + 1 for span, stride in zip(spans, strides, strict=True)]
    if len(block) != rank or rows % prod(block) or prod(steps_along) != count:
        raise unsupported(node, f"{rows} rows of {count} blocks {block} do not make images {image}", _REPAIR)
    on_pixel: list[list[int]] = [[] for _ in range(prod(image))]
    for row, offset in enumerate(product(*map(range, block))):
        for column, place in enumerate(product(*map(range, steps_along))):
            at = [p * s + o * d - low for p, s, o, d, low in zip(place, strides, offset, dilations, pads, strict=False)]
            if all(0 <= a < size for a, size in zip(at, image, strict=True)):
                on_pixel[_flat(at, image)].append(row * count + column)
    most = max(1, *map(len, on_pixel))
    index = torch.tensor([[*found, *[-1] * (most - len(found))] for found in on_pixel])
    channels = rows // prod(block)
    return steps(_of_channels(index, channels, prod(block) * count), SumLast(most), Reshape((channels, *image)))


def _whole(node: OnnxNode, name: str, rank: int) -> list[int]:
    return [int(v) for v in node.attribute(name, (1,) * rank)]


def _flat(at: Sequence[int], shape: Sequence[int]) -> int:
    place = 0
    for a, size in zip(at, shape, strict=True):
        place = place * size + a
    return place


def _of_channels(index: Tensor, channels: int, size: int) -> Assemble:
    """The same places in every channel of that many entries; -1 is a zero."""
    start = torch.arange(channels).reshape(-1, *(1,) * index.dim()) * size
    places = torch.where(index < 0, index, index + start)
    used = places[places >= 0]
    return Assemble(places, int(torch.bincount(used).max()) if len(used) else 1)


@register_import("GridSample")
def grid_from_onnx(node: OnnxNode) -> Op:
    """Bilinear interpolation at constant places: four weighted entries a pixel, weights rounded once."""
    if not node.batched[0] or len(node.shapes[0]) != 4:
        raise one_by_one(node, "batch, channels, height, width", 4)
    grid, mode, padding = node.required(1, "the grid"), node.attribute("mode", "bilinear"), node.attribute("padding_mode", "zeros")
    if mode not in ("bilinear", "linear") or padding not in ("zeros", "border"):
        raise unsupported(node, f"mode={mode} with padding_mode={padding} is not supported",
                          "sample bilinearly, and pad by zeros or border")
    channels, *size = node.unbatched(0)
    if grid.dim() != 4 or grid.shape[0] != 1 or grid.shape[3] != 2:
        raise unsupported(node, f"a grid of shape {tuple(grid.shape)} is not one for each image",
                          "give a grid of shape (1, height, width, 2)")
    aligned = bool(node.attribute("align_corners", 0))
    places, weights = list[list[int]](), list[list[float]]()
    for x, y in grid.double().reshape(-1, 2).tolist():
        ends = [_ends(c, n, aligned=aligned, border=padding == "border") for c, n in zip((y, x), size, strict=True)]
        corners = list(product(*ends))
        places.append([_flat((i, j), size) if 0 <= i < size[0] and 0 <= j < size[1] else -1 for (i, _), (j, _) in corners])
        weights.append([float(a * b) for (_, a), (_, b) in corners])
    height, width = grid.shape[1:3]
    scale = Affine(scale=torch.tensor(weights, dtype=torch.float64), weight_terms=1, scale_inside=inf)
    return steps(_of_channels(torch.tensor(places), channels, prod(size)), scale, SumLast(4), Reshape((channels, height, width)))


def _ends(at: float, size: int, *, aligned: bool, border: bool) -> tuple[tuple[int, Fraction], tuple[int, Fraction]]:
    """The two entries along an axis that a place between -1 and 1 lies between, and their exact weights."""
    exact = (Fraction(at) + 1) * (size - 1) / 2 if aligned else ((Fraction(at) + 1) * size - 1) / 2
    exact = min(max(exact, Fraction(0)), Fraction(size - 1)) if border else exact
    first = floor(exact)
    return (first, 1 - (exact - first)), (first + 1, exact - first)
