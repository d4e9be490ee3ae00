"""Probes of the contract: what a newcomer would build on it must come out short, sound and independent of the batch."""

from __future__ import annotations

import runpy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from math import inf, prod
from typing import Any

import numpy as np
import pytest
import torch
from bundled import digits, mnist
from places import ROOT
from torch import Tensor

import absint
from absint.analyses.verify import ProofSettings, robustness, verify
from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.engine.forward import analyse, margins, tensor_bounds
from absint.engine.product import Product
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.pool import MaxPool, PoolingWindow
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Concat, Gather, Reshape
from absint.model.ops.sigmoid import Sigmoid
from absint.model.ops.sum import Sum
from absint.numeric.backend import Budget
from absint.numeric.decimal import parse_eps
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec

EXAMPLES = ROOT / "examples"
NAMES = ("box", "zonotope", "deeppoly")
FORMATS = (torch.float32, torch.float64)


def domain(name: str) -> Domain[Any]:
    return DOMAINS.get(name)()


def context(graph: Graph, region: BoxRegion | LinfBall, dom: Domain[Any], dtype: torch.dtype = torch.float64, **more: Any) -> Context:
    numerics = Numerics(dtype)
    return Context(graph, region, numerics if dom.traits.mixed else numerics.single(), **more)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


pytestmark = pytest.mark.usefixtures("numerics")


def weights(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) / prod(shape[1:]) ** 0.5


def points_of(region: BoxRegion, count: int, seed: int = 0) -> Tensor:
    """(count, batch, *shape): vertices, faces and inner points of every instance."""
    generator = torch.Generator().manual_seed(seed)
    hull = region.hull
    share = torch.rand((count, *hull.lower.shape), generator=generator, dtype=torch.float64)
    share[::2] = share[::2].round()
    inside = hull.lower + share * (hull.upper - hull.lower)
    return torch.minimum(torch.maximum(inside, hull.lower), hull.upper)


def values_of(graph: Graph, points: Tensor, name: str | None = None) -> Tensor:
    """(count, batch, *shape of the node)."""
    part = graph if name is None else graph.upto(name)
    return part(points.flatten(0, 1)).reshape(*points.shape[:2], *part.output.shape)


# ---- (a) and (e): the examples ---------------------------------------------------------------------------------------


def test_a_bisection_over_eps_fits_on_one_page_and_brackets_the_radius() -> None:
    path = EXAMPLES / "radius_bisection.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    inputs, labels = digits(9)
    found = runpy.run_path(str(path))["radii"](mnist(), inputs.numpy(), labels.numpy(), domain="deeppoly", steps=6)
    assert (found.certified <= found.refused).all()
    np.testing.assert_allclose(found.refused - found.certified, 0.1 / 2**6)
    assert (found.certified[[0, 1, 2, 3, 4, 5, 6]] > 0.02).all()
    assert found.certified[8] == 0, "image 8 is misclassified: it has no radius"
    alone = runpy.run_path(str(path))["radii"](mnist(), inputs.numpy()[2:3], labels.numpy()[2:3], domain="deeppoly", steps=6)
    assert alone.certified[0] == found.certified[2], "lockstep and alone agree"
    results = absint.verify(mnist(), inputs, labels, found.certified.reshape(-1, 1, 1, 1), domain="deeppoly")
    assert [r.verdict.value for r in results] == ["verified"] * 8 + ["misclassified"]


def test_the_api_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "verify_mnist.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "19 verified" in out
    assert out.count("logit") == 10


# ---- (b): case splits ------------------------------------------------------------------------------------------------


def split(ctx: Context, node: str, entry: int) -> tuple[Context, Context]:
    """The two cases  node[entry] <= 0  and  node[entry] >= 0  of every instance."""
    shape = (ctx.batch, *ctx.graph[node].shape)
    lower, upper = (torch.full(shape, end, dtype=ctx.numerics.vector) for end in (-inf, inf))
    below, above = upper.clone(), lower.clone()
    below.flatten(1)[:, entry] = 0
    above.flatten(1)[:, entry] = 0
    return (replace(ctx, assumed={node: Interval(lower, below)}), replace(ctx, assumed={node: Interval(above, upper)}))


