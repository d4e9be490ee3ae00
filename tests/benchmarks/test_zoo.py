"""The zoo of exported modules: a kind of each family, exported; all of it by `benchmarks/zoo.py`, and here under `slow`."""

from __future__ import annotations

import importlib
import sys

import pytest
from places import ROOT

QUICK = ("mlp-relu", "resnet")


@pytest.fixture
def zoo(monkeypatch):
    """The module, imported afresh."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("zoo")
    for name in ("zoo", "zoo_modules", "tables", "measure"):
        sys.modules.pop(name, None)


def run(zoo, monkeypatch, capsys, *arguments: str) -> str:
    """What the command prints; it must end with 0."""
    monkeypatch.setattr(sys, "argv", ["zoo.py", *arguments])
    code = zoo.main()
    said = capsys.readouterr().out
    assert code == 0, said
    return said


def test_the_table_says_ok_for_each_form(zoo, monkeypatch, capsys):
    """Two kinds, one form: the table's cells."""
    said = run(zoo, monkeypatch, capsys, "--only", *QUICK, "--forms", "torchscript", "--samples", "50", "--domains", "box")
    assert "| mlp-relu | ok |" in said
    assert "2 modules, 2 cells, 0 not ok" in said


def test_bounds_that_a_sample_leaves_are_told(zoo, monkeypatch, capsys):
    """Planted: the samples come from a ball of ten times the radius."""
    radius = zoo.RADIUS
    real = zoo.absint.bounds
    monkeypatch.setattr(zoo, "RADIUS", 10 * radius)
    monkeypatch.setattr(zoo.absint, "bounds", lambda graph, x, eps, **rest: real(graph, x, eps / 10, **rest))
    monkeypatch.setattr(sys, "argv", ["zoo.py", "--only", "mlp-relu", "--forms", "torchscript", "--domains", "box"])
    assert zoo.main() == 1
    assert "a sample outside" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_zoo(zoo, monkeypatch, capsys):
    """Every kind in every form."""
    run(zoo, monkeypatch, capsys, "--samples", "200", "--domains", "box", "deeppoly")
