"""Forward linear bounds: over any region, alone and in batches, and what they cost."""

from __future__ import annotations

from fractions import Fraction as F
from math import inf

import numpy as np
import pytest
import torch
from contract import claims
from forward_nets import box, dense, hull_of, linear_net, narrow_then_wide, spec_of, two_layers
from regional import rand, randn

from absint.domains import anchors as anchoring
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.forward_linear import ForwardLinear
from absint.domains.input_forms import InputForms
from absint.engine.context import Context
from absint.engine.cost import held_bytes
from absint.engine.forward import analyse, margins, row_bounds
from absint.engine.rows import Rows, Sense
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sigmoid import Tanh
from absint.numeric.backend import Budget, MemoryBudgetError
from absint.problem.regions import L1Ball, L2Ball, Photometric, ZonotopeRegion
from absint.problem.regions.patches import Patch
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.search.names import called, domain_of
from absint.testing.kit import FLOAT64, MIXED, domain_checks
from absint.testing.networks import case, network

KIT = dict(domain_checks())
EVERYWHERE = 1 << 40    # passes enough for every node to be an anchor

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


def claim(name, setting):
    claims.PER_DOMAIN[name]("linear", claims.settings("linear")[setting])


def kit(name):
    KIT[name](ForwardLinear())


# ---- regions -------------------------------------------------------------------------------------------------------------


def test_networks_without_bends_are_bounded_exactly_but_for_rounding():
    graph, region = linear_net(), box(0.25)
    columns, offset = dense(graph)
    middle = region.center @ columns + offset
    reach = columns.abs().sum(0) * 0.25
    found = hull_of(region, graph)
    assert torch.allclose(found.lower, middle - reach, rtol=0, atol=1e-12)
    assert torch.allclose(found.upper, middle + reach, rtol=0, atol=1e-12)


def sharp(kind, dual):
    """Balls are concretised by their own dual norm, and stay sound."""
    graph, center = linear_net(), rand(3, 3, seed=4)
    columns, offset = dense(graph)
    reach = torch.linalg.vector_norm(columns, ord=dual, dim=0) / 4
    found = hull_of(kind(center, F(1, 4), None), graph)
    for side, truth in ((found.lower, center @ columns + offset - reach), (-found.upper, -(center @ columns + offset) - reach)):
        assert bool((side <= truth + 1e-15).all())
        assert torch.allclose(side, truth, rtol=0, atol=1e-12)


def sharp_l2():
    sharp(L2Ball, 2)


@pytest.mark.parametrize(("kind", "dual"), [(L2Ball, 2), (L1Ball, inf)])
def test_balls_are_as_sharp_as_their_dual_norm(kind, dual):
    sharp(kind, dual)


def encloses_samples(region, points, graph, anchor=64):
    found = hull_of(region, graph, ForwardLinear(anchor))
    for instance, many in enumerate(points):
        values = graph(many)
        assert bool((values >= found.lower[instance] - 1e-9).all())
        assert bool((values <= found.upper[instance] + 1e-9).all())
    return found


