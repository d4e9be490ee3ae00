"""What the conformance kit asks of a domain's own arithmetic. Private to `absint.testing`, which names and reports each check.

On a network whose output is its input, moved or scaled by one factor an entry, the exact bounds of every row over a box are a sum of
products of floats. Nothing hides a missing rounding there: no wide relaxation, no slack of another layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from math import inf
from typing import Any

import numpy as np
import torch

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import analyse, margins, tensor_bounds
from absint.engine.rows import Rows, Sense
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.model.op import Op
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Identity
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion, LinfBall, Region
from absint.problem.spec import Spec
from absint.testing.probes import (
    IDENTITIES,
    OFF,
    POSITIVE,
    SCALED,
    Array,
    Probe,
    both_signs,
    boxes,
    chain,
    drowned,
    held,
    magnitudes,
    products,
    sums,
    triples,
)
from absint.testing.report import KitClaim
from absint.testing.truth import FLOAT64, ExactTensor, Failures, evaluate, format_label, formats, outside

# ---- truth ------------------------------------------------------------------------------------------------------------


def _exact(graph: Graph, low: ExactTensor, high: ExactTensor, weight: Array, bias: Array) -> tuple[ExactTensor, ExactTensor]:
    """Exact bounds of the rows weight . y + bias, for an affine graph; low, high: (R, n), the box of each row's instance.

    What the last operator's offset may be off by counts as a value that it may have.
    """
    n = graph.input.size
    shift = evaluate(graph, np.zeros((1, n)))[graph.output.name]
    matrix = evaluate(graph, np.eye(n))[graph.output.name] - shift
    rows = ExactTensor.of(weight)
    total = rows @ ExactTensor(shift.value.T, shift.exponent) + ExactTensor.of(bias.reshape(-1, 1))
    each = rows @ ExactTensor(matrix.value.T, matrix.exponent)
    one, two = each * low, each * high
    below = one.at_most(two)
    least, most = one.where(below, two).reduce("sum", 1) + total.reshape(-1), two.where(below, one).reduce("sum", 1) + total.reshape(-1)
    error = graph.output.op.offset_error if isinstance(graph.output.op, Linear) else None
    if error is not None:
        off = (rows.abs() @ ExactTensor.of(error.expand(graph.output.shape).reshape(-1, 1))).reshape(-1)
        least, most = least - off, most + off
    return least, most


def _region_truth(region: Region) -> tuple[ExactTensor, ExactTensor]:
    """(batch, n) exact ends of a box or an l-infinity ball."""
    if isinstance(region, LinfBall):
        center, eps = ExactTensor.of(region.center), ExactTensor.of(region.eps)
        return center - eps, center + eps
    assert isinstance(region, BoxRegion)
    return ExactTensor.of(region.lower), ExactTensor.of(region.upper)


def _wrong(found: Interval, truth: tuple[ExactTensor, ExactTensor], count: int, num: Numerics) -> Failures:
    """What is wrong with the answer to `count` rows."""
    for side in (found.lower, found.upper):
        if tuple(side.shape) != (count,):
            yield f"`bounds` answers {count} rows by shape {tuple(side.shape)}"
            return
        if side.dtype != num.vector:
            yield f"bounds come in {side.dtype}, not in the vector format {num.vector}, and would be rounded to nearest"
            return
    problem = outside(found.lower, found.upper, *truth) if count else None
    if problem is not None:
        yield problem


# ---- checks -----------------------------------------------------------------------------------------------------------


def _units(region: Region, shape: tuple[int, ...], node: str) -> Rows:
    return Rows.units(node, torch.ones((region.batch, *shape), dtype=torch.bool))


def ask(domain: Domain[Any], graph: Graph, region: Region, rows: Probe, num: Numerics, senses: tuple[Sense, ...]) -> Failures:
    """The weighted rows in every sense, every entry by unit rows, and the hull."""
    output = graph.output
    result = analyse(domain, Context(graph, region, num))
    low, high = _region_truth(region)
    asked = Rows(output.name, torch.from_numpy(rows.instance), torch.from_numpy(rows.weight).reshape(-1, *output.shape), None,
                 torch.from_numpy(rows.bias))
    truth = _exact(graph, low[rows.instance], high[rows.instance], rows.weight, rows.bias)
    for sense in senses:
        found = domain.bounds(result.element, asked, result.ctx, sense)
        yield from (f"weighted rows, {sense.name}: {line}" for line in _wrong(found, truth, len(asked), num))
    units = _units(region, output.shape, output.name)
    index, eye = units.instance.numpy(), np.eye(output.size)[units.index.numpy()]  # type: ignore[union-attr]
    entries = _exact(graph, low[index], high[index], eye, np.zeros(len(index)))
    found = domain.bounds(result.element, units, result.ctx, Sense.BOTH)
    yield from (f"unit rows: {line}" for line in _wrong(found, entries, len(units), num))
    whole = domain.hull(result.element, result.ctx)
    if whole is not None:
        problem = outside(whole.lower, whole.upper, *entries)
        if problem is not None:
            yield f"`hull`: {problem}"


@cache
def _probe(make: Callable[[type], Probe], bits: type) -> Probe:
    return make(bits)


def _bits(num: Numerics) -> Iterator[type]:
    """The formats whose numbers are tried: with float32 matrices, values that float32 holds and values that it does not."""
    yield np.float64
    if num.dtype == torch.float32:
        yield np.float32


def _probed(domain: Domain[Any], makes: tuple[Callable[[type], Probe], ...], nets: dict[str, Callable[[int], tuple[Op, ...]]],
            senses: tuple[Sense, ...] = (Sense.BOTH,)) -> Failures:
    """Every probe through every network, in every format."""
    for num in formats(domain):
        for bits in _bits(num):
            for make in makes:
                probe = _probe(make, bits)
                region = BoxRegion(torch.from_numpy(probe.lower), torch.from_numpy(probe.upper))
                for name, ops in nets.items():
                    where, graph = f"{probe.text} through '{name}' in {format_label(num)}", chain(probe.size, *ops(probe.size))
                    yield from (f"{where}: {line}" for line in ask(domain, graph, region, probe, num, senses))


def _check_cancelling(domain: Domain[Any]) -> Failures:
    """Rows whose terms cancel have bounds that enclose the exact remainder, through networks that only move their input."""
    yield from _probed(domain, (triples,), IDENTITIES | POSITIVE)
    yield from _probed(domain, (sums,), {"y = x": IDENTITIES["y = x"]})


def _check_boxes(domain: Domain[Any]) -> Failures:
    """Entries and rows of a box that is carried along unchanged have bounds that contain the box."""
    yield from _probed(domain, (boxes,), IDENTITIES)


def _check_products(domain: Domain[Any]) -> Failures:
    """A single product has bounds that contain it, also where no float is equal to it."""
    yield from _probed(domain, (products,), {"y = x": IDENTITIES["y = x"]} | SCALED)


def _check_long(domain: Domain[Any]) -> Failures:
    """Sums of a thousand terms lose what a thousand roundings may lose, in rows and in linear operators."""
    for num in formats(domain):
        for bits in _bits(num):
            probe = _probe(drowned, bits)
            region = BoxRegion(torch.from_numpy(probe.lower), torch.from_numpy(probe.upper))
            total = (ExactTensor.of(probe.weight) * ExactTensor.of(probe.lower)).reduce("sum", 1)
            add = Gemm(torch.from_numpy(probe.weight[:1]))
            for what, op, weight in (("a row", Identity(), probe.weight), ("an operator", add, np.array([[1.0], [-1.0]]))):
                graph = chain(probe.size, op)
                result = analyse(domain, Context(graph, region, num))
                rows = Rows(graph.output.name, torch.from_numpy(probe.instance), torch.from_numpy(weight))
                found = domain.bounds(result.element, rows, result.ctx, Sense.BOTH)
                yield from (f"{probe.text} summed by {what} in {format_label(num)}: {line}"
                            for line in _wrong(found, (total, total), len(rows), num))
            whole = tensor_bounds(domain, Context(graph, region, num), (graph.output.name,))[graph.output.name]
            problem = outside(whole.lower, whole.upper, total[:1], total[:1])
            if problem is not None:
                yield f"{probe.text} summed by an operator in {format_label(num)}: bounds of the sum: {problem}"


def _check_offset_error(domain: Domain[Any]) -> Failures:
    """An operator's `offset_error`, what folding constants may have lost, widens its result."""
    yield from _probed(domain, (boxes,), OFF)


