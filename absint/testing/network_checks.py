"""What the conformance kit asks of a domain on small networks. Private to `absint.testing`, which names and reports each check."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import analyse, kept_bounds, margins, row_bounds, tensor_bounds
from absint.engine.from_relaxations import combined
from absint.errors import UnsupportedError
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.search import Beyond, run_out
from absint.testing.networks import NETS, SCALES, BoxCase, case, network
from absint.testing.report import KitClaim, raised
from absint.testing.truth import FLOAT64, ExactTensor, Failures, evaluate, format_label, formats, outside


def _context(c: BoxCase, num: Numerics) -> Context:
    return Context(network(c.name, c.scale), c.region, num)


def _proved(domain: Domain[Any], ctx: Context, c: BoxCase, beyond: Beyond | None) -> Failures:
    """Margins, what is said of whole disjuncts, and the bounds of all nodes enclose the exact values; by one analysis."""
    result = analyse(domain, replace(ctx, target=c.spec), frozenset(node.name for node in ctx.graph.nodes))
    found = row_bounds(domain, result.element, result.ctx, c.spec)
    wrong = outside(found.lower, found.upper, c.rows, c.rows)
    if wrong is not None:
        yield f"margins (rows of the property): {wrong}"
    best = c.spec.refutation(found.lower)
    for refuted in (combined(domain.traits, c.spec, best, result.ctx), run_out(beyond, result.ctx, c.spec, best)):
        if refuted is None:  # each row is a disjunct; +inf says that no input is left
            continue
        wrong = outside(refuted.lower, torch.full_like(refuted.lower, inf), c.rows, c.rows)
        if wrong is not None:
            yield f"refuted disjuncts (rows of the property): {wrong}"
    for name, bound in kept_bounds(domain, replace(result, ctx=replace(result.ctx, target=None))).items():
        wrong = outside(bound.lower, bound.upper, c.low[name], c.high[name])
        if wrong is not None:
            yield f"bounds of node '{name}' ({type(ctx.graph[name].op).__name__}): {wrong}"


def _enclosed(domain: Domain[Any], ctx: Context, c: BoxCase, beyond: Beyond | None) -> Failures:
    where = f"net '{c.name}' at magnitude {c.scale:g} in {format_label(ctx.numerics)}"
    try:
        yield from (f"{where}: {line}" for line in _proved(domain, ctx, c, beyond))
    except UnsupportedError as error:
        # A refusal is no false proof where float32 cannot hold the constants; elsewhere nothing would be left to check.
        if all(ctx.graph.fits(dtype) for dtype in (ctx.numerics.dtype, ctx.numerics.vector)):
            yield f"{where}: {raised(error)}"
    except Exception as error:  # a stranger's code: whatever it raises is a failure to report, with its place
        yield f"{where}: {raised(error)}"


def _check_net(domain: Domain[Any], name: str, beyond: Beyond | None = None) -> Failures:
    """Bounds of all nodes, and of the property's rows, enclose their exact values at vertices and samples of boxes."""
    for scale in SCALES:
        for num in formats(domain):
            c = case(name, scale)
            yield from _enclosed(domain, _context(c, num), c, beyond)


def _check_overflow(domain: Domain[Any], beyond: Beyond | None = None) -> Failures:
    """Sums beyond the largest float: an infinite bound, never NaN and never a finite one by nextafter."""
    for name in ("gemm", "relu", "residual", "conv", "maximum", "leaky-negative", "sigmoid"):
        for num, scale in zip(formats(domain), (1e307, 1e38), strict=True):
            c = case(name, scale)
            yield from _enclosed(domain, _context(c, num), c, beyond)


def _check_underflow(domain: Domain[Any], beyond: Beyond | None = None) -> Failures:
    """Products below the smallest normal number, magnified afterwards."""
    for num, scale in zip(formats(domain), (1e-300, 1e-30), strict=True):
        c = case("tiny", scale)
        yield from _enclosed(domain, _context(c, num), c, beyond)


