"""A limit of the method's own is no timeout: the reason is `limit`, and the detail names it. `timeout` is the user's."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import agreement_nets
import pytest
from agreement import ask
from test_refinement import EASY, HARD, asked
from test_refinement_faults import NEEDS_BRANCHING

from absint.solvers import Session
from absint.solvers.model import SolverAnswer, Status
from absint.verdict import Reason, Verdict

TARGET = 8  # the class nearest to that of the hard image, by its bounds


def give_up(monkeypatch, *, mixed):
    """Programs of one kind end at their limit, without a bound or a point."""
    real = Session.solve

    def solve(self, limits=None):
        return SolverAnswer(-inf, False, Status.LIMIT) if self.model.mixed == mixed else real(self, limits)

    monkeypatch.setattr(Session, "solve", solve)


@pytest.mark.parametrize("limit", [{}, {"timeout": 1000.0}])
def test_a_count_of_programs_is_named(limit):
    (found,) = asked((HARD,), "0.05", "exact:solver=highs,nodes=5", **limit)
    assert (found.verdict, found.reason, found.cut) == (Verdict.UNKNOWN, Reason.LIMIT, False)
    assert "5 LPs for one disjunct" in found.detail


def test_patience_is_named_where_no_time_is_set():
    found = ask(agreement_nets.case(NEEDS_BRANCHING), "exact:solver=highs,patience=2,inputs=0")
    open_ = [r for r in found if r.verdict is Verdict.UNKNOWN]
    assert {(r.reason, r.detail) for r in open_} == {(Reason.LIMIT, "ended by a limit of the method: 2 LPs for one disjunct")}


def test_the_seconds_of_a_program_are_named(monkeypatch):
    give_up(monkeypatch, mixed=False)
    (found,) = asked((HARD,), "0.05", "exact:solver=highs,nodes=5,timeout_lp=7", timeout=1000.0)
    assert (found.reason, found.detail) == (Reason.LIMIT, "ended by a limit of the method: 5 LPs for one disjunct")
    (found,) = asked((HARD,), "0.05", "refine:solver=highs,timeout_lp=7", timeout=1000.0)
    assert (found.reason, found.detail) == (Reason.LIMIT, "ended by a limit of the method: 7 s of one LP")


def test_the_seconds_of_a_mixed_program_are_named(monkeypatch):
    give_up(monkeypatch, mixed=True)
    (found,) = asked((HARD,), "0.05", "milp:solver=highs,timeout_milp=3", timeout=1000.0)
    assert found.reason is Reason.LIMIT
    assert "3 s of one MILP" in found.detail


@pytest.mark.parametrize("domain", ["exact:solver=highs", "milp:solver=highs", "refine:solver=highs"])
@pytest.mark.parametrize(("limit", "cut"), [("timeout", False), ("total_timeout", True)])
def test_timeout_is_the_users_limit(domain, limit, cut, clock, monkeypatch):
    """A program takes ten seconds here."""
    real = Session.solve

    def solve(self, limits=None):
        clock.sleep(10.0)
        found = real(self, limits)
        return replace(found, status=Status.LIMIT, bound=-inf, point=None, claimed=None) if self.model.mixed else found

    monkeypatch.setattr(Session, "solve", solve)
    clock.tick = 1e-4
    (found,) = asked((HARD,), "0.05", domain, **{limit: 25.0})
    assert (found.verdict, found.reason, found.cut) == (Verdict.UNKNOWN, Reason.TIMEOUT, cut)


def test_a_mixed_program_that_the_users_limit_ends_is_a_timeout(clock, monkeypatch):
    """The only one there is: nothing after it looks at the clock."""
    real = Session.solve

    def solve(self, limits=None):
        if not self.model.mixed:
            return real(self, limits)
        clock.sleep(limits.seconds)
        return SolverAnswer(-inf, False, Status.LIMIT)

    monkeypatch.setattr(Session, "solve", solve)
    (found,) = asked((HARD,), "0.05", "milp:solver=highs", timeout=25.0, targets=[TARGET])
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.TIMEOUT)
    (found,) = asked((HARD,), "0.05", "milp:solver=highs,timeout_milp=20", timeout=25.0, targets=[TARGET])
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.LIMIT)


def test_a_mixed_program_that_a_share_of_the_whole_time_ends_is_a_timeout(clock, monkeypatch):
    """Two take turns, each with half of the time: what ends the first one is no limit of the method, either."""
    real = Session.solve

    def solve(self, limits=None):
        if not self.model.mixed:
            return real(self, limits)
        clock.sleep(limits.seconds)
        return SolverAnswer(-inf, False, Status.LIMIT)

    monkeypatch.setattr(Session, "solve", solve)
    found = asked((HARD, HARD), "0.05", "milp:solver=highs", total_timeout=50.0, targets=[TARGET, TARGET])
    assert [(r.verdict, r.reason) for r in found] == [(Verdict.UNKNOWN, Reason.TIMEOUT)] * 2


def test_without_a_limit_there_is_no_timeout():
    found = asked((EASY, HARD), "0.05", "exact:solver=highs,nodes=5")
    assert [r.reason for r in found] == [None, Reason.LIMIT]
