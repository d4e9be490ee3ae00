"""From an attack to proved witnesses: candidates are proved and replayed, and deepened where the proof fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from absint.attacks.loss import violates
from absint.attacks.search import Attack, Search
from absint.attacks.witness import Witness, prove_witness
from absint.model.graph import Graph
from absint.problem.regions.region import Region
from absint.problem.spec import Spec

# How far below zero the rows must be in further searches, as a share of the size of their summands: a proof in float64
# needs about 1e-13 of it, a replay in float32 about 1e-6, deep nets more.
_DEPTHS = (1e-6, 1e-4)


@dataclass(frozen=True)
class Found:
    """witnesses: position in the batch -> proved witness.  ambiguous: positions violated in floats but not proved."""

    witnesses: Mapping[int, Witness]
    ambiguous: frozenset[int]


@dataclass(frozen=True, eq=False)
class Given:
    """An attack that has its points already, (batch, *shape) float64; where they are too shallow to prove, `deeper` goes on from them."""

    points: Tensor
    deeper: Attack | None = None

    def __call__(self, graph: Graph, region: Region, spec: Spec, search: Search) -> Tensor:
        """The points; in a further search what the other attack finds from its starts."""
        if search.depth == 0 or search.starts is None:
            return self.points
        return search.starts[:, 0] if self.deeper is None else self.deeper(graph, region, spec, search)


def falsify(graph: Graph, region: Region, spec: Spec, attack: Attack, search: Search) -> Found:
    """Search every instance for a violation, prove and replay it; no instance appears in both parts of the result.

    region, spec: on any device, spec exact (float64). A candidate that violates in floats but cannot be proved or
    replayed is searched on from for a deeper violation before it counts as ambiguous. Never raises DeadlineError.
    Sound: a witness comes from `prove_witness` alone.
    """
    witnesses: dict[int, Witness] = {}
    left = torch.arange(region.batch)
    ambiguous: set[int] = set()
    for depth in (0.0, *_DEPTHS):
        part = region.take(left), spec.take(left.to(spec.weight.device))
        values, points = _candidates(graph, *part, attack, replace(search, depth=depth))
        hit = violates(values, part[1]).cpu()
        found = points.cpu().numpy() if bool(hit.any()) else None
        for tried, slot in enumerate(hit.nonzero().flatten().tolist()):
            if tried and search.budget.late:
                break  # what was found in time has been proved once at least; the rest stays a candidate
            assert found is not None
            with torch.no_grad():
                witness = prove_witness(graph, *part, slot, found[slot])
            if witness is not None:
                witnesses[int(left[slot])] = witness
        open_ = [s for s in hit.nonzero().flatten().tolist() if int(left[s]) not in witnesses]
        ambiguous = (ambiguous | {int(left[s]) for s in open_}) - witnesses.keys()
        if not open_ or search.budget.late:
            break
        chosen = torch.tensor(open_)
        search = replace(search, starts=points[chosen.to(points.device)][:, None], focus=None, seed=search.seed + 1)
        left = left[chosen]
    return Found(witnesses, frozenset(ambiguous))


def _candidates(graph: Graph, region: Region, spec: Spec, attack: Attack, search: Search) -> tuple[Tensor, Tensor]:
    """(batch, rows) float64 values at the attack's points, and the points (batch, *shape) float64."""
    there = spec.to(search.device)
    points = attack(graph, region, there, search).detach().double()
    with torch.no_grad():
        return there.values(graph(points)).to(spec.weight.device), points
