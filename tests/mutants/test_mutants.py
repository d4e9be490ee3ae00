"""Every unsound mutant is noticed by the contract checks named for it: tests of their own (tests/contract), where they pass without it."""

from __future__ import annotations

import sys

import pytest
from contract import claims, claims_formats, claims_properties, test_domains  # noqa: F401  # they register their own
from contract.operators import INSTANCES
from walkers import WALKERS

from absint.search.names import walker_of
from absint.testing.kit import check_op, domain_checks
from mutants import mutants, operators, slopes  # noqa: F401  # each registers its own
from mutants.planting import MUTANTS, assert_killed, calls, plant

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
        CHECKS[check](walker_of(domain))


# Tests of every ordinary run, under the names that killers have here.
UNMUTATED = {
    *(f"claim:{name}" for name in claims.CLAIMS),
    *(f"per:{claim}/{domain}/{num}" for claim in claims.PER_DOMAIN for domain in WALKERS for num in claims.settings(domain)),
    *(f"op:{name}" for name in INSTANCES),
    *(f"domain:{variant}/{check}" for variant, check in (case.values for case in test_domains.cases() if not case.marks)),
}


def test_every_killer_runs_unmutated():
    assert {killer for _, killers, *_ in MUTANTS.values() for killer in killers} <= UNMUTATED


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert_killed(MUTANTS[name], run, monkeypatch)


def test_a_mutant_that_does_not_apply_is_an_error(monkeypatch):
    with pytest.raises(AttributeError):
        plant(lambda patch: patch(claims, "no_such_thing", None), monkeypatch)
    with pytest.raises(AssertionError):
        plant(lambda patch: None, monkeypatch)


def test_plain():
    """Asked for by `test_what_every_run_asks_for_is_not_looked_at_again`."""


@pytest.mark.parametrize("two", [3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("one", "name"), [(1, "a"), (2, "b")])
def test_of_values(one, name, two):
    """As above."""


def test_of_a_fixture(tmp_path):
    """As above."""


def test_what_every_run_asks_for_is_not_looked_at_again():
    run = calls(sys.modules[__name__], named=lambda test, one: {"three": 3}.get(one, one))
    asked = [("test_plain",), ("test_of_values", 1, "a", 3), ("test_of_values", 2, "b", "three")]
    assert [run.ordinary(one) for one in asked] == [True] * 3
    others = [("test_of_values", 1, "b", 3), ("test_of_values", 1, "a", 4), ("test_of_values", True, "a", 3), ("test_of_values", 1, "a"),
              ("test_of_a_fixture", 1), ("test_of_a_fixture",), ("run", "claim:x")]
    assert [run.ordinary(one) for one in others] == [False] * 7


def test_there_are_enough_mutants():
    assert len(MUTANTS) >= 25
