"""Searches that share the time: turns, what each hears of the others, and which limit is said when."""

from types import SimpleNamespace

import pytest
import torch

import absint
from absint.numeric.backend import Budget
from absint.problem.spec import Refutation
from absint.search import together
from absint.search.choice import curved, cuttable
from absint.search.search import ProofSearch
from absint.search.together import SideBySide
from absint.search.trees import _Race


class Scripted(ProofSearch):
    """Refutes by a script: a list of (batch, disjuncts) bounds, one a step; then it is over, by a limit."""

    def __init__(self, name, script, order, seconds=1.0):
        self.name, self.script, self.order, self.seconds = name, list(script), order, seconds
        self.heard, self.closed, self.kept = [], False, None

    @property
    def open(self):
        return torch.tensor([bool(self.script)])

    def step(self, budget):
        self.order.append(self.name)
        found = torch.tensor([self.script.pop(0)], dtype=torch.float64)
        CLOCK.now += self.seconds
        return Refutation(found, limits=() if self.script else ((0, f"{self.name} is over"),))

    def told(self, refuted):
        self.heard.append(refuted.tolist())

    def keep(self, live):
        self.kept = live

    def close(self):
        self.closed = True


CLOCK = SimpleNamespace(now=0.0)


@pytest.fixture(autouse=True)
def a_clock_of_its_own(monkeypatch):
    CLOCK.now = 0.0
    monkeypatch.setattr(together, "time", SimpleNamespace(monotonic=lambda: CLOCK.now))


def searching(*parts, shares):
    begin = SideBySide(tuple(lambda *_, part=part: part for part in parts), lambda ctx: shares)
    return begin(None, None, torch.full((1, 2), -torch.inf, dtype=torch.float64))


def test_turns_are_by_shares_of_the_time():
    order = []
    search = searching(Scripted("a", [[-1, -1]] * 8, order), Scripted("b", [[-1, -1]] * 8, order), shares=(1.0, 3.0))
    for _ in range(8):
        search.step(Budget())
    assert order.count("a") == 2
    assert order.count("b") == 6


def test_each_hears_what_others_refuted_and_the_best_counts():
    order = []
    a, b = Scripted("a", [[1, -5], [1, -4]], order), Scripted("b", [[-3, 2]], order)
    search = searching(a, b, shares=(1.0, 1.0))
    assert search.step(Budget()).lower.tolist() == [[1, -5]]
    assert b.heard == [[[1, -5]]]
    assert search.step(Budget()).lower.tolist() == [[1, 2]]
    assert a.heard == [[[1, 2]]]


def test_a_limit_is_said_once_nobody_goes_on():
    order = []
    search = searching(Scripted("a", [[-1, -1]], order), Scripted("b", [[-1, -1]] * 2, order), shares=(1.0, 1.0))
    assert search.step(Budget()).limits == ()
    assert search.step(Budget()).limits == ()
    assert search.step(Budget()).limits == ((0, "a is over"), (0, "b is over"))
    assert not bool(search.open.any())
    assert search.step(Budget()).lower.tolist() == [[-1, -1]]


def test_who_finishes_leaves_the_time_to_the_other():
    order = []
    search = searching(Scripted("a", [[-1, -1]], order), Scripted("b", [[-1, -1]] * 4, order), shares=(9.0, 1.0))
    while bool(search.open.any()):
        search.step(Budget())
    assert order == ["a", "b", "b", "b", "b"]


def test_both_are_told_what_matters_and_closed():
    a, b = Scripted("a", [[-1, -1]], []), Scripted("b", [[-1, -1]], [])
    search = searching(a, b, shares=(1.0, 1.0))
    search.keep(torch.tensor([False]))
    search.close()
    assert a.kept is not None
    assert b.kept is not None
    assert (a.closed, b.closed) == (True, True)


def test_one_that_has_nothing_to_ask_is_left_out():
    only = Scripted("a", [[-1, -1]], [])
    begin = SideBySide((lambda *_: None, lambda *_: only), lambda ctx: (1.0, 1.0))
    assert begin(None, None, torch.zeros(1, 2)) is only
    assert SideBySide((lambda *_: None,), lambda ctx: (1.0,))(None, None, torch.zeros(1, 2)) is None


def test_a_race_is_judged_after_as_many_nodes():
    race = _Race(2)
    assert race.winner(torch.tensor([128, 0]), torch.tensor([0.5, 0.0])) == []
    assert race.winner(torch.tensor([256, 256]), torch.tensor([0.1, 0.3])) == [1]
    # The one ahead has had many more nodes since: what counts is what both had closed after as many.
    assert race.winner(torch.tensor([300, 4096]), torch.tensor([0.2, 0.9])) == [1]
    assert race.winner(torch.tensor([512, 4096]), torch.tensor([0.95, 0.9])) == [0]


def test_networks_with_something_to_cut():
    def graph(*layers):
        net = torch.nn.Sequential(torch.nn.Linear(2, 3), *layers, torch.nn.Linear(3, 2)).eval()
        return absint.load(net, example_input=torch.zeros(1, 2))

    assert cuttable(graph(torch.nn.ReLU()))
    assert cuttable(graph(torch.nn.Sigmoid(), torch.nn.LeakyReLU()))
    assert curved(graph(torch.nn.Sigmoid()))
