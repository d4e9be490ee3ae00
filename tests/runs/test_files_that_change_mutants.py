"""Every wrong way to take records for the run's own is noticed by the checks named for it, which pass in their own files."""

from __future__ import annotations

import sys
from itertools import count

import pytest
import test_files_that_change_meanwhile as processes
import test_radii_of_inputs_in_journals as journals
from mutants.changed_files import MUTANTS
from mutants.planting import assert_killed


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch, tmp_path):
    numbers = count()

    def run(killer):
        kind, *given = killer
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        if kind == "choice":
            journals.check_choice(journals.graph_of_two(folder), folder, *given)
            return
        written = processes.files_in(folder)
        try:
            processes.check_changed(processes.order_of(folder, written), written, folder, *given)
        finally:
            sys.modules.pop(processes.PLUGIN, None)

    assert_killed(MUTANTS[name], run, monkeypatch)
