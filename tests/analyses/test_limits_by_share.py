"""The limit of an instance is compared with its own share of the wall time; that of the whole call stands apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from bundled import digits, mnist
from costly import Costly, Stages, Zonotope, costs, images, nodes

from absint.analyses.radius import bisection
from absint.analyses.radius.bisection import BisectionSettings, radius
from absint.analyses.verify import ProofSettings, decided, verify
from absint.analyses.verify.portfolio import Portfolio
from absint.errors import UnsupportedError
from absint.model import import_check
from absint.numeric.backend import numeric_mode
from absint.verdict import InstanceResult, Reason, Verdict

LIMIT = 5.0
HARD = 2.0  # seconds a node: four nodes are beyond the limit


def settings(domain: Any, **more: Any) -> ProofSettings:
    return ProofSettings(domain, attack=None, **{"timeout": LIMIT, **more})


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("order", [(HARD, 0.1, 0.1, 0.1), (0.1, 0.1, 0.1, HARD)])
def test_a_hard_instance_ends_at_its_own_limit_and_robs_nobody(order, batch, clock):
    found = verify(images(4), settings(Stages((Costly(cost=costs(*order)),)), batch=batch))
    hard = order.index(HARD)
    assert (found[hard].reason, found[hard].cut) == (Reason.TIMEOUT, False)
    assert LIMIT <= found[hard].time_s <= LIMIT + HARD
    for k, result in enumerate(found):
        if k != hard:
            assert result.verdict is Verdict.VERIFIED
            assert result.time_s <= 0.1 * nodes() + 1e-6


@pytest.mark.parametrize("batch", [1, 4])
def test_easy_mates_lend_nothing(batch, clock):
    """A limit of a batch would let the hard one run for what the others leave over: 4 x LIMIT."""
    begin = clock.now
    verify(images(4), settings(Stages((Costly(cost=costs(0.0, 0.0, 0.0, HARD)),)), batch=batch))
    assert clock.now - begin <= LIMIT + HARD


def test_in_a_batch_each_has_its_limit_in_shares(clock):
    """Together they cost 2 s a node, .5 s of it each: all are within the limit, though their sum is not."""
    assert nodes() * 0.5 < LIMIT < nodes() * 2.0
    cost = costs(0.5, 0.5, 0.5, 0.5)
    found = verify(images(4), settings(Stages((Costly(cost=cost, single=False),)), batch=4))
    assert {r.verdict for r in found} == {Verdict.VERIFIED}
    assert all(r.time_s == pytest.approx(0.5 * nodes()) for r in found)


def test_who_has_time_left_goes_on_where_another_ends(clock):
    problem = images(3)
    run = Portfolio(problem, settings(Stages((Costly(cost=costs(0.5, 0.5, 0.5), single=False),)), batch=3), allowed=[0.6, 60.0, 60.0])
    with numeric_mode():
        found = dict(run.results())
    assert [found[k].verdict for k in range(3)] == [Verdict.UNKNOWN, Verdict.VERIFIED, Verdict.VERIFIED]
    assert (found[0].reason, found[0].cut) == (Reason.TIMEOUT, False)
    assert 0.6 <= found[0].time_s <= 0.6 + 0.5


def test_what_the_caller_does_in_between_is_nobodys_time(clock):
    found = []
    for result in decided(images(12, "0.02"), settings(Stages((Zonotope(), Costly(cost=costs(*[0.1] * 12), single=False))), batch=12)):
        clock.sleep(100.0)
        found.append(result)
    assert 2 < sum(r.verdict is Verdict.VERIFIED for r in found) < 12
    assert Reason.TIMEOUT not in {r.reason for r in found}
    assert 0 < max(r.time_s for r in found) <= 2 * 0.1 * nodes() + 1e-6


def test_the_limit_of_the_whole_call_says_that_it_cut(clock):
    slow = Stages((Costly(cost=costs(1.0, 1.0, 1.0, 1.0)),))
    found = verify(images(4), settings(slow, batch=4, timeout=50.0, total_timeout=1.5 * nodes()))
    assert {r.verdict for r in found if not r.cut} <= {Verdict.VERIFIED}
    assert all(r.reason is Reason.TIMEOUT for r in found if r.cut)
    assert any(r.cut for r in found)
    assert "cut" not in found[0].as_dict()


class Greedy(Costly):
    """Has memory for one instance, and finds out after a node."""

    def linear(self, node: Any, args: Any, ctx: Any) -> Any:
        out = super().linear(node, args, ctx)
        if ctx.batch > 1:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return out


def test_time_lost_to_a_batch_too_large_counts(clock):
    found = verify(images(2), settings(Stages((Greedy(cost=costs(0.5, 0.5), single=False),)), batch=2))
    assert [r.verdict for r in found] == [Verdict.VERIFIED] * 2
    assert all(r.time_s == pytest.approx(0.5 * (nodes() + 1)) for r in found)


def test_a_graph_that_nobody_compared_in_time_is_not_analysed(clock, monkeypatch):
    real = import_check._agree

    def slow(*given: Any) -> Any:
        clock.sleep(10.0)
        return real(*given)

    monkeypatch.setattr(import_check, "_agree", slow)
    found = verify(images(3), settings("zonotope", total_timeout=5.0))
    assert [(r.verdict, r.reason, r.cut, r.notes) for r in found] == [(Verdict.UNKNOWN, Reason.TIMEOUT, True, ())] * 3
    (one,) = radius(mnist(), digits(1)[0], BisectionSettings(Fraction(1, 4), Fraction(1, 100), settings("zonotope", total_timeout=5.0)))
    assert (one.certified, one.reason, one.cut) == (0, Reason.TIMEOUT, True)


def test_a_graph_that_differs_is_refused_before_the_first_result(monkeypatch):
    def differs(*given: Any) -> Any:
        raise UnsupportedError("E-IMPORT-MISMATCH", "planted")

    monkeypatch.setattr(import_check, "_agree", differs)
    steps = decided(images(2, wrong=(0,)), settings("zonotope"))
    with pytest.raises(UnsupportedError):
        next(steps)


# ---- radius ---------------------------------------------------------------------------------------------------------


def bracketed(monkeypatch: pytest.MonkeyPatch, seconds: list[float], limit: float, **more: Any) -> Any:
    """Radii of the first images, of which each ball is said to take so many seconds."""
    real = bisection._Chunk._answer

    def slow(self: Any, slot: int, result: InstanceResult) -> Any:
        return replace(real(self, slot, result), time_s=seconds[slot])

    monkeypatch.setattr(bisection._Chunk, "_answer", slow)
    search = BisectionSettings(Fraction(1, 4), Fraction(1, 64), settings(Zonotope(), timeout=limit, **more), fan=1)
    return radius(mnist(), digits(len(seconds))[0], search)


def test_an_input_whose_share_is_over_stops_and_the_others_go_on(monkeypatch):
    slow, quick = bracketed(monkeypatch, [2.0, 0.1], 5.0)
    assert (slow.calls, slow.reason, slow.cut) == (3, Reason.TIMEOUT, False)
    assert quick.calls == 5
    assert quick.reason is not Reason.TIMEOUT


def test_a_ball_has_an_even_share_of_what_its_input_has_left(monkeypatch):
    given: list[Any] = []
    real = Portfolio.results

    def noted(self: Portfolio) -> Iterator[Any]:
        given.append(list(self.allowed))
        return real(self)

    monkeypatch.setattr(Portfolio, "results", noted)
    bracketed(monkeypatch, [2.0, 0.0], 20.0)
    assert given[0] == [4.0, 4.0]
    assert given[1] == [4.5, 5.0]
    assert given[4] == [12.0, 20.0]
