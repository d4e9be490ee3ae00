"""Backward substitution through parallel lines: a row's lower and upper bound in one walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from absint.engine.domain import BackwardDomain, Context, Interval, Node, Relaxation, Traits, met_band
from absint.model.families.nonlinear import Nonlinear


@dataclass(frozen=True)
class Parallel(BackwardDomain):
    """Each nonlinear node lies between two lines of one slope, those of its family's band, substituted back to the input.

    One walk bounds an entry from both sides, which DeepPoly's lines of two slopes do not allow: half the cost. It is hardly looser
    where few entries are undecided; DeepPoly may take bounds of inner nodes from it.
    every_layer: concretise at each nonlinear node passed with its known bounds and keep the best.
    Source: Weng et al., Towards Fast Computation of Certified Robustness for ReLU Networks, ICML 2018, section 3.3.
    """

    stated: ClassVar[Traits] = Traits("Weng et al., ICML 2018, section 3.3")
    synonyms: ClassVar[tuple[str, ...]] = ("fastlin", "fast-lin")
    every_layer: bool = True

    def relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        """The band as two parallel planes."""
        assert isinstance(node.op, Nonlinear)
        num = ctx.numerics
        band = met_band(node, node.op.band(inputs, num), ctx)
        return Relaxation(band.slope, num.down(band.offset - band.radius), band.slope, num.up(band.offset + band.radius))
