"""The witness of a radius, held to the question again."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from absint.analyses.radius.bisection import BisectionSettings
from absint.analyses.radius.kept import classes_kept
from absint.analyses.radius.options import RadiusOptions
from absint.analyses.radius.record import RadiusResult
from absint.attacks.witness import holds, is_witness
from absint.contract.run import Run
from absint.numeric.backend import numeric_mode
from absint.problem.regions import ball


def is_counterexample(record: RadiusResult, run: Run[RadiusOptions]) -> bool:
    """Whether the record's witness is a point within `refuted`, beyond `certified`, of another class than the one that is kept.

    record.index: of an input of the run. Sound: True only where `is_witness` proves it of a point of the exact ball.
    """
    search: BisectionSettings = run.problem
    if record.witness is None or not isinstance(record.refuted, Fraction) or record.index not in run.inputs.index:
        return False
    if not 0 <= record.certified < record.refuted:
        return False
    center = torch.from_numpy(run.inputs.at([record.index]).inputs).double()
    first = torch.tensor([0])
    with numeric_mode():
        kept = classes_kept()(run.network, center, first)
    if kept.answer(0) is None or kept.answer(0) != record.predicted:
        return False
    outer = ball(search.norm, center, record.refuted, search.clip)
    inner = ball(search.norm, center, record.certified, search.clip)
    return is_witness(run.network, outer, kept.specify(first), record.witness) and not holds(inner, 0, np.asarray(record.witness))
