"""Every unsound variant of safe bounds, sessions and encodings is noticed by the tests named for it."""

from __future__ import annotations

import pytest
import test_back_ends
import test_encoding
import test_safe_bounds
from mutants.planting import assert_killed, calls
from mutants.solvers import MUTANTS

run = calls(test_back_ends, test_safe_bounds, test_encoding)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    for killer in MUTANTS[name][1]:
        run(killer)
    assert_killed(MUTANTS[name], run, monkeypatch)
