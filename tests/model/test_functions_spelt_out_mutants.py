"""Every fault in recognising spelt-out functions is noticed by the tests named for it."""

from __future__ import annotations

import tempfile
from inspect import signature
from pathlib import Path

import pytest
import test_functions_spelt_out as claims
from mutants.planting import assert_killed
from mutants.spelt_out import MUTANTS


def run(killer):
    """One test; one that writes files gets a folder of its own."""
    name, *given = killer
    test = getattr(claims, name)
    with tempfile.TemporaryDirectory() as folder:
        test(*given, *([Path(folder)] if "tmp_path" in signature(test).parameters else []))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    for killer in MUTANTS[name][1]:
        run(killer)
    assert_killed(MUTANTS[name], run, monkeypatch, ("E-IMPORT-MISMATCH",))
