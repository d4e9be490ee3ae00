"""Solvers that lie, crash, hang or are missing, and models that are no models, through the whole path: nothing false comes out.

The truth is exact (`agreement_nets`): a verdict with assurance `sound`, a witness, a margin or a bound of a hidden neuron that the
truth contradicts fails. What a solver says may only ever be called its word.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from math import inf
from pathlib import Path

import agreement
import agreement_nets
import numpy as np
import pytest
import torch
from agreement import ask, faults
from planted_solvers import EVERY, Failing, Planted, enter, too_high, too_high_at_a_limit
from solver_contract import build, context, evaluate, gemm, networks, points, wrong

from absint.analyses.verify import Problem, ProofSettings, verify
from absint.encode.network import encode
from absint.errors import AbsintError
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import BoxRegion
from absint.problem.spec import Spec
from absint.search.branchers.phases import Effort, Phases
from absint.search.names import domain_of
from absint.solvers import Claim, Presence, SolverError, Status, choice, highs, pulp_solver, solver
from absint.verdict import Assurance, Reason, Verdict

# Conjunctions and several disjuncts over residual nets, max-pools and rectifiers; some hold, some do not, none is a near tie.
# 12 and 47 hold violations that no relaxation's point shows; 57 holds by branching alone.
SEEDS = (3, 12, 18, 27, 29, 47, 57)
NEEDS_BRANCHING, NEEDS_A_SEARCH = 57, 12
OTHERS = [seed for seed in SEEDS if seed not in (NEEDS_BRANCHING, NEEDS_A_SEARCH)]
DOMAINS = {"refine": "", "exact": ",nodes=40,boxes=64", "milp": ",timeout_milp=5"}


def seeds_for(lie):
    """What needs branching and what needs a search with every lie; of the others each has its turn with several."""
    return NEEDS_BRANCHING, NEEDS_A_SEARCH, OTHERS[list(EVERY).index(lie) % len(OTHERS)]


@pytest.fixture(autouse=True)
def _solvers():
    choice._presence.cache_clear()
    yield
    choice._presence.cache_clear()


# ---- liars ----------------------------------------------------------------------------------------------------------


def false_words(case, results):
    """What is false in results; a solver's word may be, where it is called that."""
    wrong_ones = [line for r in results if r.assurance is not Assurance.SOLVER for line in faults(case, r)]
    return wrong_ones + [f"{r.index}: word without reason" for r in results
                         if r.assurance is Assurance.SOLVER and not (r.verdict is Verdict.VERIFIED and r.reason is Reason.SOLVER)]


@pytest.mark.parametrize("lie", EVERY)
def test_no_lie_becomes_a_verdict(lie):
    """Nothing false is verified soundly or falsified, and no margin exceeds the truth."""
    enter(Planted(EVERY[lie]))
    for seed in seeds_for(lie):
        case = agreement_nets.case(seed)
        for domain, effort in DOMAINS.items():
            results = ask(case, f"{domain}:solver=planted{effort}")
            assert false_words(case, results) == []
            assert all(r.assurance is not Assurance.SOLVER for r in results)


@pytest.mark.parametrize("lie", EVERY)
def test_an_accepted_word_is_called_one(lie):
    """With accept_solver only MILPs may be taken at their word, and what they prove is still no proof."""
    enter(Planted(EVERY[lie]))
    for seed in seeds_for(lie):
        case = agreement_nets.case(seed)
        # What only LPs prove is what it is without the word: once for each lie.
        for domain, effort in DOMAINS.items() if seed == NEEDS_BRANCHING else [("milp", DOMAINS["milp"])]:
            results = ask(case, f"{domain}:solver=planted{effort}", accept_solver=True)
            assert false_words(case, results) == []
            assert domain == "milp" or all(r.assurance is not Assurance.SOLVER for r in results)


