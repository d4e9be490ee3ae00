"""Every registered domain, and the variants that options make of it, under the whole conformance kit."""

from __future__ import annotations

import pytest
import torch
from walkers import WALKERS

from absint.engine.domain import DOMAINS
from absint.engine.product import Product
from absint.problem.spec import Refutation
from absint.search.names import strategy_of, walker_of
from absint.search.strategy import Stage, Strategy
from absint.testing.kit import ContractError, check_domain, check_strategy, domain_checks

VARIANTS = {
    **{name: lambda name=name: walker_of(name) for name in WALKERS},
    # As all of them, at a part of the time.
    "alpha": lambda: DOMAINS.get("alpha")(steps=2, inner=1),
    "zonotope-without-box": lambda: DOMAINS.get("zonotope")(product=False),
    "zonotope-reduced": lambda: DOMAINS.get("zonotope")(max_generators=6),
    "crown": lambda: DOMAINS.get("deeppoly")(every_layer=False),
    "linear-without-anchors": lambda: DOMAINS.get("linear")(anchor=0),
    "deeppoly-scouted": lambda: DOMAINS.get("deeppoly")(first="linear"),
    "zonotope-x-deeppoly": lambda: Product(DOMAINS.get("zonotope")(), DOMAINS.get("deeppoly")()),
}
# Stages that ask programs beyond their domain, at a part of the time.
STAGES = {name: lambda name=name: strategy_of(name).stages()[-1] for name in ("milp", "exact:nodes=20", "refine:neurons=1")}
CHECKS = dict(domain_checks())
# What solves programs takes minutes for the whole kit, most of it with numbers that no solver can handle: the rest is `slow`.
QUICK = {"net/relu", "net/residual", "net/maximum", "net/sigmoid", "subnormal", "zero-width", "known", "batch", "take", "float32-semantics"}


# The stage of `refine` below runs the same programs, of fewer neurons, and is asked for more: what takes longest, once. That bounds known
# before reach a program is asked of `milp` and `exact`, which encode alike.
LONG = {"refine": {"known", "batch", "net/relu", "net/residual", "net/maximum", "net/sigmoid"}, "refine:neurons=1": {"known"}}


# An option changes how sets are kept, not what an operator's rule says of them: of operators that the registered domains are asked
# about, one of each family is put to what options make of these; all of them to the domains themselves.
ALIKE = {"net/leaky-0", "net/leaky-0.01", "net/leaky-2.5", "net/average-pool", "net/concat-gather", "net/shapes", "net/fan-out", "net/gemm"}
OPTIONS = set(VARIANTS) - set(WALKERS)


def quick(name, check):
    return check in QUICK - LONG.get(name, set())


def cases():
    for variant in VARIANTS:
        for check in CHECKS:
            long = (variant == "refine" and not quick(variant, check)) or (variant in OPTIONS and check in ALIKE)
            yield pytest.param(variant, check, marks=pytest.mark.slow if long else (), id=f"{variant}-{check}")


@pytest.mark.parametrize(("variant", "check"), list(cases()))
def test_domain_keeps_its_contract(variant, check):
    CHECKS[check](VARIANTS[variant]())


def stages():
    for stage in STAGES:
        for check in CHECKS:
            yield pytest.param(stage, check, marks=() if quick(stage, check) else pytest.mark.slow, id=f"{stage}-{check}")


@pytest.mark.parametrize(("stage", "check"), list(stages()))
def test_a_stage_keeps_the_contract_of_its_domain_and_refutes_nothing_that_holds(stage, check):
    one = STAGES[stage]()
    dict(domain_checks(one.beyond))[check](one.domain)


def test_every_failure_is_listed_at_once():
    class Backwards(DOMAINS.get("box")):
        """Swaps the bounds of every row."""

        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return type(found)(found.upper, found.lower)

    with pytest.raises(ContractError) as caught:
        check_domain(Backwards)
    assert caught.value.code == "E-CONTRACT"
    assert len(caught.value.details) > 20
    assert any("net/relu" in line for line in caught.value.details)


def test_a_false_refutation_is_noticed():
    def eager(ctx, spec, refuted):
        """Refutes every disjunct."""
        return Refutation(torch.full_like(refuted, 1e9))

    class Eager(Strategy):
        def stages(self):
            return Stage(DOMAINS.get("box")()), Stage(DOMAINS.get("box")(), eager, "eager")

    with pytest.raises(ContractError) as caught:
        check_strategy(Eager, quiet=True)
    assert any("eager: net/relu" in line and "refuted disjuncts" in line for line in caught.value.details)
