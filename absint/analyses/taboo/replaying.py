"""The witness of a certificate, held to the question again."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import torch

from absint.analyses.taboo.certificate import Outcome, TabooCertificate
from absint.analyses.taboo.certifying import Certifying
from absint.analyses.taboo.claims import TrapClaim
from absint.analyses.taboo.options import TabooCertifyOptions
from absint.attacks.witness import is_witness
from absint.contract.run import Run
from absint.problem.regions import ball


def is_counterexample(record: TabooCertificate, run: Run[TabooCertifyOptions]) -> bool:
    """Whether the record's witness lies in its ball and alarms; or does not, where a radius is looked for around what alarms itself.

    record.index: of an input of the run. Sound: True only where `is_witness` proves it of a point of the exact ball.
    """
    asked: Certifying = run.problem
    if record.witness is None or record.index not in run.inputs.index or (record.outcome is Outcome.QUIET and asked.eps is not None):
        return False
    radius = _reach(record, asked)
    if radius is None or radius < 0:
        return False
    center = torch.from_numpy(run.inputs.at([record.index]).inputs).double()
    region = ball(asked.search.norm, center, radius, asked.clip)
    either = asked.always and asked.eps is None and record.outcome in (Outcome.ALARMED, Outcome.REACHABLE)
    claims = [TrapClaim(asked.trap), *([TrapClaim(asked.trap, alarmed=True)] if either else [])]
    return any(is_witness(asked.graph, region, claim.specify(torch.tensor([0])), record.witness) for claim in claims)


def _reach(record: TabooCertificate, asked: Certifying) -> Fraction | None:
    """Radius of the ball that the witness is said to lie in: of a radius that no witness bounds, the input itself."""
    if asked.eps is not None:
        return asked.eps if record.eps == asked.eps else None
    return record.refuted if isinstance(record.refuted, Fraction) else Fraction(0) if record.refuted == inf else None
