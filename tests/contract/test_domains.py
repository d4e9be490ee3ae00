"""Every registered domain, and the variants that options make of it, under the whole conformance kit."""

from __future__ import annotations

import pytest
import torch

from absint.engine.domain import DOMAINS
from absint.engine.product import Product
from absint.problem.spec import Refutation
from absint.testing.kit import ContractError, check_domain, domain_checks

VARIANTS = {
    **{name: lambda name=name: DOMAINS.get(name)() for name in DOMAINS.names()},
    # As all of them, at a part of the time.
    "alpha": lambda: DOMAINS.get("alpha")(steps=6, inner=3),
    "exact": lambda: DOMAINS.get("exact")(nodes=20),
    "refine": lambda: DOMAINS.get("refine")(neurons=2),
    "zonotope-without-box": lambda: DOMAINS.get("zonotope")(product=False),
    "zonotope-reduced": lambda: DOMAINS.get("zonotope")(max_generators=6),
    "crown": lambda: DOMAINS.get("deeppoly")(every_layer=False),
    "zonotope-x-deeppoly": lambda: Product(DOMAINS.get("zonotope")(), DOMAINS.get("deeppoly")()),
}
CHECKS = dict(domain_checks())
# Domains that solve programs take minutes for the whole kit, most of it with numbers that no solver can handle: the rest is `slow`.
SOLVING = {"exact", "milp", "refine"}
QUICK = {"net/relu", "net/residual", "net/maximum", "net/sigmoid", "subnormal", "zero-width", "known", "batch", "take", "float32-semantics"}


def cases():
    for variant in VARIANTS:
        for check in CHECKS:
            long = variant in SOLVING and check not in QUICK
            yield pytest.param(variant, check, marks=pytest.mark.slow if long else (), id=f"{variant}-{check}")


@pytest.mark.parametrize(("variant", "check"), list(cases()))
def test_domain_keeps_its_contract(variant, check):
    CHECKS[check](VARIANTS[variant]())


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
    class Eager(DOMAINS.get("box")):
        """Refutes every disjunct."""

        def refute(self, element, spec, refuted, ctx):
            return Refutation(torch.full_like(refuted, 1e9))

    with pytest.raises(ContractError) as caught:
        CHECKS["net/relu"](Eager())
    assert "refuted disjuncts" in "".join(caught.value.details)
