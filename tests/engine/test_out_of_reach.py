"""What can not end within the memory or the time is not begun, and said; what it needs is checked again where it is allocated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from convolutional import convolutions

from absint.analyses.verify import ProofSettings, verify
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.domains.zonotope import Zonotope
from absint.engine import out_of_reach as module
from absint.engine.context import Context
from absint.engine.cost import Cost, held_bytes
from absint.engine.forward import boxes
from absint.engine.out_of_reach import open_entries, out_of_reach
from absint.engine.product import Product
from absint.model.families.linear import Linear
from absint.model.ops.conv import Conv
from absint.numeric import backend
from absint.numeric.backend import Budget, MemoryBudgetError
from absint.numeric.rounding import Numerics
from absint.problem.problem import robustness
from absint.problem.regions.region import BoxRegion
from absint.search.names import domain_of
from absint.verdict import Reason, Verdict

GRAPH = convolutions("wide")
FLOAT32 = Numerics(torch.float32)
SMALL = 64 << 20


@pytest.fixture(autouse=True)
def whole_vectors(monkeypatch):
    """No operator knows windows: this network's symbols, which would take 22 MiB within these, take a gigabyte."""
    monkeypatch.setattr(Conv, "patch_size", Linear.patch_size)


def region(radius, many=1):
    """Around one image."""
    center = torch.rand(1, *GRAPH.input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).expand(many, -1, -1, -1)
    return BoxRegion(center - radius, center + radius)


def context(radius=0.1, **budget):
    return Context(GRAPH, region(radius), FLOAT32, Budget(**budget))


def test_memory():
    reason, words = out_of_reach(Zonotope().traits, context(memory=SMALL))
    assert reason is Reason.MEMORY
    assert "of 64 MiB" in words
    assert out_of_reach(Zonotope().traits, context(memory=64 << 30)) is None
    assert out_of_reach(Zonotope(max_generators=10).traits, context(memory=SMALL)) is None


def test_time(clock, monkeypatch):
    monkeypatch.setattr(module, "peak", lambda device, dtype, threads: 1e6)
    reason, words = out_of_reach(Zonotope().traits, context(memory=64 << 30, deadline=clock.now + 30.0))
    assert reason is Reason.TIMEOUT
    assert "of 30 s left" in words
    assert out_of_reach(Zonotope().traits, context(memory=64 << 30)) is None
    one = Zonotope().traits.cost(GRAPH, FLOAT32, {k: v / 2 for k, v in open_entries(GRAPH, boxes(context()).known).items()}).products / 1e6
    for many, found in ((1, None), (4, Reason.TIMEOUT)):   # a batch shares the time
        ctx = Context(GRAPH, region(0.1, many), FLOAT32, Budget(64 << 30, clock.now + 2 * one))
        assert (out_of_reach(Zonotope().traits, ctx) or (None,))[0] is found


def test_decided_neurons_count_for_nothing():
    """A point leaves no entry undecided: only the input's symbols count, of which there are none in truth."""
    counts = open_entries(GRAPH, boxes(context(0.0)).known)
    assert set(counts.values()) == {0.0}
    wide = open_entries(GRAPH, boxes(context(10.0)).known)
    assert all(count > 0 for count in wide.values())
    few, many = (Zonotope().traits.cost(GRAPH, FLOAT32, found) for found in (counts, wide))
    assert few.memory < many.memory
    assert few.products < many.products


def test_what_keeps_what_time_left_may_always_begin():
    assert out_of_reach(Box().traits, context(memory=1 << 20)) is None
    assert out_of_reach(DeepPoly().traits, context(memory=1 << 20)) is None


def test_guides_and_members_count():
    own = Zonotope().traits.cost(GRAPH, FLOAT32, {})
    assert DeepPoly(intermediate="zonotope").traits.cost(GRAPH, FLOAT32, {}) == own
    assert Product(Zonotope(), DeepPoly()).traits.cost(GRAPH, FLOAT32, {}) == own
    assert Product(Zonotope(), Zonotope()).traits.cost(GRAPH, FLOAT32, {}) == own.plus(own) == Cost(2 * own.memory, 2 * own.products)


def asked():
    center = region(0.0).hull.lower
    return robustness(GRAPH, region(0.1), GRAPH(center).argmax(1))


def test_verify_says_that_a_stage_was_not_begun(monkeypatch):
    monkeypatch.setattr(Zonotope, "linear", lambda *a: pytest.fail("the zonotope was begun"))
    settings = ProofSettings(domain_of("zonotope"), attack=None, memory=SMALL)
    (found,) = verify(asked(), settings)
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.MEMORY)
    assert any("not begun: an instance needs about" in note for note in found.notes)
    (found,) = verify(asked(), replace(settings, domain="auto", timeout=2.0))
    assert found.margin is not None
    assert any("not begun" in note for note in found.notes)


def test_what_is_allocated_is_checked(monkeypatch):
    """An estimate that was too low does no harm: the layer that does not fit is not begun."""
    monkeypatch.setattr(Zonotope, "_estimate", lambda self, graph, numerics, counts: Cost(0.0, 0.0))
    (found,) = verify(asked(), ProofSettings(domain_of("zonotope"), attack=None, memory=SMALL, batch=1))
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.MEMORY)
    assert any(" beside " in note for note in found.notes)


def test_a_budget_counts_what_is_held():
    Budget(memory=SMALL, held=SMALL).need(backend._TOLERATED, "x")
    with pytest.raises(MemoryBudgetError, match="'x' needs 64 MiB beside 64 MiB in use, of 64 MiB"):
        Budget(memory=SMALL, held=SMALL).need(backend._TOLERATED + 1, "x")
    assert backend.is_out_of_memory(MemoryBudgetError())


def test_held_bytes_count_what_is_shared_once():
    one = torch.zeros(100, dtype=torch.float32)
    assert held_bytes({"a": (one, one[10:]), "b": Cost(1.0, 2.0), "c": [one.view(4, 25), "x", None]}) == 400
    assert held_bytes((one, one.clone())) == 800
