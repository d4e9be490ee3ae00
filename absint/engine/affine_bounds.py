"""Bounds of nodes that are affine in the input, from the region's own support function instead of its hull."""

from __future__ import annotations

import torch
from torch import Tensor

from absint.engine.backward.walk import substitute
from absint.engine.context import Context
from absint.engine.rows import Rows
from absint.model.families.linear import Linear
from absint.model.graph import Graph, Node
from absint.model.op import Input
from absint.numeric.interval import Interval, Relaxation
from absint.numeric.outward import down, up
from absint.numeric.rounding import gamma, smallest_normal

# Up to so many entries (outputs times inputs) every instance has rows of its own, split between ball and range; beyond,
# one norm per output serves all instances. A property of the graph alone, so that no batch changes a bound.
_ROW_ENTRIES = 1 << 23
_CHUNK = 1 << 22


def affine_bounds(node: Node, op: Linear, ctx: Context) -> Interval | None:
    """(batch, *shape) bounds of a linear node all of whose ancestors are linear; None where the hull is as good.

    Sound for every input of the region, rounding included. `ctx` knows the node already: its box, reference and drift.
    """
    shapes = ctx.graph.shapes_of(node)
    if (len(shapes) == 1 and op.monomial(shapes[0]) is not None) or not _affine(ctx.graph, node):
        return None
    if node.size * ctx.graph.input.size > _ROW_ENTRIES and node.inputs == (ctx.graph.input.name,):
        found = _by_norms(node, op, ctx)
        if found is not None:
            return found
    every = torch.ones((ctx.batch, *node.shape), dtype=torch.bool, device=ctx.numerics.device)
    rows = Rows.units(node.name, every)
    lower = substitute(rows, _no_relaxation, ctx)
    upper = -substitute(rows, _no_relaxation, ctx, -1.0)
    return Interval(lower.reshape(every.shape), upper.reshape(every.shape))


def _no_relaxation(node: Node, inputs: tuple[Interval, ...], ctx: Context) -> Relaxation:
    raise AssertionError(f"'{node.name}' is not affine in the input")


def _affine(graph: Graph, node: Node) -> bool:
    """Whether only linear operators lie between the input and the node."""
    seen: set[str] = set()
    todo = [node]
    while todo:
        here = todo.pop()
        if not isinstance(here.op, (Input, Linear)):
            return False
        todo += [graph[name] for name in here.inputs if name not in seen]
        seen.update(here.inputs)
    return True


def _by_norms(node: Node, op: Linear, ctx: Context) -> Interval | None:
    """reference -+ (radius N + drift), N the dual norm of each output's row, computed once per operator and norm."""
    source = ctx.graph.input
    like = torch.zeros(1, dtype=torch.float64, device=ctx.numerics.device)
    given = ctx.region.dual(like.new_zeros((0, *source.shape)))
    if given is None:
        return None
    norms = op.derived(("dual", type(ctx.region).__name__, source.shape), like, lambda: _norms(node, op, ctx, like))
    radius = given[0].to(like.device).reshape(-1, *(1,) * len(node.shape))
    center, at = ctx.region.center.to(like.device), ctx.reference[source.name].double()
    # Vectors in float32 put the reference beside the centre.
    beside = op.apply_abs(up((center - at).abs()) * (center != at)) * (1 + gamma(2 * op.forward_terms + 8, torch.float64))
    reach = up(up(radius * norms + smallest_normal(torch.float64)) + ctx.drift[node.name].double())
    reach = up(reach + up(beside + 2 * op.forward_terms * smallest_normal(torch.float64)))
    if node.name in ctx.noise:
        reach = up(reach + ctx.noise[node.name].double())
    here = ctx.reference[node.name].double()
    return Interval(down(here - reach), up(here + reach)).to(ctx.numerics.vector)


def _norms(node: Node, op: Linear, ctx: Context, like: Tensor) -> Tensor:
    """(*shape): dual norms of the rows L^T e_i, rounded up; a row's entries err by gamma_k and k underflows."""
    size, shapes = ctx.graph.input.size, ctx.graph.shapes_of(node)
    parts = []
    for index in torch.arange(node.size, device=like.device).split(max(1, _CHUNK // size)):
        ctx.budget.check()
        (rows,) = op.unit_rows(index, node.shape, shapes, like)
        found = ctx.region.dual(rows)
        assert found is not None
        parts.append(found[1])
    k = op.adjoint_terms
    grown = torch.cat(parts) * (1 + gamma(k + 4, torch.float64)) + 4 * size * k * smallest_normal(torch.float64)
    return up(grown).reshape(node.shape)
