"""Every wrong way to train or to measure is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
from mutants.planting import assert_killed
from mutants.training import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    function, killers = MUTANTS[name]

    def planted(patch) -> None:
        function(patch)
        from absint.analyses.train import step

        bounds = import_module("test_train_bounds")
        for shared in ("ball", "layer_widths"):     # names that the tests have taken by themselves
            patch(bounds, shared, getattr(step, shared))

    def run(killer) -> None:
        module, test, *given = killer
        found = import_module(module)
        function, folder = getattr(found, test), tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        wanted = signature(function).parameters
        known = {"tmp_path": lambda: folder, "trained": lambda: found.trained_in(folder)}
        values = {name: known[name]() for name in wanted if name in known}
        function(**values, **dict(zip((name for name in wanted if name not in known), given, strict=True)))

    assert_killed((planted, killers), run, monkeypatch)
