"""Every wrong variant of the search for witnesses and of input validation is noticed by the claims named for it; these hold without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants import attacks, validation
from mutants.planting import assert_killed

MODULES = (attacks, validation)
CLAIMS = {**attacks.CLAIMS, **validation.CLAIMS}
MUTANTS = {**attacks.MUTANTS, **validation.MUTANTS}


def test_no_name_hides_another() -> None:
    assert len(CLAIMS) == sum(len(module.CLAIMS) for module in MODULES)
    assert len(MUTANTS) == sum(len(module.MUTANTS) for module in MODULES)


@pytest.mark.parametrize("name", CLAIMS)
def test_claim(name: str, tmp_path: Path) -> None:
    CLAIMS[name](tmp_path)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_killed(MUTANTS[name], lambda killer: CLAIMS[killer](tmp_path), monkeypatch)


def test_every_claim_has_a_mutant() -> None:
    assert {killer for _, killers in MUTANTS.values() for killer in killers} == set(CLAIMS)
