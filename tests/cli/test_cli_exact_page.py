"""docs/exact.md: its example is what happens, its Python runs, and the options it names exist."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields

import pytest
import typer
from places import ROOT

from absint.cli.main import build
from absint.search.strategy import STRATEGIES

PAGE = (ROOT / "docs/exact.md").read_text(encoding="utf-8")
TEXT = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = TEXT[0].splitlines()


def without_numbers(line):
    """A row of the table without margin and time, which depend on the machine."""
    return line if line.startswith("result") else re.sub(r"\s+-?[\d.]+\s+[\d.]+$", "", line)


@pytest.mark.parametrize(("command", "shown"), list(zip(COMMANDS, TEXT[1:3], strict=True)), ids=("deeppoly", "exact"))
def test_the_example_is_what_happens(cli, monkeypatch, command, shown):
    monkeypatch.chdir(ROOT)
    printed = cli(*shlex.split(command)[1:]).out.splitlines()
    rows = [line for line in shown.splitlines() if line != "..."]
    assert len(rows) >= 3
    assert {without_numbers(row) for row in rows} <= {without_numbers(line) for line in printed}


def test_the_python_prints_what_is_shown(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code, "exact.md", "exec"), {})
    assert capsys.readouterr().out == TEXT[-1]


def test_options_and_domains_exist():
    commands = typer.main.get_command(build()).commands
    known = {name for word in ("verify", "radius") for parameter in commands[word].params for name in parameter.opts}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]*)", PAGE))
    assert {"--accept-solver", "--base", "--solver", "--neurons", "--timeout-lp", "--timeout-milp", "--exact"} <= named <= known
    table = PAGE.partition("## Options")[2].partition("## Solvers")[0]
    for words, domains in re.findall(r"^\| `(--[^`]*)` \| ([^|]*) \|", table, flags=re.MULTILINE):
        names = re.findall(r"(\w+)=", words) or [words.split()[0].removeprefix("--").replace("-", "_")]
        having = {name for name in ("refine", "exact", "milp", "bab") if set(names) <= {f.name for f in fields(STRATEGIES.get(name))}}
        everyone = {"all four": {"refine", "exact", "milp", "bab"}, "all with a solver": {"refine", "exact", "milp"}}
        assert having == everyone.get(domains, set(domains.split(", "))), words
