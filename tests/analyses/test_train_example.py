"""The example of certified training runs, on fewer images than it is shown with, and its figures are in order."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from absint.analyses.train import task

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_certified.py"


def test_the_example_trains_and_verifies(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = task.training_data

    def fewer(*given, **more):
        data = real(*given, **more)
        parts = [replace(one, values=one.values[:n], labels=one.labels[:n]) for one, n in ((data.train, 500), (data.test, 30))]
        return replace(data, train=parts[0], test=parts[1])

    monkeypatch.setattr(task, "training_data", fewer)
    monkeypatch.setattr("sys.argv", ["train_certified.py", "2", str(tmp_path / "out")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    for line in lines[:3]:
        clean, attacked, open_ = (float(number) for number in re.findall(r"(\d+\.\d)%", line))
        assert 0 <= clean <= attacked <= open_ <= 100
    box, deeppoly = (int(line.split()[1]) for line in lines[3:])
    assert 0 <= box <= deeppoly <= 20
    assert (tmp_path / "out" / "best.onnx").exists()