def _check_subnormal(domain: Domain[Any], beyond: Beyond | None = None) -> Failures:
    """Subnormal inputs under huge weights: gamma times a magnitude must not underflow to nothing."""
    c = case("huge", 1e-310)
    yield from _enclosed(domain, _context(c, FLOAT64), c, beyond)


def _check_known(domain: Domain[Any], beyond: Beyond | None = None) -> Failures:
    """Bounds proved elsewhere are met in; NaN and infinite ones change nothing."""
    for num in formats(domain):
        for name in ("relu", "residual", "maximum", "tanh"):
            c = case(name, 1.0)
            ctx = _context(c, num)
            proved = analyse(domain, ctx).ctx.known
            yield from _enclosed(domain, replace(ctx, known=dict(proved)), c, beyond)
            void = {k: Interval(-_nothing(v.lower), _nothing(v.upper)) for k, v in proved.items()}
            yield from (f"known bounds of NaN and infinity: {line}" for line in _enclosed(domain, replace(ctx, known=void), c, beyond))


def _nothing(like: Tensor) -> Tensor:
    """NaN and infinity in turn, each the other one in the next instance."""
    turn = torch.arange(like[0].numel()) + torch.arange(len(like))[:, None]
    return torch.where(turn % 2 == 0, torch.nan, inf).to(like).reshape(like.shape)


def _check_zero_width(domain: Domain[Any]) -> Failures:
    """At a point the bounds are as narrow as rounding allows."""
    c = case("residual", 1.0)
    for num, tolerance in zip(formats(domain), (1e-9, 1e-2), strict=True):
        found, _ = margins(domain, _context(c, num), c.spec)
        truth = torch.tensor([float(c.rows[0].fraction(k)) for k in range(3)], dtype=torch.float64)
        if not bool(((found.lower[0].double() - truth).abs() <= tolerance * (1 + truth.abs())).all()):
            yield f"in {format_label(num)} the margins of a single point are {found.lower[0].tolist()}, the exact ones {truth.tolist()}"


def _check_unrounded(domain: Domain[Any]) -> Failures:
    """Without rounding terms the result is close to the sound one."""
    for name in sorted(set(NETS) - {"cancelling", "tiny"}):
        c = case(name, 1.0)
        sound, _ = margins(domain, _context(c, FLOAT64), c.spec)
        plain, _ = margins(domain, _context(c, replace(FLOAT64, rounding=False)), c.spec)
        if not torch.allclose(sound.lower, plain.lower, rtol=1e-7, atol=1e-7):
            yield f"net '{name}': margins with and without rounding differ by {float((sound.lower - plain.lower).abs().max()):.3g}"


def _close(one: Tensor, two: Tensor, num: Numerics) -> bool:
    tolerance = 1e-9 if num.dtype == torch.float64 else 2e-3
    return bool(torch.allclose(one.double(), two.double(), rtol=tolerance, atol=tolerance * float(one.abs().max())))


def _check_batch(domain: Domain[Any]) -> Failures:
    """The same margins alone, in a batch, and in another order."""
    order = torch.tensor([3, 1, 0, 2])
    for name in ("relu", "residual", "conv", "maximum", "tanh"):
        c = case(name, 1.0)
        for num in formats(domain):
            ctx = _context(c, num)
            whole = margins(domain, ctx, c.spec)[0].lower
            turned = margins(domain, ctx.take(order), c.spec.take(order))[0].lower
            alone = torch.cat([margins(domain, ctx.take(i), c.spec.take(i))[0].lower for i in torch.arange(4).split(1)])
            if not _close(whole[order], turned, num):
                yield f"net '{name}' in {format_label(num)}: margins depend on the order of the batch"
            if not _close(whole, alone, num):
                yield f"net '{name}' in {format_label(num)}: margins of one instance differ from those in a batch"


def _check_take(domain: Domain[Any]) -> Failures:
    """Elements taken after the analysis give the bounds of the instances taken."""
    index = torch.tensor([2, 0, 2, 3])
    for name in ("relu", "residual", "maximum"):
        c = case(name, 1.0)
        for num in formats(domain):
            result = analyse(domain, _context(c, num))
            whole = row_bounds(domain, result.element, result.ctx, c.spec).lower
            taken = row_bounds(domain, domain.take(result.element, index), result.ctx.take(index), c.spec.take(index)).lower
            if not _close(whole[index], taken, num):
                yield f"net '{name}' in {format_label(num)}: take changes the bounds"


