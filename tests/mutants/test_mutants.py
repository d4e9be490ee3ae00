"""Every unsound mutant is noticed by the contract checks named for it, and those checks pass without it."""

from __future__ import annotations

from functools import cache

import pytest
from contract import claims, claims_properties  # noqa: F401  # it registers its own
from contract.operators import INSTANCES

from absint.domain import DOMAINS
from absint.errors import PluginError
from absint.testing import ContractError, check_op, domain_checks
from mutants import mutants, operators, slopes  # noqa: F401  # each registers its own
from mutants.planting import MUTANTS

CHECKS = dict(domain_checks())


def run(killer):
    """One designated check; raises where it fails."""
    kind, name = killer.split(":", 1)
    if kind == "claim":
        claims.CLAIMS[name]()
    elif kind == "per":
        claim, domain, setting = name.split("/")
        claims.PER_DOMAIN[claim](domain, claims.settings(domain)[setting])
    elif kind == "op":
        check_op(*INSTANCES[name]())
    else:
        domain, check = name.split("/", 1)
        CHECKS[check](DOMAINS.get(domain)())


@cache
def passes_unmutated(killer):
    run(killer)
    return True


def apply(monkeypatch, function):
    """Apply a mutant; a patched attribute that does not exist is an error, and so is a mutant that patches nothing."""
    count = 0

    def patch(owner, name, value):
        nonlocal count
        count += 1
        monkeypatch.setattr(owner, name, value, raising=True)

    function(patch)
    assert count, "the mutant changes nothing"


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    function, killers = MUTANTS[name]
    for killer in killers:
        assert passes_unmutated(killer)
    apply(monkeypatch, function)
    survived = [killer for killer in killers if not fails(killer)]
    assert not survived, f"{name} survives {survived}"


SLIPS = ("TypeError", "AttributeError", "NameError", "KeyError", "IndexError", "RuntimeError")


def fails(killer):
    """Whether the check notices unsoundness. A crash is no kill: it would hide a mutant that is merely broken."""
    try:
        run(killer)
    except ContractError as error:
        return any(not any(slip in line for slip in SLIPS) for line in error.details)
    except AssertionError:
        return True
    except PluginError as error:
        return error.code == "E-CONTRADICTION"
    return False


def test_a_mutant_that_does_not_apply_is_an_error(monkeypatch):
    with pytest.raises(AttributeError):
        apply(monkeypatch, lambda patch: patch(claims, "no_such_thing", None))
    with pytest.raises(AssertionError):
        apply(monkeypatch, lambda patch: None)


def test_there_are_enough_mutants():
    assert len(MUTANTS) >= 25
