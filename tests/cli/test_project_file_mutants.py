"""Every way to take an option from the wrong source is noticed by the tests named for it."""

from __future__ import annotations

from inspect import signature

import pytest
import test_cli_project_file
import test_project_file
from mutants.planting import assert_killed
from mutants.project_files import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, cli, tmp_path, monkeypatch):
    count = iter(range(100))

    def run(killer):
        test, *words = killer
        found = next(getattr(module, test) for module in (test_project_file, test_cli_project_file) if hasattr(module, test))
        folder = tmp_path / str(next(count))
        folder.mkdir()
        project = test_cli_project_file.project.__wrapped__(folder, monkeypatch)
        known = {"cli": cli, "tmp_path": folder, "monkeypatch": monkeypatch, "project": project}
        names = list(signature(found).parameters)
        plain = dict(zip([one for one in names if one not in known], words, strict=True))
        found(**{one: known.get(one, plain.get(one)) for one in names})

    assert_killed(MUTANTS[name], run, monkeypatch)
