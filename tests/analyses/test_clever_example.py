"""The example of docs and README on CLEVER scores runs, and its lines are in order."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "clever_scores.py"


def test_the_example_prints_scores_between_proofs_and_attacks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["clever_scores.py", "1.5"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    for line in lines[:-1]:
        certified, score, attacked = (float(number) for number in re.findall(r"(?:certified|score|attacked) (\d\.\d+|inf)", line))
        assert 0 < certified < attacked
        assert 0 < score <= 1.5
    assert lines[-1].startswith("estimate above an attack: ")
