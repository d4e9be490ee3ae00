"""Pictures of two inputs: where the property holds at sampled points, with the verdict and the counterexample that was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from absint.analyses.verify.options import VerifyOptions
from absint.contract.document import Field, Figure
from absint.contract.plane_figure import plane_figure
from absint.contract.run import Run
from absint.problem.plane import PlaneValues, parse_plane, plane_values
from absint.verdict import InstanceResult

_MOST = 4       # pictures


def pictures(records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> tuple[Figure, ...]:
    """Of the first instances. The plane goes through the counterexample where there is one, else through the middle of the region."""
    asked, axes = run.problem, parse_plane(run.options.plane or "", run.network.input.size)
    place = {name: slot for slot, name in enumerate(asked.index)}
    found = []
    for record in sorted(records, key=lambda one: one.index)[:_MOST]:
        region = asked.region.take(torch.tensor([place[record.index]]))
        center = region.center[0].numpy().reshape(-1)
        witness = None if record.witness is None else np.array(record.witness, np.float64)
        values = plane_values(run.network, region, axes, center if witness is None else witness)
        middle = "middle" if witness is None else "middle, seen from here"
        points = {middle: (float(center[axes[0]]), float(center[axes[1]]))}
        if witness is not None:
            points["counterexample"] = (float(witness[axes[0]]), float(witness[axes[1]]))
        word = record.verdict.value + (f" ({record.reason.value})" if record.reason else "")
        through = "the counterexample" if witness is not None else "the middle"
        titles = (f"{Path(run.header['model']['path']).name}, instance {record.index}: {word}",
                  f"{run.header['property']['text']}; sampled points, other inputs as in {through}")
        found.append(plane_figure(f"plane_{record.index}", titles, axes, _field(values, run), points))
    return tuple(found)


def _field(values: PlaneValues, run: Run[VerifyOptions]) -> Field:
    """Classes, or whether the range is kept."""
    within = run.problem.within
    if within is None:
        shown = values.outputs.argmax(2).astype(np.float64)
        names = tuple(f"class {k}" for k in range(values.outputs.shape[2]))
    else:
        low, high = (np.array([float(one) for one in side]) for side in (within.lower, within.upper))
        shown = ((values.outputs < low) | (values.outputs > high)).any(2).astype(np.float64)
        names = ("within the range", "beyond it")
    shown[~values.inside] = np.nan
    return Field(tuple(values.x.tolist()), tuple(values.y.tolist()), tuple(map(tuple, shown.tolist())), names)
