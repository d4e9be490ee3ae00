"""Scores between what is proved and what is attacked: of each target alone, in order, and said where a score is known to be wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from math import inf

import numpy as np
import pytest
import torch
from test_clever_scores import FEW, images, net, weight_of

import absint
from absint.analyses.clever import between
from absint.analyses.clever.record import ABOVE_ATTACK, BELOW_PROOF
from absint.errors import AbsintError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu

DUAL = {"l1": inf, "l2": 2.0, "linf": 1.0}
ROUND = 1 + 1e-9


@pytest.mark.parametrize("norm", DUAL)
def test_of_a_linear_network_proof_score_and_attack_meet_at_the_distance(norm: str) -> None:
    graph, x = net(1, 6, 4), images(2, 2, 6)
    radius = {"l1": 3.0, "l2": 2.0, "linf": 0.9}[norm]
    found = absint.clever(graph, x, norm=norm, radius=radius, clip=(-9.0, 9.0), targets="untargeted", certify="deeppoly",
                          dtype="float64", **FEW)
    for record in found:
        for one in record.targets:
            row = weight_of(graph)[record.predicted] - weight_of(graph)[one.target]
            exact = one.margin / torch.linalg.vector_norm(row, ord=DUAL[norm]).item()
            assert one.certified <= exact * ROUND
            if exact < 0.9 * radius:
                assert one.certified >= exact - radius / 64
                assert exact <= one.attacked * ROUND
                assert one.attacked <= 1.1 * exact
            assert one.flag in ("", ABOVE_ATTACK) if one.attacked < one.score * ROUND else one.flag == ""


def test_on_a_real_network_every_proof_is_below_every_counterexample() -> None:
    found = absint.clever(index="0:2", radius=1.5, certify="deeppoly", targets="runner-up,least", batches=10, samples=20)
    assert len(found) == 2
    for record in found:
        for one in record.targets:
            assert 0 <= one.certified < one.attacked
            assert one.attacked == inf or one.attack
    summary = found.document.summary
    assert summary["attacked"] == sum(one.counterexample < inf for record in found for one in record.targets)
    assert [row["target"] for row in summary["by_target"]] == ["runner-up", "least"]


def test_the_exact_distance_is_met_from_both_sides() -> None:
    graph, x = net(7, 3, 5, 3, between=Relu()), images(2, 2, 3)
    found = absint.clever(graph, x[:1], norm="linf", radius=0.9, clip=(-3.0, 3.0), certify="exact", tolerance="0.02", attack="none", **FEW)
    ends = [(one.certified, one.refuted) for record in found for one in record.targets if one.refuted < inf]
    assert ends
    for certified, refuted in ends:
        assert certified < refuted <= certified + 0.04


def ridge() -> tuple[Graph, np.ndarray]:
    """A margin that falls slowly, but for a narrow step in one direction, which samples of a ball in 200 dimensions miss."""
    size, steep = 200, 400.0
    build, one = GraphBuilder("x", (size,)), torch.zeros(1, size, dtype=torch.float64)
    one[0, 0] = 1.0
    hidden = torch.cat([steep * one, steep * one, one])
    bias = torch.tensor([-steep * 0.75, -steep * 0.75 - 2.0, 0.0], dtype=torch.float64)
    last = build.add(Relu(), (build.add(Gemm(hidden, bias), ("x",)),))
    scores = torch.tensor([[0.0, 0, 0], [1.0, -1, 0.1]], dtype=torch.float64)     # up by 2 within a two-hundredth
    graph = build.graph(build.add(Gemm(scores, torch.tensor([1.0, 0.0], dtype=torch.float64)), (last,), "y"))
    return graph, np.full((1, size), 0.5)


def test_an_estimate_above_a_counterexample_is_flagged_and_counted() -> None:
    graph, x = ridge()
    found = absint.clever(graph, x, radius=1.0, targets="runner-up", certify="exact", batches=10, samples=5)
    (one,) = found[0].targets
    assert one.flag == ABOVE_ATTACK
    assert one.certified < one.counterexample < 0.3 < one.score
    assert (found.document.summary["above_attack"], found.document.summary["attacked"]) == (1, 1)
    low, high = found.document.summary["above_attack_interval"]
    assert (round(low, 3), high) == (0.025, 1.0)
    text = dict(found.document.sections[0].parts[0].items)
    assert text["estimate above an attack"].startswith("1 of 1, 2.4 % to 100.0 %")


def test_an_estimate_below_the_proof_is_flagged() -> None:
    found = absint.clever(net(1, 6, 4), images(2, 1, 6), radius=2.0, clip=None, certify="zonotope", attack="none", **FEW)
    one = found[0].targets[0]
    assert one.flag == ""
    assert replace(one, score=one.certified * 0.9).flag == BELOW_PROOF
    assert one.attacked is None


def test_a_proof_that_reaches_a_counterexample_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = between.attacked_distances

    def nearer(*given: object, **more: object) -> between.Attacked:
        found = real(*given, **more)
        return replace(found, distance=found.distance / 4)

    monkeypatch.setattr(between, "attacked_distances", nearer)
    with pytest.raises(AbsintError) as caught:
        absint.clever(net(1, 6, 4), images(2, 1, 6), radius=2.0, clip=None, certify="zonotope", targets="runner-up", **FEW)
    assert caught.value.code == "E-CONTRADICTION"


def test_what_a_transform_hides_is_attacked_and_never_proved() -> None:
    graph, x = net(3, 12, 5), images(4, 2, 12)
    with pytest.raises(AbsintError) as caught:
        absint.clever(graph, x, radius=1.0, transform="bits3", certify="zonotope", **FEW)
    assert caught.value.code == "E-CLEVER-TRANSFORM"
    found = absint.clever(graph, x, radius=2.0, transform="bits3", attack="pgd", targets="runner-up", **FEW)
    distances = [one.attacked for record in found for one in record.targets]
    assert min(distances) < inf
    for record in found:
        for one in record.targets:
            assert one.score > 0
            assert one.certified is None


def test_the_predicted_class_among_the_targets_is_left_out() -> None:
    graph, x = net(1, 6, 4), images(2, 3, 6)
    found = absint.clever(graph, x, radius=2.0, clip=None, targets="0,1,2,3", certify="zonotope", attack="none", **FEW)
    for record in found:
        assert [one.target for one in record.targets] == [t for t in range(4) if t != record.predicted]
        assert all(one.certified is not None for one in record.targets)
    alone = absint.clever(graph, x[:1], radius=2.0, targets=str(found[0].predicted), **FEW)[0]
    assert (alone.skipped, alone.targets) == ("target", ())


def test_what_a_time_limit_left_unproved_is_told_and_tried_again(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the run passes in the attack: the record says so, and the journal leaves it to be tried again."""
    graph, x = net(1, 6, 4), images(2, 1, 6)
    given = {"radius": 2.0, "clip": None, "certify": "zonotope", "targets": "runner-up", "journal": tmp_path / "j", **FEW}
    real = between.Between._attacked

    def long(self, graph: Graph, pairs: object, left: float) -> object:
        assert 0 < left < 150, "half of what is left, since a proof waits"
        until = time.monotonic() + left + 1e3
        ticks = count()
        monkeypatch.setattr(time, "monotonic", lambda: until + next(ticks))
        return real(self, graph, pairs, 1.0)

    monkeypatch.setattr(between.Between, "_attacked", long)
    found = absint.clever(graph, x, index="0:1", total_timeout=200.0, **given)
    monkeypatch.undo()
    assert [record.cut for record in found] == [True] * len(found)
    again = absint.clever(graph, x, index="0:1", resume=True, **given)
    assert again[0].targets[0].certified > 0
    assert str(again[0].targets[0].certified) != "-0.0"
    assert again[0].note == ""


def test_an_attack_through_a_transform_sees_its_result_to_the_last_bit() -> None:
    x = torch.rand(50, 7, generator=torch.Generator().manual_seed(1)).requires_grad_()
    seen = []

    def scores(points: torch.Tensor) -> torch.Tensor:
        seen.append(points.detach())
        return 3 * points

    (slope,) = torch.autograd.grad(between.straight_through(scores, lambda points: points / 3 + 0.1)(x).sum(), x)
    assert torch.equal(seen[0], x.detach() / 3 + 0.1)
    assert torch.equal(slope, torch.full_like(x, 3.0))