@pytest.mark.parametrize("lie", EVERY)
def test_no_lie_moves_a_bound_of_a_neuron(lie):
    """By LP and by branching: every bound that a run certifies, of hidden neurons too, holds the exact values."""
    enter(Planted(EVERY[lie]))
    for seed in (12, (27, 29)[list(EVERY).index(lie) % 2]):
        for effort in ("", ",timeout_milp=0.02"):
            (stage,) = agreement.stages(f"refine:solver=planted{effort}")[-1:]
            assert agreement.excess(agreement_nets.case(seed), stage, Numerics())[0] == []


def test_the_seeds_are_what_the_tests_need():
    """Without lies: branching decides what relaxations do not, and the truth is on both sides."""
    for seed in SEEDS:
        case = agreement_nets.case(seed)
        assert [agreement.undecided(case, r) for r in ask(case, "exact")] == [[], []]
    assert ask(agreement_nets.case(NEEDS_BRANCHING), "refine", 0)[0].verdict is Verdict.UNKNOWN
    assert ask(agreement_nets.case(NEEDS_A_SEARCH), "refine", 0)[0].verdict is Verdict.UNKNOWN
    assert {agreement_nets.case(s).truths[k].holds for s in SEEDS for k in range(2)} == {True, False}


@pytest.mark.parametrize("domain", ["refine", "refine:timeout_milp=0.02", "exact:nodes=60,inputs=0", "exact:nodes=60,boxes=200"])
def test_the_truth_comes_out(domain):
    """No lies: nothing false either, whatever was searched, and however early the search ended."""
    for seed in (*SEEDS, 8, 23, 44, 54):
        case = agreement_nets.case(seed)
        assert false_words(case, ask(case, domain)) == []


@pytest.mark.parametrize("domain", ["refine", "exact:nodes=60,inputs=0"])
def test_each_instance_of_a_batch_has_bounds_of_its_own(domain):
    """A stage that is given several instances answers for each of them by its own region."""
    for seed in SEEDS:
        assert agreement.excess(agreement_nets.case(seed), agreement.stages(domain)[-1], Numerics())[0] == []


@pytest.mark.parametrize("nodes", [2, 5, 400])
def test_a_least_value_is_never_above_an_execution(nodes):
    """Of any functional, with searches that end early too; after 400 programs it is attained."""
    for name, graph in networks(4).items():
        ctx = context(graph, 4)
        encoding = encode(ctx, 0)
        values = [evaluate(graph, x)[graph.output.name] for x in points(ctx.region, 40, 1)]
        with Phases(encoding.model, encoding.choices, ("highs",)) as tree:
            for weight in ((1.0, 0.0), (0.0, -1.0), (1.0, -1.0)):
                target = encoding.functional(np.array(weight))
                found = tree.minimum(target.cost, target.offset, inf, Effort(nodes))
                least = min(Fraction(weight[0]) * v[0] + Fraction(weight[1]) * v[1] for v in values)
                assert found.lower < inf, name
                assert Fraction(found.lower) <= least, name
                assert nodes < 400 or found.lower > float(least) - 0.5


def test_a_bound_equal_to_the_goal_closes_nothing():
    """The property is strict: a node is closed above the goal, not at it."""
    graph = build((2,), gemm(np.random.default_rng(0), 2, 2))
    encoding = encode(context(graph, 2), 0)
    target = encoding.functional(np.array([1.0, 0.0]))
    with Phases(encoding.model, encoding.choices, ("highs",)) as tree:
        goal = tree.minimum(target.cost, target.offset, inf, Effort()).lower
        for under, looked in ((goal, 1), (np.nextafter(goal, -inf), 0)):
            seen = []
            tree.minimum(target.cost, target.offset, under, Effort(), lambda point: seen.append(point) or False)  # noqa: B023
            assert len(seen) == looked


def test_points_outside_the_box_end_no_search():
    """What a solver calls a point may violate the property outside the region: that is no violation."""
    enter(Planted(lambda c, m: c if c.point is None else replace(c, point=c.point + 50 * np.sign(wrong(len(c.point), 9)))))
    case = agreement_nets.case(NEEDS_BRANCHING)
    (result,) = ask(case, "exact:solver=planted", 0)
    assert result.verdict is Verdict.VERIFIED


