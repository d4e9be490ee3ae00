"""Zonotope symbols behind convolutions as windows: the same zonotope as with whole vectors, and what a coarse one leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from convolutional import convolutions
from regional import rand, randn

from absint.domains import patches, zonotope
from absint.domains.coarse import Coarse
from absint.domains.generators import Pace, Sparse
from absint.domains.patches import WindowedBlock
from absint.domains.zonotope import Zonotope
from absint.domains.zonotope_cost import carried
from absint.engine.context import Context
from absint.engine.cost import held_bytes
from absint.engine.forward import analyse
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.numeric.backend import Budget
from absint.problem.regions.region import BoxRegion
from absint.testing.kit import FLOAT64, MIXED

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


def region_of(graph, radius, seed=3, batch=2):
    """Boxes, each wider than the one before."""
    center = rand(batch, *graph.input.shape, seed=seed)
    radii = radius * torch.linspace(0.5, 1, batch, dtype=torch.float64).reshape(-1, *(1,) * (center.dim() - 1))
    return BoxRegion(center - radii, center + radii)


def walked(graph, region, domain, num=FLOAT64):
    return analyse(domain, Context(graph, region, num), frozenset(node.name for node in graph.nodes))


def same_as_whole(name, radius=0.05):
    graph = flattened() if name == "flattened" else convolutions(name)
    found = walked(graph, region_of(graph, radius), Zonotope()).kept
    assert any(isinstance(block, WindowedBlock) for one in found.values() for block in one.blocks.values())
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(zonotope, "localised", lambda block, op, shape: block)
        truth = walked(graph, region_of(graph, radius), Zonotope()).kept
    for node, one in found.items():
        two = truth[node]
        assert torch.allclose(one.center, two.center, rtol=0, atol=1e-12)
        assert torch.allclose(one.rest, two.rest, rtol=1e-6, atol=1e-12)
        assert torch.allclose(one.spread, two.spread, rtol=0, atol=1e-12)
        assert one.blocks.keys() == two.blocks.keys()
        for source, block in one.blocks.items():
            assert torch.allclose(block.dense(), two.blocks[source].dense(), rtol=0, atol=1e-12)
            assert torch.allclose(block.norms(), two.blocks[source].norms(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["plain", "strided", "residual", "linear", "grouped", "uneven", "line", "pool", "average", "flattened"])
def test_windows_hold_what_whole_vectors_do(name):
    same_as_whole(name)


def flattened():
    """Two convolutions, one without padding, each scaled by channels, and dense layers."""
    build, last = GraphBuilder("x", (2, 16, 14)), "x"
    for k, (inside, pad) in enumerate(((2, 1), (4, 0))):
        kernel = randn(4, inside, 3, 3, seed=20 + k) / (9 * inside) ** 0.5
        last = build.add(Conv(kernel, randn(4, seed=30 + k) / 8, (1, 1), ((pad, pad),) * 2, (1, 1)), (last,))
        last = build.add(Relu(), (build.add(Affine(randn(4, 1, 1, seed=50 + k), randn(4, 1, 1, seed=60 + k) / 8), (last,)),))
    last = build.add(Reshape((4 * 14 * 12,)), (last,))
    last = build.add(Relu(), (build.add(Gemm(randn(6, 4 * 14 * 12, seed=40) / 20), (last,)),))
    return build.graph(build.add(Gemm(randn(3, 6, seed=41)), (last,)))


def columns_shared(tile):
    """A matrix behind windows: by the columns that tiles of these meet."""
    taken, whole = [], WindowedBlock._by_columns

    def counted(*args):
        taken.append(args)
        return whole(*args)

    with pytest.MonkeyPatch.context() as often:
        often.setattr(patches, "_TILE", tile)
        often.setattr(patches, "_GATHER", 0)
        often.setattr(WindowedBlock, "_by_columns", counted)
        same_as_whole("flattened", radius=0.02)
    assert taken


@pytest.mark.parametrize("tile", [1, 3, 4])
def test_a_matrix_behind_windows_is_met_tile_by_tile(tile):
    columns_shared(tile)


def test_symbols_are_chosen_and_instances_taken_as_of_whole_vectors():
    value, index = randn(2, 5, seed=7), torch.tensor([[3, 40, 77, 0, 0], [5, 9, 130, 60, 98]])
    value[0, 3:] = 0
    block = WindowedBlock.of(Sparse(index, value, (2, 9, 8)))
    op = Conv(randn(3, 2, 3, 3, seed=8), None, (1, 1), ((1, 1), (0, 1)), (1, 1))
    moved = block.through(op, (2, 9, 8), Pace(Budget(), 2))
    assert isinstance(moved, WindowedBlock)
    whole = Sparse(index, value, (2, 9, 8)).through(op, (2, 9, 8), Pace(Budget(), 2)).dense()
    assert torch.allclose(moved.dense(), whole, atol=1e-12)
    turned = torch.tensor([1, 1, 0])
    assert torch.allclose(moved.take(turned).dense(), whole[turned], atol=1e-12)
    slots, keep = torch.tensor([[4, 1, 0], [2, 3, 1]]), torch.tensor([[True, True, False], [True, False, True]])
    chosen = whole.gather(1, slots[..., None, None, None].expand(-1, -1, *whole.shape[2:])) * keep[..., None, None, None]
    assert torch.allclose(moved.pick(slots, keep).dense(), chosen, atol=1e-12)
    assert moved.pick(slots, keep).take(turned).count == 3
    assert held_bytes(moved.values) < held_bytes(whole)


def coarse_holds(negligible, most):
    """The zonotope of every node holds what the network computes there, at vertices and inside."""
    graph, domain = flattened(), Coarse(negligible=negligible, most=most)
    region = region_of(graph, 0.05)
    found = walked(graph, region, domain, MIXED)
    names = [node.name for node in graph.nodes]
    vertices = torch.randint(0, 2, (30, *graph.input.shape), generator=torch.Generator().manual_seed(5)).double()
    for at in (vertices, rand(30, *graph.input.shape, seed=6)):
        for instance in range(region.batch):
            low, high = (end[instance] for end in (region.hull.lower, region.hull.upper))
            values = graph.evaluate(low + at * (high - low), names)
            for name in names:
                box = domain.hull(found.kept[name], found.ctx)
                assert bool((values[name] >= box.lower[instance]).all())
                assert bool((values[name] <= box.upper[instance]).all())


@pytest.mark.parametrize(("negligible", "most"), [(0.001, 6000), (0.3, 6000), (1.0, 6000), (0.001, 12), (0.0, 470)])
def test_coarse_zonotopes_hold_all_values(negligible, most):
    coarse_holds(negligible, most)


def test_the_smallest_symbols_are_left_out_and_stay_in_the_bounds():
    graph = flattened()
    exact, coarse = (walked(graph, region_of(graph, 0.02), domain) for domain in (Zonotope(), Coarse(negligible=0.1)))
    assert coarse.element.count < exact.element.count
    assert coarse.kept["x"].count == exact.kept["x"].count      # never those of the input
    wide, narrow = Coarse().hull(coarse.element, coarse.ctx), Zonotope().hull(exact.element, exact.ctx)
    assert bool((wide.width < 1.5 * narrow.width).all())


def test_each_instance_is_a_box_from_where_it_needs_too_many_symbols():
    graph, domain = flattened(), Coarse(most=470)
    region = region_of(graph, 0.05, batch=3)
    together = walked(graph, region, domain)
    counts = sum((block.norms() > 0).sum(1) for block in together.element.blocks.values())
    assert bool((counts <= domain.most).all())
    for instance in range(3):
        alone = walked(graph, region.take(torch.tensor([instance])), domain)
        one, two = domain.hull(alone.element, alone.ctx), domain.hull(together.element, together.ctx)
        assert torch.allclose(one.lower[0], two.lower[instance], rtol=1e-9)
        assert torch.allclose(one.upper[0], two.upper[instance], rtol=1e-9)


def test_windows_are_estimated_at_what_they_hold():
    graph = convolutions("wide")
    region = region_of(graph, 0.01, batch=1)
    found = walked(graph, region, Zonotope())
    counts = {node.name: float(found.kept[node.name].blocks[node.name].count) for node in graph.nodes
              if node.name in found.kept[node.name].blocks}
    last = graph.nodes[-2].name
    cost = carried(graph, FLOAT64, {**counts, graph.input.name: float(graph.input.size)}, 0)
    assert held_bytes(found.kept[last].blocks) <= cost.memory < 9 * max(held_bytes(one.blocks) for one in found.kept.values())
    limited = carried(graph, FLOAT64, {**counts, graph.input.name: float(graph.input.size)}, 100)
    assert limited.memory < cost.memory / 10
    assert limited.products < cost.products / 10


def test_elsewhere_symbols_stay_whole_vectors():
    sparse = Sparse(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1), (1, 9, 9))
    wide = Conv(randn(1, 1, 7, 7, seed=1), None, (1, 1), ((3, 3), (3, 3)), (1, 1))
    assert patches.localised(sparse, wide, (1, 9, 9)) is sparse
    assert patches.localised(sparse, replace(wide, weight=randn(1, 1, 3, 3, seed=1)), (1, 9, 9)) is not sparse
    assert patches.localised(sparse, Gemm(randn(2, 81, seed=1)), (81,)) is sparse


def test_no_spread_is_subnormal():
    """Products with subnormal numbers take many times as long: entries whose bounds meet at the reference have none."""
    graph = convolutions("plain")
    ctx = walked(graph, region_of(graph, 0.01), Coarse()).ctx
    ctx = replace(ctx, reference={name: known.lower for name, known in ctx.known.items()})
    for name, known in ctx.known.items():
        spread = ctx.spread(name)
        assert bool((spread >= known.width).all())
        assert bool((spread * 1e-40 > torch.finfo(torch.float64).tiny).all())
    assert bool((ctx.spread(graph.nodes[2].name) < 1e-200).any())
