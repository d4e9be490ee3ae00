"""Everything that proves or refutes agrees with the exact answers: bounds of every domain, verdicts of what claims to be exact.

Nothing here is timed. The problems are those of agreement_nets.py; the answers are found by cutting boxes in integers.
"""

from __future__ import annotations

from itertools import product

import pytest
from agreement import ask, excess, faults, stages, told, undecided
from agreement_nets import BATCH, case, permuted

from absint.search.names import method_names
from absint.solvers import solver
from absint.testing.kit import FLOAT64, MIXED, SINGLE
from absint.verdict import Assurance, Reason, Verdict

SOLVERS = [name for name in ("highs", "scipy", "pulp", "gurobi") if solver(name).check().usable]
BASES = ("zonotope", "deeppoly")
# How many seeds the ordinary run takes; CBC starts a process for every program, and searches over phases with it are slow.
MANY, SOME, FEW = range(16), range(6), range(5)
SLOW = (*range(6, 16), *range(24, 500))
# Where no relaxation proves what a MILP does.
HARD = (57, 83, 92, 108)
# Halving inputs never ends at a tie; so many boxes are enough for what is clear.
WITHIN = {"exact": "exact:boxes=100"}
# Phases alone, and next to nothing but boxes.
PHASES, BOXES = "exact:inputs=0", "exact:nodes=2,boxes=100"


def bounds(name, seeds):
    """No bound of a row, of a disjunct or of a node is beyond the exact values, in float64 and with float32."""
    lines, near, rows = [], 0, 0
    for seed, stage in product(seeds, stages(WITHIN.get(name, name))):
        for numerics in (FLOAT64, MIXED if stage.domain.traits.mixed else SINGLE):
            found, close = excess(case(seed), stage, numerics)
            lines, near, rows = lines + found, near + close, rows + BATCH * case(seed).spec.bias.shape[1]
    assert lines == []
    assert near >= rows // 4, "the bounds are vacuous"


def verdicts(domain, seeds, complete=False, **options):
    """No verdict is false; where the domain is complete, all that is clear is decided. Returns the results, case by case."""
    lines, results = [], []
    for seed in seeds:
        found = ask(case(seed), WITHIN.get(domain, domain), **options)
        results.append(found)
        lines += [line for r in found for line in faults(case(seed), r)]
        lines += [line for r in found for line in undecided(case(seed), r) if complete]
    assert lines == []
    return results


@pytest.mark.parametrize("name", method_names())
def test_no_bound_of_a_domain_exceeds_the_exact_one(name):
    bounds(name, SOME)


@pytest.mark.parametrize("name", method_names())
def test_no_verdict_of_a_domain_is_false(name):
    verdicts(name, SOME)


@pytest.mark.parametrize("domain", [PHASES, f"{PHASES},base=zonotope", WITHIN["exact"]])
def test_exact_decides_all_that_is_clear(domain):
    results = verdicts(domain, MANY, complete=True)
    assert {r.assurance for found in results for r in found if r.verdict is Verdict.VERIFIED} == {Assurance.SOUND}
    assert {r.assurance for found in results for r in found if r.verdict is Verdict.FALSIFIED} == {Assurance.SOUND}


def test_boxes_of_the_input_prove_and_refute_what_is_so():
    """With two linear programs a disjunct, halving the inputs has to do the rest."""
    results = verdicts(BOXES, SOME)
    left = [line for seed, found in zip(SOME, results, strict=True) for r in found for line in undecided(case(seed), r)]
    assert len(left) < len(SOME) // 4


@pytest.mark.parametrize("which", [name for name in SOLVERS if name not in ("highs", "pulp")])
def test_exact_decides_with_every_solver(which):
    verdicts(f"{PHASES},solver={which}", FEW, complete=True)


@pytest.mark.parametrize("which", SOLVERS)
def test_milp_agrees_where_its_solver_is_believed(which):
    verdicts(f"milp:solver={which}", FEW if which == "pulp" else SOME, complete=True, accept_solver=True)


