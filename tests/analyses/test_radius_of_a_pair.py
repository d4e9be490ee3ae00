"""Radii of one row, f_c - f_t: closed forms, agreement with the radius of all rows, and with what attacks find."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any

import bundled
import pytest
import torch
from torch import Tensor

from absint.analyses.radius import bisection as module
from absint.analyses.radius.bisection import BisectionSettings, RadiusResult, radii, radius
from absint.analyses.verify.settings import ProofSettings
from absint.attacks.distances import DistanceSettings, attacked_distances
from absint.attacks.foolbox_attacks import parse_attacks
from absint.errors import AbsintError, InputError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.problem.spec import Spec
from absint.search.names import domain_of
from absint.verdict import Reason

DUAL = {"linf": 1.0, "l2": 2.0, "l1": inf}
CLASSES = 3


def options(domain: str = "deeppoly", upper: str = "0.5", tolerance: str = "0.01", attack: str | None = None, **own: Any
            ) -> BisectionSettings:
    return BisectionSettings(Fraction(upper), Fraction(tolerance), ProofSettings(domain_of(domain), attack=attack), clip=None, **own)


def layers(*weights: Tensor, bias: Tensor | None = None) -> Graph:
    build = GraphBuilder("x", (weights[0].shape[1],))
    name = "x"
    for number, weight in enumerate(weights):
        name = build.add(Gemm(weight, weight.new_zeros(len(weight)) if bias is None else bias), (name,))
        if number < len(weights) - 1:
            name = build.add(Relu(), (name,))
    return build.graph(name)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs(graph: Graph, center: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every input with each of its other classes, in order."""
    predicted = graph(center).argmax(1)
    other = torch.tensor([[j for j in range(graph.output.size) if j != c] for c in predicted.tolist()])
    rows = other.shape[1]
    return center.repeat_interleave(rows, 0), predicted.repeat_interleave(rows), other.flatten()


@pytest.mark.parametrize("norm", DUAL)
def test_the_radius_of_a_row_of_a_linear_network(norm: str) -> None:
    """The distance is g / ||w||*: what is certified lies at most a step below it, what is refuted never below it."""
    weight, bias = drawn(1, CLASSES, 5), drawn(2, CLASSES)
    graph = layers(weight, bias=bias)
    center, original, target = pairs(graph, drawn(3, 4, 5) / 2)
    row = weight[original] - weight[target]
    exact = ((row * center).sum(1) + bias[original] - bias[target]) / torch.linalg.vector_norm(row, ord=DUAL[norm], dim=1)
    search = options(norm=norm, attack="pgd", upper="2")
    results = radius(graph, center, search, target=target)
    step = float(search.step)
    for result, true, class_ in zip(results, exact.tolist(), original.tolist(), strict=True):
        assert result.predicted == class_
        assert float(result.certified) <= true + 1e-12
        assert float(result.certified) >= min(true, 2.0) - step - 1e-9
        assert float(result.refuted) >= true - 1e-12
    assert len({result.certified for result in results}) > len(results) // 2, "rows of one input have radii of their own"


def test_witnesses_are_about_the_row_alone() -> None:
    """Class 2 overtakes at once, class 1 never does: the row of class 1 holds as far as anyone asks."""
    weight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    graph = layers(weight, bias=torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64))
    center = torch.tensor([[0.1, 0.1]] * 2, dtype=torch.float64)
    search = options(attack="pgd")
    never, near = radius(graph, center, search, target=torch.tensor([1, 2]))
    assert never.certified >= search.upper - search.step
    assert never.refuted == inf
    assert never.witness is None
    assert near.witness is not None
    assert 0.1 - float(search.step) <= float(near.certified) <= 0.1 <= float(near.refuted) <= 0.1 + 2 * float(search.step)
    outputs = graph(torch.tensor([near.witness], dtype=torch.float64))[0]
    assert float(outputs[2]) >= float(outputs[0])
    (all_rows,) = radius(graph, center[:1], search)
    assert all_rows.certified == near.certified


def test_the_nearest_row_is_the_radius_of_all_rows() -> None:
    """Where nothing is left undecided, the least of the rows is what all rows together have."""
    graph = layers(drawn(4, 6, 3), drawn(5, 4, 6))
    inputs = drawn(6, 3, 3)
    center, _, target = pairs(graph, inputs)
    search = options("exact", "1", "0.02", attack="pgd")
    rows = radius(graph, center, search, target=target)
    whole = radius(graph, inputs, search)
    decided = 0
    for number, all_rows in enumerate(whole):
        mine = rows[3 * number:3 * number + 3]
        assert all(row.certified <= row.refuted for row in mine)
        assert abs(min(row.certified for row in mine) - all_rows.certified) <= search.step
        decided += all_rows.refuted != inf
    assert decided, "or all is beyond the upper end, and nothing was compared"


