"""Conjunctions: a disjunct of several rows is refuted by any convex combination of them that is proved positive.

Where every row of a disjunct is <= 0, so is each sum of them with weights >= 0: a positive lower bound of one sum shows that
no input lies in the disjunct, even where every single row dips below 0 somewhere. The weights are searched together with the
slopes, by the multiplicative rule; which weights were chosen is no matter of soundness, only what their sum is bounded by.
Source: minimax duality of the dual in Salman et al., NeurIPS 2019, section 4; the rule: Arora et al., Theory of Computing 8 (2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf

import torch
from torch import Tensor

from absint.engine.attained_rows import lower_over, two_product
from absint.engine.backward.slopes import Ascent, Slopes, SlopeSearch, Steps
from absint.engine.backward.surrogate import UnroundedRows
from absint.engine.context import Context
from absint.engine.evidence import BOX, COMBINATION
from absint.engine.rows import Rows
from absint.numeric.expansions import two_sum
from absint.numeric.interval import Interval
from absint.numeric.outward import down
from absint.numeric.rounding import cast_down, gamma, smallest_normal
from absint.problem.spec import ATTAINED, Spec

# exp of the first step on normalised values; it decays as the slopes' rate does.
_RATE = 4.0


@dataclass(frozen=True, eq=False)
class Conjunctions:
    """Disjuncts of several rows. instance: (Q,).  weight: (Q, k, n), bias: (Q, k), all float64.  inside, strict: (Q, k) bool.

    A disjunct with fewer than k rows is filled up with rows that are not `inside`, whose numbers are 0.
    """

    instance: Tensor
    weight: Tensor
    bias: Tensor
    inside: Tensor
    strict: Tensor

    def at(self, index: Tensor) -> Conjunctions:
        """Those at `index`."""
        return Conjunctions(self.instance[index], self.weight[index], self.bias[index], self.inside[index], self.strict[index])

    def take(self, part: slice) -> Conjunctions:
        """Some of them."""
        return Conjunctions(self.instance[part], self.weight[part], self.bias[part], self.inside[part], self.strict[part])

    def mix(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (Q, n) and biases (Q,) of the sums with `share` (Q, k) >= 0, rounded to nearest."""
        return (share[..., None] * self.weight).sum(1), (share * self.bias).sum(1)

    def mixing_error(self, share: Tensor, reach: Tensor) -> Tensor:
        """(Q,): what the rounding in `mix` can change a sum by where |y| <= reach (Q, n); rounded up, inf for overflow."""
        k, n = share.shape[1], reach.shape[1]
        tiny = smallest_normal(torch.float64)
        loose = gamma(k + 2, torch.float64) * (share[..., None] * self.weight.abs()).sum(1) + 2 * k * tiny
        bias = gamma(k + 2, torch.float64) * (share * self.bias.abs()).sum(1) + 2 * k * tiny
        total = ((loose * reach).sum(1) + bias) * (1 + gamma(2 * (n + k) + 16, torch.float64)) + 2 * n * tiny
        return torch.where(self._mixes_exactly(share), 0.0, torch.nan_to_num(total, nan=inf, posinf=inf))

    def _mixes_exactly(self, share: Tensor) -> Tensor:
        """(Q,) bool: every product and every sum in `mix` is the real number; where only two rows count that is easily told."""
        if share.shape[1] != 2:
            return torch.zeros_like(share[:, 0], dtype=torch.bool)
        numbers = torch.cat([self.weight, self.bias[..., None]], 2)
        product, error, loose = two_product(share[..., None].expand_as(numbers), numbers)
        _, left = two_sum(product[:, 0], product[:, 1])
        return ((error == 0) & (loose == 0)).all(1).all(1) & (left == 0).all(1)


def conjunctions(spec: Spec, open_: Tensor) -> tuple[Conjunctions, Tensor]:
    """The disjuncts of two rows or more in the mask (batch, disjuncts), and the disjunct (Q,) of each."""
    count = torch.bincount(spec.disjunct, minlength=spec.disjuncts)
    instance, which = (open_ & (count >= 2)).nonzero(as_tuple=True)
    order = spec.disjunct.argsort(stable=True)
    slot = torch.arange(int(count.max()) if len(count) else 0, device=count.device)
    inside = slot < count[:, None]
    first = (count.cumsum(0) - count)[:, None]
    member = order[(first + slot).clamp(max=max(0, len(order) - 1))]
    inside, member = inside[which], member[which]
    weight = torch.where(inside[..., None], spec.weight[instance[:, None], member], 0.0)
    return Conjunctions(instance, weight, torch.where(inside, spec.bias[instance[:, None], member], 0.0), inside,
                        inside & spec.strict[member]), which


