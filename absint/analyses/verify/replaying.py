"""A counterexample of a record, held to the question again: a point of the exact region where the network is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from absint.analyses.verify.options import VerifyOptions
from absint.analyses.verify.question import Question
from absint.attacks.witness import holds, is_witness
from absint.contract.run import Run
from absint.model.input_axes import axes_of
from absint.model.layout import agreed, known_from
from absint.problem.problem import Problem, robustness
from absint.problem.regions import Patches
from absint.problem.regions.region import Region
from absint.problem.spec import Spec
from absint.verdict import InstanceResult


def is_counterexample(record: InstanceResult, run: Run[VerifyOptions]) -> bool:
    """Whether the record's witness is one, by onnxruntime and by a proof. record.index: of an instance of the run.

    Sound: True only where `is_witness` proves it of a point of the exact region; of patches, of one of their positions.
    """
    asked: Question = run.problem
    if record.witness is None or record.index not in asked.index:
        return False
    slot = asked.index.index(record.index)
    if asked.within is None and record.label is not None and record.label != int(asked.labels[slot]):
        return False    # wrong of another class
    here = torch.tensor([slot])
    region = asked.region.take(here)
    if asked.choice is not None and asked.choice.patches is not None:
        found = _position(asked.choice.patches, region, record.witness, run)
        if found is None:
            return False
        region = found
    return is_witness(run.network, region, _spec(asked, here, region, run), record.witness)


def _position(patches: Patches, region: Region, witness: Sequence[float], run: Run[Any]) -> Region | None:
    """That of a patch around one input which holds the point; None where none does."""
    graph = run.network
    patches = replace(patches, layout=agreed(graph.input.shape, axes_of(graph), known_from(patches.layout)))
    places, _ = patches.of(region.center)
    point = np.asarray(witness, dtype=np.float64)
    place = next((place for place in range(places.batch) if holds(places, place, point)), None)
    return None if place is None else places.take(torch.tensor([place]))


def _spec(asked: Question, slot: torch.Tensor, region: Region, run: Run[Any]) -> Spec:
    labels = asked.labels[slot]
    targets = None if asked.targets is None else asked.targets[slot]
    if asked.within is not None:
        return Problem(run.network, region, partial(_limits, asked.within), (0,)).spec
    return robustness(run.network, region, labels, targets=targets).spec


def _limits(within: Any, chosen: torch.Tensor) -> Spec:
    spec: Spec = within.spec(len(chosen))
    return spec
