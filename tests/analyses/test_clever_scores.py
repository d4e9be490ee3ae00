"""CLEVER scores: known ones of linear and quadratic networks, laws of targets and seeds, and what is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from math import inf, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

import absint
from absint.analyses.clever.estimates import first_order, second_order
from absint.analyses.clever.sampling import Sampling
from absint.analyses.clever.settings import ScoreSettings, targets_of, with_targets
from absint.errors import AbsintError
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.sigmoid import Tanh
from absint.model.ops.step import Floor

DUAL = {"l1": inf, "l2": 2.0, "linf": 1.0}
FEW = {"batches": 12, "samples": 30}


def net(seed: int, *sizes: int, between: Op | None = None, scale: float = 1.0) -> Graph:
    """Layers of random weights."""
    generator, build, last = torch.Generator().manual_seed(seed), GraphBuilder("x", (sizes[0],)), "x"
    for k, (inputs, outputs) in enumerate(pairwise(sizes)):
        if k and between is not None:
            last = build.add(between, (last,))
        weight = scale * torch.randn(outputs, inputs, generator=generator, dtype=torch.float64) / sqrt(inputs)
        last = build.add(Gemm(weight, torch.randn(outputs, generator=generator, dtype=torch.float64) / 4), (last,), f"layer{k}")
    return build.graph(last)


def images(seed: int, count: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, (count, size))


def weight_of(graph: Graph) -> Tensor:
    op = graph.output.op
    assert isinstance(op, Gemm)
    return op.weight


@pytest.mark.parametrize("norm", DUAL)
def test_a_linear_network_is_scored_exactly(norm: str) -> None:
    graph, x = net(1, 20, 6), images(2, 4, 20)
    found = absint.clever(graph, x, norm=norm, radius=1e3, clip=None, targets="untargeted", dtype="float64", **FEW)
    for record in found:
        for one in record.targets:
            row = weight_of(graph)[record.predicted] - weight_of(graph)[one.target]
            exact = one.margin / torch.linalg.vector_norm(row, ord=DUAL[norm]).item()
            assert one.score == pytest.approx(exact, rel=1e-6)
            assert (one.fitted, one.saturated) == (False, False)


def test_of_a_linear_network_both_orders_agree() -> None:
    graph, x = net(1, 20, 6), images(2, 4, 20)
    given = {"radius": 1e3, "clip": None, "targets": "untargeted", **FEW}
    one, two = absint.clever(graph, x, **given), absint.clever(graph, x, order=2, **given)
    assert [record.score for record in two] == pytest.approx([record.score for record in one], rel=1e-6)


def test_float32_samples_are_near_enough() -> None:
    graph, x = net(1, 20, 6), images(2, 4, 20)
    record = absint.clever(graph, x, radius=1e3, clip=None, targets="untargeted", dtype="float32", **FEW)[0]
    rows = weight_of(graph)[record.predicted] - weight_of(graph)
    exact = min(one.margin / torch.linalg.vector_norm(rows[one.target]).item() for one in record.targets)
    assert record.score == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("bound", [0.3, 2.0, 1e-12, 0.0])
def test_the_second_order_of_a_quadratic_is_its_root(bound: float) -> None:
    """g = margin - slope r - bound r^2 / 2 along its gradient: gone at the root, and no nearer anywhere."""
    root = second_order(np.array([1.3]), np.array([0.7]), np.array([bound]), 1e9)[0]
    assert 0.7 * root + bound * root**2 / 2 == pytest.approx(1.3, rel=1e-12)


def test_ends_of_the_formulas() -> None:
    assert second_order(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.0, 1.0, 2.0, 1e308]), 5.0) == (
        pytest.approx([5.0, 0.0, 1.0, 0.0], abs=1e-9))
    assert first_order(np.array([1.0, 0.0, -1.0, 1.0]), np.array([0.0, 0.0, 2.0, 4.0]), 5.0) == pytest.approx([5.0, 0.0, 0.0, 0.25])


def test_a_quadratic_margin_is_scored_by_its_root() -> None:
    """Sampled Hessians are all the same: minus `bound` times the identity in a plane."""
    slope, bound = torch.tensor([0.6, 0.0, 0.3], dtype=torch.float64), 0.8

    def scores(x: Tensor) -> Tensor:
        x = x.to(torch.float64)
        return torch.stack([2.0 - x @ slope - 0.5 * bound * (x * x).sum(1), torch.zeros(len(x), dtype=torch.float64)], 1)

    settings = ScoreSettings(2, "l2", 9.0, None, 10, 20)
    chosen = with_targets(scores, None, torch.zeros(1, 3, dtype=torch.float64), ("runner-up",), (0,), settings)
    (found,) = Sampling(scores, None, settings, 10, 10.0).run(chosen)
    assert found.maxima.numpy() == pytest.approx(np.full((1, 10), bound), rel=1e-3)
    root = second_order(chosen.margin[0].numpy(), chosen.slope[0].numpy(), found.maxima.amax(1).numpy(), 9.0)[0]
    along = slope / slope.norm() * root
    assert scores(along[None])[0, 0].item() == pytest.approx(0.0, abs=1e-3)


def test_the_untargeted_score_is_the_least_of_all_targets() -> None:
    graph, x = net(3, 8, 14, 5, between=Tanh()), images(4, 6, 8)
    together = absint.clever(graph, x, targets="untargeted", radius=0.5, **FEW)
    apart = [absint.clever(graph, x, targets=str(t), radius=0.5, **FEW) for t in range(5)]
    for k, record in enumerate(together):
        others = [apart[t][k].targets[0].score for t in range(5) if t != record.predicted]
        assert record.score == pytest.approx(min(others), rel=1e-6)
        assert sorted(one.target for one in record.targets) == [t for t in range(5) if t != record.predicted]


def test_targets_are_what_their_words_say() -> None:
    scores = torch.tensor([[0.1, 5.0, 3.0, -2.0, 1.0, 0.5], [9.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
    original, kinds, target = targets_of(scores, ("runner-up", "random", "least"), (3, 4), 0)
    assert (original.tolist(), kinds) == ([1, 0], ("runner-up", "random", "least"))
    assert (target[:, 0].tolist(), target[:, 2].tolist()) == ([2, 5], [3, 1])
    random = torch.cat([targets_of(scores[:1], ("random",), (index,), 0)[2] for index in range(200)]).flatten()
    assert set(random.tolist()) == {0, 4, 5}
    assert torch.bincount(random, minlength=6)[[0, 4, 5]].min() > 45


def test_of_two_classes_the_other_one_is_every_target() -> None:
    record = absint.clever(net(1, 5, 2), images(1, 1, 5), radius=1.0, **FEW)[0]
    assert {one.target for one in record.targets} == {1 - record.predicted}
    assert len(record.targets) == 3


@pytest.mark.parametrize("order", [1, 2])
def test_the_same_seed_gives_the_same_bits_whatever_is_scored_beside(order: int) -> None:
    graph, x = net(3, 8, 14, 5, between=Tanh()), images(4, 5, 8)
    given = {"order": order, "radius": 0.5, **FEW}
    first, again = absint.clever(graph, x, **given), absint.clever(graph, x, **given)
    assert [one.targets for one in first] == [one.targets for one in again]
    other = absint.clever(graph, x, **given, seed=1)
    assert first[0].targets[0].maximum != other[0].targets[0].maximum
    alone = absint.clever(graph, x, index="3:4", **given)
    assert [one.maximum for one in alone[0].targets] == [one.maximum for one in first[3].targets]
    assert alone[0].targets[1].target == first[3].targets[1].target


def test_less_memory_changes_the_chunks_alone() -> None:
    graph, x = net(3, 8, 14, 5, between=Tanh()), images(4, 3, 8)
    whole, cut = (absint.clever(graph, x, radius=0.5, memory=memory, **FEW) for memory in ("1GiB", "1MiB"))
    for one, two in zip(whole, cut, strict=True):
        assert [a.maximum for a in one.targets] == pytest.approx([b.maximum for b in two.targets], rel=1e-5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("clip", [(0.0, 1.0), None])
def test_scores_lie_between_nothing_and_the_radius(order: int, clip: tuple[float, float] | None) -> None:
    found = absint.clever(net(5, 6, 10, 4, between=Tanh(), scale=3.0), images(4, 6, 6), order=order, radius=0.3, clip=clip, **FEW)
    for record in found:
        for one in record.targets:
            assert 0 <= one.low <= one.score <= one.high <= 0.3
            assert one.estimate >= one.maximum > 0
            assert one.saturated == (one.score == 0.3)


def test_the_report_names_the_format_that_was_sampled_in() -> None:
    found = absint.clever(net(1, 5, 3), images(1, 1, 5), radius=1e-5, **FEW)
    assert found.run.header["numerics"]["dtype"] == found.run.header["sampling"]["dtype"] == "float64"


def test_misclassified_and_tied_inputs_say_so_and_get_no_score() -> None:
    graph = net(1, 5, 3)
    x = images(1, 3, 5)
    predicted = [record.predicted for record in absint.clever(graph, x, radius=1.0, **FEW)]
    labels = [predicted[0], (predicted[1] + 1) % 3, predicted[2]]
    found = absint.clever(graph, x, labels=labels, radius=1.0, **FEW)
    assert [record.skipped for record in found] == ["", "misclassified", ""]
    assert found[1].targets == ()
    assert found[1].score is None
    assert found.document.summary["skipped"] == {"misclassified": 1}
    assert found.document.exit_code == 0
    build = GraphBuilder("x", (2,))
    flat = build.graph(build.add(Gemm(torch.ones(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)), ("x",), "y"))
    assert absint.clever(flat, images(1, 1, 2), radius=1.0, **FEW)[0].skipped == "tie"


@pytest.mark.parametrize(("given", "code"), [
    ({"order": 3}, "E-CLEVER-ORDER"), ({"order": 2, "norm": "linf"}, "E-CLEVER-NORM"), ({"norm": "l3"}, "E-NORM"),
    ({"batches": 9}, "E-CLEVER-BATCHES"), ({"batches": 10**9}, "E-CLEVER-BATCHES"),
    ({"samples": 0}, "E-CLEVER-SAMPLES"), ({"radius": 0.0}, "E-CLEVER-RADIUS"),
    ({"radius": -1.0}, "E-CLEVER-RADIUS"), ({"radius": inf}, "E-CLEVER-RADIUS"), ({"radius": float("nan")}, "E-CLEVER-RADIUS"),
    ({"radius": 9.0}, "E-CLEVER-RADIUS"), ({"radius": 1.5, "norm": "linf"}, "E-CLEVER-RADIUS"), ({"targets": "best"}, "E-CLEVER-TARGETS"),
    ({"targets": "1,1"}, "E-CLEVER-TARGETS"), ({"targets": "7"}, "E-CLEVER-TARGETS"), ({"targets": "untargeted,1"}, "E-CLEVER-TARGETS"),
    ({"curvature": "mean"}, "E-CLEVER-OPTION"), ({"level": 1.0}, "E-CLEVER-LEVEL"), ({"seed": -1}, "E-CLEVER-OPTION"),
    ({"dtype": "int8"}, "E-DTYPE"), ({"transform": "nothing"}, "E-TRANSFORM-UNKNOWN"), ({"certify": "nothing"}, "E-DOMAIN-UNKNOWN"),
    ({"tolerance": "little"}, "E-EPS"),
    ({"attack": "nothing"}, "E-ATTACK-UNKNOWN"),
])
def test_what_cannot_be_scored_is_refused_with_a_code(given: dict[str, object], code: str) -> None:
    with pytest.raises(AbsintError) as caught:
        absint.clever(net(3, 8, 14, 5, between=Tanh()), images(4, 2, 8), **{**FEW, "radius": 0.5, **given})
    assert caught.value.code == code
    assert caught.value.hint


def test_the_second_order_needs_second_derivatives() -> None:
    with pytest.raises(AbsintError) as caught:
        absint.clever(net(3, 8, 14, 5, between=Relu()), images(4, 2, 8), order=2, radius=0.5, **FEW)
    assert caught.value.code == "E-CLEVER-SMOOTH"
    assert "order 1" in caught.value.hint


def stairs(slope: float) -> Graph:
    """Steps of height 1/8 before a linear classifier, with a little of the input beside them."""
    from absint.model.ops.sum import Sum

    build, eye = GraphBuilder("x", (6,)), torch.eye(6, dtype=torch.float64)
    steps = build.add(Floor(), (build.add(Gemm(8 * eye, torch.zeros(6, dtype=torch.float64)), ("x",)),))
    flat = build.add(Gemm(eye / 8, torch.zeros(6, dtype=torch.float64)), (steps,))
    beside = build.add(Gemm(slope * eye, torch.zeros(6, dtype=torch.float64)), ("x",))
    joined = build.add(Sum(), (flat, beside))
    weight = torch.randn(3, 6, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return build.graph(build.add(Gemm(weight, torch.zeros(3, dtype=torch.float64)), (joined,), "y"))


@pytest.mark.parametrize("slope", [0.0, 1e-3])
def test_masked_gradients_are_refused_with_the_remedy(slope: float) -> None:
    with pytest.raises(AbsintError) as caught:
        absint.clever(stairs(slope), images(4, 2, 6), radius=0.5, **FEW)
    assert caught.value.code == "E-GRADIENT-MASKED"
    assert "--transform" in caught.value.hint


def test_a_network_without_any_derivative_is_refused() -> None:
    """Comparisons alone lead to its scores."""
    from absint.model.ops.step import Sign

    build, eye = GraphBuilder("x", (3,)), torch.eye(3, dtype=torch.float64)
    signs = build.add(Sign(), (build.add(Gemm(eye, torch.tensor([-0.5, -0.4, -0.3], dtype=torch.float64)), ("x",)),))
    graph = build.graph(build.add(Gemm(eye, torch.tensor([0.3, 0.2, 0.1], dtype=torch.float64)), (signs,), "y"))
    with pytest.raises(AbsintError) as caught:
        absint.clever(graph, np.full((1, 3), 0.45), radius=0.5, **FEW)
    assert caught.value.code == "E-GRADIENT-MASKED"


def test_gradients_that_are_no_numbers_are_refused() -> None:
    build = GraphBuilder("x", (3,))
    huge = build.add(Gemm(1e300 * torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)), ("x",))
    weight = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    graph = build.graph(build.add(Gemm(weight, torch.zeros(2, dtype=torch.float64)), (huge,), "y"))
    with pytest.raises(AbsintError) as caught:
        absint.clever(graph, np.array([[0.9, 0.1, 0.5]]), radius=0.5, dtype="float32", **FEW)
    assert caught.value.code == "E-GRADIENT-NAN"


def test_one_bad_image_leaves_the_others_scored() -> None:
    """The steps lie in one half of the input space."""
    from absint.model.ops.sum import Sum

    build, zero = GraphBuilder("x", (2,)), torch.zeros(2, dtype=torch.float64)
    first = build.add(Relu(), (build.add(Gemm(8 * torch.tensor([[1.0, 0], [0, 0]], dtype=torch.float64),
                                             torch.tensor([-4.0, 0], dtype=torch.float64)), ("x",)),))
    second = build.add(Gemm(torch.eye(2, dtype=torch.float64), zero), (build.add(Floor(), (first,)),))
    beside = build.add(Relu(), (build.add(Gemm(-torch.tensor([[1.0, 0], [0, 0]], dtype=torch.float64),
                                              torch.tensor([0.5, 0], dtype=torch.float64)), ("x",)),))
    graph = build.graph(build.add(Gemm(torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64), torch.tensor([0.1, 0], dtype=torch.float64)),
                                  (build.add(Sum(), (second, beside)),), "y"))
    found = absint.clever(graph, np.array([[0.2, 0.5], [0.8, 0.5]]), radius=0.05, targets="runner-up", **FEW)
    assert [record.index for record in found] == [0]
    assert found.document.exit_code == 1
    assert [failure["code"] for failure in found.document.values["failures"]] == ["E-GRADIENT-MASKED"]


def test_a_run_goes_on_where_its_journal_ends(tmp_path) -> None:
    graph, x = net(3, 8, 14, 5, between=Tanh()), images(4, 5, 8)
    given = {"radius": 0.5, "journal": tmp_path / "j", **FEW}
    whole = absint.clever(graph, x, **{**given, "journal": None})
    absint.clever(graph, x, index="0:5", **given)
    lines = (tmp_path / "j").read_text().splitlines()
    (tmp_path / "j").write_text("\n".join(lines[:3]) + "\n")
    found = absint.clever(graph, x, index="0:5", resume=True, **given)
    assert [record.targets for record in found][:2] == [record.targets for record in whole][:2]
    assert [[one.maximum for one in record.targets] for record in found] == [
        pytest.approx([one.maximum for one in record.targets], rel=1e-5) for record in whole]
    assert json.loads(lines[1])["targets"][0]["kind"] == "runner-up"


def test_a_limit_holds_however_many_samples_are_asked_for() -> None:
    record = absint.clever(net(3, 8, 14, 5, between=Tanh()), images(4, 1, 8), radius=0.5, timeout=0.05, batches=100_000, samples=10**9)[0]
    assert record.skipped == "timeout"
    assert record.batches == 0


def test_a_time_limit_leaves_what_was_sampled_or_says_that_nothing_was() -> None:
    graph, x = net(3, 8, 14, 5, between=Tanh()), images(4, 2, 8)
    found = absint.clever(graph, x, radius=0.5, timeout=1e-9, memory="1MiB", batches=12, samples=3000)
    assert {record.skipped for record in found} == {"timeout"}
    assert found.document.exit_code == 1


def test_scores_that_rounding_may_turn_round_are_tied() -> None:
    build, weight = GraphBuilder("x", (2,)), torch.tensor([[1.0, 0.0], [1.0, 2.0**-52]], dtype=torch.float64)
    graph = build.graph(build.add(Gemm(weight, torch.zeros(2, dtype=torch.float64)), ("x",), "y"))
    assert absint.clever(graph, np.full((1, 2), 0.5), radius=1.0, **FEW)[0].skipped == "tie"
