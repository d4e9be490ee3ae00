"""A scout is asked before a domain: what it decides, the domain is not asked; nothing is lost by it."""

from __future__ import annotations

import pytest
import torch
from forward_nets import box, narrow_then_wide, spec_of, two_layers

from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.engine.context import Context
from absint.engine.domain import BackwardDomain
from absint.engine.forward import analyse, margins
from absint.errors import UsageError
from absint.testing.kit import FLOAT64

pytestmark = pytest.mark.usefixtures("numerics", "no_grad")


@pytest.fixture
def asked(monkeypatch):
    """Rows of inner nodes that were substituted back, in order."""
    found, bounds = [], BackwardDomain.bounds

    def counted(self, element, rows, ctx, sense):
        if rows.index is not None:
            found.append((element, len(rows)))
        return bounds(self, element, rows, ctx, sense)

    monkeypatch.setattr(BackwardDomain, "bounds", counted)
    return found


def margins_of(domain, graph, region):
    return margins(domain, Context(graph, region, FLOAT64), spec_of(region.batch))[0].lower


def test_rows_are_those_that_the_scout_leaves_undecided_and_margins_stay(asked):
    graph, region = narrow_then_wide(), box(0.01, 6, 2)
    whole = margins_of(DeepPoly(), graph, region)
    full = sum(count for _, count in asked)
    asked.clear()
    scouted = margins_of(DeepPoly(first="linear"), graph, region)
    assert 0 < sum(count for _, count in asked) < full / 2
    assert bool((scouted >= whole - 1e-9).all())


def test_what_a_scout_knows_is_learnt():
    graph, region = two_layers(width=8), box(0.2)
    node = graph.nodes[3].name
    alone, scouted = (analyse(domain, Context(graph, region, FLOAT64)).ctx.known[node] for domain in (DeepPoly(), DeepPoly(first="linear")))
    assert bool((scouted.lower >= alone.lower - 1e-9).all())
    assert bool((scouted.upper <= alone.upper + 1e-9).all())


def test_a_scout_beside_a_guide(asked):
    graph, region = narrow_then_wide(), box(0.05, 4, 2)
    guided = margins_of(DeepPoly(intermediate="box"), graph, region)
    both = margins_of(DeepPoly(intermediate="box", first="linear"), graph, region)
    assert bool((both >= guided - 1e-9).all())
    assert float(both.mean()) > float(guided.mean())
    assert asked == []    # nobody asks the domain itself but for the property


def test_comparison_with_what_was_published_has_no_scout():
    assert DeepPoly(first="linear", plain=True).traits.scout is None
    graph, region = two_layers(), box(0.2)
    assert torch.equal(margins_of(DeepPoly(plain=True), graph, region), margins_of(DeepPoly(plain=True, first="linear"), graph, region))


def test_helpers_count_and_are_named():
    graph = two_layers()
    own = DeepPoly().traits.bytes_of(graph, FLOAT64)
    assert DeepPoly(first="box").traits.bytes_of(graph, FLOAT64) == own + Box().traits.bytes_of(graph, FLOAT64)
    assert DeepPoly(first="linear").traits.cost(graph, FLOAT64, {}).products > 0
    assert [type(one) for one in DeepPoly(first="box", intermediate="box").traits.helpers] == [Box, Box]
    with pytest.raises(UsageError) as caught:
        _ = DeepPoly(first="lienar").traits
    assert caught.value.code == "E-DOMAIN-UNKNOWN"
