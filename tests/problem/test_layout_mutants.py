"""Every wrong notion of an image's axes is noticed by the tests named for it; that these pass without it is their own claim."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import test_layout
import test_layout_of_data
from mutants.layout import MUTANTS
from mutants.planting import assert_killed, calls
from onnx_models import imported


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ask = calls(test_layout, test_layout_of_data)

    def run(killer) -> None:
        ask([partial(imported, tmp_path) if part == "read" else part for part in killer])

    assert_killed(MUTANTS[name], run, monkeypatch, codes=("E-LAYOUT",))
