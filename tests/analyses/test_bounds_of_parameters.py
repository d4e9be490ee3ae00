"""Bounds of graphs whose constants are a user's parameters: what the API answers after a step, and gradients, once and twice."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from changed_constants import WAYS, afresh, constants, mixed, numbers
from torch import Tensor

import absint
from absint.analyses.bounds import BoundingSettings, tensor_intervals
from absint.engine.context import Context
from absint.engine.domain import DOMAINS
from absint.engine.forward import tensor_bounds
from absint.errors import InputError, UnsupportedError
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.affine import Affine
from absint.model.ops.conv import Conv
from absint.model.ops.conv_transpose import ConvTranspose
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.matmul_constant import Matrices
from absint.model.ops.piecewise import PRelu
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall

INPUTS = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(2))


# ---- the API after a step ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("domain", DOMAINS.names())
def test_bounds_after_a_change(domain: str, way: str) -> None:
    def ends(graph: Graph) -> list[np.ndarray]:
        found = absint.bounds(graph, INPUTS[:1], 0.1, clip=None, domain=domain, tensors="all")
        return [end for one in found.values() for end in (one.lower, one.upper)]

    graph = mixed()
    before = ends(graph)
    WAYS[way](graph)
    after, truth = ends(graph), ends(afresh(graph))
    assert all(np.array_equal(a, b) for a, b in zip(after, truth, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("domain", DOMAINS.names())
def test_margins_after_a_change(domain: str) -> None:
    """Verdicts and margins, in the formats that a verification tries."""
    def margins(graph: Graph, dtype: str) -> list[tuple[object, float | None]]:
        found = absint.verify(graph, INPUTS, torch.tensor([0, 1]), 0.05, clip=None, domain=domain, dtype=dtype, attack=None)
        return [(one.verdict, one.margin) for one in found]

    graph = mixed()
    before = {dtype: margins(graph, dtype) for dtype in ("auto", "float64")}
    WAYS["by_optimiser"](graph)
    for dtype, then in before.items():
        assert margins(graph, dtype) == margins(afresh(graph), dtype) != then


def test_a_graph_that_was_read_shares_no_memory_with_the_users_module() -> None:
    """A write through `.data`, which no version tells of, cannot reach it."""
    pytest.importorskip("onnxscript")
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).double().eval()
    graph = absint.load(module, example_input=torch.zeros(1, 3, dtype=torch.float64))
    theirs = {p.untyped_storage().data_ptr() for p in module.parameters()}
    assert not theirs & {c.untyped_storage().data_ptr() for c in constants(graph)}


def test_a_journal_is_of_the_numbers_that_it_was_begun_with(tmp_path: Path) -> None:
    """A graph goes by its file's hash, which is still that of the file after a change: no answer about the old numbers is given again."""
    pytest.importorskip("onnxscript")
    graph = absint.load(torch.nn.Linear(3, 2).eval(), example_input=torch.zeros(1, 3))
    inputs, labels = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    absint.verify(graph, inputs, labels, 0.01, journal=tmp_path / "journal")
    assert len(absint.verify(graph, inputs, labels, 0.01, journal=tmp_path / "journal", resume=True)) == 2
    with torch.no_grad():
        constants(graph)[0].neg_()
    with pytest.raises(InputError, match="constants_sha256"):
        absint.verify(graph, inputs, labels, 0.01, journal=tmp_path / "journal", resume=True)
    with pytest.raises(UnsupportedError, match="E-IMPORT-MISMATCH"):    # nor is it that file's network any more
        absint.verify(graph, inputs, labels, 0.01)


# ---- gradients ------------------------------------------------------------------------------------------------------


