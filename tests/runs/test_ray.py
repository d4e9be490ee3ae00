"""A Ray cluster: workers in processes of their own find what this process finds, and a killed one costs nobody an answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import absint
from absint import samples
from absint.contract.analysis import Item
from absint.contract.run import Run
from absint.registry import load_plugin
from absint.runs import ray_cluster
from absint.runs.ray_executor import Ray

ray = pytest.importorskip("ray", reason="ray is an extra")
NET = str(samples.network_path("mnist_relu_3x50"))
PLUGIN = Path(__file__).with_name("tiny_analysis.py")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Of two CPUs, started as a run starts one, and this program's own for the tests of this file."""
    options = absint.contract.common_options.RunOptions(executor="ray", processes=2)
    with ray_cluster.joined(Run("tiny", options)):
        yield


@pytest.fixture
def tiny() -> Iterator[object]:
    load_plugin(PLUGIN)
    yield sys.modules["absint_plugin_tiny_analysis"]
    del sys.modules["absint_plugin_tiny_analysis"]


def test_it_listens_on_this_machine_alone():
    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}


def test_the_same_verdicts(cli):
    """From the command line, with a domain of a plug-in's file, which workers are sent."""
    words = ("verify", NET, "--index", "0:8", "--eps", "0.02", "--domain", "deeppoly", "--attack", "none", "--format", "jsonl", "--quiet")

    def found(*more):
        done = cli(*words, *more)
        assert done.code in (0, 1), done.err
        rows = [json.loads(line) for line in done.out.splitlines()]
        return sorted((row["index"], row["verdict"], row["assurance"], row["eps"]) for row in rows if "index" in row)

    assert found("--executor", "ray") == found()


def test_a_killed_worker_and_live_objects(tiny, tmp_path):
    """The class of what is sent is known to this file's plug-in alone; the one whose worker dies is tried again."""
    run = Run("tiny", tiny.TinyOptions(executor="ray", processes=1, given=tiny.Thing("live")))
    items = [Item(0, payload=("die_once", str(tmp_path / "mark"))), Item(1, payload=("about",)), Item(2, payload=("answer",))]
    with closing(Ray().records(tiny.Tiny(), run, items)) as arriving:
        by = {record.index: record.said for record in arriving}
    assert (by[0], by[2]) == ("at last", "well")
    assert "Thing(word='live')" in by[1]
    assert "'1', 1" in by[1]    # threads
