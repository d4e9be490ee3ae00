"""Pictures of the worst draws: those that a classifier leads least, wrong ones first, in a grid a class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.analyses.global_robustness.correctness_record import CorrectnessBlock
from absint.analyses.global_robustness.judging import KEPT, of_pair
from absint.analyses.global_robustness.pairs import JudgedPair
from absint.analyses.global_robustness.robustness_record import LatentRobustness
from absint.analyses.global_robustness.task import GlobalTask
from absint.contract.run import Run
from absint.contract.whole_files import write_whole
from absint.numeric.backend import numeric_mode

_ROW, _GAP, _SCALE = 6, 2, 2      # images in a row; pixels between them; pixels a pixel
Pixels = npt.NDArray[np.uint8]


def draw_lowest(records: Sequence[CorrectnessBlock], run: Run[Any]) -> Sequence[str]:
    """A file for each generator and classifier: its lowest draws, row by row. Returns what is said of them."""
    if run.options.grid is None:
        return ()
    task, found = run.problem, {record.index: record for record in records}
    said = []
    for pair in task.pairs:
        blocks, _ = of_pair(found, pair, run)
        worst = sorted((one for block in blocks for one in block.lowest), key=lambda one: (one[1], one[0]))[:KEPT]
        said.append(_written(run, pair, _images(task, pair, [draw for draw, _ in worst]), "lowest"))
    return tuple(filter(None, said))


def draw_witnesses(records: Sequence[LatentRobustness], run: Run[Any]) -> Sequence[str]:
    """A file for each: draws that lead least, each beside the nearest image known that is classified otherwise, or beside itself."""
    if run.options.grid is None:
        return ()
    task: GlobalTask = run.problem.task
    said = []
    for pair in task.pairs:
        mine = [record for record in records if record.index % len(task.pairs) == pair.place]
        near = sorted(mine, key=lambda record: (record.distance is None, record.distance or 0.0, record.draw))[: KEPT // 2]
        points = [point for record in near for point in _two(task, pair, record)]
        said.append(_written(run, pair, _seen(pair, torch.cat(points), task) if points else None, "nearest"))
    return tuple(filter(None, said))


def _two(task: GlobalTask, pair: JudgedPair, record: LatentRobustness) -> tuple[Tensor, Tensor]:
    """(1, *shape) each: the latent, and the witness."""
    own = task.latents(pair, record.draw, 1)
    return own, own if record.witness is None else torch.tensor(record.witness, dtype=torch.float64).reshape(own.shape)


def _images(task: GlobalTask, pair: JudgedPair, draws: list[int]) -> Tensor | None:
    return _seen(pair, task.chosen(pair, draws), task) if draws else None


def _seen(pair: JudgedPair, points: Tensor, task: GlobalTask) -> Tensor:
    """(n, *image shape): what the generator gives."""
    with torch.no_grad(), numeric_mode():
        return torch.cat([pair.graph.evaluate(part.to(task.device), (pair.image,))[pair.image].cpu() for part in points.split(64)])


def _written(run: Run[Any], pair: JudgedPair, images: Tensor | None, what: str) -> str:
    """What is said of the file; nothing where there is nothing to show."""
    pixels = None if images is None else pixels_of(images)
    if pixels is None:
        return "" if images is None else f"no pictures of class {pair.label}: an output of shape {tuple(images.shape[1:])} is no image"
    path = Path(run.options.grid) / f"{what}-{pair.place:02d}-class-{pair.label}.png"
    write_whole(path, _png(pixels))
    return f"written: {path}"


def pixels_of(images: Tensor) -> Pixels | None:
    """(height, width, 3): a grid of images (n, ...), each scaled by the ends of all of them; None for what has no such shape."""
    shape = tuple(images.shape[1:])
    side = isqrt(prod(shape))
    if len(shape) == 3 and shape[0] in (1, 3):
        found = images.permute(0, 2, 3, 1)
    elif len(shape) == 2:
        found = images[..., None]
    elif side * side == prod(shape) and len([size for size in shape if size > 1]) <= 1:
        found = images.reshape(-1, side, side, 1)
    else:
        return None
    low, high = float(found.min()), float(found.max())
    values = ((found - low) / ((high - low) or 1.0) * 255).round().to(torch.uint8).expand(-1, -1, -1, 3).numpy()
    values = values.repeat(_SCALE, 1).repeat(_SCALE, 2)
    count, height, width, _ = values.shape
    rows, columns = -(-count // _ROW), min(count, _ROW)
    grid = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, dtype=np.uint8)
    for k, image in enumerate(values):
        top, left = k // _ROW * (height + _GAP), k % _ROW * (width + _GAP)
        grid[top : top + height, left : left + width] = image
    return grid


def _png(pixels: Pixels) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGB").save(buffer, "PNG")
    return buffer.getvalue()
