"""Every wrong way to an interval is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from itertools import count
from pathlib import Path

import pytest
from mutants.global_robustness import MUTANTS
from mutants.planting import assert_killed


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = count()

    def run(killer) -> None:
        module, test, *given = killer
        found, folder = getattr(import_module(module), test), tmp_path / str(next(numbers))
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            made = {"monkeypatch": patch, "tmp_path": folder, "capsys": capsys}
            found(*([folder] if "tmp_path" in signature(found).parameters else []), *given,
                  **{name: one for name, one in made.items() if name in signature(found).parameters and name != "tmp_path"})

    assert_killed(MUTANTS[name], run, monkeypatch)
