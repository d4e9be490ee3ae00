"""Planted faults of devices are noticed by the scenarios named for them; those that CUDA lets pass are seen to cost a wait each."""

from __future__ import annotations

from device.parent import answer


def test_every_fault_is_noticed_or_costs_a_wait():
    told = answer(module="device.planting")
    assert {name: words for name, words in told["noticed"].items() if "" in words} == {}
    assert len(told["noticed"]) >= 20
    assert {name: counts for name, counts in told["waits"].items() if counts[1] <= counts[0]} == {}