def _check_magnitudes(domain: Domain[Any]) -> Failures:
    """Rows that overflow have infinite bounds, rows that underflow ones that contain what was lost."""
    yield from _probed(domain, (magnitudes,), {"y = x": IDENTITIES["y = x"]})


def _check_senses(domain: Domain[Any]) -> Failures:
    """Whatever side is asked for, each side of the answer holds, and the one asked for is finite."""
    yield from _probed(domain, (boxes,), {"y = x": IDENTITIES["y = x"]}, (Sense.LOWER, Sense.UPPER))
    probe = _probe(boxes, np.float64)
    region = BoxRegion(torch.from_numpy(probe.lower), torch.from_numpy(probe.upper))
    rows = Rows("x", torch.from_numpy(probe.instance), torch.from_numpy(probe.weight), None, torch.from_numpy(probe.bias))
    result = analyse(domain, Context(chain(probe.size, Identity()), region, FLOAT64))
    rows = replace(rows, node=result.ctx.graph.output.name)
    for sense in Sense:
        found = domain.bounds(result.element, rows, result.ctx, sense)
        for side, values in ((Sense.LOWER, found.lower), (Sense.UPPER, found.upper)):
            if sense in (side, Sense.BOTH) and not bool(values.isfinite().all()):
                yield f"{sense.name} is asked for, but {int((~values.isfinite()).sum())} of {len(rows)} {side.value} bounds are infinite"


