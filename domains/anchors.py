"""Forms started anew at narrow nodes: backward substitution gives far tighter ones there, and everything behind is composed from these."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from absint.domains.input_forms import Coordinates, InputForms, spread_out
from absint.engine.affine_forms import backward_forms_about
from absint.engine.backward.charges import Relax
from absint.engine.domain import Context, Node, Rows
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Graph
from absint.model.work import work_of
from absint.numeric.rounding import cast_down, cast_up

# Functions start anew at the next anchor anyway: one before it only tightens what lies between.
_PART = 0.25


def anchors(graph: Graph, passes: float) -> frozenset[str]:
    """Linear nodes before a nonlinear one, behind another, of which substituting every entry back costs no more than so many
    evaluations of everything that follows; of several in a row those that cost a small part of the next one, and the last.

    A property of the graph alone, so that no batch changes a bound.
    """
    costs, below, curved = {}, 0.0, {graph.input.name: False}
    whole = sum(map(work_of, graph.nodes))
    for node in graph.nodes:
        below += work_of(node)
        curved[node.name] = isinstance(node.op, Nonlinear) or any(curved[name] for name in node.inputs)
        feeds = any(isinstance(graph[user].op, Nonlinear) for user in graph.consumers[node.name])
        if isinstance(node.op, Linear) and feeds and curved[node.name] and node.size * below <= passes * (whole - below):
            costs[node.name] = node.size * below
    found, next_ = set(), inf
    for name, cost in reversed(costs.items()):
        if cost <= _PART * next_:
            found.add(name)
            next_ = cost
    return frozenset(found)


def anchored(node: Node, forms: InputForms, relax: Relax, ctx: Context) -> InputForms:
    """The forms, or those of backward substitution where these leave less between them, entry by entry.

    Both enclose the value, so that any choice does; nothing here can be empty that was not.
    """
    coordinates, num = forms.coordinates, ctx.numerics
    if coordinates is None or coordinates.slots is None or ctx.budget.ending or _unheld(ctx, coordinates):
        return forms
    rows = Rows.units(node.name, torch.ones((ctx.batch, *node.shape), dtype=torch.bool, device=num.device))
    size = ctx.budget.rows(8 * 8 * ctx.graph.input.size)
    parts = [_at_coordinates(part, relax, ctx, coordinates) for part in rows.chunks(size)]
    below, low, above, high = (torch.cat(each) for each in zip(*parts, strict=True))
    like = forms.center

    def shaped(weight: Tensor) -> Tensor:
        return weight.reshape(len(like), -1, coordinates.count).transpose(1, 2).reshape(len(like), coordinates.count, *node.shape)

    low, high = low.reshape(like.shape), high.reshape(like.shape)
    # A difference may be NaN where nothing is known: such entries are left as they are.
    better = high - low < 2 * (forms.gap + forms.rest)
    low, high = torch.where(better, low, 0.0), torch.where(better, high, 0.0)
    below, above = torch.where(better[:, None], shaped(below), 0.0), torch.where(better[:, None], shaped(above), 0.0)
    center = low / 2 + high / 2
    made = InputForms(center, high - center, torch.zeros_like(center), below / 2 + above / 2, above / 2 - below / 2, coordinates)
    # Halves, sums and differences: each of both coefficients and constants is off by at most two roundings.
    lost = num.vector_gamma(4) * ((below.abs() + above.abs()).flatten(2) * coordinates.reach[..., None]).sum(1).reshape(like.shape)
    lost = lost * (1 + num.vector_gamma(coordinates.count + 4)) + num.vector_gamma(4) * (low.abs() + high.abs())
    lost = lost * (1 + num.vector_gamma(4)) + 8 * num.vector_floor * (1 + spread_out(coordinates.lost, like))
    wide = torch.zeros_like(made.mean) if forms.wide is None else forms.wide  # type: ignore[arg-type]
    assert forms.mean is not None
    assert made.mean is not None
    assert made.wide is not None
    chosen = InputForms(torch.where(better, made.center, forms.center), torch.where(better, made.gap, forms.gap),
                        torch.where(better, lost.detach(), forms.rest), torch.where(better[:, None], made.mean, forms.mean),
                        torch.where(better[:, None], made.wide, wide), coordinates)
    return chosen.settled(chosen.spread(num))


def _unheld(ctx: Context, coordinates: Coordinates) -> bool:
    """Whether some entry of the input varies and is no coordinate, being wider than the format holds: a substitution may end there."""
    box = ctx.known[ctx.graph.input.name].filled
    varies = (box.upper > box.lower).flatten(1)
    return bool((varies.sum(1) > coordinates.used).any())


def _at_coordinates(rows: Rows, relax: Relax, ctx: Context, coordinates: Coordinates) -> tuple[Tensor, ...]:
    """Coefficients (R, k) and constants (R,) of both forms in terms of z, in the vector format."""
    num = ctx.numerics
    assert coordinates.slots is not None
    # What is rounded here, the layers behind multiply by |L|: rows in the format of vectors.
    found = backward_forms_about(rows, relax, replace(ctx, numerics=replace(num, dtype=num.vector)), coordinates.about)
    slots = coordinates.slots[rows.instance]
    below, above = (weight.flatten(1).gather(1, slots).to(num.vector) for weight in (found.lower, found.upper))
    return below, cast_down(found.lower_bias, num.vector), above, cast_up(found.upper_bias, num.vector)
