"""The witness of a draw, held to the question again."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from absint.analyses.global_robustness.deciding import Radii
from absint.analyses.global_robustness.options import GlobalRobustnessOptions
from absint.analyses.global_robustness.robustness_record import FALSIFIED, VERIFIED, LatentRobustness
from absint.attacks.witness import holds, is_witness
from absint.contract.run import Run
from absint.problem.regions import ball
from absint.problem.spec import Spec


def is_counterexample(record: LatentRobustness, run: Run[GlobalRobustnessOptions]) -> bool:
    """Whether the record's witness lies within its distance and every falsified radius of the latent that the draw's number means, beyond
    every verified one, and is of another class before the classifier.

    Sound: True only where `is_witness` proves it.
    """
    radii: Radii = run.problem
    pairs = radii.task.pairs
    pair, draw = pairs[record.index % len(pairs)], record.index // len(pairs)
    if record.witness is None or record.distance is None or record.distance < 0 or (record.label, record.draw) != (pair.label, draw):
        return False
    if not {*record.verdicts} <= {*radii.exact}:
        return False
    latent = radii.task.latents(pair, draw, 1)
    reached = [radii.exact[eps] for eps, verdict in record.verdicts.items() if verdict == FALSIFIED]
    proved = [radii.exact[eps] for eps, verdict in record.verdicts.items() if verdict == VERIFIED]
    point = np.asarray(record.witness, dtype=np.float64)
    if proved and holds(ball("linf", latent, max(proved), None), 0, point):
        return False
    spec = Spec.robust(torch.tensor([pair.label]), pair.graph.output.size)
    return is_witness(pair.graph, ball("linf", latent, min([Fraction(record.distance), *reached]), None), spec, record.witness)
