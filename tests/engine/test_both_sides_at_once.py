"""A row and its negative as one, as long as lines are parallel: the bounds of two walks, and never fewer errors charged."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from convolutional import convolutions

from absint.domains.deeppoly import DeepPoly
from absint.domains.parallel import Parallel
from absint.engine.backward.block import BOTH, BlockWalk
from absint.engine.backward.charges import Charges
from absint.engine.backward.walk import substitute_each
from absint.engine.context import Context
from absint.engine.forward import analyse
from absint.engine.rows import Rows
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions import ball
from absint.problem.regions.region import BoxRegion

NETS = ("plain", "residual", "linear", "average", "line")
FORMATS = (Numerics(), Numerics(dtype=torch.float32))


def known(name, domain, numerics, region=None):
    graph = convolutions(name)
    center = torch.rand(2, *graph.input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    region = BoxRegion(center - 0.05, center + 0.05) if region is None else region(center)
    return graph, region, analyse(domain, Context(graph, region, numerics)).ctx


def entries(graph, ctx, name):
    return Rows.units(name, torch.ones((ctx.batch, *graph[name].shape), dtype=torch.bool))


def sides(domain, ctx, rows):
    """Of one walk, and of one each."""
    both = substitute_each(rows, domain._relax, ctx, BOTH, every_layer=True)
    alone = [substitute_each(rows, domain._relax, ctx, (sign,), every_layer=True)[0] for sign in BOTH]
    return both, alone


@pytest.mark.parametrize("numerics", FORMATS, ids=("float64", "float32"))
@pytest.mark.parametrize("domain", [Parallel(), DeepPoly()], ids=("one slope", "two slopes"))
@pytest.mark.parametrize("name", NETS)
def test_one_walk_gives_what_two_give(name, domain, numerics):
    with numeric_mode(), torch.no_grad():
        graph, _, ctx = known(name, domain, numerics)
        for node in graph.nodes[1:]:
            both, alone = sides(domain, ctx, entries(graph, ctx, node.name))
            for one, two in zip(both, alone, strict=True):
                scale = two.abs().max() * (1e-12 if numerics.dtype is torch.float64 else 1e-5) + 1e-12
                assert float((one - two).abs().max()) <= float(scale), node.name


@pytest.mark.parametrize("name", NETS)
def test_values_lie_between(name):
    with numeric_mode(), torch.no_grad():
        graph, region, ctx = known(name, Parallel(), Numerics())
        rows = entries(graph, ctx, graph.output.name)
        (low, high), _ = sides(Parallel(), ctx, rows)
        share = torch.rand(50, *region.hull.lower.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
        for points in region.hull.lower + share * (region.hull.upper - region.hull.lower):
            values = graph(points).flatten(1)[rows.instance, rows.index]
            assert bool((values >= low).all())
            assert bool((values <= -high).all())


def test_a_ball_is_asked_for_both():
    with numeric_mode(), torch.no_grad():
        graph, region, ctx = known("plain", Parallel(), Numerics(), lambda center: ball("l2", center, Fraction(3, 10), None))
        assert region.beyond_hull
        both, alone = sides(Parallel(), ctx, entries(graph, ctx, graph.output.name))
        assert all(torch.allclose(one, two, rtol=1e-12, atol=1e-12) for one, two in zip(both, alone, strict=True))


def test_they_part_where_slopes_differ(monkeypatch):
    """Without that the upper lines would be taken for the lower ones: what the other tests would see."""
    parted = []
    monkeypatch.setattr(BlockWalk, "_parted", lambda self, adjoint, inner=BlockWalk._parted: (parted.append(1), inner(self, adjoint))[1])
    with numeric_mode(), torch.no_grad():
        graph, _, ctx = known("plain", Parallel(), Numerics())
        sides(Parallel(), ctx, entries(graph, ctx, graph.output.name))
        assert not parted
        graph, _, ctx = known("plain", DeepPoly(), Numerics())
        sides(DeepPoly(), ctx, entries(graph, ctx, graph.output.name))
        assert parted


def test_one_adjoint_for_lines_of_two_slopes_would_be_seen(monkeypatch):
    monkeypatch.setattr(Charges, "_made", lambda self, node, op, inner=Charges._made: replace(inner(self, node, op), parallel=True))
    with pytest.raises(AssertionError):
        test_one_walk_gives_what_two_give("plain", DeepPoly(), Numerics())