def test_a_milp_is_a_word():
    """Right or wrong, it verifies nothing unless it is accepted, and then says so; its bound is no margin."""
    for seed, made in ((NEEDS_BRANCHING, lambda c, m: c), (NEEDS_A_SEARCH, too_high), (NEEDS_A_SEARCH, too_high_at_a_limit)):
        enter(Planted(made))
        case = agreement_nets.case(seed)
        (plain,) = ask(case, "milp:solver=planted", 0)
        assert (plain.verdict, plain.reason, plain.assurance) == (Verdict.UNKNOWN, Reason.SOLVER, Assurance.NONE)
        assert plain.margin is None or plain.margin <= 0
        (taken,) = ask(case, "milp:solver=planted", 0, accept_solver=True)
        assert (taken.verdict, taken.reason, taken.assurance) == (Verdict.VERIFIED, Reason.SOLVER, Assurance.SOLVER)


def test_what_rounding_does_not_cover_is_no_word_either():
    enter(Planted(too_high))
    (result,) = ask(agreement_nets.case(NEEDS_A_SEARCH), "milp:solver=planted", 0, accept_solver=True, rounding=False)
    assert result.verdict is Verdict.UNKNOWN


def test_a_word_that_an_input_contradicts_is_not_taken():
    enter(Planted(lambda c, m: Claim(Status.OPTIMAL, value=1e6, bound=1e6) if m.mixed else c))
    (result,) = ask(agreement_nets.case(NEEDS_A_SEARCH), "milp:solver=planted", 0, accept_solver=True)
    assert result.verdict is Verdict.UNKNOWN
    assert "E-SOLVER-CONTRADICTION" in str(result.notes)


# ---- solvers that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["E-SOLVER-CRASH", "E-SOLVER-HANG", "E-SOLVER-LICENCE", "E-SOLVER-MISSING"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_where_a_solver_fails_the_next_one_decides(domain, code):
    """At the start, at the first solve, or in the middle of a search: same verdicts as without it, and the failure is told."""
    for seed in (NEEDS_BRANCHING, NEEDS_A_SEARCH) if code == "E-SOLVER-CRASH" else (NEEDS_BRANCHING,):
        case = agreement_nets.case(seed)
        expected = [r.verdict for r in ask(case, f"{domain}:solver=highs")]
        for where, after in (("start", 0), ("run", 0), ("run", 2)):
            enter(Failing(SolverError(code, "planted"), where, after))
            results = ask(case, f"{domain}:solver=planted")
            assert [r.verdict for r in results] == expected
            assert any(code in str(r.notes) for r in results)


@pytest.mark.parametrize("where", ["start", "set_bounds", "set_cost", "run"])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_where_every_solver_fails_nothing_is_decided_by_it(where, after, monkeypatch):
    monkeypatch.setattr(choice, "_OPEN", ())
    for seed in (NEEDS_BRANCHING, NEEDS_A_SEARCH):
        case = agreement_nets.case(seed)
        for domain in DOMAINS:
            enter(Failing(SolverError("E-SOLVER-CRASH", "planted"), where, after))
            # Halves of the region need no solver.
            results = ask(case, f"{domain}:solver=planted{',inputs=0' * (domain == 'exact')}")
            assert false_words(case, results) == []
            if after == 0 and where != "set_bounds":
                assert results[0].verdict is Verdict.UNKNOWN
                assert "E-SOLVER-CRASH" in str(results[0].notes)


@pytest.mark.parametrize("error", [RuntimeError("planted"), ValueError("planted"), ZeroDivisionError("planted")])
@pytest.mark.parametrize("where", ["start", "set_bounds", "set_cost", "run"])
def test_a_foreign_exception_is_told_or_coded(where, error):
    case = agreement_nets.case(NEEDS_BRANCHING)
    for domain in DOMAINS:
        enter(Failing(error, where, 1))
        try:
            told = false_words(case, ask(case, f"{domain}:solver=planted"))
        except AbsintError as found:
            told = [] if found.code.startswith("E-") and "planted" in str(found) else [str(found)]
        assert told == []