def mixed_bounds(spec: Spec, refuted: Tensor, ctx: Context, slopes: Slopes, ascent: Ascent) -> Tensor:
    """(batch, disjuncts) sound lower bounds of one convex combination of each disjunct's rows, -inf where none was sought.

    refuted: (batch, disjuncts), the best single row of each disjunct; those above `ascent.goal` are left as they are.
    A disjunct with a positive bound holds for no input of the instance.
    """
    out = torch.full_like(refuted, -inf)
    if not len(spec.disjunct) or not ascent.steps:
        return out
    todo, which = conjunctions(spec, ~(refuted > ascent.goal))
    search = SlopeSearch(ctx.graph.output.name, ctx, slopes, ascent)
    if not len(which) or search.late:
        return out
    parts = []
    with torch.no_grad():
        for start in range(0, len(which), search.block):
            part = slice(start, start + search.block)
            parts.append(search.in_time(partial(_chunk, search, todo.take(part), which[part]), len(which[part])))
    out[todo.instance, which] = torch.cat(parts).to(out)
    return out


def _chunk(search: SlopeSearch, todo: Conjunctions, which: Tensor) -> Tensor:
    """(Q,) sound bounds of the best combinations found of the disjuncts `which` (Q,)."""
    net, output = search.net, search.ctx.graph.output
    share = todo.inside.double() / todo.inside.sum(1, keepdim=True)
    rows = UnroundedRows(net, output.name, todo.instance, {output.name: _top(todo, share, search)})
    share, free = _climb(rows, todo, share, search)
    weight, bias = todo.mix(share)
    mixed, box = Rows(output.name, todo.instance, weight.reshape(-1, *output.shape), None, bias), search.ctx.known[output.name].filled
    chosen = rows.dense(free)
    walked = search.proved(mixed, chosen, 1.0)
    proved = torch.maximum(walked, lower_over(mixed, box).to(walked))
    found = of_disjuncts(todo, share, proved, box) if search.ctx.numerics.rounding else proved
    recorder = search.ctx.recording
    if recorder is not None:
        asked, by_box = (todo.instance, which), proved > walked
        recorder.sums(asked, share, torch.where(by_box, -inf, found), COMBINATION, search.recorded(todo.instance, chosen))
        recorder.sums(asked, share, torch.where(by_box, found, -inf), BOX)
    return found


def of_disjuncts(todo: Conjunctions, share: Tensor, proved: Tensor, box: Interval) -> Tensor:
    """(Q,) what bounds of the sums as they were rounded say of the disjuncts' greatest rows. box: of the output."""
    error = todo.mixing_error(share, box.magnitude.double().flatten(1)[todo.instance])
    total = torch.where(error == 0, proved.double(), down(proved.double() - error))
    return cast_down(attained_sum(_of_the_greatest(total, share), total, todo.strict & (share > 0)), proved.dtype)


def attained_sum(greatest: Tensor, total: Tensor, counted: Tensor) -> Tensor:
    """(Q,): a sum that is not negative refutes its disjunct where a strict row counts in it; counted: (Q, k)."""
    return torch.where((total >= 0) & counted.any(1), greatest.clamp(min=ATTAINED), greatest)


def _of_the_greatest(bound: Tensor, share: Tensor) -> Tensor:
    """(Q,): what a bound of the sum says of its greatest row: rounding leaves the shares' total beside 1."""
    total, slack = share.sum(1), gamma(share.shape[1] + 4, torch.float64)
    return down(torch.where(bound > 0, bound / (total * (1 + slack)), bound / (total * (1 - slack))))


def _top(todo: Conjunctions, share: Tensor, search: SlopeSearch) -> Tensor:
    return todo.mix(share)[0].reshape(-1, *search.ctx.graph.output.shape).to(search.net.dtype)


def _climb(rows: UnroundedRows, todo: Conjunctions, share: Tensor, search: SlopeSearch) -> tuple[Tensor, Tensor]:
    """The best shares and flat slopes seen, ascending in both."""
    output, ascent = search.ctx.graph.output.name, search.ascent
    free = best = rows.start
    kept = share
    highest = torch.full((len(share),), -inf, dtype=torch.float64, device=share.device)
    steps = Steps(ascent, free)
    while True:
        rows.top = {output: _top(todo, share, search)}
        _, gradient, values = rows.step(free)
        each = (todo.weight * values[output].double().flatten(1)[:, None]).sum(2) + todo.bias
        value = (share * each).sum(1)
        better = value > highest
        highest = torch.where(better, value, highest)
        best, kept = torch.where(better[rows.row], free, best), torch.where(better[:, None], share, kept)
        if steps.count >= ascent.steps or search.late:
            return kept, best
        share = _shifted(share, each, value, _RATE * ascent.decay**steps.count)
        free = steps(free, gradient)


def _shifted(share: Tensor, each: Tensor, value: Tensor, rate: float) -> Tensor:
    """Shares grown where a row is above the mean, shrunk where it is below; as they were where anything is not finite."""
    above = torch.where(share > 0, each - value[:, None], 0.0)
    size = above.abs().amax(1, keepdim=True)
    grown = share * (rate * above / torch.where(size > 0, size, 1.0)).exp()
    grown = grown / grown.sum(1, keepdim=True)
    return torch.where(grown.isfinite().all(1, keepdim=True), grown, share)
