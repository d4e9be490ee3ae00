"""The reproduction of the CLEVER papers on toys: its modules, small images, networks that train in a moment, a visit."""

from __future__ import annotations

import gzip
import importlib
import re
import struct
import sys
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from patterned_images import patterned
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


@pytest.fixture
def runner(papers, tmp_path):
    found = papers["clever_runner"]
    size = found.Size(images=1, batches=10, samples=1, second=(10, 1), peer=1, bpda=1, module=(10, 1), cifar=False)
    visit = found.Visit(tmp_path, tmp_path, papers["clever_data"].Data(None), size)

    def run(units, end=inf):
        stage = found.Stage("stage", lambda visit: units, lambda visit, kept: iter([f"page: {sorted(kept)}"]))
        return found.run(visit, units, end, lambda: None), found.pages(visit, [stage])

    return found, visit, run