def test_milp_alone_proves_nothing():
    """What only the solver says is unknown, for that reason; what the base and its LP prove is proved."""
    seeds = [*FEW, *HARD]
    alone, believed = verdicts("milp", seeds), verdicts("milp", seeds, accept_solver=True)
    claims = 0
    for a, b in ((r, q) for found, other in zip(alone, believed, strict=True) for r, q in zip(found, other, strict=True)):
        assert a.assurance is not Assurance.SOLVER
        claimed = b.assurance is Assurance.SOLVER
        assert (a.reason is Reason.SOLVER) is claimed
        assert a.verdict is (Verdict.UNKNOWN if claimed else b.verdict)
        claims += claimed
    assert claims >= len(HARD) // 2, "the solvers are not needed"


@pytest.mark.parametrize("base", BASES)
def test_refine_proves_no_more_than_holds_and_no_less_than_its_base(base):
    results = verdicts(f"refine:base={base}", MANY)
    before = verdicts(base, MANY)
    lost = [told(case(seed), a.index, "lost") for seed, plain, found in zip(MANY, before, results, strict=True)
            for a, b in zip(plain, found, strict=True) if a.verdict is Verdict.VERIFIED and b.verdict is not Verdict.VERIFIED]
    assert lost == []
    count = [sum(r.verdict is Verdict.VERIFIED for pair in found for r in pair) for found in (before, results)]
    assert count[1] > count[0], "the refinement proves nothing more"


@pytest.mark.parametrize("base", BASES)
def test_no_bound_of_a_refined_base_exceeds_the_exact_one(base):
    bounds(f"refine:base={base}", SOME)


@pytest.mark.parametrize("domain", [PHASES, "refine"])
def test_the_order_of_neurons_changes_no_verdict(domain):
    for seed in SOME:
        one = case(seed)
        other = type(one)(**{**vars(one), "graph": permuted(one.graph, seed)})
        for a, b in zip(ask(one, domain), ask(other, domain), strict=True):
            assert faults(other, b) == []
            assert a.verdict is b.verdict or not one.clear(a.index), told(one, a.index, f"{a.verdict} or {b.verdict}")


@pytest.mark.parametrize("domain", [PHASES, "refine", "milp"])
def test_an_instance_does_not_depend_on_its_batch(domain):
    for seed in FEW:
        one = case(seed)
        together, backwards = ask(one, domain), ask(one, domain, 1, 0, 1)
        for k in range(BATCH):
            (alone,) = ask(one, domain, k)
            for other in (together[k], *(r for r in backwards if r.index == k)):
                assert alone.verdict is other.verdict, told(one, k, f"{alone.verdict} or {other.verdict}")
                assert alone.reason is other.reason
                if None not in (alone.margin, other.margin):
                    assert abs(alone.margin - other.margin) <= 1e-9 * float(one.scales[k]) + 1e-300


# ---- hundreds more --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", method_names())
def test_no_domain_is_wrong_on_hundreds(name):
    bounds(name, SLOW)
    verdicts(name, SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_exact_and_refine_on_hundreds(base):
    verdicts(f"{PHASES},base={base}", SLOW, complete=True)
    verdicts(f"refine:base={base}", SLOW)
    verdicts(f"refine:base={base},timeout_milp=1.0", range(24, 124))
    bounds(f"refine:base={base}", SLOW)
    bounds(f"refine:base={base},timeout_milp=1.0", range(24, 124))


@pytest.mark.slow
def test_boxes_on_hundreds():
    verdicts(WITHIN["exact"], SLOW, complete=True)
    verdicts(BOXES, SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("which", SOLVERS)
def test_every_solver_on_hundreds(which):
    seeds = range(24, 84) if which == "pulp" else SLOW
    verdicts(f"milp:solver={which}", seeds, complete=True, accept_solver=True)
    verdicts(f"{PHASES},solver={which}", seeds, complete=True)
