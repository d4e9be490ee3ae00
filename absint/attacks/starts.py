"""Where a search begins: the centre, given points, random points of the set, and for few free inputs the best of many samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from absint.attacks.best import Best
from absint.attacks.loss import depths, row_values
from absint.attacks.search import Search
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.model.work import work as products_of
from absint.problem.regions.region import Region
from absint.problem.spec import Spec

# Up to so many inputs that vary, thousands of samples see what gradients from the centre miss.
FEW_INPUTS = 32
_SAMPLES = 512           # at effort 1; their number grows with its square
_PRODUCTS = 1e8          # multiplications that sampling may cost an instance, at least _FEWEST samples
_FEWEST = 128
_GENERATIONS = 5
_RADIUS = 0.2
_SHRINK = 0.3
_PARENTS = 8
_KEPT = 4                # samples kept per instance for the nearest disjunct, and disjuncts that keep one of their own


@dataclass(frozen=True, eq=False)
class StartWork:
    """One search over a batch on its device: what to evaluate, in which format, and the record.

    row_bytes: memory that one point in flight takes, gradients included.
    """

    graph: Graph
    region: Region
    spec: Spec
    search: Search
    dtype: torch.dtype
    best: Best

    @property
    def row_bytes(self) -> int:
        """Activations in both directions, and the input with its gradient, step and copies."""
        size = 8 if self.dtype == torch.float64 else 4
        return size * (3 * sum(node.size for node in self.graph.nodes) + 6 * self.graph.input.size) + 32 * self.spec.bias.shape[1]

    @property
    def room(self) -> int:
        """Points that fly together: what memory holds, and what is evaluated, gradients included, between two looks at the clock."""
        budget = self.search.budget
        return min(budget.rows(self.row_bytes), budget.pieces(self.products))

    @cached_property
    def products(self) -> float:
        """Of one evaluation and its gradient."""
        return 3 * products_of(self.graph)

    @cached_property
    def _guided(self) -> bool:
        """Whether gradients need the help of `Op.guided`."""
        return self.graph.jumps_somewhere

    def evaluate(self, instance: Tensor, points: Tensor, *, spec: Spec | None = None, counted: Tensor | None = None) -> Tensor:
        """(P, rows) float64 row values at points (P, *shape) of the instances (P,); recorded.

        spec: of these instances, where it was taken already.  counted: as in `Best.see`.
        """
        spec = self.spec.take(instance) if spec is None else spec
        guided = self._guided and points.requires_grad
        outputs = self.graph.evaluate(points, guided=True)[self.graph.output.name] if guided else self.graph(points)
        values = row_values(outputs, spec, self.search.depth)
        self.best.see(instance, points.detach(), values.detach(), spec, counted)
        return values


def sets_of(region: Region, instance: Tensor) -> Region:
    """Those of the instances (P,), which may be on another device than the region's numbers."""
    return region.take(instance.to(region.hull.lower.device))


def random_points(region: Region, instance: Tensor, share: Tensor) -> Tensor:
    """(P, *shape) float64: the points of the hull at `share` of its widths, moved into the sets. share: (P, *shape) in [0, 1]."""
    chosen = sets_of(region, instance)
    lower, upper = chosen.hull.lower.to(share), chosen.hull.upper.to(share)
    return chosen.pull(lower + share * (upper - lower)).double()


def free_inputs(region: Region) -> Tensor:
    """(batch,): how many entries of the input vary."""
    return (region.hull.upper > region.hull.lower).flatten(1).sum(1)


