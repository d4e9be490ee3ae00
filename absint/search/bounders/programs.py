"""Programs over what a domain knows: what a stage asks of the disjuncts that its rows leave open."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from absint.engine.context import Context
from absint.problem.spec import Refutation, Spec
from absint.search.bounders.disjuncts import Tactic, decide
from absint.search.bounders.refined import notes_of


@dataclass(frozen=True)
class Programs:
    """The disjuncts left open, each by the tactic: LPs, branching on phases or on inputs, a MILP, over the whole network at once.

    Under float32 semantics nothing is asked: models are of the exact-real network.
    """

    tactic: Tactic

    def __call__(self, ctx: Context, spec: Spec, refuted: Tensor) -> Refutation | None:
        """See `Beyond`; notes of the walk's own programs are passed on with those of the disjuncts."""
        if ctx.numerics.float32_semantics or not spec.disjuncts:
            return None
        found = decide(ctx, spec, refuted, self.tactic)
        return replace(found, notes=(*notes_of(ctx), *found.notes))
