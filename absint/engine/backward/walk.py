"""The backward walk: rows of a node substituted through relaxations down to the input.

Rows are kept relative to the reference trajectory c (float64):  value = A (x - c) + d  with A in the matrix format and
d in float64. A row's rounding errors are then proportional to radii, not to magnitudes. What |A| is charged at a node is
one vector per instance, known before any row comes by: it is paid through the offsets of the relaxation above, in the
dot product that is taken there anyway. docs/soundness.md, section "Backward substitution", derives each term below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod

import torch
from torch import Tensor

from absint.engine.backward.block import Block, BlockWalk
from absint.engine.backward.charges import Charges, Relax
from absint.engine.backward.windows import Places, Tables, WindowedWalk, position_of, share_walked, windows_below
from absint.engine.context import Context
from absint.engine.rows import Rows
from absint.model.graph import Node
from absint.model.work import heaviest, scratch

# A block of rows at its widest node: about the second-level cache of one core; elsewhere what keeps a device busy.
_BLOCK_BYTES = 3 << 19
_DEVICE_BLOCK_BYTES = 1 << 28
_EVEN = 0.75  # instances share a block where the padding stays below a quarter


# ---- blocks of rows -------------------------------------------------------------------------------------------------


def _blocks(instance: Tensor, batch: int, limit: int) -> list[Block]:
    """Blocks of about `limit` rows of sorted instances (R,): those of about as many rows together, those of more split evenly."""
    count = torch.bincount(instance, minlength=batch)
    begin = count.cumsum(0) - count
    order = count.argsort(descending=True, stable=True)
    order = order[count[order] > 0]
    sizes = count[order].tolist()
    found, place = [], 0
    while place < len(sizes):
        most = sizes[place]
        fit, pieces = max(1, limit // most), -(-most // limit)
        last = place + 1
        # A block far below the limit costs its overhead alone: there padding is free.
        while last < min(place + fit, len(sizes)) and (sizes[last] >= _EVEN * most or (last - place) * most < limit // 8):
            last += 1
        chosen = order[place:last]
        found += [Block(*part) for part in _slots(chosen, begin[chosen], count[chosen], most, -(-most // pieces))]
        place = last
    return found


def _slots(chosen: Tensor, begin: Tensor, count: Tensor, most: int, width: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The chosen instances' rows, `width` at a time."""
    slot = torch.arange(most, device=chosen.device).expand(len(chosen), -1)
    real = slot < count[:, None]
    row = begin[:, None] + torch.minimum(slot, count[:, None] - 1)
    return [(chosen, r, k) for r, k in zip(row.split(width, 1), real.split(width, 1), strict=True)]


