"""Error rates in batches: what is proved holds exactly, what is attacked fails at a point of the exact ball, and limits cut cleanly."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch

import absint
from absint import samples
from absint.errors import InputError, InternalError, UsageError
from absint.model.graph import Graph
from absint.search import error_rates
from absint.search.error_rates import Descent, attacked_wrong, check_order, predicted_wrong, proved

UNIT = (0.0, 1.0)


def linear(weight: np.ndarray) -> Graph:
    """y = weight x, weight (classes, n) float64."""
    module = torch.nn.Linear(weight.shape[1], len(weight), bias=False, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
    return absint.load(module.eval(), example_input=torch.zeros(1, weight.shape[1], dtype=torch.float64))


@cache
def identity() -> Graph:
    """y = x of two entries."""
    return linear(np.eye(2))


def pairs(*values: tuple[float, float]) -> tuple[Graph, torch.Tensor, torch.Tensor]:
    """The network y = x of two entries, and inputs that it gives class 0."""
    return identity(), torch.tensor(values, dtype=torch.float64), torch.zeros(len(values), dtype=torch.int64)


def mnist(count: int = 40) -> tuple[Graph, torch.Tensor, torch.Tensor]:
    graph = absint.load(samples.network_path("mnist_relu_3x50"))
    data = samples.for_shape(graph.input.shape)
    assert data is not None
    return graph, torch.from_numpy(data.inputs[:count]), torch.from_numpy(data.labels[:count])


@pytest.mark.parametrize(("eps", "holds"), [("0.2499999", True), ("0.249999999999", True), ("0.25", False), ("0.2500001", False)])
def test_the_edge_of_a_robust_ball_is_found_to_the_last_digit(eps: str, holds: bool) -> None:
    graph, x, y = pairs((0.75, 0.25), (0.5, 0.0))
    assert proved(graph, x, y, eps, None, "box").flags.tolist() == [holds, holds]
    attacked = attacked_wrong(graph, x, y, eps, None, Descent(20)).flags.tolist()
    assert attacked == [eps == "0.2500001"] * 2, "a tie is no proof, and no proved witness either"


def test_the_range_of_the_data_is_kept() -> None:
    graph, x, y = pairs((0.5, 0.0))      # down to 0.2 and up to 0.3; without the range up to 0.3 as well
    shifted = torch.tensor([[1.0, 0.6]], dtype=torch.float64)
    assert not bool(proved(graph, shifted, y, "0.3", None, "box").flags)
    near = torch.tensor([[1.0, 0.8]], dtype=torch.float64)      # 0.75 and, within the range, 1: attacked either way
    assert bool(attacked_wrong(graph, near, y, "0.25", UNIT).flags)
    low = torch.tensor([[0.2, 0.0]], dtype=torch.float64)
    assert bool(attacked_wrong(graph, low, y, "0.15", UNIT).flags)
    far = linear(np.array([[1.0, 0.0], [0.0, -1.0]]))           # y = (x0, -x1): x1 below 0 would break it
    point = torch.tensor([[0.3, 0.0]], dtype=torch.float64)
    assert bool(attacked_wrong(far, point, y, "0.25", None).flags), "without a range, x1 falls to -0.25"
    assert not bool(attacked_wrong(far, point, y, "0.25", UNIT).flags)
    assert bool(proved(far, point, y, "0.25", UNIT, "box").flags)
    assert not bool(proved(far, point, y, "0.25", None, "box").flags)
    assert len(x) == 1


def test_ties_in_exact_arithmetic_are_never_proved() -> None:
    """Both scores are the same sum in another order: floats tell them apart by rounding, about half the time in favour of the label."""
    n, drawn = 64, np.random.default_rng(5)
    weight, order = drawn.normal(size=n), drawn.permutation(n)
    both = np.zeros((2, 2 * n))
    both[0, :n], both[1, n:] = weight, weight[order]
    first = drawn.uniform(size=(60, n))
    x, y = np.concatenate([first, first[:, order]], 1), np.zeros(60, dtype=np.int64)
    exact = [sum(Fraction(a) * Fraction(b) for a, b in zip(both[0] - both[1], row, strict=True)) for row in x[:3]]
    assert exact == [0, 0, 0]
    graph = linear(both)
    in_floats = graph(torch.from_numpy(x))
    assert 10 < int((in_floats[:, 0] > in_floats[:, 1]).sum()) < 50
    for domain in ("box", "deeppoly"):
        assert not bool(proved(graph, torch.from_numpy(x), torch.from_numpy(y), "0", None, domain).flags.any())
    assert not bool((attacked_wrong(graph, torch.from_numpy(x), torch.from_numpy(y), "0", None).flags
                     & ~predicted_wrong(graph, torch.from_numpy(x), torch.from_numpy(y)).flags).any())


@pytest.mark.parametrize("domain", ["box", "deeppoly"])
def test_verify_proves_the_same(domain: str) -> None:
    graph, x, y = mnist()
    found = absint.verify(graph, x.numpy(), labels=y.numpy(), eps="0.02", domain=domain, attack=None)
    verified = [one.verdict.value == "verified" for one in found]
    correct = ~predicted_wrong(graph, x, y).flags
    assert (proved(graph, x, y, "0.02", UNIT, domain).flags & correct).tolist() == verified
    assert domain == "box" or 10 < sum(verified) < 40


@pytest.mark.parametrize("eps", ["0.01", "0.03", "0.2"])
def test_clean_attacked_and_verified_errors_are_in_order(eps: str) -> None:
    graph, x, y = mnist(60)
    clean = predicted_wrong(graph, x, y)
    attacked = attacked_wrong(graph, x, y, eps, UNIT, Descent(20))
    proofs = proved(graph, x, y, eps, UNIT, "deeppoly")
    assert clean.done == attacked.done == proofs.done == 60
    assert not bool((clean.flags & ~attacked.flags).any())
    assert not bool((attacked.flags & proofs.flags).any())
    check_order(attacked.flags & ~clean.flags, proofs.flags, "deeppoly")
    assert clean.count <= attacked.count <= 60 - proofs.count
    assert eps != "0.2" or attacked.count > 50


def test_more_starts_and_less_memory_break_no_fewer_images() -> None:
    graph, x, y = mnist()
    once = attacked_wrong(graph, x, y, "0.02", UNIT, Descent(20))
    often = attacked_wrong(graph, x, y, "0.02", UNIT, Descent(20, 4))
    little = attacked_wrong(graph, x, y, "0.02", UNIT, Descent(20, 4), memory=1 << 22)
    assert not bool((once.flags & ~often.flags).any())
    assert often.flags.tolist() == little.flags.tolist()
    assert often.flags.tolist() == attacked_wrong(graph, x, y, "0.02", UNIT, Descent(20, 4)).flags.tolist()


def test_an_image_is_attacked_alike_whatever_stands_beside_it() -> None:
    graph, x, y = mnist(20)
    together = attacked_wrong(graph, x, y, "0.03", UNIT, Descent(10, 2)).flags
    alone = torch.cat([attacked_wrong(graph, x[k : k + 1], y[k : k + 1], "0.03", UNIT, Descent(10, 2)).flags for k in range(20)])
    assert together.tolist() == alone.tolist()


def test_scores_that_are_no_numbers_are_errors() -> None:
    graph, x, y = pairs((0.5, 0.1), (0.5, 0.1), (0.3, 0.3))
    x[1] = torch.nan
    assert predicted_wrong(graph, x, y).flags.tolist() == [False, True, True]


def test_time_ends_between_chunks(monkeypatch: pytest.MonkeyPatch, clock) -> None:
    graph, x, y = mnist()
    monkeypatch.setattr(error_rates, "_points_at_once", lambda *_: 8)
    monkeypatch.setattr(error_rates, "batch_size", lambda *_: 8)
    real = error_rates._lead

    def slow(*given: torch.Tensor) -> torch.Tensor:
        clock.now += 1
        return real(*given)

    monkeypatch.setattr(error_rates, "_lead", slow)
    found = predicted_wrong(graph, x, 9 - y, end=clock.now + 2.5)
    assert (found.done, found.count) == (24, 24)
    assert found.share == 1.0
    assert not bool(found.flags[24:].any())
    assert attacked_wrong(graph, x, 9 - y, "0.01", UNIT, end=clock.now).done == 0
    assert attacked_wrong(graph, x, y, "0.01", UNIT, Descent(5), end=clock.now + 4).done == 0, "cut within the first chunk"
    monkeypatch.setattr(error_rates, "_proved_by", lambda *_: (slow(torch.ones(1, 2), torch.tensor([0])), torch.ones(8))[1].bool())
    cut = proved(graph, x, y, "0.01", UNIT, "box", end=clock.now + 1.5)
    assert (cut.done, cut.count) == (16, 16)
    assert proved(graph, x, y, "0.01", UNIT, "box", end=clock.now).share is None


def test_what_memory_does_not_hold_is_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x, y = mnist()
    whole = proved(graph, x, y, "0.01", UNIT, "deeppoly")
    real, sizes = error_rates._proved_by, []

    def narrow(graph, region, *rest):
        sizes.append(region.batch)
        if region.batch > 10:
            raise MemoryError
        return real(graph, region, *rest)

    monkeypatch.setattr(error_rates, "_proved_by", narrow)
    assert proved(graph, x, y, "0.01", UNIT, "deeppoly").flags.tolist() == whole.flags.tolist()
    assert sizes == [40, 20, 10, 10, 10, 10]


def test_a_proof_and_a_witness_of_one_input_end_the_run() -> None:
    yes, no = torch.tensor([True, True]), torch.tensor([False, True])
    check_order(no, ~no, "box")
    with pytest.raises(InternalError, match="1 inputs are proved robust") as found:
        check_order(yes, no, "box", names=(7, 12))
    assert found.value.code == "E-CONTRADICTION"
    assert found.value.details == ("input 12",) or list(found.value.details) == ["input 12"]


def test_what_is_wrong_is_said() -> None:
    graph, x, y = pairs((0.5, 0.1))
    with pytest.raises(InputError, match="labels"):
        predicted_wrong(graph, x, y + 2)
    with pytest.raises(InputError, match="labels: of shape"):
        proved(graph, x, torch.zeros(3, dtype=torch.int64), "0.1", UNIT, "box")
    with pytest.raises(UsageError):
        attacked_wrong(graph, x, y, "-1", UNIT)
    with pytest.raises(InputError, match="outside the data range"):
        attacked_wrong(graph, x + 2, y, "0.1", UNIT)