def _check_layout(domain: Domain[Any]) -> Failures:
    """Rows mean the same however many an instance has: none, several, or as many as every other."""
    probe = _probe(boxes, np.float64)
    graph = chain(probe.size, Identity())
    low, high = ExactTensor.of(probe.lower), ExactTensor.of(probe.upper)
    region = BoxRegion(torch.from_numpy(probe.lower), torch.from_numpy(probe.upper))
    random = np.random.default_rng(47)
    for num in formats(domain):
        result = analyse(domain, Context(graph, region, num))
        for what, instance in (("no row", np.zeros(0, dtype=int)), ("rows of one instance", np.array([3, 3, 3])),
                               ("one row of most instances", np.array([0, 2, 4, 5])), ("two rows each", np.arange(6).repeat(2))):
            weight, bias = random.normal(size=(len(instance), probe.size)), random.normal(size=len(instance))
            grid = (6, 2) if len(instance) == 12 else None
            rows = Rows(graph.output.name, torch.from_numpy(instance), torch.from_numpy(weight), None, torch.from_numpy(bias), grid)
            truth = _exact(graph, low[instance], high[instance], weight, bias) if len(instance) else (low, high)
            found = domain.bounds(result.element, rows, result.ctx, Sense.BOTH)
            yield from (f"{what} in {format_label(num)}: {line}" for line in _wrong(found, truth, len(rows), num))


def _check_balls(domain: Domain[Any]) -> Failures:
    """A ball that is given by centre and radius is contained exactly, although its ends are no floats."""
    random = np.random.default_rng(48)
    for num in formats(domain):
        for bits in _bits(num):
            center = held(random.random(size=(12, 8)), bits)
            eps = torch.from_numpy(held(10.0 ** random.integers(-12, 0, size=(12, 8)) / 3, bits))
            rows: list[tuple[int, Array, float]] = []
            for instance in range(12):
                rows += both_signs(instance, random.normal(size=8), float(random.normal()))
            probe = Probe.of("balls", (center, center), rows)
            region = LinfBall(torch.from_numpy(center), eps, None)
            found = ask(domain, chain(8, Identity()), region, probe, num, (Sense.BOTH,))
            yield from (f"{probe.text} in {format_label(num)}: {line}" for line in found)


