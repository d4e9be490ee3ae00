"""DeepPoly (CROWN with the adaptive lower slope), plain: the backward walk is the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from absint.domain import BackwardDomain, Context, Interval, Node, Relaxation
from absint.op import Nonlinear


@dataclass(frozen=True)
class DeepPoly(BackwardDomain):
    """One affine bound below and above each entry, in terms of the layer before, substituted back to the input.

    every_layer: concretise at each layer passed with its known bounds and keep the best (tighter, about a fifth slower);
    off, this is plain CROWN. Sources: Singh et al., POPL 2019, section 4; Zhang et al., NeurIPS 2018, section 3.
    """

    source: ClassVar[str] = "Singh et al., POPL 2019, section 4"
    every_layer: bool = True

    def relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        """The family's area-optimal planes, or those of the free slopes."""
        assert isinstance(node.op, Nonlinear)
        return node.op.planes(inputs, ctx.numerics, ctx.slopes.get(node.name))

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """The slope that `planes` would choose itself."""
        return node.op.free_slope(ctx.inputs(node.inputs)) if isinstance(node.op, Nonlinear) else None
