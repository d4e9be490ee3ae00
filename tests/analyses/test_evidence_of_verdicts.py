"""Evidence of whole verdicts, followed in Fractions from the network and the statement alone; on request only, and never beside its row."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from exact import evaluate
from exact_evidence import ZERO, covered, follow, fractions, multiplied, row_bound
from test_slopes import network

import absint
from absint import samples
from absint.analyses.verify import Problem, ProofSettings, verify
from absint.engine.evidence import COMBINATION, ROWS
from absint.engine.recorder import Recorder
from absint.errors import UsageError
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.verdict import InstanceResult, Verdict

SLACK = Fraction(1, 10**6)


def small(seed, sizes=(2, 6, 5, 3), scale=1.5):
    """A net whose property at the centre of a box around 0 is close to what can be proved."""
    return network(Relu(), seed=seed, sizes=sizes, residual=False, scale=scale)


def asked(graph, radius, margin=0.05, count=1, rows=1):
    """Boxes around 0, and output 0 above its least value on a grid less `margin`; with two rows a disjunct, output 1 is in it, too."""
    n = graph.input.size
    region = BoxRegion(torch.full((count, n), -radius, dtype=torch.float64), torch.full((count, n), radius, dtype=torch.float64))
    axes = [torch.linspace(-radius, radius, 41, dtype=torch.float64)] * n
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, n)
    with torch.no_grad():
        out = graph(grid)
    weight = torch.zeros(count, rows, graph.output.size, dtype=torch.float64)
    for row in range(rows):
        weight[:, row, row] = 1.0
    values = torch.einsum("rn,pn->pr", weight[0], out)
    bias = -values.amin(0) + margin if rows == 1 else torch.full((rows,), float(margin - values.amax(1).min()), dtype=torch.float64)
    spec = Spec.rows(weight, bias.expand(count, -1), torch.zeros(rows, dtype=torch.int64))
    return Problem(graph, region, spec.take, tuple(range(count)))


def results(problem, domain, **options):
    return verify(problem, ProofSettings(domain, evidence=True, attack=options.pop("attack", None), dtype="float64", **options))


def least(evidence, graph, leaf, found):
    """What one leaf proves, in the units of the property, in Fractions. found: what paths above leaves prove, made on the way."""
    if leaf.multipliers is not None:
        program = evidence.programs[leaf.program]
        return multiplied(program, leaf.multipliers, leaf.path) / Fraction(program.factor)
    if leaf.ray is not None:
        assert multiplied(evidence.programs[leaf.program], leaf.ray, leaf.path, (np.zeros(evidence.programs[leaf.program].shape[1]), 0)) > 0
        return None
    # Where a path has hints, it narrows the entries that it cuts, and nothing else.
    follower = follow(graph, evidence, leaf.path, leaf, found) if leaf.hints is None else follow(graph, evidence, (), None, found)
    return None if leaf.by == "void" or follower.void else row_bound(follower, leaf)


def check(evidence, graph):
    """Every leaf refutes its disjunct, as much as it says, and the leaves cover."""
    assert covered(evidence)
    found = {}
    for leaf in evidence.leaves:
        exact = least(evidence, graph, leaf, found)
        assert exact is None or (exact > 0 and exact >= Fraction(leaf.bound) - SLACK)


def points(evidence, count, seed=0):
    random = np.random.default_rng(seed)
    low, high = fractions(evidence.lower), fractions(evidence.upper)
    for _ in range(count):
        share = [Fraction(int(v), 64) for v in random.integers(0, 65, len(low))]
        yield [lo + s * (hi - lo) for lo, hi, s in zip(low, high, share, strict=True)]


def values_at(graph, point):
    """The value of every node, in Fractions."""
    found = {}
    for node in graph.nodes:
        part = graph.upto(node.name)
        found[node.name] = point if node.name == graph.input.name else [f.constant for f in evaluate(part, point)]
    return found


def columns_at(program, values):
    """The columns that an execution takes."""
    out = [ZERO] * program.shape[1]
    for block in program.columns:
        for place, (entry, column) in enumerate(zip(block.entry.tolist(), block.column.tolist(), strict=True)):
            z = values[block.node][entry]
            if block.role == "value":
                out[column] = z
            elif block.role == "left":
                out[column] = max(Fraction(float(block.low[place])) - z, ZERO)
            else:
                room = z - Fraction(float(block.low[place]))
                most = float(block.high[place])
                out[column] = max(room if most == np.inf else min(room, Fraction(most) - Fraction(float(block.low[place]))), ZERO)
    return out


def proved(domain, seeds, radius=0.5, margin=0.02, rows=1, **options):
    """(graph, evidence) of small nets that this domain verifies."""
    for seed in seeds:
        graph = small(seed)
        (found,) = results(asked(graph, radius, margin, rows=rows), domain, **options)
        if found.verdict is Verdict.VERIFIED:
            assert found.evidence.margin == found.margin
            yield graph, found.evidence


# ---- proofs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("domain", "margin"), [("deeppoly", 2.0), ("alpha", 1.0)])
def test_rows_of_a_verdict(domain, margin):
    found = list(proved(domain, range(6), margin=margin))
    assert len(found) >= 3
    for graph, evidence in found:
        assert {leaf.by for leaf in evidence.leaves} == {ROWS}
        check(evidence, graph)


def test_a_combination_of_a_verdict():
    found = [(g, e) for g, e in proved("alpha", range(8), margin=0.1, rows=2) if {leaf.by for leaf in e.leaves} == {COMBINATION}]
    assert found
    for graph, evidence in found:
        check(evidence, graph)


PHASES = "exact:solver=highs,base=deeppoly,inputs=0"


@pytest.mark.parametrize("rows", [1, 2])
def test_trees_of_phases(rows):
    """Leaves by multipliers, with the network's own program: each inner node has both children, each leaf refutes."""
    found = list(proved(PHASES, range(8), rows=rows))
    divided = [evidence for _, evidence in found if len(evidence.leaves) > 1]
    assert len(divided) >= 3
    assert {"program"} <= {leaf.by for e in divided for leaf in e.leaves}
    for graph, evidence in found:
        check(evidence, graph)


