"""However an analysis ends before its last item: no exit code says that all is done, and what was decided is in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from absint.cli.main import main

FILE = str(Path(__file__).parents[1] / "plugins" / "files" / "ends_early.py")


@pytest.mark.parametrize(("way", "code", "said"), [
    ("exit", 4, "E-PLUGIN-RAISED"), ("memory", 5, "E-MEMORY-OUT"), ("silence", 1, ""), ("", 0, "")])
def test_in_the_middle(way: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    assert main(["ends", "--plugin", FILE, "--way", way, "--out", str(out), "--quiet"]) == code
    assert said in capsys.readouterr().err
    report = json.loads(out.read_text())
    assert report["records"] == [{"index": 0}] + [{"index": 1}] * (not way)
    assert report["summary"]["complete"] is (not way)


def test_a_plug_in_that_ends_the_program_while_it_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    assert main(["ends", "--plugin", FILE, "--plugin", str(tmp_path / "leaves.py")]) == 4
    assert "E-PLUGIN-RAISED" in capsys.readouterr().err
