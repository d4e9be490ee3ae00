"""DeepPoly against a naive dense walk, itself in other blocks and with slopes per row, and stored figures of CROWN."""

from __future__ import annotations

import csv
import gzip
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from places import ROOT, SHARED

import absint
from absint.engine.attempts import attempt
from absint.engine.backward import walk as substitute
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import analyse, margins
from absint.engine.rows import Rows, Sense
from absint.errors import UsageError
from absint.model.families.linear import Linear
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sum import Sum
from absint.numeric.backend import Budget, DeadlineError, numeric_mode
from absint.numeric.decimal import parse_eps
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec

FLAT, SOUND, MIXED = Numerics(rounding=False), Numerics(), Numerics(torch.float32)
BATCH, CLASSES = 5, 4


@pytest.fixture(autouse=True)
def _numbers():
    with numeric_mode(), torch.no_grad():
        yield


def deeppoly(**options):
    return DOMAINS.get("deeppoly")(**options)


def values(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def dense_net(widths=(6, 9, 8, 7, CLASSES)):
    build, last = GraphBuilder("x", (widths[0],)), "x"
    for k, (inputs, outputs) in enumerate(pairwise(widths)):
        last = build.add(Gemm(values(k, outputs, inputs), values(50 + k, outputs)), (last,))
        last = build.add(Relu(), (last,)) if k < len(widths) - 2 else last
    return build.graph(last)


def residual_net():
    build = GraphBuilder("x", (1, 6, 6))
    scaled = build.add(Affine(torch.tensor(0.7, dtype=torch.float64), torch.tensor(-0.2, dtype=torch.float64)), ("x",))
    first = build.add(Relu(), (build.add(Conv(values(1, 3, 1, 3, 3), values(2, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)), (scaled,)),))
    second = build.add(Conv(values(3, 3, 3, 3, 3), values(4, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), (first,))
    met = build.add(Relu(), (build.add(Sum(), (second, first)),))
    return build.graph(build.add(Gemm(values(5, CLASSES, 27), values(6, CLASSES)), (build.add(Reshape((27,)), (met,)),)))


def problem(graph, numerics, radius="0.15"):
    region = LinfBall(values(9, BATCH, *graph.input.shape) * 0.4, parse_eps(radius), None)
    spec = Spec.robust(torch.arange(BATCH) % CLASSES, CLASSES)
    return Context(graph, region, numerics), spec


def naive(graph, low, high, weight):
    """Lower bounds of weight @ output, one instance, every node's bounds by a dense walk of its own."""
    bounds = {graph.input.name: (low, high)}

    def dense(op):
        columns = op.apply(torch.eye(op.weight.shape[1], dtype=torch.float64))
        return columns.T, op.offset

    def walk(name, rows):
        constant = torch.zeros(len(rows), dtype=torch.float64)
        while name != graph.input.name:
            node = graph[name]
            if isinstance(node.op, Linear):
                matrix, offset = dense(node.op)
                constant, rows = constant + rows @ offset, rows @ matrix
            else:
                a, b = bounds[node.inputs[0]]
                above = torch.where(a >= 0, 1.0, torch.where(b <= 0, 0.0, b / (b - a)))
                shift = torch.where((a < 0) & (b > 0), -a * above, torch.zeros_like(a))
                below = torch.where(a + b > 0, 1.0, 0.0).double()
                constant = constant + rows.clamp(max=0) @ shift
                rows = rows.clamp(min=0) * below + rows.clamp(max=0) * above
            name = node.inputs[0]
        return rows.clamp(min=0) @ low + rows.clamp(max=0) @ high + constant

    for node in graph.nodes[1:]:
        if isinstance(node.op, Linear):
            unit = torch.eye(node.size, dtype=torch.float64)
            bounds[node.name] = (walk(node.name, unit), -walk(node.name, -unit))
    return walk(graph.output.name, weight)


def test_plain_equals_a_naive_dense_walk():
    graph = dense_net()
    ctx, spec = problem(graph, FLAT)
    found, _ = margins(deeppoly(plain=True), ctx, spec)
    hull = ctx.region.hull
    for k in range(BATCH):
        assert torch.allclose(found.lower[k], naive(graph, hull.lower[k], hull.upper[k], spec.weight[k]), atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("graph", [dense_net(), residual_net()], ids=["dense", "residual"])
@pytest.mark.parametrize("numerics", [FLAT, SOUND, MIXED], ids=["flat", "sound", "mixed"])
def test_blocks_change_nothing_but_roundings(graph, numerics, monkeypatch):
    ctx, spec = problem(graph, numerics)
    whole = margins(deeppoly(), ctx, spec)[0].lower
    alone = torch.cat([margins(deeppoly(), ctx.take(torch.tensor([k])), spec.take(torch.tensor([k])))[0].lower for k in range(BATCH)])
    monkeypatch.setattr(substitute, "_limit", lambda ctx, start: 2)
    tiny = margins(deeppoly(), ctx, spec)[0].lower
    backward = torch.arange(BATCH - 1, -1, -1)
    turned = margins(deeppoly(), ctx.take(backward), spec.take(backward))[0].lower[backward]
    close = 1e-12 if numerics is not MIXED else 1e-4
    for other in (alone, tiny, turned):
        assert torch.allclose(whole, other, atol=close, rtol=close)


@pytest.mark.parametrize("numerics", [SOUND, MIXED], ids=["sound", "mixed"])
@pytest.mark.parametrize("graph", [dense_net(), residual_net()], ids=["dense", "residual"])
def test_slopes_of_rows_equal_rows_as_instances(graph, numerics, monkeypatch):
    ctx, spec = problem(graph, numerics)
    done = analyse(deeppoly(), ctx).ctx
    rows = Rows.of_spec(graph.output.name, spec, graph.output.shape)
    free = {n.name: torch.rand(len(rows), *n.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            for n in graph.nodes if deeppoly().parameters(n, done) is not None}
    assert free
    for limit in (1000, 2):
        monkeypatch.setattr(substitute, "_limit", lambda ctx, start, limit=limit: limit)
        mine = deeppoly().bounds(graph.output.name, rows, replace(done, row_slopes=free), Sense.LOWER).lower
        spread = replace(done.take(rows.instance), slopes=free)
        own = deeppoly().bounds(graph.output.name, replace(rows, instance=torch.arange(len(rows)), grid=None), spread, Sense.LOWER).lower
        assert torch.allclose(mine, own, atol=1e-5 if numerics is MIXED else 1e-11)
    still = deeppoly().bounds(graph.output.name, rows, done, Sense.LOWER).lower
    assert not torch.allclose(mine, still, atol=1e-3), "the slopes must matter"


def test_gradients_of_row_slopes_equal_differences():
    graph = dense_net()
    ctx, spec = problem(graph, FLAT, "0.4")
    done = analyse(deeppoly(), ctx).ctx
    rows = Rows.of_spec(graph.output.name, spec, graph.output.shape)
    names = [n.name for n in graph.nodes if deeppoly().parameters(n, done) is not None]
    free = {n: torch.full((len(rows), *graph[n].shape), 0.4, dtype=torch.float64) for n in names}
    subject = deeppoly(every_layer=False)

    def bound(given):
        return subject.bounds(graph.output.name, rows, replace(done, row_slopes=given), Sense.LOWER).lower

    with torch.enable_grad():
        leaves = {n: v.clone().requires_grad_() for n, v in free.items()}
        gradients = torch.autograd.grad(bound(leaves).sum(), list(leaves.values()))
    step, checked = 1e-6, 0
    for name, gradient in zip(names, gradients, strict=True):
        entry = int(gradient.abs().amax(0).argmax())
        unit = torch.nn.functional.one_hot(torch.tensor(entry), graph[name].size) * step
        up, down = ({**free, name: free[name] + move} for move in (unit, -unit))
        difference = (bound(up) - bound(down)) / (2 * step)
        smooth = (difference - gradient[:, entry]).abs() < 1e-6 * (1 + difference.abs())
        assert smooth.float().mean() > 0.8  # a corner may change within the step
        checked += int((difference.abs() > 1e-4).sum())
    assert checked > len(rows)


def test_corner_attains_the_minimum_on_a_linear_net():
    build = GraphBuilder("x", (6,))
    last = build.add(Gemm(values(1, CLASSES, 5)), (build.add(Gemm(values(0, 5, 6), values(3, 5)), ("x",)),))
    graph = build.graph(last)
    ctx, spec = problem(graph, FLAT)
    found = attempt(deeppoly(), ctx, spec, corner=True)
    assert found.corner is not None
    hull = ctx.region.hull
    assert bool(((found.corner == hull.lower) | (found.corner == hull.upper)).all())
    assert torch.allclose(spec.values(graph(found.corner)).amin(1), spec.margin(found.interval.lower), atol=1e-12)
    assert attempt(deeppoly(), ctx, spec).corner is None


def test_corner_belongs_to_the_deciding_row():
    """Two disjuncts of two rows each: the corner is that of the best row of the worst disjunct."""
    build = GraphBuilder("x", (4,))
    graph = build.graph(build.add(Affine(torch.ones((), dtype=torch.float64)), ("x",)))
    weight = torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64))[None]
    bias = torch.tensor([[5.0, 4.0, 2.0, 1.0]], dtype=torch.float64)
    spec = Spec.rows(weight, bias, torch.tensor([0, 0, 1, 1]))
    region = BoxRegion(-torch.ones(1, 4, dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64))
    found = attempt(deeppoly(), Context(graph, region, FLAT), spec, corner=True)
    assert found.corner is not None
    assert found.corner.tolist() == [[0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize("intermediate", ["box", "zonotope"])
def test_presets_ask_no_rows_between(intermediate, monkeypatch):
    graph = residual_net()
    ctx, spec = problem(graph, SOUND)
    asked = []
    kind = type(deeppoly())
    original = kind.bounds
    monkeypatch.setattr(kind, "bounds", lambda self, element, rows, *rest: asked.append(rows.node) or original(self, element, rows, *rest))
    preset = margins(deeppoly(intermediate=intermediate), ctx, spec)[0].lower
    assert asked == [graph.output.name]
    full = margins(deeppoly(), ctx, spec)[0].lower
    assert len(asked) > 2
    assert float((full - preset).mean()) > 0
    truth = spec.values(graph(ctx.region.center))
    assert bool((preset <= truth).all())
    if intermediate == "box":
        known = analyse(deeppoly(intermediate="box"), ctx).ctx.known
        boxes = analyse(DOMAINS.get("box")(), ctx).ctx.known
        assert all(torch.equal(known[n].lower, boxes[n].lower) for n in known)


def test_an_unknown_intermediate_domain_is_refused():
    ctx, spec = problem(dense_net(), SOUND)
    with pytest.raises(UsageError, match="E-DOMAIN-UNKNOWN"):
        margins(deeppoly(intermediate="boxx"), ctx, spec)


def test_input_of_two_consumers_is_no_place_to_stop():
    """x - (x scaled by 1) is 0: concretising either branch alone would be wrong."""
    build = GraphBuilder("x", (3,))
    one = build.add(Affine(torch.ones((), dtype=torch.float64), torch.ones((), dtype=torch.float64)), ("x",))
    graph = build.graph(build.add(Sum(-1.0), (one, "x")))
    region = BoxRegion(-torch.ones(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64))
    spec = Spec.rows(torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, dtype=torch.float64))
    found, _ = margins(deeppoly(), Context(graph, region, SOUND), spec)
    assert torch.allclose(found.lower, torch.ones_like(found.lower), atol=1e-12)
    assert bool((found.lower <= 1).all())


def test_infinite_inputs_give_no_nan():
    graph = dense_net()
    for size in (1e30, 1e300, 1.7e308):
        width = torch.tensor([[1.0], [size]], dtype=torch.float64).expand(2, 6)
        region = BoxRegion(-width, width)
        spec = Spec.robust(torch.tensor([0, 1]), CLASSES)
        for numerics in (SOUND, MIXED):
            done = analyse(deeppoly(), Context(graph, region, numerics)).ctx
            rows = Rows.of_spec(graph.output.name, spec, graph.output.shape)
            lower = deeppoly().bounds(graph.output.name, rows, done, Sense.LOWER).lower.reshape(2, -1)
            assert bool(lower[0].isfinite().all())
            assert not bool(lower.isnan().any())
            assert bool((lower[1] < 0).all())


def test_the_deadline_is_noticed_inside_the_walk(monkeypatch):
    graph = dense_net()
    ctx, spec = problem(graph, SOUND)
    done = analyse(deeppoly(), ctx).ctx
    rows = Rows.of_spec(graph.output.name, spec, graph.output.shape)
    seen = []

    @dataclass(frozen=True)
    class Late(Budget):
        def check(self):
            seen.append(time.monotonic())
            if len(seen) > 4:
                raise DeadlineError

    with pytest.raises(DeadlineError):
        deeppoly().bounds(graph.output.name, rows, replace(done, budget=Late()), Sense.LOWER)


# ---- stored figures -------------------------------------------------------------------------------------------------

STORED = ROOT / "benchmarks" / "peers" / "auto_lirpa_margins.csv"


@pytest.mark.skipif(not (SHARED / "vnncomp").is_dir(), reason="the networks of the stored figures are not here")
@pytest.mark.parametrize("eps", ["0.01", "0.03"])
def test_plain_equals_stored_crown(eps):
    """auto_LiRPA's CROWN in float64, to the digits that were stored; ours as a whole is never below it."""
    count = 20
    graph = absint.load(SHARED / "vnncomp/mnist_fc_2022/onnx/mnist-net_256x2.onnx")
    raw = gzip.decompress((SHARED / "data/mnist/t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    images = torch.from_numpy(np.frombuffer(raw, np.uint8)[: count * 784].reshape(count, 784) / 255.0)
    with STORED.open() as file:
        stored = {int(r["index"]): r for r in csv.DictReader(file)
                  if (r["net"], r["method"], r["dtype"]) == ("mnist256x2", "CROWN", "float64") and abs(float(r["eps"]) - float(eps)) < 1e-9}
    labels = torch.tensor([int(stored[k]["label"]) for k in range(count)])
    theirs = torch.tensor([[float(stored[k][f"m{j}"]) for j in range(10) if j != labels[k]] for k in range(count)], dtype=torch.float64)
    ctx = Context(graph, LinfBall(images.reshape(count, *graph.input.shape), parse_eps(eps)), FLAT)
    plain, full = (margins(d, ctx, Spec.robust(labels, 10))[0].lower for d in (deeppoly(plain=True), deeppoly()))
    assert bool(((plain - theirs).abs() <= 1e-5 * theirs.abs().clamp(min=1)).all())
    assert bool((full >= plain - 1e-9).all())