KINDS: dict[str, tuple[Callable[..., Op], tuple[Tensor, ...], tuple[int, ...]]] = {
    "gemm": (Gemm, (numbers(3, 4), numbers(3)), (4,)),
    "matmul-left": (LeftMatMul, (numbers(3, 4),), (4, 2)),
    "matrices": (lambda w: Matrices(w, False, 2), (numbers(2, 3, 2),), (2, 3)),
    "affine": (Affine, (numbers(3), numbers(3)), (2, 3)),
    "affine-broadcast": (lambda a, b: Affine(a, b, fan_out=2), (numbers(3), numbers(2, 3)), (3,)),
    "conv": (lambda w, b: Conv(w, b, (2, 1), ((1, 1), (0, 1)), (1, 1)), (numbers(2, 1, 3, 2), numbers(2)), (1, 4, 3)),
    "conv-phased": (lambda w: Conv(w, None, (2, 2), ((1, 1), (1, 1)), (1, 1)), (numbers(2, 1, 3, 3),), (1, 3, 3)),
    "conv-transpose": (lambda w, b: ConvTranspose(w, b, (2,), ((0, 0),), (1,)), (numbers(1, 2, 2), numbers(2)), (1, 3)),
    "prelu": (PRelu, (numbers(4).abs() + 0.1,), (4,)),
}


def network(make: Callable[..., Op], tensors: tuple[Tensor, ...], shape: tuple[int, ...], last: Tensor | None = None) -> Graph:
    """The operator, a ReLU, and a dense layer."""
    build = GraphBuilder("x", shape)
    name = build.add(Relu(), (build.add(make(*tensors), ("x",)),))
    flat = build.add(Reshape((int(np.prod(build.shape(name))),)), (name,))
    weight = numbers(2, build.shape(flat)[0], seed=5) if last is None else last
    return build.graph(build.add(Gemm(weight, numbers(2, seed=6)), (flat,)))


