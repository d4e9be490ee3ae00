"""Every planted fault of boxes is noticed by the tests named for it."""

from __future__ import annotations

from functools import cache

import pytest
import test_boxes
import test_clips
from mutants.boxes import MUTANTS
from mutants.planting import assert_killed, calls

run = calls(test_boxes, test_clips)


@cache
def passes_unmutated(killer):
    run(killer)
    return True


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name, monkeypatch):
    assert all(passes_unmutated(killer) for killer in MUTANTS[name][1])
    assert_killed(MUTANTS[name], run, monkeypatch)
