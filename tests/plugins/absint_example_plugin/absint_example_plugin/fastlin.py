"""FastLin: backward substitution with parallel lines. A whole domain in one method."""

from __future__ import annotations

from dataclasses import dataclass

from absint.domain import BackwardDomain, Context, Interval, Node, Relaxation, Traits, register_domain
from absint.op import Nonlinear

ABSINT_CONTRACT = 1


@register_domain("fastlin")
@dataclass(frozen=True)
class FastLin(BackwardDomain):
    """Each nonlinear node lies between two lines of one slope, those of its family's band.

    Looser than DeepPoly, which may tilt the lower line; every row costs one product less to relax.
    Sound: the band's radius is rounded up by the operator, and each offset once more here.
    Source: Weng et al., Towards Fast Computation of Certified Robustness for ReLU Networks, ICML 2018, section 3.3.
    """

    stated = Traits("Weng et al., ICML 2018, section 3.3")

    def relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        """The band as two parallel planes."""
        assert isinstance(node.op, Nonlinear)
        num = ctx.numerics
        band = node.op.band(inputs, num)
        return Relaxation(band.slope, num.down(band.offset - band.radius), band.slope, num.up(band.offset + band.radius))