def test_a_ray_proves_that_a_path_is_empty():
    rays = [(e, leaf) for _, e in proved(PHASES, range(16), radius=1.0) for leaf in e.leaves if leaf.ray is not None]
    assert rays
    for evidence, leaf in rays:
        program = evidence.programs[leaf.program]
        nothing = (np.zeros(program.shape[1]), 0.0)
        assert multiplied(program, leaf.ray, leaf.path, nothing) > 0
        assert multiplied(program, leaf.ray, (), nothing) <= 0
        assert multiplied(program, -leaf.ray, leaf.path, nothing) <= 0


def test_a_program_is_of_the_network():
    """Executions satisfy its rows and its columns' bounds, and its objective is at most the greatest row: which no solver can change."""
    found = list(proved(PHASES, range(6)))
    assert any(evidence.programs for _, evidence in found)
    for graph, evidence in found:
        for point in points(evidence, 4):
            values = values_at(graph, point)
            row = sum((Fraction(float(w)) * y for w, y in zip(evidence.weight[0], values[graph.output.name], strict=True)), ZERO)
            row += Fraction(float(evidence.bias[0]))
            for program in evidence.programs:
                here = columns_at(program, values)
                for low, value, high in zip(program.lower, here, program.upper, strict=True):
                    assert Fraction(float(low)) <= value <= Fraction(float(high))
                for weights, low, high in zip(program.dense(), program.row_lower, program.row_upper, strict=True):
                    total = sum((Fraction(float(w)) * v for w, v in zip(weights, here, strict=True) if w), ZERO)
                    assert low == -np.inf or Fraction(float(low)) <= total
                    assert high == np.inf or total <= Fraction(float(high))
                objective = sum((Fraction(float(c)) * v for c, v in zip(program.cost, here, strict=True)), Fraction(float(program.offset)))
                assert objective <= row * Fraction(program.factor)


