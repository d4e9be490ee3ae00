"""Every wrong way to thresholds is noticed by the tests named for it; that these pass without it is test_taboo_thresholds.py's claim."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
import test_taboo_thresholds
from mutants.planting import assert_killed
from mutants.taboo import THRESHOLDS


@pytest.mark.parametrize("name", THRESHOLDS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    test_taboo_thresholds.asked_everywhere()    # by the engine as it is

    def run(killer) -> None:
        test = getattr(test_taboo_thresholds, killer[0])
        test(*killer[1:], *([tmp_path] if "tmp_path" in signature(test).parameters else []))

    assert_killed(THRESHOLDS[name], run, monkeypatch)
