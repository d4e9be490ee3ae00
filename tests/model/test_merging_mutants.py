"""Every fault of merging linear operators is noticed by the tests named for it."""

from __future__ import annotations

import tempfile
from inspect import signature
from pathlib import Path

import pytest
import test_exact_products_of_matrices
import test_linear_operators_merged
from mutants.merging import MUTANTS
from mutants.planting import assert_killed

# A network that is refused although nothing is wrong with it.
REFUSED = ("E-IMPORT-MISMATCH",)


def run(killer):
    """A test of these modules; one that writes files gets a folder of its own."""
    name, *given = killer
    test = next(getattr(m, name) for m in (test_linear_operators_merged, test_exact_products_of_matrices) if hasattr(m, name))
    with tempfile.TemporaryDirectory() as folder:
        test(*given, *([Path(folder)] if "tmp_path" in signature(test).parameters else []))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    for killer in MUTANTS[name][1]:
        run(killer)
    assert_killed(MUTANTS[name], run, monkeypatch, REFUSED)
