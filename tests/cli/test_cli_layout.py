"""`--layout`: where the order of an image's axes matters it is known, told, or asked for; reports and journals say which it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx_models import build, node, stored

TO_CHW = [0, 3, 1, 2]


def write(folder, last, dense, shape=(3, 3, 3)):
    """Score 1 is the sum over the channels of pixel (1, 1); it wins from 2.5 on. `dense`: no operator tells which axis that is."""
    weight = np.zeros((*shape, 2), dtype=np.float32)
    weight[(1, 1, slice(None), 1) if last else (slice(None), 1, 1, 1)] = 1
    inside = [] if dense else [node("Transpose", "x", "t", perm=TO_CHW)] if last else [node("Identity", "x", "t")]
    outside = node("Transpose", "c", "i", perm=[0, 2, 3, 1]) if last else node("Identity", "c", "i")
    back = [] if dense else [node("Conv", "t e", "c"), outside]
    nodes = [*inside, *back, node("Flatten", "x" if dense else "i", "f"), node("Gemm", "f v b", "y")]
    constants = {"v": weight.reshape(-1, 2), "b": np.array([2.5, 0], dtype=np.float32)}
    if not dense:
        constants["e"] = np.eye(3, dtype=np.float32)[:, :, None, None]
    return stored(folder, build(nodes, [1, *shape], constants))


@pytest.fixture
def run(cli, tmp_path):
    def verify(net, *words, data=None, command="verify"):
        values = np.zeros((1, 3, 3, 3)) if data is None else data
        np.savez(tmp_path / "data.npz", x=values, y=np.zeros(len(values), dtype=np.int64))
        return cli(command, net, "--data", tmp_path / "data.npz", "--quiet", *words)

    return verify


def verdict(outcome):
    return json.loads(outcome.out)["instances"][0]["verdict"]


def header(outcome):
    return json.loads(outcome.out)["header"]


@pytest.mark.parametrize("last", [True, False])
def test_a_patch_on_a_network_that_tells_nothing(run, tmp_path, last):
    net = write(tmp_path, last, dense=True)
    refused = run(net, "--patch", "1x1").fails(2, "E-LAYOUT")
    assert "--layout" in refused.err
    right, wrong = ("hwc", "chw") if last else ("chw", "hwc")
    assert verdict(run(net, "--patch", "1x1", "--layout", f"auto:{right}", "--format", "json")) == "falsified"
    assert verdict(run(net, "--patch", "1x1", "--layout", f"{right}:{right}", "--format", "json")) == "falsified"
    assert verdict(run(net, "--patch", "1x1", "--layout", f"auto:{wrong}", "--format", "json")) == "verified"


@pytest.mark.parametrize("last", [True, False])
def test_a_patch_on_a_network_that_tells(run, tmp_path, last):
    net = write(tmp_path, last, dense=False)
    found = run(net, "--patch", "1x1", "--format", "json")
    assert verdict(found) == "falsified"
    assert header(found)["property"]["layout"] == ("hwc" if last else "chw")
    run(net, "--patch", "1x1", "--layout", "auto:chw" if last else "auto:hwc").fails(2, "E-LAYOUT")


def test_one_word_is_enough_where_the_data_have_the_networks_shape(run, tmp_path):
    net = write(tmp_path, True, dense=True, shape=(4, 4, 3))
    data = np.zeros((1, 4, 4, 3))
    run(net, "--patch", "1x1", data=data).fails(2, "E-LAYOUT")
    assert verdict(run(net, "--patch", "1x1", "--layout", "hwc", "--format", "json", data=data)) == "falsified"
    assert verdict(run(net, "--patch", "1x1:4x4", "--format", "json", data=data)) == "falsified"
    assert "of hwc images" in run(net, "--patch", "1x1:4x4", data=data).out
    run(net, "--patch", "1x1", "--layout", "hwc", data=np.zeros((1, 3, 4, 4))).fails(2, "E-LAYOUT")


@pytest.mark.parametrize("words", [("--eps", "0.1,0.2,0.3"), ("--mean", "0.1,0.2,0.3"), ("--std", "0.1,0.2,0.3"), ("--patch", "1x1")])
@pytest.mark.parametrize("command", ["verify", "bounds", "radius"])
def test_every_use_asks_for_the_order_it_needs(run, tmp_path, words, command):
    if (command, words[0]) in (("bounds", "--patch"), ("radius", "--patch"), ("radius", "--eps")):
        pytest.skip("not an option there")
    net = write(tmp_path, True, dense=True)
    run(net, *words, command=command).fails(2, "E-LAYOUT")
    assert run(net, *words, "--layout", "hwc:hwc", command=command).code in (0, 1)
    found = run(write(tmp_path, True, dense=False), *words, "--format", "json", command=command)
    assert found.code in (0, 1)
    assert '"layout": "hwc"' in found.out


def test_a_journal_is_bound_to_the_order(run, tmp_path):
    net, journal = write(tmp_path, True, dense=True), tmp_path / "run.jsonl"
    words = ("--patch", "1x1", "--journal", journal)
    first = run(net, *words, "--layout", "auto:hwc", "--format", "json")
    assert first.code == 1
    assert "--layout auto:hwc" in header(first)["command"]
    run(net, *words, "--layout", "auto:chw", "--resume").fails(3, "E-JOURNAL")
    assert run(net, *words, "--layout", "auto:hwc", "--resume").code == 1


def test_transposed_data_of_equal_sizes_are_reordered_as_told(run, tmp_path):
    net, x = write(tmp_path, False, dense=False), np.zeros((1, 3, 3, 3))
    x[0, 1, 1] = 1    # all channels of pixel (1, 1), channels last
    right = run(net, "--eps", "0", "--layout", "hwc", "--format", "json", data=x)
    assert verdict(right) == "misclassified"
    assert verdict(run(net, "--eps", "0", "--format", "json", data=x)) == "verified"    # as it lies: three other entries
    assert header(right)["data"]["notes"][-1].startswith("reordered")
