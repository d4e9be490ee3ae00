"""The page for users of other verifiers: its example runs, and the options it names exist."""

from __future__ import annotations

import re

import pytest
from places import ROOT

from absint.cli.main import build
from absint.search.names import method_names

PAGE = (ROOT / "docs/from-eran-and-auto-lirpa.md").read_text(encoding="utf-8")
OURS = [cells[2] for cells in (line.split("|") for line in PAGE.splitlines() if line.startswith("| ")) if len(cells) == 5]


def known_options():
    import typer

    command = typer.main.get_command(build()).commands["verify"]
    return {name for parameter in command.params for name in parameter.opts}


def test_the_example_runs(capsys):
    pytest.importorskip("onnxscript", reason="extra torch-export")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code, "from-eran-and-auto-lirpa.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(4, 10)")


def test_every_option_of_ours_exists():
    commands = [line for line in PAGE.splitlines() if line.startswith("absint verify")]
    named = {option for text in (*OURS, *commands) for option in re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", text)}
    assert {"--eps", "--mean", "--index", "--timeout"} <= named
    assert named <= known_options()


def test_every_domain_of_ours_exists():
    domains = {name for text in OURS for name in re.findall(r"--domain ([a-z]+)|domain=\"([a-z]+)", text) for name in name if name}
    assert domains == {"box", "zonotope", "deeppoly", "refine", "exact", "milp"}
    assert domains <= set(method_names())
