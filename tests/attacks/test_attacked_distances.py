"""Smallest attacked distances: near where the answer is known, never below it, and of the asked row alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf

import bundled
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from absint.attacks import distances as module
from absint.attacks.distances import DistanceSettings, attacked_distances, exact_proof, norm_above
from absint.attacks.foolbox_attacks import ATTACK_KINDS, parse_attack, parse_attacks
from absint.attacks.proof import above_by_intervals
from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu

DUAL = {"linf": 1.0, "l2": 2.0, "l1": inf}
QUICK = {"linf": "deepfool,pgd:steps=10", "l2": "ddn:steps=30", "l1": "fmn:steps=60,pgd:steps=20"}


def linear(weight: Tensor, bias: Tensor | None = None) -> Graph:
    build = GraphBuilder("x", (weight.shape[1],))
    return build.graph(build.add(Gemm(weight, weight.new_zeros(len(weight)) if bias is None else bias), ("x",)))


def question(seed: int, pairs: int = 6, size: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of four classes; centres in [0.2, 0.8], their classes, and another class each."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, size, generator=random, dtype=torch.float64)
    center = 0.2 + 0.6 * torch.rand(pairs, size, generator=random, dtype=torch.float64)
    original = (center @ weight.T).argmax(1)
    return weight, center, original, (original + 1 + torch.arange(pairs) % 3) % 4


def settings(norm: str, radius: str = "20", attacks: str | None = None, **more: object) -> DistanceSettings:
    return DistanceSettings(norm, Fraction(radius), attacks=parse_attacks(QUICK[norm] if attacks is None else attacks, norm),
                            **more)  # type: ignore[arg-type]


def exact_norm(offsets: list[Fraction], norm: str) -> Fraction:
    """The norm, or its square for l2."""
    sizes = [abs(v) for v in offsets]
    return max(sizes) if norm == "linf" else sum(sizes, Fraction(0)) if norm == "l1" else sum((v * v for v in sizes), Fraction(0))


@pytest.mark.parametrize("norm", DUAL)
def test_of_a_linear_network_the_distance_is_found_and_never_undercut(norm: str) -> None:
    weight, center, original, target = question(0)
    row = weight[original] - weight[target]
    exact = (row * center).sum(1) / torch.linalg.vector_norm(row, ord=DUAL[norm], dim=1)
    found = attacked_distances(linear(weight), center, original, target, settings(norm, clip=None))
    assert found.proved
    assert not found.cut
    assert bool((found.distance <= 1.02 * exact).all()), found.distance / exact
    assert bool((found.distance >= exact * (1 - 1e-12)).all()), found.distance / exact
    assert bool(((found.points * row).sum(1) < 0).all())
    assert set(found.by) <= {"deepfool", "pgd", "ddn", "fmn"}


@pytest.mark.parametrize("norm", DUAL)
def test_written_distances_are_at_least_the_points_exact_ones(norm: str) -> None:
    weight, center, original, target = question(1)
    found = attacked_distances(linear(weight), center, original, target, settings(norm, clip=None))
    for point, middle, distance in zip(found.points.tolist(), center.tolist(), found.distance.tolist(), strict=True):
        length = exact_norm([Fraction(p) - Fraction(c) for p, c in zip(point, middle, strict=True)], norm)
        stated = Fraction(distance) ** (2 if norm == "l2" else 1)
        assert length <= stated <= length * (1 + Fraction(1, 10**9))


@pytest.mark.parametrize("norm", DUAL)
def test_norms_are_rounded_upward(norm: str) -> None:
    random = torch.Generator().manual_seed(3)
    one, two = (torch.randn(20, 9, generator=random, dtype=torch.float64) * 10.0 ** torch.randint(-9, 9, (20, 9), generator=random)
                for _ in range(2))
    one[0] = two[0]
    for low, high, stated in zip(one.tolist(), two.tolist(), norm_above(one - two, norm).tolist(), strict=True):
        length = exact_norm([Fraction(a) - Fraction(b) for a, b in zip(low, high, strict=True)], norm)
        assert length <= Fraction(stated) ** (2 if norm == "l2" else 1)
    assert float(norm_above(one - two, norm)[0]) == 0.0


@pytest.mark.parametrize("norm", DUAL)
def test_points_stay_in_the_data_range(norm: str) -> None:
    weight, center, original, target = question(2)
    clip, graph = (0.12, 0.85), linear(weight)      # in float32 either end lies further out
    plain, asked = exact_proof(graph), []

    def prove(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
        asked.append(points)
        return plain(points, low, high)

    found = attacked_distances(graph, center, original, target, settings(norm, clip=clip), prove)
    assert all(bool(((points >= clip[0]) & (points <= clip[1])).all()) for points in asked)
    reached = found.points[found.distance.isfinite()]
    assert len(reached)
    assert bool(((reached >= clip[0]) & (reached <= clip[1])).all())
    free = attacked_distances(graph, center, original, target, settings(norm, clip=None))
    assert bool((found.distance >= free.distance * 0.98).all())


def test_what_lies_beyond_the_radius_does_not_count() -> None:
    weight, center, original, target = question(0)
    row = weight[original] - weight[target]
    exact = (row * center).sum(1) / row.norm(dim=1)
    radius = Fraction(float(exact.median()) * 1.05)
    found = attacked_distances(linear(weight), center, original, target, DistanceSettings("l2", radius, None, parse_attacks("ddn", "l2")))
    assert torch.equal(found.distance.isfinite(), exact * 1.02 <= float(radius))
    gone = found.distance.isinf()
    assert bool(gone.any())
    assert not bool(gone.all())
    assert bool(found.points[gone].isnan().all())
    assert all((name == "") == out for name, out in zip(found.by, gone.tolist(), strict=True))


def test_another_class_than_the_target_does_not_count() -> None:
    """Class 2 is near, class 1 can never overtake class 0."""
    weight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    graph = linear(weight, torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64))
    center = torch.tensor([[0.1, 0.1], [0.1, 0.1]], dtype=torch.float64)
    asked = settings("l2", "1", "deepfool,ddn,pgd", clip=None)
    found = attacked_distances(graph, center, torch.tensor([0, 0]), torch.tensor([1, 2]), asked)
    assert found.distance[0] == inf
    assert found.by[0] == ""
    assert 0.1 <= float(found.distance[1]) <= 0.102


def test_rows_of_pairs_are_not_mixed_up() -> None:
    """In any order and number a pair's answer is its own."""
    weight, center, original, target = question(4)
    graph, asked = linear(weight), settings("l2", clip=None)
    whole = attacked_distances(graph, center, original, target, asked)
    order = torch.tensor([3, 0, 5])
    part = attacked_distances(graph, center[order], original[order], target[order], asked)
    assert torch.allclose(part.distance, whole.distance[order], rtol=1e-3)


