"""The engine's forward walk. It owns `known`: one box step per node keeps it total, the domain's bounds tighten it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from absint.engine import live_steps
from absint.engine.affine_bounds import affine_bounds
from absint.engine.attained_rows import lower_over
from absint.engine.closed_forms import closed_form
from absint.engine.context import Context
from absint.engine.cost import held_bytes
from absint.engine.domain import Domain, transfer
from absint.engine.evidence import BOX, ROWS
from absint.engine.float32_executions import execution_noise
from absint.engine.rows import Rows, Sense
from absint.errors import PluginError, UnsupportedError
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.graph import Node
from absint.model.op import Input
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics, no_lower, no_lower_, no_upper, no_upper_
from absint.problem.spec import Spec

E = TypeVar("E")


@dataclass(frozen=True, eq=False)
class Walked(Generic[E]):
    """The output's element, the elements asked to be kept, and the context whose `known` is total."""

    element: E
    kept: dict[str, E]
    ctx: Context


def analyse(domain: Domain[E], ctx: Context, keep: frozenset[str] = frozenset()) -> Walked[E]:
    """Carry the region through the whole graph. `ctx.known` may hold bounds proved elsewhere; they are met in.

    Raises DeadlineError, UnsupportedError E-DTYPE where a constant does not survive the conversion to the matrix
    format, and PluginError where proved bounds contradict each other although nothing was assumed.
    """
    graph, num = ctx.graph, ctx.numerics
    # Parameters of a step are in the format of the step, and looked through when the network is done.
    for dtype in () if graph.live and not num.rounding else {num.dtype, num.vector}:
        if not graph.fits(dtype, ctx.budget.check):
            raise UnsupportedError("E-DTYPE", f"some constants underflow or overflow in {dtype}", where=graph.source.path or None,
                                   hint="use --dtype float64")
    # The walk fills these mappings in place; every context handed out by the caller stays as it was.
    ctx = replace(ctx, known=dict(ctx.known), reference={}, drift={}, noise={}, memo={})
    traits = domain.traits
    # The domain and its helpers. Who answers for intermediate nodes: a scout first, then the domain itself, mostly, or its guide.
    team: tuple[Domain[Any], ...] = (domain, *traits.helpers)
    first = () if traits.scout is None else (len(team) - 1,)
    few = _asked_at_the_end(ctx, keep)
    reference = ctx.region.beyond_hull or any(member.traits.reference for member in team)
    elements: dict[str, tuple[Any, ...]] = {}
    kept: dict[str, E] = {}
    tightened: set[str] = set()
    for node in graph.nodes:
        ctx.budget.check()
        if isinstance(node.op, Input):
            _enter(node, ctx, reference=reference)
            element = tuple(member.start(node, ctx) for member in team)
        else:
            if isinstance(node.op, Nonlinear):
                for position, name in enumerate(node.inputs):
                    if name not in tightened:
                        # What has no more entries than rows are asked for in the end costs no more than those: no guide is needed.
                        own = traits.guide is None or graph[name].size <= few
                        for who in (*first, 0 if own else 1):
                            _tighten(team[who], node, node.op, position, elements[name][who], ctx)
                        tightened.add(name)
            _visit(node, ctx, reference=reference)
            here = _holding(elements, ctx)
            element = tuple(transfer(member, node, [elements[i][k] for i in node.inputs], here) for k, member in enumerate(team))
        elements[node.name] = element
        if node.name in keep:
            kept[node.name] = element[0]
        for name in set(node.inputs):
            if graph.last_use[name] == node.name:
                del elements[name]
    return Walked(elements[graph.output.name][0], kept, ctx)


def _asked_at_the_end(ctx: Context, keep: frozenset[str]) -> int:
    """Rows of an instance that whoever walks is going to bound: those of the property, and the entries of what is kept."""
    return (0 if ctx.target is None else len(ctx.target.disjunct)) + sum(ctx.graph[name].size for name in keep)


