"""Encodings contain every execution exactly; safe bounds never exceed the true minimum; choices make them exact."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
import torch
from contract.operators import INSTANCES
from exact import minimum
from solver_contract import build, columns, context, evaluate, gemm, holding, networks, others, points, violations

from absint.encode.linear_rows import linear_rows
from absint.encode.network import encode
from absint.engine.context import Context
from absint.engine.forward import boxes
from absint.errors import AbsintError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.shape import Reshape
from absint.model.ops.sigmoid import Sigmoid
from absint.numeric.backend import Budget
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.solvers import Session, solver

NAMES = sorted(networks(0))
OTHERS = sorted(others(0))
EVERY = [(n, s) for n in NAMES for s in range(4)] + [(n, s) for n in OTHERS for s in range(4)]


def case(name, seed):
    graph = {**networks(seed), **others(seed)}[name]
    return graph, context(graph, seed, grid=2 if name == "ties" else None)


@pytest.mark.parametrize(("name", "seed"), EVERY)
def test_every_execution_is_a_point_of_the_model(name, seed):
    """Exactly: corners and random points in rationals, every row and column, and one alternative of every choice."""
    graph, ctx = case(name, seed)
    encoding = encode(ctx, 0)
    assert encoding.exact
    assert not encoding.unproved
    functional = encoding.functional(np.array([1.0, -0.7] + [0.0] * (graph.output.size - 2)), 0.1)
    for x in points(ctx.region, 12, seed):
        values = evaluate(graph, x)
        point = columns(encoding, graph, values)
        assert violations(encoding.model, point) == []
        seen = encoding.model.without_tiny()
        assert violations(seen, point) == []
        held = holding(encoding.choices, point)
        assert {int(c) for c in encoding.choices.choice[held]} == set(range(encoding.choices.count))
        assert violations(encoding.mixed(), point + [Fraction(int(h)) for h in held]) == []
        out = values[graph.output.name]
        lowest = sum(Fraction(c) * v for c, v in zip(functional.cost.tolist(), point, strict=True)) + Fraction(functional.offset)
        assert lowest <= out[0] - Fraction(0.7) * out[1] + Fraction(0.1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_bounds_are_below_the_true_minimum_and_choices_close_the_gap(name, seed):
    """The relaxation below the minimum over activation patterns in rationals; with every alternative imposed in turn, equal to it."""
    graph, ctx = case(name, seed)
    low, high = ([Fraction(v) for v in e[0].reshape(-1).tolist()] for e in (ctx.region.hull.lower, ctx.region.hull.upper))
    truth = minimum(graph, low, high, [Fraction(1), Fraction(-1)], Fraction(0))
    encoding = encode(ctx, 0)
    functional = encoding.functional(np.array([1.0, -1.0]))
    with Session(encoding.model) as session:
        session.set_cost(functional.cost)
        relaxed = session.solve()
        assert relaxed.troubles == ()
        assert Fraction(relaxed.bound) + Fraction(functional.offset) <= truth
        best = least_leaf(session, encoding, functional)
    assert best <= truth
    assert float(truth - best) < 1e-7 * (1 + abs(float(truth)))


def least_leaf(session, encoding, functional):
    """Least safe bound over all combinations of alternatives, each imposed by column bounds alone."""
    choices = encoding.choices
    sets = [np.flatnonzero(choices.choice == k) for k in range(choices.count)]
    every = np.arange(len(encoding.model.lower))
    best = None
    for chosen in product(*sets):
        session.set_bounds(every, encoding.model.lower, encoding.model.upper)
        picked = np.array(chosen, dtype=np.int64)
        column = choices.column[picked]
        low, high = encoding.model.lower.copy(), encoding.model.upper.copy()
        np.maximum.at(low, column, choices.lower[picked])
        np.minimum.at(high, column, choices.upper[picked])
        session.set_bounds(every, low, high)
        answer = session.solve()
        if not answer.infeasible:
            value = Fraction(answer.bound) + Fraction(functional.offset)
            best = value if best is None else min(best, value)
    return best


@pytest.mark.parametrize("name", ["relu", "leaky", "residual", "pool", "clip"])
def test_solvers_agree(name):
    """HiGHS, scipy, CBC and, where it may be used, Gurobi: relaxation and exact minimum."""
    graph, ctx = case(name, 5)
    encoding = encode(ctx, 0)
    functional = encoding.functional(np.array([1.0, -1.0] + [0.0] * (graph.output.size - 2)))
    mixed = encoding.mixed()
    found = {}
    for which in ("highs", "scipy", "pulp", "gurobi"):
        if not solver(which).check().usable:
            continue
        answers = []
        for model in (encoding.model, mixed):
            with Session(model, (which,)) as session:
                session.set_cost(np.concatenate([functional.cost, np.zeros(len(model.lower) - len(functional.cost))]))
                answer = session.solve()
                assert answer.troubles == ()
                answers.append(answer.claimed if model.mixed else answer.bound)
        found[which] = answers
    assert {"highs", "scipy", "pulp"} <= found.keys()
    for answers in found.values():
        assert answers == pytest.approx(found["highs"], abs=2e-5)


def test_smooth_functions_go_by_their_lines():
    rng = np.random.default_rng(3)
    graph = build((2,), gemm(rng, 3, 2), Sigmoid(), gemm(rng, 3, 3), Relu(), gemm(rng, 2, 3))
    ctx = context(graph, 4)
    encoding = encode(ctx, 0)
    assert not encoding.exact
    functional = encoding.functional(np.array([1.0, -1.0]))
    with Session(encoding.model) as session:
        session.set_cost(functional.cost)
        lower = session.solve().bound + functional.offset
    x = torch.rand(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = graph(ctx.region.hull.lower + x * (ctx.region.hull.upper - ctx.region.hull.lower))
    assert lower <= float((y[:, 0] - y[:, 1]).min())
    box = ctx.known[graph.output.name]
    assert lower > float(box.lower[0, 0] - box.upper[0, 1])


def test_the_live_form_has_a_row_and_two_columns_for_an_undecided_entry_and_none_for_a_dead_one():
    """Of three ReLUs one is undecided, one active, one dead; weights stand in the model as they are."""
    weight = torch.tensor([[1.0, 0.3], [0.7, 1.0], [1.0, 1.0]], dtype=torch.float64)
    first = Gemm(weight, torch.tensor([0.0, 5.0, -5.0], dtype=torch.float64))
    graph = build((2,), first, Relu(), gemm(np.random.default_rng(1), 2, 3))
    one = torch.ones(1, 2, dtype=torch.float64)
    encoding = encode(boxes(Context(graph, BoxRegion(-one, one), Numerics())), 0)
    assert len(encoding.model.lower) == 2 + 2 + 1
    assert encoding.model.matrix.shape[0] == 3
    assert sorted(np.abs(encoding.model.matrix.toarray()[0][:2]).tolist()) == [0.3, 1.0]
    assert len(encoding.choices.column) == 2


def test_products_of_weights_become_columns_where_they_would_fill_the_rows():
    rng = np.random.default_rng(2)
    graph = build((2,), gemm(rng, 40, 2), Relu(), gemm(rng, 2, 40), gemm(rng, 40, 2), Relu(), gemm(rng, 1, 40))
    encoding = encode(context(graph, 2), 0)
    values = [b for b in encoding.blocks if b.role == "value"]
    assert any(b.node == graph.nodes[3].name for b in values)


def test_errors_that_passes_left_widen_the_rows():
    """A bias that errs by 2^-20 and weights with two roundings: executions of every such network satisfy the model."""
    rng = np.random.default_rng(4)
    plain = gemm(rng, 3, 2)
    error = torch.full((3,), 2.0**-20, dtype=torch.float64)
    graph = build((2,), Gemm(plain.weight, plain.bias, weight_terms=2, bias_error=error), Relu(), gemm(rng, 1, 3))
    ctx = context(graph, 1)
    encoding = encode(ctx, 0)
    for x in points(ctx.region, 4, 0):
        for bias, weight in product((-1, 1), repeat=2):
            values = evaluate(graph, x)
            factor = 1 + weight * Fraction(2, 2**53)
            z = [sum((Fraction(w) * factor * v for w, v in zip(row, x, strict=True)), Fraction(b) + bias * Fraction(2.0**-20))
                 for row, b in zip(plain.weight.tolist(), plain.bias.tolist(), strict=True)]
            values[graph.nodes[1].name], values[graph.nodes[2].name] = z, [max(v, Fraction(0)) for v in z]
            assert [v for v in violations(encoding.model, columns(encoding, graph, values)) if v.startswith("row")] == []


def test_rows_are_extracted_once_and_do_not_depend_on_the_chunk():
    (graph, _), (again, _) = case("conv", 1), case("conv", 1)
    node, other = graph.nodes[1], again.nodes[1]
    a, b = linear_rows(graph, node, node.op, Budget()), linear_rows(again, other, other.op, Budget(memory=1))
    assert linear_rows(graph, node, node.op, Budget()) is a is not b
    assert (a.matrix != b.matrix).nnz == 0
    assert (a.low == b.low).all()


def test_an_instance_does_not_depend_on_the_others():
    graph, _ = case("relu", 1)
    ctx = context(graph, 1, batch=3)
    alone = encode(ctx.take(torch.tensor([2])), 0)
    among = encode(ctx, 2)
    assert (alone.model.matrix != among.model.matrix).nnz == 0
    assert (alone.model.row_upper == among.model.row_upper).all()
    assert (alone.model.upper == among.model.upper).all()


def test_what_rests_on_a_solvers_number_says_so():
    graph, ctx = case("relu", 1)
    name = graph.nodes[1].name
    known = ctx.known[name]
    ctx = ctx.learn(name, Interval(known.lower, known.upper, torch.tensor([True])))
    assert encode(ctx, 0).unproved


def test_float32_semantics_are_refused():
    _, ctx = case("relu", 1)
    with pytest.raises(AbsintError) as caught:
        encode(replace(ctx, numerics=Numerics(float32_semantics=True)), 0)
    assert caught.value.code == "E-SOLVER-SEMANTICS"


def test_nan_bounds_are_no_model():
    graph, ctx = case("relu", 1)
    name = graph.nodes[1].name
    known = {**ctx.known, name: Interval(ctx.known[name].lower * torch.nan, ctx.known[name].upper)}
    with pytest.raises(AbsintError):
        encode(replace(ctx, known=known), 0)


def test_a_void_instance_is_refused():
    graph, ctx = case("relu", 1)
    name = graph.nodes[1].name
    known = ctx.known[name]
    with pytest.raises(AbsintError) as caught:
        encode(ctx.learn(name, Interval(known.upper + 1, known.upper + 2)), 0)
    assert caught.value.code == "E-SOLVER-VOID"


def around(name, seed):
    """One operator between linear layers: the input of 3 numbers, its operands, the operator, two outputs."""
    op, shapes = INSTANCES[name]()
    rng = np.random.default_rng(seed)
    builder, operands = GraphBuilder("x", (3,)), []
    for shape in shapes or [(2, 3)]:
        flat = builder.add(gemm(rng, prod(shape), 3), ("x",))
        operands.append(builder.add(Reshape(tuple(shape)), (flat,)))
    result = builder.add(op, tuple(operands))
    flat = builder.add(Reshape((prod(builder.shape(result)),)), (result,))
    return builder.graph(builder.add(gemm(rng, 2, prod(builder.shape(result))), (flat,)))


@pytest.mark.parametrize("name", sorted(INSTANCES))
def test_every_operator_has_an_encoding_that_contains_its_executions(name):
    """In floats, up to their rounding: samples of the operator between two layers, and of a functional of its result."""
    graph = around(name, 1)
    for seed in (1, 2):
        ctx = context(graph, seed)
        encoding = encode(ctx, 0)
        model = encoding.model
        functional = encoding.functional(np.array([1.0, -1.0]))
        for x in points(ctx.region, 8, seed):
            found = graph.evaluate(torch.tensor([[float(v) for v in x]], dtype=torch.float64), [n.name for n in graph.nodes])
            if not all(bool(v.isfinite().all()) for v in found.values()):
                continue
            values = {k: [Fraction(v) for v in t.reshape(-1).tolist()] for k, t in found.items()}
            point = np.array([float(v) for v in columns(encoding, graph, values)])
            size = 1e-9 * (1 + abs(model.matrix) @ np.abs(point))
            assert ((model.matrix @ point >= model.row_lower - size) & (model.matrix @ point <= model.row_upper + size)).all()
            near = 1e-9 * (1 + np.abs(point))
            assert ((point >= model.lower - near) & (point <= model.upper + near)).all()
            out = found[graph.output.name][0]
            lowest = functional.cost @ point + functional.offset
            assert not lowest > float(out[0] - out[1]) + 1e-9 * (1 + np.abs(functional.cost) @ np.abs(point))


def test_what_has_jumps_is_no_exact_encoding():
    jumps, kinks = ("sign", "floor", "thresholded-relu"), ("abs", "prelu", "leaky-relu(-0.7)")
    for name, exact in (*((n, False) for n in jumps), *((n, True) for n in kinks)):
        graph = around(name, 1)
        encoding = encode(context(graph, 1), 0)
        assert encoding.exact is exact, name
        assert (encoding.choices.count > 0) is exact