def _check_infinite(domain: Domain[Any]) -> Failures:
    """Where a box has infinite ends, or is so large that sums overflow, no bound is NaN, and none excludes a value."""
    for num in formats(domain):
        top = float(torch.finfo(num.vector).max)
        lower = np.array([[-1.0, 0.5], [-1.0, 0.5], [-top, 0.6 * top], [0.9 * top, -top]])
        upper = np.array([[2.0, 0.7], [2.0, 0.7], [top, top], [top, 0.1]])
        region = BoxRegion(torch.from_numpy(lower), torch.from_numpy(upper))
        graph = chain(2, Identity())
        ctx = analyse(domain, Context(graph, region, num)).ctx
        box = ctx.known[graph.output.name]
        low, high = box.lower.clone(), box.upper.clone()
        low[0], high[0], high[1] = -inf, inf, inf
        ctx = replace(ctx, known={**ctx.known, graph.output.name: Interval(low, high)}, memo={})
        element = domain.enclose(graph.output, Interval(low, high), ctx)
        instance = np.arange(4).repeat(3)
        weight = np.tile([[1.0, -1.0], [0.0, 0.0], [1e-3, 1.0]], (4, 1))
        rows = Rows(graph.output.name, torch.from_numpy(instance), torch.from_numpy(weight), None, torch.zeros(12, dtype=torch.float64))
        truth = _exact(graph, ExactTensor.of(lower)[instance], ExactTensor.of(upper)[instance], weight, np.zeros(12))
        found = domain.bounds(element, rows, ctx, Sense.BOTH)
        yield from (f"weighted rows in {format_label(num)}: {line}" for line in _wrong(found, truth, 12, num))
        units = _units(region, (2,), graph.output.name)
        found = domain.bounds(element, units, ctx, Sense.BOTH)
        yield from (f"unit rows in {format_label(num)}: {line}"
                    for line in _wrong(found, (ExactTensor.of(lower).reshape(-1), ExactTensor.of(upper).reshape(-1)), 8, num))


def _check_memory(domain: Domain[Any]) -> Failures:
    """What was assumed in one analysis, or true of another box, is forgotten in the next."""
    signs = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    graph = chain(2, Affine(signs[0]), Relu(), Gemm(signs))
    node = graph.nodes[1].name
    small, large = (BoxRegion(torch.full((2, 2), -r, dtype=torch.float64), torch.full((2, 2), r, dtype=torch.float64)) for r in (0.5, 2.0))
    spec = Spec.rows(signs.reshape(1, 2, 1).repeat(2, 1, 1), torch.zeros(2, 2, dtype=torch.float64))
    cut = Interval(torch.full((2, 2), -inf, dtype=torch.float64), torch.full((2, 2), 0.25, dtype=torch.float64))
    for num in formats(domain):
        margins(domain, Context(graph, large, num, assumed={node: cut.to(num.vector)}), spec)
        margins(domain, Context(graph, small, num), spec)
        found, _ = margins(domain, Context(graph, large, num), spec)
        truth = ExactTensor.of(np.full(4, -2.0))
        problem = outside(found.lower, found.upper, truth, truth)
        hull = tensor_bounds(domain, Context(graph, large, num), (node,))[node]
        problem = problem or outside(hull.lower, hull.upper, ExactTensor.of(np.full(4, -2.0)), ExactTensor.of(np.full(4, 2.0)))
        if problem is not None:
            yield f"[-2, 2]^2, after a split at 0.25 and after [-0.5, 0.5]^2, in {format_label(num)}: {problem}"


ROWS: dict[str, KitClaim] = {
    "rows/cancelling": KitClaim(
        _check_cancelling, "`bounds` of weighted rows: each product and each sum rounds (`box_rows` accounts for it)"),
    "rows/boxes": KitClaim(_check_boxes, "`enclose`, `hull`, `bounds`: a centre rounds, so round the radius up and the ends outward"),
    "rows/products": KitClaim(
        _check_products, "`linear` and `bounds`: a product rounds, and so does a weight that is converted to float32"),
    "rows/long": KitClaim(_check_long, "the number of terms that `gamma` is given: those of a row, or `op.forward_terms`, and a few more"),
    "rows/offset-error": KitClaim(_check_offset_error, "`linear`: `op.constant(\"offset_error\", like)` belongs into the radius"),
    "rows/magnitudes": KitClaim(_check_magnitudes, "`bounds`: `num.down` and `num.up` of an overflow, `num.vector_floor` for an underflow"),
    "rows/senses": KitClaim(_check_senses, "`bounds`: what it makes of `sense`"),
    "rows/layout": KitClaim(_check_layout, "`bounds`: `rows.instance` and the padded layout (`padded`, `padded_bias`, `unpadded`)"),
    "rows/balls": KitClaim(_check_balls, "`start`: use the hull that is known, or round what the region's centre and radius give outward"),
    "rows/infinite": KitClaim(
        _check_infinite, "`enclose` and `bounds`: inf - inf and 0 * inf are NaN, which must become an infinite bound"),
    "memory": KitClaim(_check_memory, "what is kept between calls: `ctx.known`, `ctx.assumed` and the region belong to one analysis"),
}
