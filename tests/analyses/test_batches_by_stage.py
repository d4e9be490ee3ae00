"""Cheap stages take many instances at once, costlier ones cut them up; and with `lean` the easy ones never meet these."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction as F
from typing import Any

import pytest
import torch
from bundled import digits, mnist

from absint.analyses.verify.deciding import decided, verify
from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.settings import ProofSettings
from absint.analyses.verify.undecided import Undecided
from absint.attacks import ATTACKS
from absint.engine.domain import DOMAINS, Traits
from absint.numeric.backend import numeric_mode
from absint.problem.problem import Problem, robustness
from absint.problem.regions.region import LinfBall
from absint.search.strategies.lean import Lean
from absint.search.strategy import Stage, Strategy
from absint.verdict import Verdict

Box, DeepPoly = DOMAINS.get("box"), DOMAINS.get("deeppoly")


def images(count: int, eps: str) -> Problem:
    """The first images that are classified correctly."""
    centers, labels = digits()
    right = (mnist()(centers).flatten(1).argmax(1) == labels).nonzero().flatten()[:count]
    return robustness(mnist(), LinfBall(centers[right], F(eps)), labels[right])


@dataclass(frozen=True)
class Seen(DeepPoly):
    """DeepPoly that writes down how many instances it is given at once, and says that one of them takes so many bytes."""

    sizes: list[int] = field(default_factory=list, compare=False)
    bytes_each: int = 1

    @property
    def traits(self) -> Traits:
        return Traits(**{**vars(super().traits), "memory": lambda graph, numerics: self.bytes_each})

    def start(self, node: Any, ctx: Any) -> Any:
        self.sizes.append(ctx.batch)
        return super().start(node, ctx)


@dataclass(frozen=True)
class Two(Strategy):
    first: Seen
    second: Seen

    def stages(self) -> tuple[Stage, ...]:
        return Stage(self.first, name="first"), Stage(self.second, name="second")


def two(cheap: int, dear: int) -> Two:
    return Two(Seen(bytes_each=cheap), Seen(bytes_each=dear))


GIB = 1 << 30


def test_each_stage_takes_what_fits_it() -> None:
    strategy = two(1, GIB // 4)
    found = verify(images(12, "0.2"), ProofSettings(strategy, attack=None, memory=GIB, dtype="float64"))
    assert len(found) == 12
    assert strategy.first.sizes == [12]
    assert strategy.second.sizes == [3, 3, 3, 3]        # within what the network's constants leave of the memory


def test_a_batch_asked_for_is_that_of_every_stage() -> None:
    strategy = two(1, 1)
    verify(images(10, "0.2"), ProofSettings(strategy, attack=None, batch=4, dtype="float64"))
    assert strategy.first.sizes == strategy.second.sizes == [4, 4, 2]


def test_what_is_known_between_stages_has_its_share_of_the_memory() -> None:
    run = Portfolio(images(2, "0.2"), ProofSettings(two(1, GIB), attack=None, memory=GIB))
    entries = sum(node.size for node in mnist().nodes)
    assert run._size_of(run.stages[0]) > 100
    small = Portfolio(images(2, "0.2"), ProofSettings(two(1, GIB), attack=None, memory=GIB))
    small.memory = 32 * entries * 4 * 7
    assert small._batch_size() == 7


def test_verdicts_are_those_of_one_by_one() -> None:
    problem = images(12, "0.04")
    apart = [(one.verdict, one.reason) for one in verify(problem, ProofSettings(two(1, 1), attack=None, batch=1))]
    together = [(one.verdict, one.reason) for one in verify(problem, ProofSettings(two(GIB // 80, GIB // 6), attack=None, memory=GIB))]
    assert apart == together
    assert len({verdict for verdict, _ in apart}) > 1


def test_parts_hold_everyone_once() -> None:
    problem = images(7, "0.02")
    with numeric_mode():
        work = Undecided(problem, torch.arange(7), torch.device("cpu"), "box", [0.0] * 7)
        work.refuted += torch.arange(7)[:, None]
        work.ambiguous = {1, 6}
        parts = work.split(3)
    assert [part.positions.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [part.ambiguous for part in parts] == [{1}, set(), {6}]
    assert len(work) == 0
    with numeric_mode():
        (one,) = Undecided.together(parts)
        assert one.split(9) == [one]
    assert one.positions.tolist() == list(range(7))
    assert one.ambiguous == {1, 6}


# ---- lean ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def attacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Instances that were searched for counterexamples, by search."""
    found: list[int] = []
    real = ATTACKS.get("pgd")()

    def noted(graph: Any, region: Any, spec: Any, search: Any) -> Any:
        found.append(region.batch)
        return real(graph, region, spec, search)

    monkeypatch.setitem(ATTACKS._entries, "pgd", lambda: noted)
    return found


def test_what_boxes_decide_meets_nothing_else(attacked: list[int]) -> None:
    problem = images(20, "0.001")
    by_box = {one.index: one.verdict for one in verify(problem, ProofSettings("box", attack=None))}
    easy = {index for index, verdict in by_box.items() if verdict is Verdict.VERIFIED}
    found = {one.index: one for one in verify(problem, ProofSettings(Lean()))}
    assert 3 < len(easy) < 20
    assert {index for index, one in found.items() if one.stage is not None and one.stage.startswith("box")} == easy
    hard = {index for index, one in found.items() if one.verdict in (Verdict.UNKNOWN, Verdict.FALSIFIED)}
    assert sum(attacked[:1]) <= len(hard)


def test_no_search_is_begun_where_all_is_proved(attacked: list[int]) -> None:
    assert {one.verdict for one in verify(images(6, "0.0001"), ProofSettings("lean"))} == {Verdict.VERIFIED}
    assert attacked == []


def test_counterexamples_are_looked_for_where_proofs_fail() -> None:
    found = verify(images(8, "0.2"), ProofSettings("lean"))
    assert sum(one.verdict is Verdict.FALSIFIED for one in found) >= 6
    assert all(one.stage == "attack" for one in found if one.verdict is Verdict.FALSIFIED)


# ---- told together ------------------------------------------------------------------------------------------------------


def test_what_is_known_at_one_moment_is_told_together() -> None:
    problem = images(9, "0.0001")
    with numeric_mode():
        groups = list(Portfolio(problem, ProofSettings("box", attack=None, batch=4)).groups())
    assert [len(group) for group in groups] == [4, 4, 1]
    assert [position for group in groups for position, _ in group] == list(range(9))
    assert [one.index for one in decided(problem, ProofSettings("box", attack=None, batch=4))] == list(range(9))