def crossing() -> tuple[Graph, BoxRegion, Spec]:
    """y = relu(p) - relu(p) - relu(p) - relu(-p) = -|p| on [-1, 1], each term relaxed on its own."""
    builder = GraphBuilder("x", (1,))
    one = torch.ones(1, 1, dtype=torch.float64)
    builder.add(Gemm(one), ("x",), "pre")
    builder.add(Gemm(-one), ("pre",), "minus")
    terms = [builder.add(Relu(), (name,)) for name in ("pre", "pre", "pre", "minus")]
    builder.add(Concat(0), tuple(terms), "terms")
    builder.add(Gemm(torch.tensor([[1.0, -1.0, -1.0, -1.0]], dtype=torch.float64)), ("terms",), "y")
    return builder.graph("y"), BoxRegion(-one, one), Spec.rows(torch.ones(1, 1, 1), torch.zeros(1, 1))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("name", "before", "after"), [("box", -3.0, -2.0), ("zonotope", -1.5, -1.0), ("deeppoly", -2.0, -1.0)])
def test_a_split_proves_what_the_whole_does_not(name: str, before: float, after: float, dtype: torch.dtype) -> None:
    """The numbers follow by hand; -1 is the truth, which decided neurons leave exact for domains that relate entries."""
    graph, region, spec = crossing()
    dom = domain(name)
    ctx = context(graph, region, dom, dtype)
    whole = spec.margin(margins(dom, ctx, spec)[0].lower)
    parts = [spec.margin(margins(dom, part, spec)[0].lower) for part in split(ctx, "pre", 0)]
    assert float(whole) == pytest.approx(before, abs=1e-4)
    assert float(min(parts)) == pytest.approx(after, abs=1e-4)
    assert float(min(parts)) <= -1


@pytest.mark.parametrize("name", NAMES)
def test_splits_of_a_trained_network_stay_sound_and_some_gain(name: str) -> None:
    """Samples of each case stay above its margin. Box neither loses nor gains: relu maps [l, u] and [0, u] to one box. The
    others gain, and may lose, because a split does not cut the input region.
    """
    dom, graph = domain(name), mnist()
    inputs, labels = digits(3)
    region = BoxRegion((inputs - 0.02).clamp(0, 1), (inputs + 0.02).clamp(0, 1))
    spec = Spec.robust(labels, graph.output.size)
    whole, done = margins(dom, context(graph, region, dom), spec)
    pre = graph["relu_6"].inputs[0]
    undecided = ((done.known[pre].lower < 0) & (done.known[pre].upper > 0)).any(0).nonzero().flatten().tolist()
    assert undecided
    points = points_of(region, 200)
    attained = torch.einsum("brn,kbn->kbr", spec.weight, values_of(graph, points)) + spec.bias
    seen = values_of(graph, points, pre)
    gain = []
    for entry in undecided[:6]:
        lowers = []
        for part, case in zip(split(context(graph, region, dom), pre, entry), (seen[..., entry] <= 0, seen[..., entry] >= 0), strict=True):
            lowers.append(margins(dom, part, spec)[0].lower)
            holds = torch.where(case[..., None], attained, torch.full_like(attained, inf))
            assert (lowers[-1] <= holds.amin(0) + 1e-9).all()
        gain.append(torch.minimum(*lowers) - whole.lower)
    gains = torch.stack(gain)
    assert (gains.abs() <= 1e-9).all() if name == "box" else (gains > 1e-3).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_void_case_has_margin_plus_infinity_and_leaves_its_neighbours_alone(name: str) -> None:
    dom, graph = domain(name), mnist()
    inputs, labels = digits(2)
    region, spec = LinfBall(inputs, parse_eps("0.01")), Spec.robust(labels, graph.output.size)
    plain, done = margins(dom, context(graph, region, dom), spec)
    pre = graph["relu_4"].inputs[0]
    negative = (done.known[pre].upper[0] < 0).nonzero().flatten()
    assert len(negative)
    lower = torch.full_like(done.known[pre].lower, -inf)
    lower[0, negative[0]] = 0.0  # impossible in instance 0, nothing assumed in instance 1
    split_ctx = replace(context(graph, region, dom), assumed={pre: Interval(lower, torch.full_like(lower, inf))})
    margin = margins(dom, split_ctx, spec)[0].lower
    assert (margin[0] == inf).all()
    torch.testing.assert_close(margin[1], plain.lower[1], rtol=1e-9, atol=1e-9)


