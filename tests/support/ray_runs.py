"""Runs of a small analysis on a Ray that is none: the cluster, the analysis with deeds whose processes die, and what came of a run."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from fake_ray import Death, FakeRay
from places import ROOT

from absint.contract.analysis import Failure, Item
from absint.contract.run import Run
from absint.registry import load_plugin
from absint.runs import parcel, ray_executor
from absint.runs.executors import EXECUTORS

PLUGIN = ROOT / "tests/runs/tiny_analysis.py"


@pytest.fixture
def ray(monkeypatch):
    made = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", made)
    monkeypatch.setattr(ray_executor, "version", lambda name: "2.60.0")
    monkeypatch.setattr(parcel, "load_plugin", made.loaded.append)     # it is loaded here already
    monkeypatch.setattr("socket.create_connection", made.connect)
    return made


@pytest.fixture
def tiny():
    """With deeds whose processes die."""
    load_plugin(PLUGIN)
    module = sys.modules["absint_plugin_tiny_analysis"]
    marks = set()

    def die(item, run):
        yield module.TinyRecord(item.index, "too early") if item.payload[1] == "late" else module.TinyRecord(-1)
        raise Death

    def die_once(item, run):
        if item.index not in marks:
            marks.add(item.index)
            raise Death
        yield module.TinyRecord(item.index, "at last")

    def die_at_once(item, run):
        raise Death
        yield

    def fail(item, run):
        yield Failure(item.index, item.name, "E-MINE", "is none")

    module.DEEDS.update(die_late=die, die_once=die_once, die=die_at_once, fail=fail)
    yield module
    del sys.modules["absint_plugin_tiny_analysis"]


@pytest.fixture
def records(tiny, ray):
    """What comes of items, `(deed, *what it needs)`, one by one."""

    def start(*deeds, limits=(), run=None, **options):
        stated = tiny.TinyOptions(**{"plugin": (PLUGIN,), "executor": "ray", "threads": 1, **options})
        made = replace(run or Run("tiny", stated), options=stated)
        items = [Item(k, f"item {k}", limit=dict(limits).get(k), payload=(*map(str, deed), "")) for k, deed in enumerate(deeds)]
        return EXECUTORS.get("ray")().records(tiny.Tiny(), made, items)

    return start


def said(found):
    return sorted((one.index, one.code if isinstance(one, Failure) else one.said) for one in found)