def _holding(elements: Mapping[str, Any], ctx: Context) -> Context:
    """The context with the budget less what the elements hold; itself where they hold nothing that counts."""
    held = held_bytes(elements)
    return ctx if held < ctx.budget.memory >> 4 else replace(ctx, budget=replace(ctx.budget, held=held))


def margins(domain: Domain[Any], ctx: Context, spec: Spec) -> tuple[Interval, Context]:
    """Certified lower bounds (batch, rows) of the property's rows; +inf where what was assumed leaves no input.

    Sound: the property holds for every input of instance i if spec.margin(lower)[i] > 0 (with rounding on).
    """
    result = analyse(domain, replace(ctx, target=spec))
    return row_bounds(domain, result.element, result.ctx, spec), result.ctx


def row_bounds(domain: Domain[Any], element: Any, ctx: Context, spec: Spec, live: Tensor | None = None) -> Interval:
    """Bounds of the property's rows from an analysed output element; see `margins`. live: (batch, rows) bool, which to ask."""
    live = None if live is None or bool(live.all()) else live
    rows = Rows.of_spec(ctx.graph.output.name, spec, ctx.graph.output.shape, live)
    found = domain.bounds(element, rows, ctx, Sense.LOWER)
    if found.lower.shape != (len(rows),):
        raise PluginError("E-PLUGIN-CONTRACT", f"bounds returned shape {tuple(found.lower.shape)} for {len(rows)} rows",
                          where=type(domain).__name__)
    best, recorder = no_lower(found.lower), ctx.recording
    if recorder is not None:
        recorder.rows(rows, best, ROWS)
    if not (domain.traits.alone or best.requires_grad):
        # What is known of the output's entries may be attained, or come from a closed form; the domain's relaxations round.
        box = _of_the_box(rows, ctx).to(best)
        best = torch.maximum(best, box)
        if recorder is not None:
            recorder.rows(rows, box, BOX)
    lower = _spread_rows(best, live, -inf).reshape(spec.bias.shape)
    slack = None if found.slack is None else _spread_rows(found.slack, live, 0.0).reshape(spec.bias.shape)
    solver = _solver(found, rows, ctx)
    empty = ctx.empty
    if recorder is not None:
        recorder.void(empty)
        if solver is not None:
            recorder.distrust(solver)
    lower = torch.where(empty[:, None], inf, lower)
    return Interval(lower, torch.full_like(lower, inf), solver, slack)


def _of_the_box(rows: Rows, ctx: Context) -> Tensor:
    """(R,) lower bounds of rows over the known box of their node; none where anything known rests on a solver's word."""
    lower = lower_over(rows, ctx.known[rows.node].filled)
    words = [known.solver for known in ctx.known.values() if known.solver is not None]
    return torch.where(torch.stack(words).any(0)[rows.instance], -inf, lower) if words else lower


def _spread_rows(values: Tensor, live: Tensor | None, rest: float) -> Tensor:
    """(R,) values of the live rows among all rows of the property."""
    if live is None:
        return values
    out = torch.full(live.shape, rest, dtype=values.dtype, device=values.device)
    out[live] = values
    return out


def _solver(found: Interval, rows: Rows, ctx: Context) -> Tensor | None:
    """(batch,) bool: instances whose bounds rest on a solver's unproved number, in the rows or in anything known."""
    flags = [known.solver for known in ctx.known.values() if known.solver is not None]
    if found.solver is not None:
        flags.append(_per_instance(found.solver, rows, ctx.batch))
    return torch.stack(flags).any(0) if flags else None


def _per_instance(flag: Tensor, rows: Rows, batch: int) -> Tensor:
    out = torch.zeros(batch, dtype=torch.bool, device=flag.device)
    out[rows.instance[flag]] = True
    return out


