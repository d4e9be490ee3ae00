"""The reproduction of the CLEVER papers: data, networks and every stage on toys, kept unit by unit, and what the pages make of it."""

from __future__ import annotations

import gzip
import importlib
import json
import re
import struct
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from places import ROOT
from torch import nn

import absint

MODULES = ("clever", "clever_costs", "clever_data", "clever_nets", "clever_runner", "clever_stages")


@pytest.fixture
def papers(monkeypatch):
    """The modules by name, imported afresh."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "papers"))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


def patterned(seed: int, count: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Ten kinds of images, each bright in a part of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = random.integers(0, 90, (count, int(np.prod(shape))))
    part = images.shape[1] // 10
    for k, label in enumerate(labels):
        images[k, label * part:(label + 1) * part] += 120
    return images.astype(np.uint8).reshape(count, *shape), labels.astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """As the data folder is laid out: IDX files, and an npz."""
    mnist, cifar = tmp_path / "data" / "mnist", tmp_path / "data" / "cifar10"
    mnist.mkdir(parents=True)
    cifar.mkdir()
    for stem, seed, count in (("train", 0, 300), ("t10k", 1, 40)):
        images, labels = patterned(seed, count, (28, 28))
        for name, head, values in ((f"{stem}-images-idx3-ubyte", (2051, count, 28, 28), images),
                                   (f"{stem}-labels-idx1-ubyte", (2049, count), labels)):
            (mnist / f"{name}.gz").write_bytes(gzip.compress(struct.pack(f">{len(head)}I", *head) + values.tobytes()))
    parts = {part: patterned(seed, count, (32, 32, 3)) for part, seed, count in (("train", 2, 100), ("test", 3, 20))}
    np.savez(cifar / "all.npz", **{f"{part}_images": images for part, (images, _) in parts.items()},
             **{f"{part}_labels": labels for part, (_, labels) in parts.items()})
    return tmp_path / "data"


@pytest.fixture
def toys(papers, monkeypatch):
    """The same networks with fewer channels and epochs, one quick attack and proof for all, and a size of seconds."""
    nets, main = papers["clever_nets"], papers["clever"]
    mnist, cifar = papers["clever_data"].SHAPES.values()
    def dense(act: type[nn.Module] = nn.Tanh) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 12), act(), nn.Linear(12, 10))

    def small() -> nn.Sequential:
        return nets.cnn(mnist, (3, 4), (12,), nn.Tanh)

    monkeypatch.setattr(nets, "mlp", dense)
    smaller = {"mnist-mlp": {"build": dense, "rate": 1e-2}, "mnist-cnn": {"build": small, "rate": 2e-2, "epochs": 20},
               "mnist-cnn7": {"build": lambda: nets.cnn(mnist, (2, 3), (5, 4), nn.ReLU, 0.1), "epochs": 1},
               "cifar-cnn": {"build": lambda: nets.cnn(cifar, (3, 4), (12, 8), nn.Tanh, 0.1), "rate": 5e-2, "epochs": 30},
               "floor-cnn": {"build": lambda: nn.Sequential(nets.Stairs(8, 0.0), *small())}}
    for name, how in smaller.items():
        monkeypatch.setitem(nets.RECIPES, name, replace(nets.RECIPES[name], **how))
    toy = papers["clever_runner"].Size(
        images=2, batches=10, samples=8, second=(10, 8), peer=1, bpda=8, module=(10, 3), cifar=True, side=32, blocks=(1, 1))
    monkeypatch.setitem(main.SIZES, "small", toy)
    monkeypatch.setattr(papers["clever_stages"], "CERTIFIED", (("mnist-mlp", "l2", "box"), ("mnist-cnn", "linf", "box")))
    real = absint.clever

    def quick(*words: object, **given: object) -> object:
        attacks = {"attack": "deepfool:steps=5"} if {"attack", "certify"} & set(given) else {}
        return real(*words, **{**given, **attacks})

    monkeypatch.setattr(absint, "clever", quick)
    return papers


@pytest.fixture
def visited(toys, folder, tmp_path, capsys):
    """Run stages on toys; exit code, the units that ran, all that was printed, and the folder of what is kept."""

    def visit(*words: str):
        given = ["--data", str(folder), "--nets", str(tmp_path / "nets"), "--out", str(tmp_path / "out"), "--threads", "1", *words]
        code = toys["clever"].main(given)
        said = capsys.readouterr().out
        return code, re.findall(r"^([\w-]+): .*, [\d.]+ s", said, re.M), said, tmp_path / "out" / "small"

    return visit


# ---- data and networks --------------------------------------------------------------------------------------------------


def test_sheets_are_cut_in_the_order_of_their_labels(papers, tmp_path):
    image = pytest.importorskip("PIL.Image")
    place = tmp_path / "cifar10"
    place.mkdir()
    tiles = (np.arange(2000) // 10 % 200).astype(np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    sheet = tiles.reshape(50, 40, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1600, 1280, 3)
    image.fromarray(sheet).save(place / "train_images_03.webp", lossless=True, method=0, quality=0)
    np.arange(50000).astype(np.uint8).tofile(place / "train_labels.u8")
    images, labels = patterned(3, 4, (32, 32, 3))
    np.savez(place / "test_first1000.npz", images=images, labels=labels)
    found = papers["clever_data"].Data(tmp_path)["cifar10"]
    assert found.train[0].shape == (2000, 3, 32, 32)
    assert torch.equal((found.train[0][:, 1, 5, 6] * 255).round().to(torch.int64), torch.from_numpy(tiles[:, 0, 0, 0].astype(np.int64)))
    assert found.train[1].tolist() == [k % 256 for k in range(6000, 8000)]
    assert (found.test[0][1, 2, 7, 9] * 255).round() == images[1, 7, 9, 2]


def test_what_is_not_there_is_said(papers, tmp_path):
    with pytest.raises(papers["clever_data"].AbsentError, match="no folder mnist"):
        papers["clever_data"].Data(tmp_path)["mnist"]
    with pytest.raises(papers["clever_data"].AbsentError, match="no folder cifar10"):
        papers["clever_data"].Data(None)["cifar10"]


def test_every_network_is_kept_and_is_what_its_onnx_file_says(toys, folder, tmp_path):
    nets, data = toys["clever_nets"], toys["clever_data"].Data(folder)
    for name, recipe in nets.RECIPES.items():
        one = nets.net(name, data, tmp_path / "nets", nets.Training(epochs=1))
        again = nets.net(name, toys["clever_data"].Data(None), tmp_path / "nets")
        x = data[recipe.data].test[0][:4]
        assert again.made == one.made
        assert torch.equal(nets.answer(again.module, x), nets.answer(one.module, x))
        # Floats near the edge of a step may fall on either side of it: their outputs are not compared.
        if not name.startswith(("stairs", "floor")):
            assert torch.allclose(one.graph(x.double()).flatten(1).float(), nets.answer(one.module, x), atol=1e-5)


def test_training_learns_and_repeats(toys, folder, tmp_path):
    nets, data = toys["clever_nets"], toys["clever_data"].Data(folder)
    made = [nets.net("mnist-mlp", data, tmp_path / str(k)) for k in range(2)]
    assert made[0].made["accuracy"] > 0.9
    assert torch.equal(made[0].module[1].weight, made[1].module[1].weight)


def test_a_limit_ends_training_between_epochs(toys, folder, tmp_path):
    nets, data = toys["clever_nets"], toys["clever_data"].Data(folder)
    assert nets.net("mnist-mlp", data, tmp_path, nets.Training(seconds=-1.0)).made["epochs"] == 0


def test_the_large_module_has_the_layers_of_densenet_121(papers):
    module = papers["clever_nets"].densenet()
    layers = [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert (len(layers), sum(part.numel() for part in module.parameters())) == (121, 7978856)


def test_stairs_are_the_input_within_half_a_step(papers):
    x = torch.linspace(0, 1, 1001)
    for slope in (0.0, 0.3):
        assert (papers["clever_nets"].Stairs(16, slope)(x) - x).abs().max() <= 0.5 / 16 + 1e-6


# ---- units --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runner(papers, tmp_path):
    found = papers["clever_runner"]
    size = found.Size(images=1, batches=10, samples=1, second=(10, 1), peer=1, bpda=1, module=(10, 1), cifar=False)
    visit = found.Visit(tmp_path, tmp_path, papers["clever_data"].Data(None), size)

    def run(units, end=inf):
        stage = found.Stage("stage", lambda visit: units, lambda visit, kept: iter([f"page: {sorted(kept)}"]))
        return found.run(visit, units, end, lambda: None), found.pages(visit, [stage])

    return found, visit, run


def test_units_that_fail_are_told_tried_again_and_hold_nothing_up(runner):
    found, visit, run = runner
    calls = []

    def bad(visit, seconds):
        calls.append("bad")
        raise ValueError("a fault")

    units = [found.Unit("one", 1, bad), found.Unit("two", 1, lambda visit, seconds: calls.append("two") or {"x": 1})]
    well, page = run(units)
    assert (well, calls) == (False, ["bad", "two"])
    assert "page: ['two']" in page
    assert "- one: failed: ValueError: a fault" in page
    run(units)
    assert calls == ["bad", "two", "bad"]
    assert found.kept(visit, "two")["x"] == 1


def test_a_unit_that_was_cut_keeps_what_it_had_where_the_next_try_fails(runner):
    found, visit, run = runner
    answers = iter([{"state": found.CUT, "x": 1}, ValueError("a fault"), {"x": 2}])

    def unit(visit, seconds):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    units = [found.Unit("one", 1, unit)]
    for well, state, x in ((True, "cut", 1), (False, "cut", 1), (True, "done", 2)):
        assert run(units)[0] is well
        assert (found.kept(visit, "one")["state"], found.kept(visit, "one")["x"]) == (state, x)


def test_units_share_the_time_that_is_left(runner, clock):
    found, visit, run = runner
    given = []

    def takes(seconds_taken):
        def unit(visit, seconds):
            given.append(seconds)
            clock.sleep(seconds_taken)
            return {}
        return unit

    run([found.Unit("a", 1, takes(10)), found.Unit("b", 3, takes(60)), found.Unit("c", 2, takes(49.5)), found.Unit("d", 1, takes(1))],
        end=found.time.monotonic() + 120)
    assert given == pytest.approx([120 / 7, 110 / 2, 50 / 1.5])
    assert found.kept(visit, "d")["state"] == "no time left"


def test_what_was_cut_goes_on_while_there_is_time(runner, clock):
    found, visit, run = runner
    given = []

    def unit(visit, seconds):
        given.append(seconds)
        clock.sleep(seconds)
        return {"state": found.CUT if len(given) < 4 else found.DONE}

    run([found.Unit("a", 1, unit), found.Unit("b", 1, lambda visit, seconds: {})], end=found.time.monotonic() + 100)
    assert given == pytest.approx([50, 50])
    assert found.kept(visit, "a")["state"] == found.CUT


def test_nothing_is_done_twice_and_scores_go_on_where_they_were_cut(visited, toys):
    code, units, _, out = visited("--only", "norms")
    assert code == 0
    assert units == ["norm-l2", "norm-linf", "norm-l1"]
    before = {path.name: path.read_bytes() for path in out.glob("*.json")}
    assert visited("--only", "norms")[1] == []
    kept = json.loads(before["norm-l2.json"])
    (out / "norm-l2.json").unlink()
    lines = (out / "norm-l2.journal").read_text().splitlines()
    (out / "norm-l2.journal").write_text("\n".join(lines[:2]) + "\n")
    assert visited("--only", "norms")[1] == ["norm-l2"]
    again = json.loads((out / "norm-l2.json").read_text())["rows"]
    assert [row["maximum"] for row in again] == pytest.approx([row["maximum"] for row in kept["rows"]], rel=1e-5)
    assert again[:3] == kept["rows"][:3]


def test_scores_that_a_limit_cut_are_no_result(toys, folder, tmp_path, monkeypatch):
    stages, runner = toys["clever_stages"], toys["clever_runner"]
    visit = runner.Visit(tmp_path, tmp_path / "nets", toys["clever_data"].Data(folder), toys["clever"].SIZES["small"])
    visit.memory = "1MiB"       # many chunks, between which the clock is looked at
    ask = stages.Ask("mnist-mlp", 2, {"batches": 10, "samples": 20})
    real = absint.clever
    monkeypatch.setattr(absint, "clever", lambda *words, **given: real(*words, **{**given, "total_timeout": 1e-9}))
    found = stages.scored(visit, "unit", ask, 100.0)
    assert (found["state"], found["rows"]) == ("cut", [])
    monkeypatch.setattr(absint, "clever", real)
    found = stages.scored(visit, "unit", ask, 100.0)
    assert (found["state"], found["images"], len(found["rows"])) == ("done", 2, 6)


# ---- stages -------------------------------------------------------------------------------------------------------------


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


# ---- what pages make of rows --------------------------------------------------------------------------------------------


def found_of(*scores: float, kind: str = "least", **more: object) -> dict:
    return {"state": "done", "rows": [{"index": k, "kind": kind, "score": score, **more} for k, score in enumerate(scores)]}


def test_shares_and_gains_are_those_of_the_papers_tables(papers):
    compared = papers["clever_stages"].compared
    one, two = found_of(2.0, 3.0, 1.0, 1.0, 5.0), found_of(1.0, 2.0, 1.5, 1.0)
    assert compared(one, two, "least") == (50.0, 25.0, pytest.approx(75.0), pytest.approx(50.0))
    assert compared(one, found_of(*[9.0] * 5), "least")[:3] == (0.0, 100.0, None)
    assert compared(one, two, "random") is None
    assert compared(one, None, "least") is None


def test_means_are_over_what_is_finite(papers):
    average = papers["clever_stages"].average
    assert average([{"attacked": 1.0}, {"attacked": inf}, {"attacked": 3.0}, {"attacked": None}], "attacked") == 2.0
    assert average([]) is None


def test_relations_are_told_and_fail_nothing(papers):
    relation = papers["clever_runner"].relation
    assert [relation("a", one) for one in (True, False, None)] == ["- held: a", "- NOT held: a", "- not known: a"]


def test_a_proof_above_an_attack_is_seen(papers, runner):
    _, visit, _ = runner
    rows = [{"index": 0, "kind": "least", "score": 1.0, "certified": 2.0, "attacked": 1.5, "flag": "above an attack"}]
    page = "\n".join(papers["clever_stages"].sandwich_page(visit, {"sandwich-mnist-mlp-l2": {"rows": rows}}))
    assert "- NOT held: no certified radius lies above an attack (1 of 1)" in page


def test_wrong_calls_leave_with_usage(papers, tmp_path):
    with pytest.raises(SystemExit) as caught:
        papers["clever"].main(["--nets", str(tmp_path), "--out", str(tmp_path), "--only", "table"])
    assert caught.value.code == 2


def test_one_unit_can_be_asked_for(visited):
    _, units, page, _ = visited("--only", "net-mnist-mlp,norm-l2")
    assert units == ["net-mnist-mlp", "norm-l2"]
    assert "- norm-l1: not begun" in page
    assert "## tables" not in page


def test_nothing_is_written_where_only_pages_are_asked_for(visited):
    code, _, page, out = visited("--pages")
    assert code == 0
    assert "- order1-mnist-mlp: not begun" in page
    assert sorted(Path(path).name for path in out.iterdir()) == ["clever.md"]