def symbols_hold():
    """A region inside a zonotope of fewer generators than entries is a function of its symbols; its remainder is kept."""
    graph = two_layers(activation=Tanh())
    center, generator, rest = rand(2, 3, seed=11), randn(2, 1, 3, seed=12) / 8, rand(2, 3, seed=13) / 512
    region = ZonotopeRegion(center, generator, rest)
    z = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    corners = torch.tensor([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=torch.float64)
    points = [torch.cat([center[i] + z * generator[i] + corner * rest[i] for corner in corners]) for i in range(2)]
    encloses_samples(region, points, linear_net())
    found = encloses_samples(region, points, graph)
    whole = hull_of(BoxRegion(region.hull.lower, region.hull.upper), graph)
    assert float(found.width.mean()) < float(whole.width.mean())


def test_symbols_of_a_region_are_coordinates():
    symbols_hold()


def test_brightness_and_contrast_are_functions_of_two_symbols():
    build = GraphBuilder("x", (1, 3, 3))
    flat = build.add(Reshape((9,)), ("x",))
    graph = build.graph(build.add(Gemm(randn(2, 6, seed=2)), (build.add(Relu(), (build.add(Gemm(randn(6, 9, seed=1)), (flat,)),)),)))
    image = rand(1, 1, 3, 3, seed=3) / 2 + 0.2
    region = Photometric(image, (F("0.9"), F("1.1")), (F("-0.05"), F("0.05")))
    points = torch.cat([(a * image + b) for a in np.linspace(0.9, 1.1, 9) for b in np.linspace(-0.05, 0.05, 9)]).clamp(0, 1)
    encloses_samples(region, [points], graph)
    found = analyse(ForwardLinear(), Context(graph, region, FLOAT64))
    assert found.element.coordinates.slots is None
    assert found.element.coordinates.count == region.generators()[1].shape[1]


def off_centre(anchor=EVERYWHERE):
    """Where the unperturbed input is not the middle of the box, forms of a restart are about the middle all the same."""
    graph = two_layers()
    lower = rand(2, 3, seed=20)
    upper = lower + 0.5
    region = Patch(lower, upper, lower + torch.tensor([0.0, 0.5, 0.1], dtype=torch.float64))
    share = rand(200, 3, seed=21)
    encloses_samples(region, [torch.cat([lower[i] + share * 0.5, lower[i : i + 1], upper[i : i + 1]]) for i in range(2)], graph, anchor)


def test_boxes_around_an_input_that_is_not_their_middle():
    off_centre()


def test_only_entries_of_positive_width_are_coordinates_and_no_batch_changes_a_bound():
    graph = two_layers(width=9)
    center = rand(4, 3, seed=14)
    radius = torch.tensor([[0.2, 0.2, 0.2], [0, 0.3, 0], [0, 0, 0], [0.1, 0, 0.1]], dtype=torch.float64)
    region, spec = BoxRegion(center - radius, center + radius), spec_of(4)
    for num in (FLOAT64, MIXED):
        found = analyse(ForwardLinear(), Context(graph, region, num))
        assert found.element.coordinates.count == 3
        assert found.element.coordinates.used.tolist() == [3, 1, 0, 2]
        whole = row_bounds(ForwardLinear(), found.element, found.ctx, spec).lower
        for one in torch.arange(4).split(1):
            alone, ctx = margins(ForwardLinear(), Context(graph, region.take(one), num), spec.take(one))
            assert torch.allclose(alone.lower, whole[one], rtol=1e-12, atol=1e-12)
            count = analyse(ForwardLinear(), ctx).element.coordinates
            assert (0 if count is None else count.count) == int((radius[one] > 0).sum())


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_a_point_has_the_value_of_the_network(scale):
    for name in ("residual", "gemm", "maximum", "tanh", "conv"):
        c = case(name, scale)
        point = BoxRegion(*2 * (c.region.lower,))
        graph = network(name, scale)
        found, value = hull_of(point, graph), graph(c.region.lower)
        assert bool(((found.lower <= value) & (value <= found.upper)).all())
        size = value.abs() + (c.region.hull.magnitude.flatten(1).amax(1) * 1e-3).reshape(-1, *(1,) * (value.dim() - 1))
        assert bool((found.width <= 1e-9 * size + 1e-290).all()), name


# ---- what it is good for -------------------------------------------------------------------------------------------------


def test_it_knows_what_boxes_do_not_and_less_than_backward_substitution():
    graph, region, spec = two_layers(width=16, activation=LeakyRelu(0.2)), box(0.05, 20), spec_of(20)
    mean = {name: float(margins(domain, Context(graph, region, FLOAT64), spec)[0].lower.mean())
            for name, domain in (("linear", ForwardLinear(0)), ("anchored", ForwardLinear(EVERYWHERE)), ("deeppoly", DeepPoly()))}
    assert float(margins(Box(), Context(graph, region, FLOAT64), spec)[0].lower.mean()) < mean["linear"]
    assert mean["linear"] < mean["anchored"] <= mean["deeppoly"] + 1e-12


def test_anchors_are_narrow_nodes_before_much_work_and_a_matter_of_the_graph():
    graph = narrow_then_wide()
    names = [node.name for node in graph.nodes]
    assert names[1] not in anchoring.anchors(graph, EVERYWHERE)    # nothing bends before it: its forms are exact
    assert anchoring.anchors(graph, 0) == frozenset()
    assert anchoring.anchors(graph, 1) == {names[3]}               # four entries before 300 by 300
    assert anchoring.anchors(graph, 64) == {names[3], names[5]}    # and 300 before as many; the last has too little behind it
    assert anchoring.anchors(graph, EVERYWHERE) == {names[3], names[5], names[7]}


def test_an_anchor_right_before_another_of_its_cost_is_none():
    build, last = GraphBuilder("x", (4,)), "x"
    for k, (n, m) in enumerate(((4, 40), (40, 40), (40, 39), (39, 400), (400, 400))):
        last = build.add(Relu(), (build.add(Gemm(randn(m, n, seed=80 + k)), (last,)),))
    graph = build.graph(last)
    names = [node.name for node in graph.nodes]
    assert names[3] not in anchoring.anchors(graph, 8)
    assert names[5] in anchoring.anchors(graph, 8)


def test_anchors_leave_no_bound_wider():
    graph, region = narrow_then_wide(), box(0.2, 6, 2)
    plain, restarted_ = (analyse(ForwardLinear(anchor), Context(graph, region, FLOAT64)) for anchor in (0, 64))
    node = graph.nodes[5].name
    assert float(restarted_.ctx.known[node].width.mean()) < float(plain.ctx.known[node].width.mean())


@pytest.mark.parametrize("anchor", [0, EVERYWHERE])
def test_margins_carry_gradients(anchor):
    base, center, spec = randn(6, 3, seed=50), rand(2, 3, seed=3), spec_of(2)

    def total(weight):
        build, last = GraphBuilder("x", (3,)), "x"
        for op in (Gemm(weight), Tanh(), Gemm(randn(4, 6, seed=51)), LeakyRelu(0.2), Gemm(randn(2, 4, seed=52))):
            last = build.add(op, (last,))
        region = LinfBall(center, F("0.1"), None)
        return margins(ForwardLinear(anchor), Context(build.graph(last), region, FLOAT64), spec)[0].lower.sum()

    with torch.enable_grad():
        weight = base.clone().requires_grad_()
        (slope,) = torch.autograd.grad(total(weight), weight)
    step = torch.zeros_like(base)
    step.view(-1)[4] = 1e-6
    expected = float((total(base + step) - total(base - step)) / 2e-6)
    assert abs(float(slope.view(-1)[4]) - expected) < 1e-4 * (1 + abs(expected))


def test_free_slopes_are_used():
    graph, region, spec = two_layers(width=8), box(0.4), spec_of(2)
    domain = ForwardLinear(0)
    plain, ctx = margins(domain, Context(graph, region, FLOAT64), spec)
    node = graph.nodes[2]
    start = domain.parameters(node, ctx)
    assert start is not None
    moved, _ = margins(domain, Context(graph, region, FLOAT64, slopes={node.name: 1 - start}), spec)
    same, _ = margins(domain, Context(graph, region, FLOAT64, slopes={node.name: start}), spec)
    assert not torch.equal(moved.lower, plain.lower)
    assert torch.allclose(same.lower, plain.lower, rtol=1e-9, atol=1e-9)


def test_memory_is_stated_and_refused_where_it_is_not_there():
    graph, region = narrow_then_wide(), box(0.2, 3, 2)
    names = frozenset(node.name for node in graph.nodes)
    kept = analyse(ForwardLinear(), Context(graph, region, FLOAT64), names).kept
    largest = max(held_bytes((kept[a.name], kept[b.name])) for a, b in zip(graph.nodes, graph.nodes[1:], strict=False))
    assert largest <= 3 * ForwardLinear().traits.memory(graph, FLOAT64)
    with pytest.raises(MemoryBudgetError):
        analyse(ForwardLinear(0), Context(graph, box(0.2, 3000, 2), FLOAT64, Budget(memory=1 << 20)))


def test_chunks_change_nothing():
    graph, region, spec = narrow_then_wide(), box(0.2, 3, 2), spec_of(3)
    whole, _ = margins(ForwardLinear(), Context(graph, region, FLOAT64), spec)
    pieces, _ = margins(ForwardLinear(), Context(graph, region, FLOAT64, Budget(rate=1e3)), spec)
    assert torch.allclose(whole.lower, pieces.lower, rtol=1e-12, atol=1e-12)


def test_rows_keep_what_entries_have_in_common():
    graph, region = linear_net(), box(0.5)
    found = analyse(ForwardLinear(), Context(graph, region, FLOAT64))
    rows = Rows(graph.output.name, torch.tensor([0, 0, 1]), torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.5, 2.0]], dtype=torch.float64))
    columns, offset = dense(graph)
    middle = (region.center @ columns + offset)[rows.instance]
    truth = (rows.weight * middle).sum(1) - (columns @ rows.weight.T).abs().sum(0) * 0.5
    given = ForwardLinear().bounds(found.element, rows, found.ctx, Sense.BOTH)
    assert torch.allclose(given.lower, truth, rtol=0, atol=1e-12)


def test_a_nothing_known_of_one_entry_stays_with_it():
    """A slope of 0 drops it; a coefficient of 0 in a matrix product does not, which is sound."""
    graph = two_layers()
    node = graph.nodes[2]
    num = FLOAT64
    ctx = analyse(ForwardLinear(0), Context(graph, box(0.1), num)).ctx
    rest = torch.zeros(2, 5, dtype=torch.float64)
    rest[:, 1] = inf
    forms = InputForms(torch.zeros(2, 5, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64), rest)
    found = ForwardLinear(0).hull(forms, ctx)
    assert found.lower[:, 1].tolist() == [-inf] * 2
    assert bool(found.lower[:, [0, 2, 3, 4]].isfinite().all())
    image = ForwardLinear(0).nonlinear(node, [forms], ctx)
    known = ctx.known[graph.nodes[1].name]
    dead = known.upper[:, 1] <= 0
    assert bool((image.rest[:, 1].isfinite() == dead).all())


def test_it_is_registered():
    assert called(domain_of("linear:anchor=0")) == "linear"
