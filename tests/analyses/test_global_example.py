"""The example of docs and README on global robustness runs, and its intervals are in order."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "global_robustness.py"


def test_the_example_prints_intervals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["global_robustness.py", "4"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    found = [(float(low), float(high)) for line in lines for low, high in re.findall(r"probability (\d\.\d+) to (\d\.\d+)", line)]
    assert len(found) == 4
    assert all(0 <= low <= high <= 1 for low, high in found)
    assert found[3][0] <= found[2][0]