# ---- (c): branches ---------------------------------------------------------------------------------------------------


@lru_cache
def branching() -> Graph:
    """Two images in one input, told apart by Gathers, each processed on its own, added, pooled, and joined again."""
    builder = GraphBuilder("x", (2, 8, 8))
    flat = torch.arange(128)
    builder.add(Gather.of(flat[:64].reshape(1, 8, 8)), ("x",), "left")
    builder.add(Gather.of(flat[64:].reshape(1, 8, 8)), ("x",), "right")
    for k, side in enumerate(("left", "right")):
        kernel = weights(3, 1, 3, 3, seed=k)
        builder.add(Conv(kernel, weights(3, 1, seed=k + 7)[:, 0], (1, 1), ((1, 1), (1, 1)), (1, 1)), (side,), f"{side}/conv")
        builder.add(Relu() if k else Sigmoid(), (f"{side}/conv",), f"{side}/act")
    builder.add(Sum(), ("left/act", "right/act"), "sum")
    builder.add(Conv(weights(3, 3, 1, 1, seed=3), None, (1, 1), ((0, 0), (0, 0)), (1, 1)), ("sum",), "mix")
    builder.add(Sum(-1.0), ("sum", "mix"), "residual")
    builder.add(MaxPool(PoolingWindow((2, 2), (2, 2), ((0, 0), (1, 1)), (1, 1), ceil=False)), ("residual",), "pooled")
    builder.add(Reshape((builder.shape("pooled")[0] * builder.shape("pooled")[1] * builder.shape("pooled")[2],)), ("pooled",), "flat")
    builder.add(Reshape((64,)), ("left",), "left/flat")
    builder.add(Concat(0), ("flat", "left/flat"), "joined")
    builder.add(Gemm(weights(12, builder.shape("joined")[0], seed=4), weights(12, 1, seed=5)[:, 0]), ("joined",), "hidden")
    builder.add(Relu(), ("hidden",), "hidden/act")
    builder.add(Sum(), ("hidden", "hidden/act"), "doubled")
    builder.add(Gemm(weights(4, 12, seed=6)), ("doubled",), "y")
    return builder.graph("y")


def boxes(batch: int, radius: float) -> BoxRegion:
    center = weights(batch, 2 * 8 * 8, seed=11).reshape(batch, 2, 8, 8) * 8
    return BoxRegion(center - radius, center + radius)


@pytest.mark.parametrize("radius", [0.0, 1e-3, 0.1, 2.0])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_branches_slices_and_residuals_are_enclosed(name: str, dtype: torch.dtype, radius: float) -> None:
    dom, graph, region = domain(name), branching(), boxes(3, radius)
    wanted = ("left/act", "residual", "pooled", "joined", "doubled", "y")
    bounds = tensor_bounds(dom, context(graph, region, dom, dtype), wanted)
    points = points_of(region, 100)
    for node in wanted:
        values = values_of(graph, points, node)
        # The samples themselves are computed in float64: their own error is far below 1e-12 here.
        assert (values >= bounds[node].lower.double() - 1e-12).all(), node
        assert (values <= bounds[node].upper.double() + 1e-12).all(), node


@pytest.mark.parametrize("name", ["zonotope", "deeppoly"])
def test_a_branch_that_cancels_is_seen(name: str) -> None:
    """z = x - x through two paths is 0 for domains that relate entries; a box cannot know."""
    builder = GraphBuilder("x", (5,))
    builder.add(Gemm(torch.eye(5, dtype=torch.float64) * 2), ("x",), "a")
    builder.add(Gather.of(torch.arange(5)), ("x",), "b")
    builder.add(Sum(), ("b", "b"), "c")
    builder.add(Sum(-1.0), ("a", "c"), "z")
    region = BoxRegion(-torch.ones(2, 5), torch.ones(2, 5))
    for which, size in ((name, 1e-12), ("box", 4.0)):
        dom, graph = domain(which), builder.graph("z")
        bounds = tensor_bounds(dom, context(graph, region, dom), ("z",))["z"]
        assert (bounds.upper <= size * (1 + 1e-9)).all()
        assert (bounds.lower <= 0).all()
        assert (bounds.upper >= 0).all()


