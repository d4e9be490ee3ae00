"""A plane through a region: two inputs vary, the others stay, and the network is evaluated on a grid. Samples for a picture, no proof."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from absint.errors import UsageError
from absint.model.graph import Graph
from absint.numeric.backend import numeric_mode
from absint.problem.regions.region import Region

_PLANE = re.compile(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*")
_PLACES = 61        # a side
_EXACT = 25         # a side, where membership is decided point by point
_THIN = 1e-12       # of its size, the width of an input that is held in place
_ROWS = 512         # evaluated at once

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlaneValues:
    """x, y: (n,) places of the first and the second input, over the region's hull.  outputs: (n, n, outputs) float64, by y and x.

    inside: (n, n) bool, whether the point lies in the region.
    """

    x: Floats
    y: Floats
    outputs: Floats
    inside: npt.NDArray[np.bool_]


def parse_plane(text: str, size: int | None = None) -> tuple[int, int]:
    """'i,j': two inputs by their places in the flat input, from 0. size: how many there are, None where that is not known yet.

    Raises UsageError E-PLANE.
    """
    match = _PLANE.fullmatch(text)
    axes = None if match is None else (int(match[1]), int(match[2]))
    if axes is None or axes[0] == axes[1] or (size is not None and max(axes) >= size):
        known = "" if size is None else f", 0 to {size - 1}"
        raise UsageError("E-PLANE", f"not two inputs: '{text}'", where="--plane",
                         hint=f"two different places of the flat input{known}: 0,1")
    return axes


def check_plane(plane: str | None, plot: object, others: object = ()) -> None:
    """Raise UsageError E-PLANE, or E-USAGE for a plane that is drawn nowhere. others: files of the result, one perhaps a picture."""
    if plane is None:
        return
    parse_plane(plane)
    if plot is None and not others:
        raise UsageError("E-USAGE", "a plane is a picture, and no file is named for it", where="--plane", hint="add --plot FILE.png")


def plane_of(text: str, region: Region) -> tuple[int, int]:
    """The two inputs, both of which vary. Raises UsageError E-PLANE."""
    axes = parse_plane(text, int(np.prod(region.shape)))
    low, high = region.hull.lower.flatten(1), region.hull.upper.flatten(1)
    fixed = [k for k in axes if bool(((high - low)[:, k] <= _THIN * high[:, k].abs()).any())]
    if fixed:
        raise UsageError("E-PLANE", f"input {fixed[0]} does not vary", where="--plane", hint="choose two inputs that do")
    return axes


def plane_values(graph: Graph, region: Region, axes: tuple[int, int], through: Floats) -> PlaneValues:
    """Of a region of one instance. axes: places in the flat input.  through: a point (*shape) that the plane holds."""
    low, high = (side[0].flatten().numpy() for side in (region.hull.lower, region.hull.upper))
    count = _EXACT if region.beyond_hull else _PLACES
    x, y = (np.linspace(low[k], high[k], count) for k in axes)
    points = np.repeat(np.asarray(through, np.float64).reshape(1, -1), len(x) * len(y), 0)
    points[:, axes[0]], points[:, axes[1]] = np.tile(x, len(y)), np.repeat(y, len(x))
    shaped = torch.from_numpy(points).reshape(-1, *region.shape)
    with numeric_mode(), torch.no_grad():
        outputs = torch.cat([graph(part).flatten(1) for part in shaped.split(_ROWS)]).double().numpy()
    inside = np.ones(len(points), dtype=np.bool_)
    if region.beyond_hull:
        inside = np.array([region.contains(0, point) for point in shaped.numpy()], dtype=np.bool_)
    size: Any = (len(y), len(x))
    return PlaneValues(x, y, outputs.reshape(*size, -1), inside.reshape(size))
