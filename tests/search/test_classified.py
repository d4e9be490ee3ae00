"""Points classified in exact arithmetic: right, wrong, or too close to a tie for float64 to tell."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from absint.attacks.proof import exact_output
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.search import classified as room
from absint.search.classified import classified


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + sum(shape)))


def network() -> Graph:
    build = GraphBuilder("x", (4,))
    name = build.add(Relu(), (build.add(Gemm(numbers(6, 4), numbers(6)), ("x",)),))
    return build.graph(build.add(Gemm(numbers(3, 6), numbers(3)), (name,)))


def identity() -> Graph:
    """y = x of two entries, by a product that rounds."""
    build = GraphBuilder("x", (2,))
    return build.graph(build.add(Gemm(torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([0.1, 0.1]).double()),
                                 ("x",)))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_both_sides_are_those_of_exact_outputs(label: int) -> None:
    graph, points = network(), numbers(60, 4, seed=1)
    found = classified(graph, points, label)
    assert found.done == 60
    for slot, point in enumerate(points.tolist()):
        exact = exact_output(graph, [Fraction(one) for one in point])
        assert exact is not None
        ahead = exact[label] - max(value for k, value in enumerate(exact) if k != label)
        assert (bool(found.right[slot]), bool(found.wrong[slot])) == (ahead > 0, ahead < 0)
        assert float(found.margin[slot]) == pytest.approx(float(ahead), abs=1e-9)
        assert int(found.predicted[slot]) == exact.index(max(exact))


def test_a_tie_is_neither() -> None:
    points = torch.tensor([[0.3, 0.3], [0.3, 0.3 + 2.0**-54], [0.3, 0.2], [0.2, 0.3]], dtype=torch.float64)
    found = classified(identity(), points, 0)
    assert found.right.tolist() == [False, False, True, False]
    assert found.wrong.tolist() == [False, False, False, True]


def test_box_steps_decide_what_the_batch_leaves_open() -> None:
    """Beside a point of huge numbers, the bound of the batch says nothing of the others."""
    points = torch.cat([numbers(30, 4, seed=2), torch.full((1, 4), 1e14, dtype=torch.float64)])
    asked: list[int] = []
    real = room._boxed

    def counting(graph: Graph, some: torch.Tensor, memory: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(len(some))
        return real(graph, some, memory)

    patch = pytest.MonkeyPatch()
    with patch.context() as planted:
        planted.setattr(room, "_boxed", counting)
        beside = classified(network(), points, 1)
        assert asked
        asked.clear()
        alone = classified(network(), points[:30], 1)
        assert not asked
    assert bool((alone.right | alone.wrong).all())
    assert torch.equal(alone.right, beside.right[:30])
    assert torch.equal(alone.wrong, beside.wrong[:30])


def test_batches_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    points = numbers(50, 4, seed=3)
    whole, parts = classified(network(), points, 2), classified(network(), points, 2, batch=7)
    assert torch.equal(whole.right, parts.right)
    assert torch.equal(whole.wrong, parts.wrong)
    late = classified(network(), points, 2, end=0.0)
    assert (late.done, bool(late.right.any()), bool(late.wrong.any())) == (0, False, False)


def test_what_is_no_number_is_neither() -> None:
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.tensor([[1e308, 1e308], [-1e308, 1e308]], dtype=torch.float64)), ("x",)))
    found = classified(graph, torch.tensor([[10.0, 10.0], [0.5, 0.1]], dtype=torch.float64), 0)
    assert not bool(found.right[0] | found.wrong[0])
    assert bool(found.right[1])
