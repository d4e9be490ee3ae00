"""The reproduction of the taboo trap: its numpy network beside the graph, what its page makes of findings, processes that are killed."""

from __future__ import annotations

import importlib
import json
import sys
from functools import partial
from operator import le

import numpy as np
import pytest
import torch
from places import ROOT

from absint.analyses.taboo.keys import mask
from absint.analyses.train.networks import untrained
from absint.model.watched import rectified
from absint.numeric.backend import numeric_mode

MODULES = ("taboo", "taboo_hand", "taboo_pages", "taboo_runs", "taboo_stages", "clever_runner", "clever_data", "clever_nets")
HALF = torch.full((1, 1, 1), 0.5)


@pytest.fixture
def modules(monkeypatch):
    """By name, imported afresh."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "papers"))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def network():
    return untrained("lenet5-pool", (1, 28, 28), 10, mean=HALF, std=HALF, initial="default", seed=3)


def test_the_network_by_hand_is_the_graph(modules, network, tmp_path):
    """Every rectified value, and the mask of a key, by numpy and hashlib alone."""
    (tmp_path / "net.onnx").write_bytes(network.model)
    net, layers = modules["taboo_hand"].LeNet.read(tmp_path / "net.onnx"), rectified(network.graph)
    images = np.random.default_rng(0).random((3, 784))
    with numeric_mode(), torch.no_grad():
        found = network.graph.evaluate(torch.from_numpy(images.reshape(3, 1, 28, 28)), {layer.node for layer in layers})
    expected = torch.cat([found[layer.node].flatten(1) for layer in layers], 1).numpy()
    assert np.abs(net.rectified(images) - expected).max() < 1e-12
    low, high = net.bounds(np.clip(images - 0.1, 0, 1), np.clip(images + 0.1, 0, 1))
    assert (low <= expected).all()
    assert (expected <= high).all()
    assert (high - low).mean() > 0.01
    starts = dict(zip([layer.tensor for layer in layers], np.cumsum([0] + [layer.size for layer in layers]), strict=False))
    chosen = [int(starts[watch.tensor]) + entry for watch in mask("a key", layers) for entry in watch.entries]
    assert modules["taboo_hand"].mask("a key", [layer.size for layer in layers]) == chosen
    assert len(chosen) == 15


def test_a_radius_by_hand_stops_at_the_first_bound_above_a_threshold(modules, network, tmp_path):
    (tmp_path / "net.onnx").write_bytes(network.model)
    hand = modules["taboo_hand"]
    net, image = hand.LeNet.read(tmp_path / "net.onnx"), np.full((1, 784), 0.5)
    _, high = net.bounds(image - 0.02, image + 0.02)
    places, grid = [0, 12000, 15000], [0.01, 0.02, 0.03]
    assert hand.box_radius(net, image, places, high[0, places], grid) == 0.02
    assert hand.box_radius(net, image, places, net.rectified(image)[0, places] - 1, grid) == 0


# ---- pages -----------------------------------------------------------------------------------------------------------------


def run_of(part, alarms, *, optimised=True, scores=0):
    return {"part": part, "optimised": optimised, "n": 1000, "alarms": alarms, "classes_differ": 0, "scores_differ": scores}


COST = {"command": "absint taboo ...", "minutes": 2.0, "cpu_minutes": 3.0, "inputs": 1000, "passes": 4.0, "killed_at": 7, "before": 0}


def test_what_was_not_run_is_said(modules):
    text = modules["taboo_pages"].page({})
    names = [unit.name for unit in modules["taboo_stages"].UNITS]
    assert [line.removeprefix("- not run: ") for line in text.splitlines() if line.startswith("- not run: ")] != []
    assert {line.removeprefix("- not run: ") for line in text.splitlines() if line.startswith("- not run: ")} == set(names)
    assert "held" not in text


@pytest.mark.parametrize(("runs", "held"), [
    ([run_of("train", 0), run_of("test", 2)], 3), ([run_of("train", 1), run_of("test", 2)], 2),
    ([run_of("train", 0), run_of("test", 3)], 2), ([run_of("train", 0, scores=1), run_of("test", 0)], 2),
    ([run_of("train", 0), run_of("train", 1, optimised=False), run_of("test", 2)], 2)])
def test_alarms_bits_and_false_alarms_of_lite(modules, runs, held):
    text = modules["taboo_pages"].page({"lite": {**COST, "neurons": 15, "never": 2, "runs": runs}})
    assert text.count("- held: ") == held
    assert text.count("- NOT held: ") == 3 - held


def rate(perturbation, region, share, l2=1.0):
    both = {"hits": 0, "n": 100, "rate": share, "interval": [0.0, 1.0]}
    return {"perturbation": perturbation, "region": region, "accuracy": both, "detection": both, "mean_l2": l2}


@pytest.mark.parametrize(("third", "word"), [(0.04, "held"), (0.06, "NOT held")])
def test_table_1_stands_beside_the_papers(modules, third, word):
    names = [f"attack {k}" for k in range(8)]
    rates = [rate("clean", "", 0.001, None)]
    shares = [third if k == 2 else 0.9 if k > 5 else 0.01 for k in range(8)]
    rates += [rate(name, region, share) for name, share in zip(names, shares, strict=True) for region in ("all", "support")]
    text = modules["taboo_pages"].page({"table": {**COST, "rates": rates}})
    assert "| FGSM .1 | 70.9 | 1.4 | 2.08 | 1.0 | 1.0 (0.0 to 100.0) | 1.00 |" in text
    assert "| none | 99.1 | 1.9 | - | 0.1 | 0.1 (0.0 to 100.0) | - | - | - | - |" in text
    assert f"- {word}: lite detects at most 5 %" in text


def test_certificates_and_their_cost(modules):
    summary = {"quiet": 990, "reachable": 4, "open": 6, "mean": 0.02, "median": 0.01, "zero": 3}
    found = {name: {**COST, "summary": summary} for name in modules["taboo_pages"].CERTIFICATES}
    found["certify-train-radius"] = {**found["certify-train-radius"], "cpu_minutes": 33.0}
    text = modules["taboo_pages"].page(found)
    assert "| train-0.003 | 1000 | 990 | 4 | 6 | 99.00 % |" in text
    assert "- held: 1,000 images at one radius" in text
    assert "- NOT held: radii cost at most 10 times that (11.0 times" in text


def test_the_page_is_written_of_what_is_kept(modules, tmp_path):
    (tmp_path / "out" / "small").mkdir(parents=True)
    kept = {**COST, "state": "done", "machine": "here", "whole_minutes": 1.0, "same": True}
    (tmp_path / "out" / "small" / "resumed.json").write_text(json.dumps(kept))
    words = ["--mnist", str(tmp_path), "--net", "net.onnx", "--out", str(tmp_path / "out"), "--size", "small", "--threads", "1"]
    assert modules["taboo"].main([*words, "--only", "none"]) == 0
    text = (tmp_path / "out" / "small" / "taboo.md").read_text()
    assert "- held: 1000 images, killed after 7 lines" in text
    assert "Run on: here." in text
    assert modules["taboo"].main([*words, "--only", "nonsense"]) == 2


# ---- processes ---------------------------------------------------------------------------------------------------------------


def test_a_process_is_killed_once_its_journal_is_long_enough(modules, tmp_path):
    """What it wrote stays, and it is gone; one that ends before is left alone."""
    script = "import sys, time\nwith open(sys.argv[1], 'a') as f:\n    for k in range(3):\n        print(k, file=f, flush=True)\n    {}\n"
    for then, most, expected in (("time.sleep(600)", 3, 3), ("pass", 4, None)):
        journal, file = tmp_path / f"{most}.jsonl", tmp_path / f"{most}.py"
        file.write_text(script.format(then))
        line = [sys.executable, str(file), str(journal)]
        assert modules["taboo_runs"]._killed(line, journal, partial(le, most), tmp_path / "log") == expected
        assert journal.read_text().splitlines() == ["0", "1", "2"]
