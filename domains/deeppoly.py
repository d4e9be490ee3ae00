"""DeepPoly (CROWN with the adaptive lower slope): the backward walk is the engine's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from absint.engine.domain import DOMAINS, BackwardDomain, Context, Interval, Node, Relaxation, Traits
from absint.model.families.nonlinear import Nonlinear


@dataclass(frozen=True)
class DeepPoly(BackwardDomain):
    """One affine bound below and above each entry, in terms of the layer before, substituted back to the input.

    every_layer: concretise at each nonlinear node passed with its known bounds and keep the best (tighter at hardly any cost).
    intermediate: "full" for substitution from every node; the name of another domain, say "box" or "zonotope", to take
    intermediate bounds from it and substitute the property's rows alone, and from nodes of no more entries (far cheaper, looser).
    first: the name of a domain that is asked first, such as "linear" where a network has few inputs: substitution is from the entries that
    it leaves undecided alone. Empty for none.
    plain: CROWN as published, for comparison: no bound of the engine's is met, nothing is concretised on the way.
    Sources: Singh et al., POPL 2019, section 4; Zhang et al., NeurIPS 2018, section 3; Zhang et al., ICLR 2020, section 3
    (intermediate bounds from boxes).
    """

    stated: ClassVar[Traits] = Traits("Singh et al., POPL 2019, section 4")
    synonyms: ClassVar[tuple[str, ...]] = ("crown", "backward")
    every_layer: bool = True
    intermediate: str = "full"
    first: str = ""
    plain: bool = False

    @property
    def traits(self) -> Traits:
        """As the options say. Raises UsageError E-DOMAIN-UNKNOWN for the names in `intermediate` and `first`."""
        guide = None if self.intermediate == "full" else DOMAINS.get(self.intermediate)()
        scout = None if not self.first or self.plain else DOMAINS.get(self.first)()
        return replace(super().traits, alone=self.plain, guide=guide, scout=scout)

    def relax(self, node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
        """The family's area-optimal planes, or those of the free slopes."""
        assert isinstance(node.op, Nonlinear)
        return node.op.planes(inputs, ctx.numerics, ctx.slopes.get(node.name))

    def parameters(self, node: Node, ctx: Context) -> Tensor | None:
        """The slope that `planes` would choose itself."""
        return node.op.free_slope(ctx.inputs(node.inputs)) if isinstance(node.op, Nonlinear) else None