def boxes(ctx: Context) -> Context:
    """The walk without a domain: `known` of every node by box steps alone."""
    ctx = replace(ctx, known=dict(ctx.known), reference={}, drift={}, noise={}, memo={})
    for node in ctx.graph.nodes:
        if isinstance(node.op, Input):
            _enter(node, ctx, reference=ctx.region.beyond_hull)
        else:
            _visit(node, ctx, reference=ctx.region.beyond_hull)
    return ctx


def tensor_bounds(domain: Domain[Any], ctx: Context, tensors: tuple[str, ...]) -> dict[str, Interval]:
    """Bounds of every entry of the named nodes: the domain's own, met with everything known."""
    return kept_bounds(domain, analyse(domain, ctx, frozenset(tensors)))


def kept_bounds(domain: Domain[Any], result: Walked[Any]) -> dict[str, Interval]:
    """What `tensor_bounds` says of the elements that an analysis kept."""
    ctx = result.ctx
    return {name: ctx.known[name].meet(_all_entries(domain, ctx.graph[name], element, ctx)) for name, element in result.kept.items()}


def _all_entries(domain: Domain[E], node: Node, element: E, ctx: Context) -> Interval:
    whole = domain.hull(element, ctx)
    if whole is not None:
        return whole
    every = torch.ones((ctx.batch, *node.shape), dtype=torch.bool, device=ctx.numerics.device)
    return _scatter(domain, node, element, Rows.units(node.name, every), ctx)


def _enter(node: Node, ctx: Context, *, reference: bool) -> None:
    """The region's hull and centre at the input."""
    num, box = ctx.numerics, ctx.region.hull
    hull = Interval(box.lower.to(num.device), box.upper.to(num.device), proper=box.proper) if num.device.type != "cpu" else box
    _learn(ctx, node, hull.to(num.vector))
    if reference:
        _store(ctx.reference, node, ctx.region.center.to(device=num.device, dtype=num.vector))


def _store(mapping: Mapping[str, Tensor], node: Node, value: Tensor) -> None:
    """Write into a mapping that this walk owns."""
    assert isinstance(mapping, dict)
    mapping[node.name] = value


def _visit(node: Node, ctx: Context, *, reference: bool) -> None:
    """One box step and one step of the reference trajectory."""
    if ctx.numerics.float32_semantics:
        noise = execution_noise(node, ctx)
        if noise is not None:
            _store(ctx.noise, node, noise)
    _learn(ctx, node, box_step(node, ctx))
    if not reference:
        return
    centers = [ctx.reference[i] for i in node.inputs]
    here = node.op.forward(*centers)
    _store(ctx.reference, node, here)
    if isinstance(node.op, Linear):
        _store(ctx.drift, node, _drift(node.op, centers, here, ctx))
        if ctx.region.beyond_hull:
            found = affine_bounds(node, node.op, ctx)
            if found is not None:
                _learn_checked(ctx, node, found)


def _drift(op: Linear, centers: list[Tensor], here: Tensor, ctx: Context) -> Tensor:
    """Bound on |here - (L c + b)|: gamma_{n+2} (|L||c| + |b|) plus underflow, plus what passes left in b."""
    num = ctx.numerics
    if op.exact or not num.rounding:
        return torch.zeros_like(here)
    if op.single:
        return op.lost(here, tuple(centers), num)
    size = op.apply_abs(*(c.abs() for c in centers))
    if op.offset is not None:
        size = size + op.constant("offset", here, absolute=True)
    drift = size * (num.vector_gamma(op.forward_terms + 4) * (1 + num.vector_gamma(op.forward_terms + 4)))
    if op.offset_error is not None:
        drift = drift + op.constant("offset_error", here) * (1 + num.vector_gamma(4))
    return drift + 2 * op.forward_terms * num.vector_floor


def _learn(ctx: Context, node: Node, interval: Interval) -> None:
    """Meet into `known`, then apply what is assumed."""
    name = node.name
    met = ctx.met(name, interval) if name in ctx.known else interval
    if name in ctx.assumed:
        met = met.meet(ctx.assumed[name])
    _store_known(ctx, node, met)


