"""Pictures of two inputs: what the network says at sampled points of a region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from absint.analyses.bounds.options import BoundsOptions
from absint.contract.document import Field, Figure
from absint.contract.plane_figure import plane_figure
from absint.contract.run import Run
from absint.problem.plane import parse_plane, plane_values

_MOST = 4       # pictures


def pictures(run: Run[BoundsOptions]) -> tuple[Figure, ...]:
    """Of the first regions, through their middles: the greatest output, or the value of a single one."""
    asked, axes = run.problem, parse_plane(run.options.plane or "", run.network.input.size)
    found = []
    for slot, place in list(enumerate(asked.places))[:_MOST]:
        region = asked.region.region.take(torch.tensor([slot]))
        center = region.center[0].numpy().reshape(-1)
        values = plane_values(run.network, region, axes, center)
        single = values.outputs.shape[2] == 1
        shown = values.outputs[:, :, 0].copy() if single else values.outputs.argmax(2).astype(np.float64)
        shown[~values.inside] = np.nan
        names = () if single else tuple(f"y[{k}] is the greatest" for k in range(values.outputs.shape[2]))
        field = Field(tuple(values.x.tolist()), tuple(values.y.tolist()), tuple(map(tuple, shown.tolist())), names, run.network.output.name)
        titles = (f"{Path(run.header['model']['path']).name}, input {place}, {asked.region.text}",
                  "sampled points, other inputs as in the middle")
        found.append(plane_figure(f"plane_{place}", titles, axes, field, {"middle": (float(center[axes[0]]), float(center[axes[1]]))}))
    return tuple(found)
