"""The reproduction of the CLEVER papers: data, networks and every stage on toys, kept unit by unit, and what the pages make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


def test_tables_of_both_orders(visited):
    code, _, page, _ = visited("--only", "networks,tables")
    assert code == 0, page
    for name in ("cifar-cnn", "mnist-mlp", "mnist-cnn"):
        for kind in ("runner-up", "random", "least"):
            assert f"| {name} | {kind} | 2 | " in page
    assert "mnist-cnn, least: the two orders" not in page       # its activations have no second derivative
    relations = [line for line in page.splitlines() if line.startswith(("- held: ", "- NOT held: "))]
    assert len(relations) == 5 * (3 + 1) + 2 * 3        # of each network and order; of each with both


def test_masked_gradients_and_rounding(visited):
    code, _, page, out = visited("--only", "masked")
    assert code == 0, page
    assert "- held: stairs with no slope are refused" in page
    assert json.loads((out / "masked-stairs-flat.json").read_text())["refused"] == "E-GRADIENT-MASKED"


def test_transforms(visited):
    code, _, page, _ = visited("--only", "bpda")
    assert code == 0, page
    assert "| mnist-cnn | bits3 | 2 | " in page
    assert "| cifar-cnn | jpeg75 | 2 | " in page
    assert "- held: gradients through the same rounding are refused (E-GRADIENT-MASKED)" in page


def test_the_sandwich(visited):
    code, _, page, _ = visited("--only", "sandwich")
    assert code == 0, page
    assert "| mnist-mlp | l2 | box | least | 2 | " in page
    assert "- held: no certified radius lies above an attack" in page


def test_products_in_gradients(visited):
    code, _, page, _ = visited("--only", "hvp")
    assert code == 0, page
    assert "| cifar-cnn | 128 | " in page


def test_the_large_module(visited, toys, monkeypatch):
    def run(command, **given):      # as in a process of its own
        assert (command[0], Path(command[1]).name) == (sys.executable, "clever_costs.py")
        return subprocess.CompletedProcess(command, 0, json.dumps(toys["clever_costs"].alone(json.loads(command[2]))), "")

    monkeypatch.setattr(toys["clever_costs"], "subprocess", SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired))
    code, _, page, out = visited("--only", "densenet")
    assert code == 0, page
    assert "| 3 x 32 x 32 | 30 | " in page
    found = json.loads((out / "densenet.json").read_text())
    assert found["peak_mib"] >= found["before_mib"] > 50


ART = {"estimators/classification.py": """
class PyTorchClassifier:
    def __init__(self, model, loss, input_shape, nb_classes, clip_values, device_type):
        self.device_type = device_type

    def class_gradient(self, x, label=None):
        return label
""", "metrics.py": """
def clever_t(classifier, x, target, nb_batches, batch_size, radius, norm, pool_factor):
    assert (nb_batches, batch_size, radius, norm, pool_factor) == (10, 8, 5.0, 2, 10)
    classifier.class_gradient(x, label=target)
    return 0.5

def clever_u(classifier, x, verbose, **given):
    return min(clever_t(classifier, x, target, **given) for target in range(9))
"""}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package that answers as ART does."""
    for name, text in ART.items():
        path = tmp_path / "site" / "art" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    (tmp_path / "site" / "art" / "__init__.py").touch()
    hidden = [name for name in sys.modules if name == "art" or name.startswith("art.")]
    for name in hidden:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
        sys.modules.pop(name)


@pytest.mark.usefixtures("stand_in")
def test_scores_beside_a_stand_in_for_art(visited):
    code, _, page, out = visited("--only", "art")
    assert code == 0, page
    rows = json.loads((out / "art-theirs.json").read_text())["rows"]
    assert [(row["kind"], row["scores"], row["gradients"]) for row in rows] == [
        ("runner-up", 1, 80), ("least", 1, 80), ("untargeted", 9, 720)]
    assert all(0 < row["gradient_s"] <= row["time_s"] for row in rows)
    assert "| ART | untargeted | 1 | 9 | " in page
    assert "| absint | 3 targets, all images | 1 | 3 | " in page


def test_without_art_its_stage_says_so(visited, toys, monkeypatch):
    monkeypatch.setattr(toys["clever_costs"], "find_spec", lambda name: None)
    code, _, page, _ = visited("--only", "art")
    assert code == 0, page
    assert "art-theirs: absent: ART is not installed" in page
    assert "| absint | untargeted | 1 | 9 | " in page