def _store_known(ctx: Context, node: Node, interval: Interval) -> None:
    """Write into the bounds that this walk owns."""
    assert isinstance(ctx.known, dict)
    ctx.known[node.name] = interval


def _tighten(domain: Domain[E], node: Node, op: Nonlinear, position: int, element: E, ctx: Context) -> None:
    """Ask the domain for the bounds that matter to `node`, and learn them."""
    name = node.inputs[position]
    if domain.traits.alone:
        _replace(ctx, ctx.graph[name], _all_entries(domain, ctx.graph[name], element, ctx))
        return
    whole = domain.hull(element, ctx)
    if whole is not None:
        if ctx.known[name] is not whole:
            _learn_checked(ctx, ctx.graph[name], whole)
        return
    rows = Rows.units(name, op.undecided(ctx.inputs(node.inputs))[position])
    if not len(rows):
        return
    if ctx.budget.ending:
        ctx.cut_short(f"time left no more intermediate bounds from '{name}' on: there they are boxes")
        return
    _learn_checked(ctx, ctx.graph[name], _scatter(domain, ctx.graph[name], element, rows, ctx))


def _scatter(domain: Domain[E], node: Node, element: E, rows: Rows, ctx: Context) -> Interval:
    """Bounds of the entries that unit rows name, as a dense interval, infinite elsewhere."""
    assert rows.index is not None
    found = domain.bounds(element, rows, ctx, Sense.BOTH)
    if found.lower.shape != (len(rows),) or found.upper.shape != (len(rows),):
        raise PluginError("E-PLUGIN-CONTRACT", f"bounds returned shape {tuple(found.lower.shape)} for {len(rows)} rows",
                          where=type(domain).__name__)
    num = ctx.numerics
    lower = torch.full((ctx.batch, node.size), -inf, dtype=num.vector, device=num.device)
    upper = torch.full((ctx.batch, node.size), inf, dtype=num.vector, device=num.device)
    ends = Interval(no_lower(found.lower), no_upper(found.upper)).to(num.vector)  # a domain in another format rounds outward here
    lower[rows.instance, rows.index], upper[rows.instance, rows.index] = ends.lower, ends.upper
    solver = None if found.solver is None else _per_instance(found.solver, rows, ctx.batch)
    return Interval(lower.reshape(-1, *node.shape), upper.reshape(-1, *node.shape), solver)


def _learn_checked(ctx: Context, node: Node, interval: Interval) -> None:
    """Learn a domain's bounds. Two sound enclosures of one non-empty set cannot miss each other."""
    before = ctx.known[node.name]
    _learn(ctx, node, interval)
    if ctx.assumed or not ctx.numerics.rounding:
        return
    met = ctx.known[node.name]
    if bool((met.empty & ~before.empty).any()):
        raise PluginError("E-CONTRADICTION", f"the bounds found for '{node.name}' exclude bounds already proved",
                          hint="the domain, or an operator, is unsound: run absint.testing.kit.check_domain on it")
    if before.proper:
        _store_known(ctx, node, replace(met, proper=True))  # as was just read: nobody needs to look again


def _replace(ctx: Context, node: Node, interval: Interval) -> None:
    """Let a domain's bounds stand alone, after the check that `_learn_checked` makes."""
    _learn_checked(ctx, node, interval)
    _store_known(ctx, node, interval.meet(ctx.assumed[node.name]) if node.name in ctx.assumed else interval)