def test_a_seed_fixes_what_is_found_and_leaves_the_generator_alone() -> None:
    weight, center, original, target = question(5)
    before = torch.get_rng_state()
    asked = (settings("l2", attacks="pgd:steps=5", clip=None, seed=seed) for seed in (1, 1, 2))
    one, two, three = (attacked_distances(linear(weight), center, original, target, one) for one in asked)
    assert torch.equal(one.points, two.points)
    assert torch.equal(one.distance, two.distance)
    assert not torch.equal(one.distance, three.distance)
    assert torch.equal(before, torch.get_rng_state())


def test_a_row_that_fails_at_the_centre_has_distance_zero() -> None:
    weight, center, original, target = question(6, pairs=2)
    found = attacked_distances(linear(weight), center, target, original, settings("l2", clip=None))
    assert found.distance.tolist() == [0.0, 0.0]
    assert found.by == ("center", "center")
    assert torch.equal(found.points, center)


def test_a_tie_is_no_crossing() -> None:
    """Two equal classes are equal everywhere: nothing is strictly above."""
    graph = linear(torch.ones(2, 3, dtype=torch.float64))
    center = torch.full((1, 3), 0.5, dtype=torch.float64)
    assert not bool(above_by_intervals(graph, center, torch.tensor([0]), torch.tensor([1])).any())
    found = attacked_distances(graph, center, torch.tensor([0]), torch.tensor([1]), settings("linf", "1"))
    assert found.distance.tolist() == [inf]


def test_a_tie_without_any_rounding_is_no_crossing() -> None:
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Relu(), ("x",)))
    points = torch.tensor([[1.0, 1.0], [1.0, 1.5]], dtype=torch.float64)
    assert above_by_intervals(graph, points, torch.tensor([0, 0]), torch.tensor([1, 1])).tolist() == [False, True]


def test_what_rounding_may_have_made_is_no_crossing() -> None:
    """f_1 is a difference of large numbers: 0 or a little more in float64, enclosed by an interval around 0."""
    graph = linear(torch.tensor([[0.0, 0.0], [1e15 + 1, -1e15]], dtype=torch.float64), torch.tensor([0.0, -0.3], dtype=torch.float64))
    point = torch.tensor([[0.3, 0.3]], dtype=torch.float64)
    assert not bool(above_by_intervals(graph, point, torch.tensor([0]), torch.tensor([1])).any())
    assert not bool(above_by_intervals(graph, point, torch.tensor([1]), torch.tensor([0])).any())
    assert bool(above_by_intervals(graph, point + torch.tensor([1.0, 0.0]), torch.tensor([0]), torch.tensor([1])).all())


