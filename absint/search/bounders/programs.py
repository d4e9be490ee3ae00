"""What a stage asks of the disjuncts that its domain's rows leave open: programs over what is known, and halves of the region."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from absint.engine.context import Context
from absint.problem.spec import Spec
from absint.search.branching import Branching, Tactic


@dataclass(frozen=True)
class Programs:
    """The disjuncts left open, by the tactic: LPs, branching on phases and on inputs, a MILP, each over the whole network at once.

    Under float32 semantics no program is asked: models are of the exact-real network.
    """

    tactic: Tactic

    def __call__(self, ctx: Context, spec: Spec, refuted: Tensor) -> Branching | None:
        """See `Beyond`."""
        return Branching(ctx, spec, refuted, self.tactic) if spec.disjuncts else None