def _check_split(domain: Domain[Any]) -> Failures:
    """Both halves of a case split enclose the points that lie in them; an empty half, and only it, has margin +inf."""
    for name, where in (("relu", 0), ("leaky-negative", 1), ("tanh", 2), ("residual", 1)):
        c = case(name, 1.0)
        for num in formats(domain):
            ctx = _context(c, num)
            node = ctx.graph.nodes[1]
            values = [evaluate(ctx.graph, points) for points in c.points]
            middle = analyse(domain, ctx).ctx.known[node.name]
            cuts = (0.0, float((middle.lower + middle.upper)[3, where]) / 2, float(middle.upper[:, where].max()) + 1.0)
            for cut in cuts:
                for side in (-1, 1):
                    yield from (f"net '{name}' in {format_label(num)}, {node.name}[{where}] {'<>'[side > 0]}= {cut:g}: {line}"
                                for line in _half(domain, ctx, c, values, (node.name, where, cut, side)))


def _half(
    domain: Domain[Any], ctx: Context, c: BoxCase, values: list[dict[str, ExactTensor]], split: tuple[str, int, float, int],
) -> Failures:
    node, where, cut, side = split
    shape = (ctx.batch, *ctx.graph[node].shape)
    lower = torch.full(shape, -inf, dtype=ctx.numerics.vector)
    upper = torch.full(shape, inf, dtype=ctx.numerics.vector)
    (upper if side < 0 else lower)[:, where] = cut
    cut_exact = ExactTensor.of(float(upper[0, where] if side < 0 else lower[0, where]))
    found, after = margins(domain, replace(ctx, assumed={node: Interval(lower, upper)}), c.spec)
    for instance, value in enumerate(values):
        at = value[node][:, where]
        inside = at.at_most(cut_exact) if side < 0 else cut_exact.at_most(at)
        if inside.any():
            rows = value[ctx.graph.output.name][inside] @ ExactTensor.of(c.spec.weight[instance].T)
            truth = (rows + ExactTensor.of(c.spec.bias[instance].reshape(1, -1))).reduce("min", 0)
            wrong = outside(found.lower[instance], found.upper[instance], truth, truth)
            if wrong is not None:
                yield f"instance {instance}: {wrong}"
    void = torch.isposinf(found.lower).all(1)
    if not torch.equal(void, after.empty) or bool((torch.isposinf(found.lower).any(1) & ~void).any()):
        yield "margins are +inf where the split is not known to be empty, or finite where it is"


def _check_slopes(domain: Domain[Any], beyond: Beyond | None = None) -> Failures:
    """Every choice of the free slopes a domain offers is sound."""
    for name in ("relu", "leaky-2.5", "leaky-negative", "tanh", "maximum"):
        for num in formats(domain):
            c = case(name, 1.0)
            ctx = _context(c, num)
            done = analyse(domain, ctx).ctx
            starts = {node.name: domain.parameters(node, done) for node in ctx.graph.nodes}
            for seed in range(3):
                random = torch.Generator().manual_seed(seed)
                slopes = {k: torch.rand(v.shape, generator=random, dtype=v.dtype) for k, v in starts.items() if v is not None}
                yield from _enclosed(domain, replace(ctx, slopes=slopes), c, beyond)


def _wide_net() -> tuple[Graph, BoxRegion, Spec, Any]:
    """A network of float32 constants with long sums, boxes with float32 corners, and float32 points in them."""
    random = np.random.default_rng(11)
    graph = network("wide", 1.0)
    center = random.normal(size=(3, 1, 96)).astype(np.float32)
    radius = np.array([0, 1e-6, 1e-2], dtype=np.float32)[:, None, None]
    lower, upper = (v.astype(np.float32) for v in (center - radius, center + radius))
    points = np.where(random.random(size=(3, 8, 96)) < 0.5, lower, upper).astype(np.float32)
    region = BoxRegion(torch.from_numpy(lower[:, 0]).double(), torch.from_numpy(upper[:, 0]).double())
    weight = torch.from_numpy(random.normal(size=(3, 2, 2)))
    return graph, region, Spec.rows(weight, torch.zeros(3, 2, dtype=torch.float64)), points


