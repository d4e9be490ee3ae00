"""A counterexample of a record, held to the question again: a point of the exact region where the network is wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from absint.analyses.verify.options import VerifyOptions
from absint.analyses.verify.question import Question
from absint.attacks.witness import prove_witness
from absint.contract.run import Run
from absint.numeric.backend import numeric_mode
from absint.problem.problem import Problem, robustness
from absint.problem.spec import Spec
from absint.verdict import InstanceResult


def is_counterexample(record: InstanceResult, run: Run[VerifyOptions]) -> bool | None:
    """Whether the record's witness is one, by onnxruntime and by a proof; None where the kind of change is not replayed (patches).

    record.index: of an instance of the run. Sound: True only where `prove_witness` proves it of a point of the exact region.
    """
    asked: Question = run.problem
    if record.witness is None or (asked.choice is not None and asked.choice.patches is not None):
        return None
    if record.index not in asked.index:
        return False
    if asked.within is None and record.label is not None and record.label != int(asked.labels[asked.index.index(record.index)]):
        return False    # wrong of another class
    slot = torch.tensor([asked.index.index(record.index)])
    region = asked.region.take(slot)
    point = np.asarray(record.witness, dtype=np.float64)
    if point.size != run.network.input.size:
        return False
    point = point.reshape(run.network.input.shape)
    if not (np.isfinite(point).all() and region.contains(0, point)):
        return False
    with numeric_mode(), torch.no_grad():
        return prove_witness(run.network, region, _spec(asked, slot, run), 0, point) is not None


def _spec(asked: Question, slot: torch.Tensor, run: Run[Any]) -> Spec:
    region, labels = asked.region.take(slot), asked.labels[slot]
    targets = None if asked.targets is None else asked.targets[slot]
    if asked.within is not None:
        return Problem(run.network, region, partial(_limits, asked.within), (0,)).spec
    return robustness(run.network, region, labels, targets=targets).spec


def _limits(within: Any, chosen: torch.Tensor) -> Spec:
    spec: Spec = within.spec(len(chosen))
    return spec
