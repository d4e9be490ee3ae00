"""Every line of the rounding proof, against numbers chosen so that an omitted term is visible."""

from __future__ import annotations

import pytest
from walkers import WALKERS

from contract import claims, claims_formats, claims_properties  # noqa: F401  # they register their own


@pytest.mark.parametrize("name", claims.CLAIMS)
def test_claim_holds(name):
    claims.CLAIMS[name]()


@pytest.mark.parametrize("claim", claims.PER_DOMAIN)
@pytest.mark.parametrize(("domain", "num"), [(d, n) for d in WALKERS for n in claims.settings(d)])
def test_claim_holds_in_every_domain(domain, num, claim):
    claims.PER_DOMAIN[claim](domain, claims.settings(domain)[num])
