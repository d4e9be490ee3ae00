"""What runs on the CPU runs on another device, and finds the same: scenarios on a device of the tests, each group in a process.

Its tensors are refused wherever CUDA refuses tensors of two devices (`support/fake_device.py`, `device/laws.py`).
"""

from __future__ import annotations

import subprocess
from unittest.mock import Mock

import fake_device
import pytest
from torch.utils import backend_registration

from device.parent import outcome
from device.scenarios import SCENARIOS

TOGETHER = (("laws", "walks", "operators"), ("runs", "searches", "doors"))    # a process each: half of its time would be its start
SLOW = sorted(name for name, entry in SCENARIOS.items() if entry.slow)


@pytest.mark.parametrize("groups", TOGETHER, ids="-".join)
def test_the_device_finds_what_the_cpu_finds(groups):
    assert outcome(*groups) == {}


def test_every_scenario_is_run():
    assert {entry.group for entry in SCENARIOS.values()} == {group for groups in TOGETHER for group in groups}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_device_finds_what_the_cpu_finds_at_length(name):
    assert outcome(name) == {}


@pytest.mark.parametrize(("change", "said"), [(None, "cannot set up a back end"), (TypeError("no such thing"), "no such thing")])
def test_where_torch_has_no_such_api_the_reason_is_said(change, said, monkeypatch):
    name = "_setup_privateuseone_for_python_backend"
    monkeypatch.setattr(fake_device, "_state", {})
    if change is None:
        monkeypatch.delattr(backend_registration, name)
    else:
        monkeypatch.setattr(backend_registration, name, Mock(side_effect=change))
    reason = fake_device.why_not()
    assert said in reason
    with pytest.raises(RuntimeError, match="torch"):
        fake_device.FakeDevice().__enter__()


def test_a_reason_skips_with_its_words(monkeypatch):
    said = subprocess.CompletedProcess([], 0, '{"why_not": "torch is too old"}\n', "")
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: said)
    with pytest.raises(pytest.skip.Exception, match="torch is too old"):
        outcome("laws")
