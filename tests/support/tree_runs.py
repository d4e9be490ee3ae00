"""Trees of cuts over random networks, grown to the end, with what was recorded of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from case_splits import RELAX, Root, exact, network, points, region

from absint.engine.recorder import Recorder
from absint.numeric.backend import Budget
from absint.numeric.rounding import Numerics
from absint.problem.spec import Spec
from absint.search.branchers.by_cuts import Cutting
from absint.search.trees import Growing, TreeSearch

RACE = Growing((Cutting("intercept"), Cutting("product")), nodes=100)
# Two rows are the first disjunct, one each the others.
DISJUNCT = torch.tensor([0, 0, 1, 2])


class Blind:
    """Candidates none of which ends a search: what trees do with properties that do not hold is looked at, too."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    @property
    def violated(self):
        return torch.zeros_like(self._real.violated)


@dataclass
class Grown:
    """Two boxes of one network. seen: of each, (exact values of all nodes, greatest row of each disjunct) at some points."""

    root: Root
    spec: Spec
    search: TreeSearch
    recorder: Recorder
    seen: list

    def evidence(self, instance):
        return self.recorder.evidence(instance, self.root.region, self.spec)

    def holds(self, path, values, instance):
        """Whether a point lies in all steps of a path of an instance's evidence: a value at a jump is on the side whose limit it takes."""
        net, cuts = self.root.net, self.root.cuts
        for step in path:
            there = (cuts.at[instance] == step.cut).nonzero().tolist()
            places = [(place, entry) for place, entry in there if self.root.places[entry][1] == step.entry
                      and net.split[self.root.places[entry][0]].operand == step.node]
            if not any(self.root.holds(2 * (32 * entry + place) + (step.side > 0), values, instance) for place, entry in places):
                return False
        return True


def made(seed, recorded=True, how=RACE, memory=float("inf"), graph=None, share=0.1, count=20, budget=None):
    """A search that has not begun. share: of the spread of values at points, how much room each row is given."""
    rng = np.random.default_rng(seed)
    graph = network(rng) if graph is None else graph
    root = Root(graph, region(rng, graph, 2), Numerics(torch.float64))
    weight = torch.tensor(rng.normal(size=(2, 4, graph.output.size)))
    seen = [[exact(graph, x) for x in points(rng, (root.region.lower[k].tolist(), root.region.upper[k].tolist()), count)] for k in range(2)]
    outputs = torch.tensor([[[float(v) for v in values[graph.output.name]] for values in some] for some in seen], dtype=torch.float64)
    rows = torch.einsum("kro,kpo->kpr", weight, outputs)
    greatest = torch.stack([rows[:, :, d == DISJUNCT].amax(2) for d in range(3)], 2)
    bias = share * (rows.amax(1) - rows.amin(1)) - greatest.amin(1)[:, DISJUNCT]
    spec = Spec.rows(weight, bias, DISJUNCT)
    greatest = torch.stack([(rows + bias[:, None])[:, :, d == DISJUNCT].amax(2) for d in range(3)], 2)
    recorder = Recorder.of(root.region, memory)
    recorder.begin("bab")
    ctx = replace(root.ctx, recorder=recorder if recorded else None, budget=budget or Budget())
    with torch.no_grad():
        search = TreeSearch(ctx, spec, torch.full((2, 3), -torch.inf), RELAX, how)
    search.candidates = Blind(search.candidates)
    pairs = [list(zip(values, rows_.tolist(), strict=True)) for values, rows_ in zip(seen, greatest, strict=True)]
    return Grown(root, spec, search, recorder, pairs)


def grown(seed, **more):
    """The same, after the last step."""
    found = made(seed, **more)
    with torch.no_grad():
        while bool(found.search.open.any()):
            found.search.step(found.search.shared.ctx.budget)
    return found
