"""The conformance kit: what operators, abstract domains, strategies and solvers must satisfy, as one call for plug-in authors.

`check_op(MyOp(...), shapes)`, `check_domain(MyDomain)`, `check_strategy(MyStrategy)` and `check_solver(MySolver())` show each check on
stderr while it runs, say "passed: N checks" on stdout, and raise ContractError with every failure, each a sentence: which claim,
where, what came out, what is exact, what to look at. `op_checks(...)`, `domain_checks()` give the same as (name, function) pairs for
pytest.mark.parametrize.
Truth is exact rational arithmetic on vertices and samples (see `absint.testing.truth`); all seeds are fixed. Passing proves
nothing, but every check here has been seen to fail on an unsound variant (tests/mutants).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from absint.engine.domain import Domain
from absint.model.families.linear import Linear
from absint.model.families.nonlinear import Nonlinear
from absint.model.op import Op, Shape
from absint.search.search import Beyond
from absint.search.strategy import Stage, Strategy
from absint.solvers.interface import Solver
from absint.testing.affine_checks import AFFINE
from absint.testing.linear_checks import LINEAR
from absint.testing.network_checks import DOMAIN, ENCLOSED, NET
from absint.testing.networks import NETS
from absint.testing.nonlinear_checks import NONLINEAR, IntervalTable
from absint.testing.report import Check, ContractError, KitClaim, run_checks
from absint.testing.row_checks import ROWS
from absint.testing.solver_checks import solver_checks
from absint.testing.truth import FLOAT64, MIXED, SINGLE, Reference

__all__ = [
    "FLOAT64", "MIXED", "SINGLE", "Check", "ContractError", "check_domain", "check_op", "check_solver", "check_strategy", "domain_checks",
    "op_checks",
]


def check_op(
    op: Op | type[Op], shapes: tuple[Shape, ...] | None = None, reference: Reference | None = None, *, quiet: bool = False
) -> None:
    """Check one operator instance (or a class without parameters).

    shapes: of its inputs, without the batch axis; needed for Linear operators.  reference: the exact function of an
    elementwise operator, Fraction -> Fraction (accurate to 1e-40 or so where it is not rational); without one the stated
    kernel error is trusted.  quiet: show nothing.  Raises ContractError E-CONTRACT listing every failure.
    """
    subject = op() if isinstance(op, type) else op
    run_checks([check for _, check in op_checks(subject, shapes, reference)], subject, quiet=quiet)


def op_checks(op: Op, shapes: tuple[Shape, ...] | None = None, reference: Reference | None = None) -> list[tuple[str, Check]]:
    """The checks that apply to `op`, by name; see `check_op`."""
    if isinstance(op, Linear):
        if shapes is None:
            raise ContractError("E-CONTRACT", "a linear operator is checked on given input shapes", hint="pass shapes=((3,),)")
        found = [Check(f"linear/{name}", claim, (shapes,)) for name, claim in LINEAR.items()]
    elif isinstance(op, Nonlinear):
        found = []
        wide, narrow = (IntervalTable.of(op, shapes, num, reference) for num in (FLOAT64, SINGLE))
        for label, table in (("float64", wide), ("mixed", replace(wide, num=MIXED)), ("float32", narrow)):
            found += [Check(f"nonlinear/{name}-{label}", claim, (table,)) for name, claim in NONLINEAR.items()]
    else:
        raise ContractError("E-CONTRACT", f"{type(op).__name__} is neither Linear nor Nonlinear", hint="check the parts it expands into")
    return [(check.name, check) for check in found]


def check_domain(domain: Domain[Any] | type[Domain[Any]], *, quiet: bool = False) -> None:
    """Check one abstract domain (an instance, or a class whose parameters all have defaults).

    Runs small networks of every built-in operator family on boxes of relative width 0 to 1 at magnitudes 1e-30 to 1e30, in
    float64 and with float32 matrices (all-float32 where its traits say that it keeps none), against exact values on vertices and
    samples; then rows of networks that only move or scale their input, whose exact bounds are known; then splits, overflow, batching,
    free slopes, float32 executions, affine bounds.  quiet: show nothing.  Raises ContractError E-CONTRACT listing every failure.
    """
    subject = domain() if isinstance(domain, type) else domain
    run_checks([check for _, check in domain_checks()], subject, quiet=quiet)


def check_strategy(strategy: Strategy | type[Strategy], *, quiet: bool = False) -> None:
    """Check one strategy (an instance, or a class whose parameters all have defaults), stage by stage.

    The checks of `check_domain` on the domain of every stage, and whatever a stage says of whole disjuncts beyond its domain, against
    the same exact values. Of equal stages one is checked.  quiet: show nothing.  Raises ContractError E-CONTRACT listing the failures
    of the first stage that has any.
    """
    subject = strategy() if isinstance(strategy, type) else strategy
    stages = subject.stages()
    if not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise ContractError("E-CONTRACT", "stages() gives something else than one Stage or more", where=type(subject).__name__)
    for stage in (stage for k, stage in enumerate(stages) if stage not in stages[:k]):
        checks = [replace(check, name=f"{stage.label}: {check.name}") for _, check in domain_checks(stage.beyond)]
        run_checks(checks, stage.domain, quiet=quiet)


def domain_checks(beyond: Beyond | None = None) -> list[tuple[str, Check]]:
    """(name, check) for every check of `check_domain`; each is called with a domain instance.

    beyond: of the stage that the domain walks for; what it says of whole disjuncts is held to the exact values, too.
    """
    more = () if beyond is None else (beyond,)
    found = [Check(f"net/{name}", NET, (name, *more)) for name in NETS]
    found += [Check(name, claim) for name, claim in (ROWS | DOMAIN | AFFINE).items()]
    found += [Check(name, claim, more) for name, claim in ENCLOSED.items()]
    return [(check.name, check) for check in found]


def check_solver(solver: Solver, *, quiet: bool = False) -> None:
    """Check one solver. Raises ContractError E-CONTRACT listing every failure; bounds stay safe, but with such a solver prove little."""
    look = "the interface's signs and units (docs/solvers.md)"
    run_checks([Check(name, KitClaim(find, look)) for name, find in solver_checks()], solver, quiet=quiet)