def test_an_interrupt_inside_a_solver_passes_through():
    enter(Failing(KeyboardInterrupt(), "run", 1))
    for domain in DOMAINS:
        with pytest.raises(KeyboardInterrupt):
            ask(agreement_nets.case(NEEDS_BRANCHING), f"{domain}:solver=planted")


def test_a_missing_default_is_told_and_scipy_decides(monkeypatch):
    case = agreement_nets.case(NEEDS_BRANCHING)
    expected = [r.verdict for r in ask(case, "exact")]
    monkeypatch.setattr(highs, "find_spec", lambda name: None)
    results = ask(case, "exact")
    assert [r.verdict for r in results] == expected
    assert "E-SOLVER-MISSING" in str(results[0].notes)


@pytest.mark.parametrize(("found", "code"), [
    (Presence(False, "gone", installed=False), "E-SOLVER-MISSING"), (Presence(False, "expired", limited=True), "E-SOLVER-LICENCE"),
])
def test_a_solver_asked_for_that_cannot_be_used_is_refused(found, code):
    made = Planted(lambda c, m: c)
    made.check = lambda: found
    enter(made)
    for domain in DOMAINS:
        with pytest.raises(SolverError) as caught:
            domain_of(f"{domain}:solver=planted")
        assert caught.value.code == code


def test_a_licence_for_small_models_makes_way():
    """A network of 2100 inputs is beyond the free licence: the open solvers decide it."""
    present = solver("gurobi").check()
    if not (present.usable and present.limited):
        pytest.skip(f"needs a licence for small models: {present.found}")
    rng = np.random.default_rng(1)
    first = Gemm(torch.tensor(rng.normal(size=(4, 2100)) / 50), torch.zeros(4, dtype=torch.float64))
    graph = build((2100,), first, Relu(), gemm(rng, 1, 4))
    low = torch.tensor(rng.normal(size=(1, 2100)))
    region = BoxRegion(low, low + 0.01)
    spec = Spec.rows(torch.ones(1, 1, 1), 0.3 - graph(low).reshape(1, 1))
    problem = Problem(graph, region, spec.take, (0,))
    found = {}
    for name in ("gurobi", "highs"):
        (found[name],) = verify(problem, ProofSettings(domain_of(f"exact:solver={name}"), dtype="float64", attack=None))
    assert found["gurobi"].verdict is found["highs"].verdict is not Verdict.UNKNOWN
    assert "E-SOLVER-LICENCE" in str(found["gurobi"].notes)


# ---- programs that are no solvers -----------------------------------------------------------------------------------

LYING = """
words = sys.argv
out = words[words.index("-solution") + 1] if "-solution" in words else words[words.index("solution") + 1]
with open(out, "w") as file:
    file.write("Optimal - objective value 5.0\\n")
    for k in range(40):
        file.write(f"{k} x{k} 0.25 1.0\\n")
"""
PROGRAMS = {"crashes": "sys.exit(7)", "hangs": "import time; time.sleep(100)", "dies": "import os; os.kill(os.getpid(), 9)", "lies": LYING}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_no_solver(program, tmp_path, monkeypatch):
    """PuLP runs what is called `cbc`: whatever that does, the verdicts are those of the next solver, or sound."""
    if not solver("pulp").check().usable:
        pytest.skip("needs PuLP")
    monkeypatch.setattr(pulp_solver, "_GRACE", 2.5 if program == "hangs" else 4.0)     # seconds that pass in vain
    place = tmp_path / "cbc"
    place.write_text(f"#!{sys.executable} -I\nimport sys\n{PROGRAMS[program]}\n", encoding="utf-8")
    place.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    case = agreement_nets.case(NEEDS_BRANCHING)
    (result,) = ask(case, "exact:solver=pulp:COIN_CMD,timeout_lp=0.5,nodes=3,boxes=1", 0)
    assert false_words(case, [result]) == []
    if program == "lies":
        assert result.verdict is Verdict.UNKNOWN
    else:
        assert ("E-SOLVER-HANG" if program == "hangs" else "E-SOLVER-CRASH") in str(result.notes)
    assert left_of(tmp_path) == []


def left_of(folder):
    """Command lines of living processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words and "pytest" not in words:
            found.append(words)
    return found
