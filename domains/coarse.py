"""Zonotope for many instances: symbols too small to matter are boxes, and who needs very many has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from absint.domains.generators import Sparse, fresh_symbols
from absint.domains.zonotope import Zono, Zonotope
from absint.engine.domain import Context, Node, Numerics, Traits


@dataclass(frozen=True)
class Coarse(Zonotope):
    """Zonotope whose smallest symbols are boxes from the start: hardly looser, at a part of the cost.

    Made to give bounds of inner nodes to DeepPoly (`deeppoly:intermediate=coarse`), which substitutes rows back on them.
    negligible: the smallest new symbols of a node that make so much of all its radii together, at most, go to the remainder.
    most: symbols of an instance; one that needs more than these at a node goes on from there as a box.
    Source: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, section 3.
    """

    stated: ClassVar[Traits] = Traits("Singh et al., NeurIPS 2018, section 3")
    negligible: float = 0.001
    most: int = 6000

    def _fresh(self, radius: Tensor, mask: Tensor, num: Numerics) -> tuple[Sparse | None, Tensor]:
        """Those that matter; each instance's own affair."""
        sizes = torch.where(mask & radius.isfinite(), radius, 0.0).detach().flatten(1)
        ranked = sizes.sort(1).values
        small = ranked.cumsum(1) <= self.negligible * sizes.sum(1, keepdim=True)
        bar = torch.where(small, ranked, 0.0).amax(1)
        return fresh_symbols(radius, mask & (radius > bar.reshape(-1, *(1,) * (radius.dim() - 1))), num)

    def _reduced(self, node: Node, zono: Zono, ctx: Context) -> Zono:
        """Instances of too many symbols without any."""
        counts = sum((block.norms() > 0).sum(1) for block in zono.blocks.values())
        many = counts > self.most
        if not isinstance(many, Tensor) or not bool(many.any()):
            return super()._reduced(node, zono, ctx)
        wide = many.reshape(-1, *(1,) * len(node.shape))
        rest = torch.where(wide, ctx.numerics.up(zono.rest + zono.spread), zono.rest)
        if bool(many.all()):
            return Zono(zono.center, {}, rest, zono.gamma, torch.zeros_like(rest))
        keep = ~many[:, None]
        every = {name: torch.arange(block.count, device=many.device).expand(len(many), -1) for name, block in zono.blocks.items()}
        blocks = {name: block.pick(every[name], keep.expand_as(every[name])) for name, block in zono.blocks.items()}
        return super()._reduced(node, Zono(zono.center, blocks, rest, zono.gamma, torch.where(wide, 0.0, zono.spread)), ctx)
