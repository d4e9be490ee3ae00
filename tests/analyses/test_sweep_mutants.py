"""Every wrong way through a sweep is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from itertools import count
from pathlib import Path

import pytest
from mutants.planting import assert_killed
from mutants.sweep import MUTANTS
from test_sweep_radii import result

from absint.verdict import Assurance, Verdict

WORDS = {"SOLVER": result(Verdict.VERIFIED, Assurance.SOLVER)}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli) -> None:
    numbers = count()

    def run(killer) -> None:
        module, test, *given = killer
        found, folder = getattr(import_module(module), test), tmp_path / str(next(numbers))
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            made = {"monkeypatch": patch, "tmp_path": folder, "cli": cli}
            names = iter(signature(found).parameters)
            stated = [WORDS.get(one, one) if isinstance(one, str) else one for one in given]
            values = {one: made[one] if one in made else stated.pop(0) for one in names}
            found(**values)

    assert_killed(MUTANTS[name], run, monkeypatch)