def _float32_runs(graph: Graph, x: Any, random: np.random.Generator) -> dict[str, Any]:
    """One float32 execution with sequential sums in a random order; x: (points, inputs)."""
    values = {graph.input.name: x}
    for node in graph.nodes[1:]:
        source = values[node.inputs[0]]
        if isinstance(node.op, Linear):
            weight = _weight(node.op)
            order = random.permutation(source.shape[1])
            total = np.zeros((len(x), weight.shape[0]), dtype=np.float32)
            for k in order:
                total = total + source[:, k : k + 1] * weight[None, :, k]  # float32 throughout
            bias = node.op.offset
            values[node.name] = total if bias is None else total + bias.numpy().astype(np.float32)
        else:
            values[node.name] = node.op.forward(torch.from_numpy(source)).numpy()
    return values


def _weight(op: Linear) -> Any:
    """The float32 matrix (outputs, inputs) of a dense layer."""
    return op.constants()[0].numpy().astype(np.float32)


def _check_float32(domain: Domain[Any]) -> Failures:
    """`--semantics float32`: bounds also cover float32 executions in any summation order."""
    graph, region, spec, points = _wide_net()
    random = np.random.default_rng(12)
    names = tuple(node.name for node in graph.nodes)
    runs = [[_float32_runs(graph, p, random) for _ in range(6)] for p in points]
    for num in formats(domain):
        ctx = Context(network("wide", 1.0), region, replace(num, float32_semantics=True))
        bounds = tensor_bounds(domain, ctx, names)
        found = margins(domain, ctx, spec)[0]
        for instance, many in enumerate(runs):
            for name in names:
                every = ExactTensor.of(np.concatenate([run[name] for run in many]).astype(np.float64))
                box = bounds[name].take(torch.tensor([instance]))
                wrong = outside(box.lower, box.upper, every.reduce("min", 0), every.reduce("max", 0))
                if wrong is not None:
                    yield f"in {format_label(num)}: '{name}': {wrong}"
            rows = every @ ExactTensor.of(spec.weight[instance].T)
            wrong = outside(found.lower[instance], found.upper[instance], rows.reduce("min", 0), rows.reduce("min", 0))
            if wrong is not None:
                yield f"in {format_label(num)}: margins: {wrong}"


NET = KitClaim(_check_net, "the transformer of the operator named, or the rounding of its result")
DOMAIN: dict[str, KitClaim] = {
    "zero-width": KitClaim(_check_zero_width, "what else than rounding widens the bounds"),
    "unrounded": KitClaim(_check_unrounded, "rounding terms that do not come from `ctx.numerics`, or are far too large"),
    "batch": KitClaim(_check_batch, "sums, maxima or memories that run over the batch axis"),
    "take": KitClaim(_check_take, "`take`: each tensor of the element, in the order of `index`"),
    "split": KitClaim(_check_split, "how `ctx.known` is used where a split is assumed, and `ctx.empty`"),
    "float32-semantics": KitClaim(_check_float32, "`ctx.noise`: what a float32 execution may add at each node"),
}
# These also hold what a stage says of whole disjuncts to the exact values.
ENCLOSED: dict[str, KitClaim] = {
    "overflow": KitClaim(_check_overflow, "`num.down` and `num.up`, which turn overflows and NaN into infinite bounds"),
    "underflow": KitClaim(_check_underflow, "`num.floor` and `num.vector_floor`: what a product loses by underflow is no share of it"),
    "subnormal": KitClaim(_check_subnormal, "terms such as gamma * |x|, which vanish for subnormal x before a weight magnifies them"),
    "known": KitClaim(_check_known, "how bounds in `ctx.known` are met: `Interval.meet` ignores NaN"),
    "slopes": KitClaim(_check_slopes, "`relax`: lines must hold for every slope in [0, 1] that `ctx.slopes` may contain"),
}