def _limit(ctx: Context, start: Node) -> int:
    """Rows of a block: within the budget, within the cache, and within one look at the clock."""
    below = ctx.graph.nodes[: ctx.graph.position[start.name] + 1]
    width = torch.finfo(ctx.numerics.dtype).bits // 8
    size = max(node.size for node in below) * width
    if ctx.numerics.device.type == "cpu":
        target, needed = _BLOCK_BYTES, 6 * size
    else:
        target, needed = _DEVICE_BLOCK_BYTES, 6 * size + scratch(ctx.graph, below) * width
    return min(ctx.budget.rows(needed), max(16, target // size), ctx.budget.pieces(heaviest(below)))


# ---- the walk -------------------------------------------------------------------------------------------------------


def substitute(rows: Rows, relax: Relax, ctx: Context, sign: float = 1.0, *, every_layer: bool = False) -> Tensor:
    """Sound lower bounds (R,) of sign * rows over the region, in the vector format; -inf where nothing is known.

    sign: +1 or -1.  every_layer: also concretise with the known bounds of each nonlinear node that carries all of the
    rows, and keep the best.  Rows go in blocks that fit the budget; raises DeadlineError when time runs out, and leaves unit rows
    at -inf from the budget's `soft` instant on.
    Source: Zhang et al., NeurIPS 2018 (CROWN), equations (4)-(6); Singh et al., POPL 2019, section 4.3.
    """
    return substitute_each(rows, relax, ctx, (sign,), every_layer=every_layer)[0]


def substitute_each(rows: Rows, relax: Relax, ctx: Context, signs: tuple[float, ...], *, every_layer: bool = False
                    ) -> tuple[Tensor, ...]:
    """`substitute` for several signs at once, which share the first linear step."""
    if not len(rows):
        return tuple(torch.zeros(0, dtype=ctx.numerics.vector, device=ctx.numerics.device) for _ in signs)
    plan = _plan(relax, ctx, every_layer)
    ids, values = [], []
    for block, walk in _walks(plan, rows, signs):
        ctx.budget.check()
        ids.append(block.row[block.real])
        if rows.index is not None and ctx.budget.ending:
            ctx.cut_short(f"time left no more intermediate bounds from '{rows.node}' on: there they are boxes")
            # Unit rows only tighten what is known: what is left of the time is for the rows that a result rests on.
            values.append(torch.full((1, len(signs), len(ids[-1])), -torch.inf, dtype=ctx.numerics.vector, device=ctx.numerics.device))
        else:
            values.append(walk().run()[:, :, block.real])
    plan.forget(rows.node)
    order = torch.cat(ids).argsort()
    together = torch.cat([v[0] for v in values], 1)[:, order]
    return tuple(together.unbind(0))


def _walks(plan: Charges, rows: Rows, signs: tuple[float, ...]) -> Iterator[tuple[Block, Callable[[], BlockWalk]]]:
    """Blocks of the rows, each with the walk that takes it down: within windows where these pay."""
    ctx, start = plan.ctx, plan.ctx.graph[rows.node]
    windows = None
    if rows.index is not None and not ctx.row_slopes and not torch.is_grad_enabled():
        windows = windows_below(ctx.graph, start, plan.stop, whole_stop=ctx.region.beyond_hull)
    if windows is None or rows.index is None:
        for block in _blocks(rows.instance, ctx.batch, max(1, _limit(ctx, start) // len(signs))):
            yield block, partial(BlockWalk, plan, rows, block, signs)
        return
    # A position of an instance is an instance of its own: its rows are the channels that are asked for there.
    spatial, tables = start.shape[1:], Tables()
    many, share = prod(spatial), share_walked(ctx.graph, windows)
    place = rows.instance * many + rows.index % many
    order = place.argsort(stable=True)
    for found in _blocks(place[order], ctx.batch * many, max(1, int(_limit(ctx, start) / share) // len(signs))):
        block = replace(found, row=order[found.row])
        places = Places(block.instance // many, position_of(block.instance % many, spatial), tables)
        yield block, partial(WindowedWalk, plan, rows, block, signs, places, windows)


def input_adjoints(rows: Rows, relax: Relax, ctx: Context) -> Tensor:
    """(R, *input) in the matrix format: the rows' lower affine bounds at the input, without their constants.

    No promise about rounding: a hint where the bound is attained.
    """
    plan = Charges(relax, replace(ctx, memo={}), every_layer=False, to_input=True)
    out = torch.zeros((len(rows), *ctx.graph.input.shape), dtype=ctx.numerics.dtype, device=ctx.numerics.device)
    for block in _blocks(rows.instance, ctx.batch, _limit(ctx, ctx.graph[rows.node])):
        found = BlockWalk(plan, rows, block, (1.0,)).adjoint_at_input()
        out[block.row[block.real]] = found.reshape(*block.row.shape, *out.shape[1:])[block.real].detach()
    return out


def at_input(rows: Rows, relax: Relax, ctx: Context, sign: float) -> tuple[Tensor, Tensor]:
    """A (R, *input) in the matrix format and d (R,) in the vector format with  sign * row >= A (x - c) + d  for x in the region.

    c: the reference at the input. In exact real arithmetic, for these very numbers: what the walk is charged lies in d, which
    is -inf where nothing is known. Raises DeadlineError.
    """
    plan = _plan_to_input(relax, ctx)
    num = ctx.numerics
    weight = torch.zeros((len(rows), *ctx.graph.input.shape), dtype=num.dtype, device=num.device)
    offset = torch.full((len(rows),), -torch.inf, dtype=num.vector, device=num.device)
    for block in _blocks(rows.instance, ctx.batch, _limit(ctx, ctx.graph[rows.node])):
        ctx.budget.check()
        walk = BlockWalk(plan, rows, block, (sign,))
        found = walk.adjoint_at_input()
        weight[block.row[block.real]] = found.reshape(*block.row.shape, *weight.shape[1:])[block.real]
        offset[block.row[block.real]] = walk.constant[block.real]
    return weight, offset


def _plan(relax: Relax, ctx: Context, every_layer: bool) -> Charges:
    """The vectors of this analysis, kept in the context for its next substitution; never where gradients are recorded."""
    if torch.is_grad_enabled():
        return Charges(relax, ctx, every_layer)
    owner = getattr(relax, "__self__", relax)
    key = (id(owner), every_layer)
    kept = ctx.memo.get(key)
    if not (isinstance(kept, tuple) and kept[0] is owner and _same(kept[1].ctx, ctx)):
        kept = (owner, Charges(relax, replace(ctx, memo={}), every_layer))
        ctx.memo[key] = kept
    plan: Charges = kept[1]
    return plan


def _plan_to_input(relax: Relax, ctx: Context) -> Charges:
    """For walks that end at the input itself; that of a substitution on this very context where it ended there, too."""
    owner = getattr(relax, "__self__", relax)
    for every_layer in (True, False):
        kept = ctx.memo.get((id(owner), every_layer))
        if not torch.is_grad_enabled() and isinstance(kept, tuple) and kept[0] is owner and _same(kept[1].ctx, ctx):
            plan: Charges = kept[1]
            if plan.stop == ctx.graph.input.name:
                return plan
    return Charges(relax, replace(ctx, memo={}), every_layer=False, to_input=True)


def _same(one: Context, two: Context) -> bool:
    """Whether everything that a plan is made of is the same object in both contexts."""
    names = ("graph", "region", "numerics", "budget", "known", "assumed", "reference", "drift", "noise", "slopes", "row_slopes")
    return all(getattr(one, name) is getattr(two, name) for name in names)
