"""Constants that are changed in place: bounds are those of a graph made afresh of the new numbers, bit for bit, in every domain."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from changed_constants import EVERY, HOLDING, WAYS, afresh, around, by_hand, constants, made, mixed, numbers, own
from torch import Tensor

from absint.engine.context import Context
from absint.engine.domain import DOMAINS, Domain
from absint.engine.forward import tensor_bounds
from absint.model.constants import kept, sources
from absint.model.families.elementwise import Elementwise
from absint.model.families.linear import Linear
from absint.model.graph import Graph, GraphBuilder
from absint.model.op import Op
from absint.model.ops.gemm import Gemm
from absint.numeric.backend import numeric_mode
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall

SINGLE, DOUBLE, MIXED = Numerics(torch.float32).single(), Numerics(), Numerics(torch.float32)
DOMAIN: dict[str, Callable[[], Domain[Any]]] = {name: DOMAINS.get(name) for name in DOMAINS.names()}
DOMAIN["alpha"] = lambda: DOMAINS.get("alpha")(steps=1, inner=1)


def bounds(graph: Graph, domain: Domain[Any], num: Numerics) -> list[Tensor]:
    """Of every node."""
    shape = graph.input.shape
    center = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    num = num if domain.traits.mixed else num.single()
    ctx = Context(graph, LinfBall(center, Fraction(1, 8), None), num)
    with numeric_mode(), torch.no_grad():
        found = tensor_bounds(domain, ctx, tuple(node.name for node in graph.nodes))
    return [end for name in sorted(found) for end in (found[name].lower, found[name].upper)]


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    return len(one) == len(two) and all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", HOLDING)
@pytest.mark.parametrize("domain", [name for name in DOMAIN if name != "alpha"])     # which walks as deeppoly, and takes its time
def test_every_operator_that_holds_constants(name: str, domain: str) -> None:
    compared(around(*made(name)), DOMAIN[domain](), MIXED, by_hand)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("domain", DOMAIN)
def test_every_way_to_change_them(way: str, domain: str) -> None:
    compared(mixed(), DOMAIN[domain](), MIXED, WAYS[way])


@pytest.mark.parametrize("num", [SINGLE, DOUBLE], ids=["32", "64"])
@pytest.mark.parametrize("domain", DOMAIN)
def test_every_format(domain: str, num: Numerics) -> None:
    graph, walker = mixed(), DOMAIN[domain]()
    for way in (WAYS["by_hand"], WAYS["by_optimiser"]):     # once more
        compared(graph, walker, num, way)


def compared(graph: Graph, walker: Domain[Any], num: Numerics, way: Callable[[Graph], None]) -> None:
    before = bounds(graph, walker, num)
    way(graph)
    after = bounds(graph, walker, num)
    assert not same(before, after)
    assert same(after, bounds(afresh(graph), walker, num))


def test_every_operator_of_ours_that_has_a_tensor_for_a_field_is_tried() -> None:
    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(one) for one in kind.__subclasses__()))

    def holds(kind: type) -> bool:
        return any("Tensor" in str(f.type) for f in getattr(kind, "__dataclass_fields__", {}).values())

    ours = {kind.__name__ for kind in below(Op) if holds(kind) and kind.__module__.startswith("absint.model.ops.")}
    tried = {kind.__name__ for name in EVERY for kind in type(EVERY[name]()[0]).__mro__}
    # An index or a mask says where entries go, and is no coefficient; exponents and operands become parts of the graph when it is built.
    assert ours - tried <= {"Powers", "MaskedSoftmax", "Einsum", "LocalResponse"}, ours - tried


@pytest.mark.parametrize("name", EVERY)
def test_every_operator_of_ours_can_keep_what_it_makes(name: str) -> None:
    """Else each use would make it anew, and walks be slow: frozen, and of fields that cannot change unseen."""
    assert sources(EVERY[name]()[0]) is not None


# ---- what is said of an operator ---------------------------------------------------------------------------------------


def flags(op: Op) -> list[Any]:
    found: list[Any] = [op.fits(torch.float32), op.fits(torch.float64), [c.sum().item() for c in op.constants()]]
    if isinstance(op, Linear):
        found += [op.single, op.exact, op.faithful, op.forward_terms, op.adjoint_terms]
    if isinstance(op, Elementwise):
        found += [op._always_bent]
    return found


@pytest.mark.parametrize("name", HOLDING)
def test_flags_follow(name: str) -> None:
    op = made(name)[0]
    flags(op)
    with torch.no_grad():
        for constant in op.constants():
            constant.fill_(1e-46)
    assert flags(op) == flags(own(op))
    assert not op.fits(torch.float32)


def test_a_selection_that_is_none_any_more() -> None:
    """As a power of two an entry rounds nothing; as another number it does."""
    op = Gemm(torch.tensor([[0.0, 2.0]], dtype=torch.float64))
    assert op.single
    op.weight.mul_(1.5)
    assert not op.single
    op.weight.copy_(torch.tensor([[4.0, 0.0]]))
    assert op.single


def test_a_graph_whose_constants_leave_a_format_does_not_fit_it() -> None:
    build = GraphBuilder("x", (2,))
    graph = build.graph(build.add(Gemm(torch.ones(1, 2, dtype=torch.float64)), ("x",)))
    assert graph.fits(torch.float32)
    graph.output.op.weight.fill_(1e300)
    assert not graph.fits(torch.float32)
    graph.output.op.weight.fill_(0.25)
    assert graph.fits(torch.float32)


@pytest.mark.parametrize("held", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1.0])
def test_numbers_that_are_none_fit_no_format(held: torch.dtype, number: float) -> None:
    op = Gemm(torch.tensor([[1.0, number]], dtype=held))
    assert [op.fits(torch.float32), op.fits(torch.float64)] == [number == 1.0] * 2


# ---- when something is kept ---------------------------------------------------------------------------------------------


LIKE = torch.zeros(1, dtype=torch.float32)


def remade(op: Op) -> bool:
    """Whether a cast, an absolute value and what is made of all constants are made anew at each use."""
    casts = [op.constant("weight", LIKE, absolute=absolute) for absolute in (False, True, False, True)]
    sums = [op.derived("mine", LIKE, lambda: torch.ones(1)) for _ in range(2)]
    anew = [casts[0] is not casts[2], casts[1] is not casts[3], sums[0] is not sums[1]]
    assert len(set(anew)) == 1
    return anew[0]


def test_what_stays_is_kept() -> None:
    assert not remade(Gemm(numbers(2, 3), numbers(2)))


def test_of_what_requires_a_gradient_nothing_is_kept() -> None:
    op = Gemm(numbers(2, 3), numbers(2))
    assert not remade(op)
    op.weight.requires_grad_()
    with torch.no_grad():
        assert remade(op)
        op.weight.data.fill_(3.0)   # which no version tells of
        assert bool((op.constant("weight", LIKE, absolute=True) == 3).all())
    op.weight.requires_grad_(False)
    assert not remade(op)


def test_a_layer_that_is_trained_in_part_keeps_the_rest() -> None:
    op = Gemm(numbers(2, 3), numbers(2).requires_grad_())
    assert op.constant("weight", LIKE) is op.constant("weight", LIKE)
    assert op.constant("offset", LIKE) is not op.constant("offset", LIKE)
    assert op.derived("both", LIKE, lambda: torch.ones(1)) is not op.derived("both", LIKE, lambda: torch.ones(1))


def test_of_a_live_operator_nothing_is_kept() -> None:
    op = Gemm(numbers(2, 3), numbers(2))
    before = op.constant("weight", LIKE, absolute=True)
    object.__setattr__(op, "live", True)
    assert not Gemm.live
    assert remade(op)
    op.weight.data.fill_(-3.0)
    assert not torch.equal(before, op.constant("weight", LIKE, absolute=True))
    assert bool((op.constant("weight", LIKE, absolute=True) == 3).all())
    op.weight.data.fill_(1e300)
    assert not op.fits(torch.float32)
    op.weight.data.fill_(1.0)
    assert op.fits(torch.float32)


def test_a_tensor_put_in_place_of_another_is_seen() -> None:
    op = Gemm(numbers(2, 3), numbers(2))
    op.constant("weight", LIKE, absolute=True)
    object.__setattr__(op, "weight", torch.full((2, 3), -7.0, dtype=torch.float64))
    assert bool((op.constant("weight", LIKE, absolute=True) == 7).all())


def test_tensors_without_versions() -> None:
    with torch.inference_mode():
        op = Gemm(numbers(2, 3), None)
        assert remade(op)
        op.weight.fill_(-2.0)
        assert bool((op.constant("weight", LIKE, absolute=True) == 2).all())


def test_what_inference_mode_made_is_not_handed_to_gradients() -> None:
    op = Gemm(numbers(2, 3), None)
    with torch.inference_mode():
        op.forward(LIKE.new_ones(1, 3))
    x = LIKE.new_ones(1, 3).requires_grad_()
    op.forward(x).sum().backward()
    assert torch.equal(x.grad, op.weight.float().sum(0, keepdim=True))


@dataclass(frozen=True, eq=False)
class Holder(Gemm):
    """An operator of somebody's with constants that are no plain fields."""

    pair: tuple[Any, ...] = ()

    @property
    def offset(self) -> Tensor | None:
        return self.pair[0]

    @property
    @kept
    def total(self) -> float:
        return float(self.pair[0].sum())