def test_bounds_of_neurons_by_programs():
    """Multipliers over a node's program prove what is said of its entries."""
    found = list(proved("refine:solver=highs,base=deeppoly", range(6), margin=0.2))
    groups = [(g, e) for g, e in found if any(one.program is not None for one in e.neurons)]
    assert groups
    for graph, evidence in groups:
        check(evidence, graph)
        for one in evidence.neurons:
            program = evidence.programs[one.program]
            for entry, side, bound, y in zip(one.entry.tolist(), one.side.tolist(), one.bound.tolist(), one.multipliers, strict=True):
                exact = multiplied(program, y, (), program.values.objective(entry, side, program.shape[1]))
                assert exact >= Fraction(side * bound) - SLACK
        for point in points(evidence, 3):
            values = values_at(graph, point)
            for one in evidence.neurons:
                for entry, side, bound in zip(one.entry.tolist(), one.side.tolist(), one.bound.tolist(), strict=True):
                    assert side * values[one.node][entry] >= Fraction(side * bound)


BOXES = "exact:solver=highs,nodes=1,base=BASE,inputs=4"


@pytest.mark.parametrize("base", ["deeppoly", "alpha"])
def test_trees_of_boxes(base):
    """Halves and pieces that rows cut off cover the region, and each leaf refutes where it is."""
    found = list(proved(BOXES.replace("BASE", base), range(6), margin=0.05))
    split = [evidence for _, evidence in found if len(evidence.leaves) > 2]
    assert len(split) >= 3
    assert {leaf.by for e in split for leaf in e.leaves} >= {"rows", "clip"}
    for graph, evidence in found:
        check(evidence, graph)


def test_auto_says_what_counted_in_the_end():
    for graph, evidence in proved("auto:undecided=300", range(4), margin=0.05):
        assert covered(evidence)
        assert evidence.stages[0].startswith("box")
        assert {leaf.stage for leaf in evidence.leaves} <= set(evidence.stages)
        assert graph.output.size == evidence.weight.shape[1]


def test_instances_of_a_batch_have_their_own():
    graph = next(graph for graph, evidence in proved(PHASES, range(8)) if len(evidence.leaves) > 1)
    region = BoxRegion(torch.tensor([[0.2, 0.2], [-0.1, -0.1], [-0.5, -0.5]], dtype=torch.float64),
                       torch.tensor([[0.3, 0.4], [0.1, 0.1], [0.5, 0.5]], dtype=torch.float64))
    one = asked(graph, 0.5, 0.02)
    problem = Problem(graph, region, lambda index: one.spec.take(torch.zeros_like(index)), (4, 7, 9))
    found = results(problem, PHASES)
    assert [r.verdict for r in found] == [Verdict.VERIFIED] * 3
    assert len({r.stage for r in found}) > 1    # the last one is decided alone, at a place of its own
    for k, result in enumerate(found):
        assert result.evidence.lower.tolist() == region.hull.lower[k].tolist()
        assert result.evidence.upper.tolist() == region.hull.upper[k].tolist()
        assert result.evidence.margin == result.margin
        check(result.evidence, graph)


# ---- planted: evidence of the wrong sign -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["multipliers", "paths", "shares"])
def test_evidence_of_the_wrong_sign_is_refused(wrong):
    planted = 0
    for graph, evidence in proved(PHASES, range(8)):
        divided = [leaf for leaf in evidence.leaves if leaf.multipliers is not None and leaf.path]
        if not divided:
            continue
        turned = {"multipliers": lambda leaf: replace(leaf, multipliers=-leaf.multipliers),
                  "paths": lambda leaf: replace(leaf, path=tuple(replace(s, side=-s.side) for s in leaf.path)),
                  "shares": lambda leaf: replace(leaf, multipliers=None, ray=None, shares=-np.ones(1), slopes={})}[wrong]
        bad = replace(evidence, leaves=tuple(turned(leaf) if leaf in divided else leaf for leaf in evidence.leaves))
        planted += 1
        with pytest.raises(AssertionError):
            check(bad, graph)
    assert planted >= 3


def test_a_leaf_that_is_left_out_is_missed():
    for graph, evidence in proved(PHASES, range(8)):
        if len(evidence.leaves) > 1:
            with pytest.raises(AssertionError):
                check(replace(evidence, leaves=evidence.leaves[:-1]), graph)


# ---- witnesses -------------------------------------------------------------------------------------------------------


