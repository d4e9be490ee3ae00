"""docs/sweeps.md: its program and its file run as they are printed."""

from __future__ import annotations

import re
import shutil

from places import ROOT

from absint import samples

PAGE = (ROOT / "docs/sweeps.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


def test_the_program_runs(capsys) -> None:
    exec(compile(block("python"), "sweeps.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 3 * 2 + 1
    assert lines[0] == "mnist_relu_3x50.onnx box 0.01 0.0"
    assert lines[-1].endswith("of 40 verdicts followed from others")


def test_the_file_runs(cli, tmp_path) -> None:
    for name in ("mnist_relu_3x50", "mnist_conv_small"):
        shutil.copy(samples.network_path(name), tmp_path)
    (tmp_path / "sweep.toml").write_text(block("toml"), encoding="utf-8")
    done = cli("sweep", tmp_path / "sweep.toml", "--sample", "1", "--quiet", "--format", "csv")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 1 + 2 * 2 * 2 * 3