def test_tensors_inside_other_fields_count() -> None:
    op = Holder(numbers(2, 3), pair=(numbers(2),))
    first, total = op.constant("offset", LIKE), op.total
    assert op.constant("offset", LIKE) is first
    op.pair[0].add_(1.0)
    assert torch.equal(op.constant("offset", LIKE), first + 1)
    assert op.total == pytest.approx(total + 2)
    op.pair[0].requires_grad_()
    assert op.constant("offset", LIKE) is not op.constant("offset", LIKE)


@pytest.mark.parametrize("hidden", [[torch.ones(2)], {"a": torch.ones(2)}, np.ones(2), object()], ids=["list", "dict", "array", "object"])
def test_of_fields_that_change_unseen_nothing_is_kept(hidden: object) -> None:
    assert remade(Holder(numbers(2, 3), pair=(hidden,)))


def test_of_an_operator_that_is_not_frozen_nothing_is_kept() -> None:
    class Loose(Op):
        def __init__(self) -> None:
            self.weight = numbers(2)

        output_shape = forward = lambda self, *xs: xs[0]

    assert remade(Loose())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda op: pickle.loads(pickle.dumps(op))], ids=["deepcopy", "pickle"])
def test_a_copy_whose_versions_come_to_be_the_same_has_casts_of_its_own(copied: Callable[[Op], Op]) -> None:
    """A copy counts its versions from the start: what the original kept must not be taken for the copy's."""
    op = Gemm(numbers(2, 3), None)
    for _ in range(3):
        op.weight.add_(1.0)
    op.constant("weight", LIKE, absolute=True)
    twin = copied(op)
    while twin.weight._version < op.weight._version:
        twin.weight.sub_(5.0)
    assert twin.weight._version == op.weight._version
    assert torch.equal(twin.constant("weight", LIKE, absolute=True), twin.weight.abs().float())


def test_a_change_while_something_is_made_is_seen() -> None:
    op = Gemm(numbers(2, 3), None)

    def slow() -> Tensor:
        found = op.weight.sum().float()
        op.weight.add_(1.0)     # another thread
        return found

    op.derived("sum", LIKE, slow)
    assert torch.equal(op.derived("sum", LIKE, lambda: op.weight.sum().float()), op.weight.sum().float())


def test_constants_are_listed_once() -> None:
    assert len({id(c) for c in constants(mixed())}) == len(constants(mixed())) == 10