def test_proofs_in_little_memory_are_the_same() -> None:
    weight, center, original, target = question(3)
    graph = linear(weight)
    # Some hold, some do not.
    points = (center * torch.linspace(-1, 1, len(center), dtype=torch.float64)[:, None])
    whole, cut = (above_by_intervals(graph, points, original, target, memory) for memory in (None, 5000))
    assert torch.equal(whole, cut)
    output = graph(points)
    assert torch.equal(whole, (output.gather(1, target[:, None]) > output.gather(1, original[:, None]))[:, 0])
    assert bool(whole.any())
    assert not bool(whole.all())


def test_a_point_that_the_users_model_does_not_show_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, (center, _) = bundled.mnist(), bundled.digits(2)
    order = graph(center).argsort(1, descending=True)

    class Stubborn:
        def run(self, x: np.ndarray) -> np.ndarray:
            return np.zeros((len(x), 10))

    monkeypatch.setattr(module, "runtime", lambda source: Stubborn())
    found = attacked_distances(graph, center, order[:, 0], order[:, 1], settings("linf", "0.3"))
    assert bool(found.distance.isinf().all())


def test_a_point_that_is_not_proved_does_not_count() -> None:
    """A proof that accepts nothing leaves nothing; one that asks for a margin is heard."""
    weight, center, original, target = question(7)
    graph, asked = linear(weight), settings("l2", clip=None)
    row = weight[target] - weight[original]
    none = attacked_distances(graph, center, original, target, asked, prove=lambda points, *_: torch.zeros(len(points), dtype=torch.bool))
    assert bool(none.distance.isinf().all())

    def deep(margin: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def prove(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
            return ((weight[high] - weight[low]) * points).sum(1) > margin
        return prove

    plain, strict = (attacked_distances(graph, center, original, target, settings("l2", attacks="pgd:steps=20", clip=None), deep(m))
                     for m in (0.0, 0.1))
    assert strict.proved
    assert bool(strict.distance.isfinite().any())
    assert bool((strict.distance > plain.distance)[strict.distance.isfinite()].all())
    reached = strict.distance.isfinite()
    assert bool(((row * strict.points).sum(1)[reached] > 0.1).all())


def test_a_callable_is_judged_by_its_own_values() -> None:
    """A transform before the network, with a slope of its own: what counts is the composed function."""
    weight, center, _, _ = question(8)
    graph = linear(weight)

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return (x * 64).round() / 64

        @staticmethod
        def backward(ctx: object, *grad: Tensor) -> Tensor:
            return grad[0]

    def composed(x: Tensor) -> Tensor:
        return graph(Rounded.apply(x))

    original = composed(center).argmax(1)
    target = (original + 1) % 4
    found = attacked_distances(composed, center, original, target, settings("l2", clip=None))
    assert not found.proved
    assert bool(found.distance.isfinite().all())
    output = composed(found.points)
    assert bool((output.gather(1, target[:, None]) > output.gather(1, original[:, None])).all())


def test_a_torch_module_in_its_own_format() -> None:
    weight, center, original, target = question(9)
    layer = nn.Linear(12, 4, bias=False)
    layer.weight.data = weight.float()
    one = attacked_distances(layer, center, original, target, settings("l2", clip=None))
    two = attacked_distances(layer.double(), center, original, target, settings("l2", clip=None))
    assert not one.proved
    assert torch.allclose(one.distance, two.distance, rtol=1e-4)


def test_time_that_is_over_leaves_what_was_found() -> None:
    weight, center, original, target = question(0)
    found = attacked_distances(linear(weight), center, original, target, settings("l2", clip=None, deadline=0.0))
    assert found.cut
    assert bool(found.distance.isinf().all())


def test_time_that_ends_within_an_attack_keeps_the_ones_before(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, center, original, target = question(0)
    true, ran = module.run_foolbox, []

    def second_is_late(pairs: nn.Module, *rest: object) -> Tensor:
        ran.append(pairs)
        if len(ran) > 1:
            pairs.budget = module.Budget(deadline=0.0)
        return true(pairs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "run_foolbox", second_is_late)
    found = attacked_distances(linear(weight), center, original, target, settings("l2", attacks="deepfool,ddn", clip=None))
    assert found.cut
    assert set(found.by) == {"deepfool"}
    assert len(ran) == 2


def test_few_pairs_fit_into_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, center, original, target = question(1)
    sizes = []
    true = module.run_foolbox
    monkeypatch.setattr(module, "run_foolbox", lambda pairs, inputs, *rest: (sizes.append(len(inputs)), true(pairs, inputs, *rest))[1])
    attacked_distances(linear(weight), center, original, target, settings("l2", attacks="deepfool", clip=None, memory=60_000))
    assert max(sizes) < len(center)
    assert sum(sizes) == len(center)


@pytest.mark.parametrize("norm", DUAL)
def test_digits_are_proved_and_replayed(norm: str) -> None:
    graph, (center, _) = bundled.mnist(), bundled.digits(8)
    order = graph(center).argsort(1, descending=True)
    radius = {"linf": "0.3", "l2": "6", "l1": "40"}[norm]
    found = attacked_distances(graph, center, order[:, 0], order[:, 1], settings(norm, radius))
    assert found.proved
    assert int(found.distance.isfinite().sum()) >= 6
    reached = found.distance.isfinite()
    assert bool(exact_proof(graph)(found.points[reached], order[reached, 0], order[reached, 1]).all())
    assert bool((found.points[reached] - center[reached]).flatten(1).abs().sum(1).gt(0).all())


@pytest.mark.parametrize(("name", "norm"), [(name, norm) for name, kind in ATTACK_KINDS.items() for norm in kind.norms])
def test_every_attack_runs_in_each_of_its_norms(name: str, norm: str) -> None:
    weight, center, original, target = question(0)
    small = {"boundary": "boundary:steps=20",
             "hopskipjump": "hopskipjump:steps=2,max_gradient_eval_steps=50,initial_gradient_eval_steps=10"}
    text = f"pgd,{small[name]}" if ATTACK_KINDS[name].starts else name
    found = attacked_distances(linear(weight), center, original, target, settings(norm, "10", text, clip=(-3.0, 4.0)))
    assert bool(found.distance.isfinite().any()), found.by


def test_attacks_are_read_by_name() -> None:
    assert [plan.text for plan in parse_attacks("cw, pgd", "l2")] == ["cw", "pgd"]
    cw, pgd = parse_attacks("cw:steps=7,stepsize=0.2,pgd:eps=0.5", "l2")
    assert (cw.parameters["steps"], cw.parameters["stepsize"], pgd.parameters["eps"]) == (7, 0.2, 0.5)
    assert parse_attacks("cw", "l2")[0].parameters["steps"] == 150
    assert parse_attack("cw").parameters["steps"] == 50
    for norm, text in module.DEFAULT_ATTACKS.items():
        assert DistanceSettings(norm, Fraction(1)).plans == parse_attacks(text, norm)


@pytest.mark.parametrize(("text", "norm", "code"), [
    ("cw", "l1", "E-ATTACK-NORM"), ("pgd,deepfool", "l1", "E-ATTACK-NORM"), ("fmn", "l2", "E-ATTACK-NORM"),
    ("pdg", "l2", "E-ATTACK-UNKNOWN"), ("cw,eps=1", "l2", "E-ATTACK-OPTION"),
])
def test_attacks_that_do_not_fit_are_refused(text: str, norm: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_attacks(text, norm)
    assert refused.value.code == code


def test_bad_questions_are_refused() -> None:
    weight, center, original, target = question(0)
    graph, asked = linear(weight), settings("l2")
    bad: list[tuple[tuple[Tensor, Tensor, Tensor], type[AbsintError], str]] = [
        ((center + 1, original, target), InputError, "E-DATA-RANGE"), ((center * torch.nan, original, target), InputError, "E-DATA-RANGE"),
        ((center, original, original), InputError, "E-LABEL"), ((center, original, target + 7), InputError, "E-LABEL"),
        ((center, original[:2], target), InputError, "E-LABEL"),
    ]
    for given, kind, code in bad:
        with pytest.raises(kind) as refused:
            attacked_distances(graph, *given, asked)
        assert refused.value.code == code
    for norm, radius, code in (("l7", "1", "E-NORM"), ("l2", "0", "E-RADIUS"), ("l2", "-1", "E-RADIUS"), ("l2", "1e400", "E-RADIUS")):
        with pytest.raises(UsageError) as wrong:
            DistanceSettings(norm, Fraction(radius))
        assert wrong.value.code == code


def test_no_pairs_no_points() -> None:
    weight, center, original, target = question(0)
    found = attacked_distances(linear(weight), center[:0], original[:0], target[:0], settings("l2"))
    assert found.distance.shape == (0,)
    assert found.points.shape == (0, 12)
    assert found.by == ()


def test_without_foolbox_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("absint.attacks.foolbox_attacks.find_spec", lambda name: None)
    weight, center, original, target = question(0)
    with pytest.raises(UnsupportedError) as refused:
        attacked_distances(linear(weight), center, original, target, settings("l2"))
    assert refused.value.code == "E-ATTACK-MISSING"