def test_a_witness_violates_and_its_replay_is_the_models_output():
    network_, images = str(samples.network_path("mnist_relu_3x50")), "7"
    (found,) = absint.verify(network_, eps="0.05", domain="box", index=images, evidence=True)
    assert found.verdict is Verdict.FALSIFIED
    evidence = found.evidence
    assert evidence.witness.tolist() == list(found.witness)
    assert not evidence.leaves
    assert ((evidence.lower <= evidence.witness) & (evidence.witness <= evidence.upper)).all()
    unsafe = (evidence.weight @ evidence.replay + evidence.bias) <= 0
    assert any(unsafe[evidence.disjunct == d].all() for d in range(evidence.disjuncts))
    graph = absint.load(network_)
    with torch.no_grad():
        output = graph(torch.from_numpy(evidence.witness).reshape(1, *graph.input.shape)).numpy().reshape(-1)
    assert min(evidence.weight @ output + evidence.bias) < -1e-9
    assert evidence.replay == pytest.approx(output, abs=1e-3)
    assert "witness: x = " in evidence.text()


def test_where_there_is_no_model_nothing_is_replayed():
    graph = small(0)
    (found,) = results(asked(graph, 0.5, -0.2), "box", attack="pgd")
    assert found.verdict is Verdict.FALSIFIED
    assert found.evidence.replay is None
    assert found.evidence.witness.shape == (2,)


# ---- on request only -------------------------------------------------------------------------------------------------


def test_not_asked_for_there_is_none_and_nobody_records(monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise AssertionError("a recorder was made")

    monkeypatch.setattr(Recorder, "__init__", refuse)
    graph = small(0)
    (found,) = verify(asked(graph, 0.5), ProofSettings(PHASES, attack=None))
    assert found.evidence is None


def test_a_verdict_is_the_same_with_and_without():
    for seed in range(4):
        problem = asked(small(seed), 0.5, 0.05)
        for domain in ("alpha", PHASES, BOXES.replace("BASE", "deeppoly")):
            (plain,) = verify(problem, ProofSettings(domain, attack=None, dtype="float64"))
            (told,) = results(problem, domain)
            assert (plain.verdict, plain.margin, plain.stage) == (told.verdict, told.margin, told.stage)
            assert plain.evidence is None
            assert replace(plain, time_s=0.0) == replace(told, time_s=0.0)


def test_it_is_no_part_of_the_row():
    (found,) = results(asked(small(0), 0.5), PHASES)
    assert found.evidence is not None
    assert "evidence" not in found.as_dict()
    assert "evidence" not in repr(found)
    assert InstanceResult.from_dict(found.as_dict()).evidence is None


def test_what_is_misclassified_or_open_says_so():
    graph = small(0)
    (found,) = results(asked(graph, 0.5, -0.2), "box")
    assert found.verdict is Verdict.UNKNOWN
    assert found.evidence.margin == found.margin <= 0


def test_other_processes_keep_theirs():
    with pytest.raises(UsageError) as raised:
        absint.verify(str(samples.network_path("mnist_relu_3x50")), index="0", evidence=True, executor="processes")
    assert raised.value.code == "E-EVIDENCE"


# ---- followed by hand ------------------------------------------------------------------------------------------------


def three_neurons():
    """y = relu(x0 + x1) + relu(x0 - x1) - relu(x0) over [-1, 1]^2: at least 0, which no relaxation shows."""
    build = GraphBuilder("x", (2,))
    first, last = (torch.tensor(w, dtype=torch.float64) for w in ([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]], [[1.0, 1.0, -1.0]]))
    hidden = build.add(Relu(), (build.add(Gemm(first, torch.zeros(3, dtype=torch.float64)), ("x",)),))
    return build.graph(build.add(Gemm(last, torch.zeros(1, dtype=torch.float64)), (hidden,)))


def test_three_neurons_by_hand():
    graph = three_neurons()
    region = BoxRegion(-torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    spec = Spec.rows(torch.ones(1, 1, 1), torch.full((1, 1), 0.125))
    (found,) = results(Problem(graph, region, spec.take, (0,)), PHASES)
    assert found.verdict is Verdict.VERIFIED
    check(found.evidence, graph)
    assert len(found.evidence.leaves) > 1
