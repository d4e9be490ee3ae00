"""Every broken promise of a format for machines is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_machine_formats
from mutants.machine_formats import MUTANTS
from mutants.planting import assert_killed, calls


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(killer) -> None:
        calls(test_machine_formats)(killer)

    assert_killed(MUTANTS[name], run, monkeypatch, codes=())