def box_step(node: Node, ctx: Context) -> Interval:
    """One interval step from `known`, rounded outward; Box is exactly this (Gowal et al. 2018, section 3).

    docs/soundness.md, section "Box", proves that lower = fl(c' - R), upper = fl(c' + R) need no further rounding.
    """
    if live_steps.applies(ctx):
        return live_steps.live_step(node, ctx)
    op, num = node.op, ctx.numerics
    inputs = ctx.inputs(node.inputs)
    if isinstance(op, Nonlinear):
        image = op.range(inputs, num)
    elif isinstance(op, Linear) and op.exact:
        lower, upper = op.apply(*(i.lower for i in inputs)), op.apply(*(i.upper for i in inputs))
        image = Interval(lower, upper, proper=all(i.proper for i in inputs))
    elif isinstance(op, Linear) and op.single:
        image = _single_box(op, inputs, num)
    else:
        assert isinstance(op, Linear)
        image = _linear_box(op, inputs, ctx)
    closed = closed_form(node, ctx)
    image = image if closed is None else image.meet(closed)
    if node.name in ctx.noise:
        noise = ctx.noise[node.name]
        image = Interval(num.down(image.lower - noise), num.up(image.upper + noise))
    return image


def _single_box(op: Linear, inputs: tuple[Interval, ...], num: Numerics) -> Interval:
    """Both ends through the operator, which sorts them anew where it turns a sign; they err only where they leave the normal numbers."""
    lows, highs = tuple(i.lower for i in inputs), tuple(i.upper for i in inputs)
    one, two = op.forward(*lows), op.forward(*highs)
    error = torch.maximum(op.lost(one, lows, num), op.lost(two, highs, num))
    lower, upper = torch.minimum(one, two) - error, torch.maximum(one, two) + error
    if num.rounding and bool((error != 0).any()):
        lower, upper = torch.where(error != 0, num.down(lower), lower), torch.where(error != 0, num.up(upper), upper)
    return Interval(no_lower(lower), no_upper(upper), proper=all(i.proper for i in inputs))


def _linear_box(op: Linear, inputs: tuple[Interval, ...], ctx: Context) -> Interval:
    # Few operations, in place on what is this function's own: beside the two products this is all that Box costs.
    num = ctx.numerics
    g = num.vector_gamma(2 * (op.forward_terms + 10))
    centers, radii = [], []
    for interval in inputs:
        total = interval.lower + interval.upper
        # Both factors (1 + g) of the derivation at once: |L| (rho (1 + g)) = (|L| rho)(1 + g).
        radius = (interval.upper - interval.lower).mul_(0.5 * (1 + g) ** 2)
        if num.rounding:
            radius.add_(total.detach().abs(), alpha=0.5 * g * (1 + g) ** 2)
        centers.append(total.mul_(0.5))
        radii.append(radius)
    center, reach = op.forward(*centers), op.apply_abs(*radii)
    if num.rounding:
        reach = reach + _box_constant(op, radii, g, num)
    lower, upper = no_lower_(center - reach), no_upper_(center + reach)
    if op.nonnegative:
        least = torch.stack([i.lower.flatten(1).amin(1) for i in inputs]).amin(0) if len(inputs) > 1 else inputs[0].lower.flatten(1).amin(1)
        lower = torch.where((least >= 0).reshape(-1, *(1,) * (lower.dim() - 1)), lower.clamp(min=0), lower)
    return Interval(lower, upper, proper=all(i.proper for i in inputs))


def _box_constant(op: Linear, radii: list[Tensor], g: float, num: Numerics) -> Tensor:
    """g |b| + db + eta + |L| 2 tiny, the part of the radius that no input changes; kept with the operator's constants."""
    like = radii[0]
    return op.derived(("box", num.rounding, like.shape[1:]), like, lambda: _make_box_constant(op, radii, g, num))


def _make_box_constant(op: Linear, radii: list[Tensor], g: float, num: Numerics) -> Tensor:
    # The floor inside |L| replaces what g |c| lost by underflow; it matters under a huge |L|.
    floor = op.apply_abs(*(torch.full_like(r[:1].detach(), 4 * num.vector_floor) for r in radii)) * (1 + g) ** 2
    constant: Tensor = floor + 4 * op.forward_terms * num.vector_floor
    if op.offset is not None:
        constant = constant + op.constant("offset", floor, absolute=True) * (g * (1 + g))
    if op.offset_error is not None:
        constant = constant + op.constant("offset_error", floor) * (1 + g)
    return constant