def sampled(work: StartWork) -> Tensor | None:
    """(batch, k, *shape) float64: the best of many random points of each instance, over all disjuncts and for each alone.

    None where no instance has few free inputs; instances with many get their centre. Everything seen is recorded.
    """
    device = work.search.device
    few = (free_inputs(work.region).to(device) <= FEW_INPUTS) & ~work.best.done
    live = few.nonzero().flatten()
    if not len(live):
        return None
    count = _count(work)
    share = _shares(work, count)
    # As many instances at once as fill a batch; those of a decided one end with its group.
    size = max(1, work.room // count)
    kept = torch.cat([_best_of(work, group, share) for group in live.split(size)])
    out = work.region.center.to(device)[:, None].repeat(1, kept.shape[1], *(1,) * len(work.region.shape))
    out[live] = kept
    return out


def _count(work: StartWork) -> int:
    """How many samples an instance gets: fewer where the network is large, and in a quick search."""
    return max(_FEWEST, int(min(_SAMPLES * work.search.effort**2, _PRODUCTS * work.search.effort / products(work.graph))))


def products(graph: Graph) -> int:
    """About how many multiplications one evaluation takes."""
    return 1 + sum(node.op.forward_terms * node.size for node in graph.nodes if isinstance(node.op, Linear))


def _shares(work: StartWork, count: int) -> Tensor:
    """(count, *shape): one draw for all instances, so that none depends on its batch mates; every fourth one a corner."""
    generator = torch.Generator().manual_seed(work.search.seed)
    share = torch.rand(count, *work.region.shape, generator=generator, dtype=work.dtype)
    share[::4] = share[::4].round()
    return share.to(work.search.device)


def _best_of(work: StartWork, group: Tensor, share: Tensor) -> Tensor:
    """(g, k, *shape) float64: of each instance (g,) the samples nearest to any disjunct, and nearest to its nearest disjuncts.

    Generations of samples ever closer around the best so far follow the first, whose shares (count, *shape) all have.
    """
    ones = (1,) * (share.dim() - 1)
    shares = share.expand(len(group), *share.shape)
    greatest = _seen(work, group, shares)
    for number in range(_GENERATIONS):
        if bool(work.best.done[group].all()):
            break
        parents = _picked(shares, _elite(greatest, _PARENTS))
        # The first generation's draws serve again, as offsets.
        copies = max(1, len(share) // (2 * parents.shape[1]))
        offsets = 2 * _RADIUS * _SHRINK**number * (share[: copies * parents.shape[1]] - 0.5)
        children = (parents.repeat(1, copies, *ones) + offsets).clamp(0, 1)
        shares = torch.cat([shares, children], 1)
        greatest = torch.cat([greatest, _seen(work, group, children)], 1)
    chosen = _picked(shares, _elite(greatest, _KEPT))
    points = random_points(work.region, group.repeat_interleave(chosen.shape[1]), chosen.flatten(0, 1))
    return points.reshape(*chosen.shape[:2], *work.region.shape)


def _seen(work: StartWork, group: Tensor, shares: Tensor) -> Tensor:
    """(g, N, disjuncts): the greatest row of each disjunct at shares (g, N, *shape) of the instances, recorded, in chunks.

    Of an instance that was decided before nothing is recorded: alone it would not have got here.
    """
    seen: list[Tensor] = []
    counted = ~work.best.done
    size = work.room
    instance = group.repeat_interleave(shares.shape[1])
    for part, mine in zip(shares.flatten(0, 1).split(size), instance.split(size), strict=True):
        work.search.budget.check()
        points = random_points(work.region, mine, part)
        with torch.no_grad():
            seen.append(depths(work.evaluate(mine, points.to(work.dtype), counted=counted[mine]), work.spec))
    return torch.cat(seen).reshape(*shares.shape[:2], -1)


def _picked(shares: Tensor, index: Tensor) -> Tensor:
    """(g, k, *shape): of shares (g, N, *shape) those at positions (g, k)."""
    every = torch.arange(len(shares), device=shares.device)
    return shares[every[:, None], index]


def _elite(greatest: Tensor, count: int) -> Tensor:
    """(g, 2 count) positions: the nearest to any disjunct, and the nearest to each of the nearest disjuncts, repeated to fill up."""
    nearest = greatest.amin(2).topk(count, dim=1, largest=False).indices
    promising = greatest.amin(1).topk(min(count, greatest.shape[2]), dim=1, largest=False).indices
    apart = greatest.argmin(1).gather(1, promising)
    return torch.cat([nearest, apart, nearest[:, : count - apart.shape[1]]], 1)


def pushed(work: StartWork, instance: Tensor, points: Tensor, copies: int, number: int) -> Tensor:
    """(P, *shape): points moved across the set along the gradient of a random functional of a hidden node.

    points: (P, *shape), `copies` for each of the instances (P,), in order. Random points of a set of many inputs lie in
    few linear pieces, near the centre's; inputs that move one hidden layer far lie in others. `number` selects the
    node, from the last backward, and the draw.
    Source: output-diversified starts, Tashiro et al., NeurIPS 2020, section 3; here of hidden nodes.
    """
    nodes = [name for name in _hidden(work.graph) if name != work.graph.input.name]
    if not nodes or not len(points):
        return points
    node = work.graph[nodes[-1 - number % len(nodes)]]
    generator = torch.Generator().manual_seed(work.search.seed * 7919 + number)
    weight = torch.randn(copies, *node.shape, generator=generator, dtype=torch.float64).to(points)
    out = []
    size = max(1, work.room // copies) * copies
    for part, mine in zip(points.split(size), instance.split(size), strict=True):
        work.search.budget.check()
        x = part.detach().requires_grad_()
        wanted = weight.repeat(len(x) // copies, *(1,) * len(node.shape))
        slope = gradient((work.graph.evaluate(x, [node.name], guided=True)[node.name] * wanted).sum(), x)
        region = sets_of(work.region, mine)
        out.append(region.pull(part + 2 * region.descent(slope)).to(points))
    return torch.cat(out)


def gradient(value: Tensor, x: Tensor) -> Tensor:
    """Of a scalar by x, like x; NaN, infinities and what autograd does not reach (comparisons, constants) count as zero."""
    if not value.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(value, x, allow_unused=True)
    return torch.zeros_like(x) if slope is None else torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)


def _hidden(graph: Graph) -> list[str]:
    """Names of nodes that operators other than linear ones read, in topological order, each once."""
    return list(dict.fromkeys(name for node in graph.nodes[1:] if not isinstance(node.op, Linear) for name in node.inputs))
