"""One file makes an executor for every analysis; its page shows it word for word (tests/project/test_docs.py)."""

from __future__ import annotations

import json
import sys

import pytest
from places import ROOT

from absint import samples
from absint.contract.analysis import Item
from absint.contract.run import Run
from absint.registry import load_plugin
from absint.runs.executors import EXECUTORS

FILE = ROOT / "tests/plugins/files/shuffled_executor.py"
TINY = ROOT / "tests/runs/tiny_analysis.py"


def test_it_is_short():
    assert len(FILE.read_text().splitlines()) <= 45


def test_the_same_radii_in_another_order(cli):
    words = ("radius", samples.network_path("mnist_relu_3x50"), "--index", "0:4", "--domain", "box", "--tolerance", "0.05",
             "--format", "jsonl", "--quiet")

    def rows(*more):
        done = cli(*words, *more)
        assert done.code == 0, done.err
        found = [json.loads(line) for line in done.out.splitlines()]
        return [{name: value for name, value in row.items() if name != "time_s"} for row in found if "index" in row]

    usual, shuffled = rows(), rows("--plugin", FILE, "--executor", "shuffled")
    assert [row["index"] for row in shuffled] != [0, 1, 2, 3]
    assert sorted(shuffled, key=lambda row: row["index"]) == usual


@pytest.fixture
def tiny():
    load_plugin(FILE)
    load_plugin(TINY)
    yield sys.modules["absint_plugin_tiny_analysis"]
    del sys.modules["absint_plugin_tiny_analysis"], sys.modules["absint_plugin_shuffled_executor"]


def test_every_item_once_until_time_is_over(tiny, clock):
    items = [Item(k, payload=("answer",)) for k in range(40)]
    run = Run("tiny", tiny.TinyOptions(), end=clock.now + 10.0)
    decided = EXECUTORS.get("shuffled")().records(tiny.Tiny(), run, items)
    found = [next(decided).index for _ in range(20)]
    assert found != sorted(found)
    clock.sleep(11.0)
    found += [record.index for record in decided]
    assert len(found) == len(set(found)) == 32      # two handfuls of sixteen