@pytest.mark.parametrize("norm", DUAL)
def test_no_attack_comes_nearer_than_a_certified_row(norm: str) -> None:
    """Six digits, each with its runner-up, a class in the middle, and its least likely one."""
    graph, (inputs, _) = bundled.mnist(), bundled.digits(6)
    order = graph(inputs).argsort(1, descending=True)
    center, original, target = inputs.repeat_interleave(3, 0), order[:, 0].repeat_interleave(3), order[:, [1, 4, 9]].flatten()
    upper = {"linf": "0.3", "l2": "4", "l1": "30"}[norm]
    search = BisectionSettings(Fraction(upper), Fraction(upper) / 60, ProofSettings(domain_of("zonotope"), attack=None), norm)
    results = radius(graph, center, search, target=target)
    found = attacked_distances(graph, center, original, target, DistanceSettings(
        norm, Fraction(upper), attacks=parse_attacks({"linf": "deepfool,fmn", "l2": "ddn", "l1": "pgd"}[norm], norm)))
    assert int(found.distance.isfinite().sum()) >= 9
    assert any(result.certified > 0 for result in results)
    for result, distance in zip(results, found.distance.tolist(), strict=True):
        assert result.certified <= distance


def test_a_swapped_row_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plant: f_t - f_c instead of f_c - f_t fails at the centre itself, and its witness is the centre."""
    weight = drawn(1, CLASSES, 5)
    graph = layers(weight)
    center, _, target = pairs(graph, drawn(3, 4, 5) / 2)
    right = Spec.targeted
    monkeypatch.setattr(module.Spec, "targeted", staticmethod(lambda labels, targets, classes: right(targets, labels, classes)))
    assert all(result.certified == 0 for result in radius(graph, center, options(), target=target))


def test_without_a_target_nothing_is_asked_of_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Spec, "targeted", staticmethod(lambda *_: pytest.fail("one row")))
    weight = drawn(1, CLASSES, 5)
    assert len(radius(layers(weight), drawn(3, 4, 5), options())) == 4


def test_a_tie_is_of_the_pair() -> None:
    """f_0 = f_1 > f_2: there is nothing to keep against the other of the two, and something against the third."""
    graph = layers(torch.eye(3, dtype=torch.float64))
    center = torch.tensor([[1.0, 1.0, 0.0]] * 3, dtype=torch.float64)
    results = radius(graph, center, options(upper="1"), target=torch.tensor([1, 2, 0]))
    assert [result.tied for result in results] == [True, False, True]
    assert results[0].certified == results[2].certified == 0
    assert (results[0].predicted, results[1].predicted) == (None, 0)
    assert 0.4 < float(results[1].certified) <= 0.5


def test_outputs_that_overflow_have_no_class() -> None:
    graph = layers(torch.full((2, 1), 1e308, dtype=torch.float64) * torch.tensor([[1.0], [0.5]], dtype=torch.float64))
    (result,) = radius(graph, torch.tensor([[10.0]], dtype=torch.float64), options(), target=torch.tensor([1]))
    assert (result.certified, result.reason, result.predicted) == (0, Reason.OVERFLOW, None)


def test_a_pairs_answer_does_not_depend_on_its_company() -> None:
    graph = layers(drawn(4, 6, 3), drawn(5, 4, 6))
    center, _, target = pairs(graph, drawn(6, 3, 3))
    search = options("zonotope", "1", carry=False)
    together = {result.index: result for result in radii(graph, center, search, target=target)}
    for slot in range(len(center)):
        (alone,) = radii(graph, center[slot:slot + 1], search, target=target[slot:slot + 1], index=[slot])
        assert alone.certified == together[slot].certified


def test_targets_go_with_their_inputs_into_chunks() -> None:
    graph = layers(drawn(4, 6, 3), drawn(5, 4, 6))
    center, _, target = pairs(graph, drawn(6, 3, 3))
    search = options("zonotope", "1", carry=False)
    small = replace(search, verify=replace(search.verify, batch=2))
    one, two = (radius(graph, center, how, target=target) for how in (search, small))
    assert [result.certified for result in one] == [result.certified for result in two]


def test_bad_targets_are_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = layers(drawn(1, CLASSES, 5))
    center = drawn(3, 4, 5)
    predicted = graph(center).argmax(1)
    monkeypatch.setattr(module, "Portfolio", lambda *_: pytest.fail("asked"))
    others = (predicted + 1) % CLASSES
    own = others.clone()
    own[2] = predicted[2]
    for target in (others[:3], others.double(), others + CLASSES, own):
        with pytest.raises(AbsintError) as refused:
            next(radii(graph, center, options(), target=target, index=[10, 11, 12, 13]))
        assert isinstance(refused.value, InputError)
        assert refused.value.code == "E-LABEL"
    assert "12" in str(refused.value)


def test_no_inputs_no_radii() -> None:
    graph = layers(drawn(1, CLASSES, 5))
    results: list[RadiusResult] = radius(graph, drawn(3, 0, 5), options(), target=torch.zeros(0, dtype=torch.int64))
    assert results == []