def ends(graph: Graph, domain: str = "box", *, rounding: bool = False) -> Tensor:
    """Both bounds of the output, with gradients."""
    walker = DOMAINS.get(domain)()
    num = Numerics(rounding=rounding) if walker.traits.mixed else Numerics(rounding=rounding).single()
    center = torch.rand(2, *graph.input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(8)) - 0.3
    with numeric_mode():
        found = tensor_bounds(walker, Context(graph, LinfBall(center, Fraction(1, 10), None), num), (graph.output.name,))
    one = found[graph.output.name]
    return torch.cat([one.lower.flatten(1), one.upper.flatten(1)], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_bounds_once_and_twice(kind: str) -> None:
    """Against finite differences, of operators made anew, as a step of training makes them."""
    make, tensors, shape = KINDS[kind]
    leaves = tuple(t.clone().requires_grad_() for t in tensors)
    assert torch.autograd.gradcheck(lambda *given: ends(network(make, given, shape)), leaves)
    assert torch.autograd.gradgradcheck(lambda *given: ends(network(make, given, shape)).square(), leaves)


def test_gradients_of_one_graph_whose_numbers_are_moved_behind_its_back() -> None:
    """Finite differences write through `.data`: of what requires a gradient nothing is kept, so the graph sees them."""
    make, tensors, shape = KINDS["gemm"]
    leaves = tuple(t.clone().requires_grad_() for t in tensors)
    graph = network(make, leaves, shape)
    ends(graph)
    assert torch.autograd.gradcheck(lambda *given: ends(graph), leaves)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("domain", ["zonotope", "deeppoly"])
def test_gradients_reach_constants_in_walks_of_either_direction(domain: str, kind: str) -> None:
    """What a domain chooses is a constant to them, so that they are compared where it chooses the same: no ReLU is undecided."""
    make, tensors, shape = KINDS[kind]

    def graph(*given: Tensor) -> Graph:
        build = GraphBuilder("x", shape)
        name = build.add(make(*given), ("x",))
        flat = build.add(Reshape((int(np.prod(build.shape(name))),)), (name,))
        return build.graph(build.add(Gemm(numbers(2, build.shape(flat)[0], seed=5)), (flat,)))

    leaves = tuple(t.clone().requires_grad_() for t in tensors)
    weight = torch.rand(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = torch.autograd.grad((ends(graph(*leaves), domain) * weight).sum(), leaves)
    for k, leaf in enumerate(leaves):
        step, h = torch.randn(leaf.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(k)), 1e-6
        moved = [[t.detach() + s * h * step if j == k else t.detach() for j, t in enumerate(leaves)] for s in (1, -1)]
        ahead, behind = ((ends(graph(*given), domain) * weight).sum() for given in moved)
        assert float((found[k] * step).sum()) == pytest.approx(float(ahead - behind) / (2 * h), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
@pytest.mark.parametrize("rounding", [False, True])
def test_one_backward_pass_after_another(domain: str, *, rounding: bool) -> None:
    """Steps of an optimiser on one graph: two losses at a time, a proof without gradients between, and no graph of gradients is shared."""
    graph = mixed()
    leaves = [c.requires_grad_() for c in constants(graph)]
    optimiser = torch.optim.SGD(leaves, lr=0.01)
    for _ in range(3):
        one, two = ends(graph, domain, rounding=rounding), ends(graph, domain, rounding=rounding)
        with torch.no_grad():
            still = ends(graph, domain, rounding=rounding)
        assert not still.requires_grad
        # A row and its negative go down as one where no gradients are kept: products of other shapes, summed in another order.
        torch.testing.assert_close(one.detach(), still, rtol=1e-12, atol=0.0)
        optimiser.zero_grad()
        one.sum().backward()
        two.square().sum().backward()
        assert all(leaf.grad is not None and bool((leaf.grad != 0).any()) for leaf in leaves)
        optimiser.step()
        found = ends(graph, domain, rounding=rounding).detach()
        assert not torch.equal(found, still)
        assert torch.allclose(found, ends(afresh(graph), domain, rounding=rounding), rtol=1e-11)


@pytest.mark.parametrize("domain", ["box", "deeppoly"])
def test_frozen_layers_beside_trained_ones(domain: str) -> None:
    """What is kept of the frozen ones was made with and without gradients about, and belongs to no pass."""
    last = numbers(2, 3, seed=5).requires_grad_()
    graph = network(KINDS["gemm"][0], KINDS["gemm"][1], (4,), last)
    with torch.no_grad():
        ends(graph, domain)
    for _ in range(2):
        (slope,) = torch.autograd.grad(ends(graph, domain).sum(), last)
        assert bool((slope != 0).any())


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_intervals_with_gradients_need_no_graph_of_their_own(domain: str) -> None:
    """What was bounded without gradients before does not cut them off."""
    graph = mixed()
    region = LinfBall(INPUTS.double(), Fraction(1, 10), None)
    how = BoundingSettings(DOMAINS.get(domain)())
    name = graph.output.name
    before = tensor_intervals(graph, region, [name], how, grad=False)[name]
    leaves = [c.requires_grad_() for c in constants(graph)]
    found = tensor_intervals(graph, region, [name], how)[name]
    assert torch.allclose(found.lower, before.lower, rtol=1e-11)
    slopes = torch.autograd.grad(found.lower.sum() + found.upper.sum(), leaves)
    assert all(bool((slope != 0).any()) for slope in slopes)


# ---- models for solvers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["exact", "milp", "refine"])
def test_what_solvers_prove_after_a_change(domain: str) -> None:
    """One ReLU cell, that only a solver closes: its answer turns as the weights do, and turns back."""
    weight = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    last = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.9, 0.9]], dtype=torch.float64)
    bias = torch.tensor([0.02, 0.0], dtype=torch.float64)
    build = GraphBuilder("x", (2,))
    name = build.add(Relu(), (build.add(Gemm(weight), ("x",)),))
    graph = build.graph(build.add(Gemm(last, bias), (name,)))

    def answer(of: Graph) -> tuple[str, float | None]:
        (one,) = absint.verify(of, torch.tensor([[0.1, 0.1]]), torch.tensor([0]), "0.1", clip=None, domain=domain, attack=None,
                               accept_solver=True)
        return one.verdict.value, one.margin

    first = answer(graph)
    with torch.no_grad():
        last[1].mul_(1.5)     # at (0.2, 0) it is the greater score now
    assert answer(graph) == answer(afresh(graph)) != first
    assert answer(graph)[0] != "verified"
    with torch.no_grad():
        weight.mul_(0.01)   # the bias decides
        last.mul_(2.0)
    assert answer(graph) == answer(afresh(graph))
    assert answer(graph)[0] == "verified"