# ---- (d): independence -----------------------------------------------------------------------------------------------

LOOSE = {torch.float32: 2e-3, torch.float64: 1e-9}


def lower_bounds(name: str, dtype: torch.dtype, index: Tensor, memory: int = 1 << 30) -> Tensor:
    dom, graph = domain(name), mnist()
    inputs, labels = digits(6)
    region = LinfBall(inputs[index], parse_eps("0.02"))
    spec = Spec.robust(labels[index], graph.output.size)
    return margins(dom, context(graph, region, dom, dtype, budget=Budget(memory)), spec)[0].lower.double()


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_bounds_do_not_depend_on_batch_order_threads_or_chunks(name: str, dtype: torch.dtype) -> None:
    every = torch.arange(6)
    whole = lower_bounds(name, dtype, every)
    variants: Mapping[str, Tensor] = {
        "one by one": torch.cat([lower_bounds(name, dtype, every[k : k + 1]) for k in range(6)]),
        "reversed": lower_bounds(name, dtype, every.flip(0)).flip(0),
        "repeated": lower_bounds(name, dtype, every.repeat(2))[6:],
        "small chunks": lower_bounds(name, dtype, every, memory=1 << 20),
    }
    with threads(2):
        variants = {**variants, "two threads": lower_bounds(name, dtype, every)}
    for variant, found in variants.items():
        torch.testing.assert_close(found, whole, rtol=0, atol=LOOSE[dtype], msg=lambda text, v=variant: f"{v}: {text}")


@pytest.mark.parametrize("name", NAMES)
def test_verdicts_do_not_depend_on_batch_order_or_memory(name: str) -> None:
    inputs, labels = digits(5)
    eps = torch.linspace(0.001, 0.05, 5, dtype=torch.float64).reshape(-1, 1, 1, 1)

    def verdicts(order: Tensor, **options: Any) -> list[str]:
        problem = robustness(mnist(), LinfBall(inputs[order], eps[order]), labels[order])
        found = verify(problem, ProofSettings(domain=name, **options))
        return [found[int(k)].verdict.value for k in order.argsort()]

    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    whole = verdicts(torch.arange(5))
    assert len(set(whole)) > 1
    assert verdicts(torch.arange(5), batch=1) == whole
    assert verdicts(order, batch=3) == whole
    assert verdicts(order, memory=1 << 22) == whole


# ---- (f): products ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", ["0.005", "0.02", "0.05"])
def test_a_product_is_at_least_as_tight_as_both(eps: str) -> None:
    """Always up to the second activation. Beyond it DeepPoly's lower slope jumps with the bounds it is given, so that a
    tighter `known` may cost a little: on average the product still gains.
    """
    graph = mnist()
    inputs, labels = digits(10)
    region, spec = LinfBall(inputs, parse_eps(eps)), Spec.robust(labels, graph.output.size)
    first, second = domain("zonotope"), domain("deeppoly")
    (one, at_one), (two, at_two), (both, at_both) = (
        margins(d, context(graph, region, d), spec) for d in (first, second, Product(first, second)))
    for node in ("gemm_3", "gemm_5"):
        alone, together = at_one.known[node].meet(at_two.known[node]), at_both.known[node]
        undecided = (together.lower < 0) & (together.upper > 0)  # nobody asks for the bounds of the others
        assert undecided.any()
        assert (together.lower >= alone.lower - 1e-9)[undecided].all()
        assert (together.upper <= alone.upper + 1e-9)[undecided].all()
    gain = both.lower - torch.maximum(one.lower, two.lower)
    assert gain.mean() > 0
    assert gain.min() > -0.02
    assert (gain > 1e-6).any(), "what one component proves helps the other"


def test_a_product_encloses_branches() -> None:
    graph, region = branching(), boxes(3, 0.3)
    dom = Product(domain("zonotope"), domain("deeppoly"))
    found = analyse(dom, context(graph, region, dom))
    bounds = tensor_bounds(dom, context(graph, region, dom), ("y",))["y"]
    values = values_of(graph, points_of(region, 100))
    assert (values >= bounds.lower - 1e-12).all()
    assert (values <= bounds.upper + 1e-12).all()
    assert not found.ctx.empty.any()
