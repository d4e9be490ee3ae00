"""Processes read files anew: what is not what the run was resolved from is no answer of that run."""

from __future__ import annotations

import json
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest
from onnx_models import build, node, stored

from absint.analyses.verify.options import VerifyOptions
from absint.errors import InputError
from absint.registry import load_plugin
from absint.runs import worker
from absint.runs.processes import Orders
from absint.runs.resolve import resolve

PLUGIN = "absint_plugin_of_a_run"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_in(tmp_path_factory.mktemp("run"))


def files_in(folder):
    """What each file holds while the run is resolved."""
    return {"net.onnx": network(folder, 0.0), "rows.npz": rows(folder, 0.6), "limits.csv": b"lower,upper\n-1,2\n-1,2\n",
            f"{PLUGIN.removeprefix('absint_plugin_')}.py": b"ABSINT_CONTRACT = 1\n"}


def network(folder, shift):
    return stored(folder, build([node("Gemm", "x w b", "y")], ["n", 2], {"w": np.eye(2, dtype=np.float32), "b": np.float32([shift, 0])})
                  ).read_bytes()


def rows(folder, first):
    np.savez(folder / "rows.npz", inputs=np.float32([[first, 0.4]]))
    return (folder / "rows.npz").read_bytes()


def order_of(folder, files):
    """The frames of a worker's order, and its one record, where the files are what they were."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    plugin = folder / next(name for name in files if name.endswith(".py"))
    load_plugin(plugin)
    options = VerifyOptions(net=folder / "net.onnx", data=folder / "rows.npz", output_range=folder / "limits.csv", eps="0.1", attack="none",
                            domain="box", plugin=(plugin,), executor="processes")
    analysis, run = resolve("verify", options)
    (item,) = analysis.items(run)
    frames = Orders(analysis, run).order(item, inf)
    return json.loads(frames[1]), frames[3], frames[5]


def answered(order):
    said = []
    worker.answer(*order, said.append)
    return [line["record"]["verdict"] for line in said]


@pytest.fixture
def order(files, tmp_path):
    yield order_of(tmp_path, files)
    sys.modules.pop(PLUGIN, None)


def test_nothing_has_changed(order):
    assert answered(order) == ["verified"]


@pytest.mark.parametrize(("name", "told"), [
    ("net.onnx", "model_sha256"), ("rows.npz", "data_sha256"), ("limits.csv", "within"), ("of_a_run.py", "the plug-in "),
])
def test_what_has_changed_is_named(order, files, tmp_path, name, told):
    check_changed(order, files, tmp_path, name, told)


def check_changed(order, files, folder, name, told):
    other = {"net.onnx": lambda: network(folder, 5.0), "rows.npz": lambda: rows(folder, 0.5)}
    content = other[name]() if name in other else files[name].replace(b"2\n", b"3\n") + b"\n"
    Path(folder / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        answered(order)
    assert caught.value.code == "E-RUN-CHANGED"
