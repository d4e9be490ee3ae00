"""Where nobody says how much memory may be used, it is that of the device that computes."""

from __future__ import annotations

import pytest
import torch

import absint
from absint import samples
from absint.analyses.bounds import widths
from absint.analyses.radius import bisection
from absint.analyses.verify import portfolio

NET = samples.network_path("mnist_relu_3x50")


@pytest.mark.parametrize(("module", "ask"), [
    (portfolio, lambda: absint.verify(NET, torch.zeros(1, 784), eps=0.001, domain="box")),
    (widths, lambda: absint.bounds(NET, torch.zeros(1, 784), eps=0.001, domain="box")),
    (bisection, lambda: absint.radius(NET, torch.zeros(1, 784), domain="box", upper=0.01)),
], ids=["verify", "bounds", "radius"])
def test_the_device_is_asked(monkeypatch, module, ask):
    asked = []

    def memory(device=None):
        asked.append(device)
        return 1 << 30

    monkeypatch.setattr(module, "default_memory", memory)
    ask()
    assert asked
    assert set(asked) == {torch.device("cpu")}
