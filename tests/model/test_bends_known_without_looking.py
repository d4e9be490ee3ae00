"""Which functions bend one way everywhere is known from their pieces: their lines need no mask to be read."""

from __future__ import annotations

import pytest
import torch
from contract.operators import NONLINEAR
from host_reads import HostReads

from absint.model.families.elementwise import Elementwise
from absint.model.families.function_pieces import Curvature
from absint.model.ops.relu import Relu
from absint.numeric.interval import Interval
from absint.testing.kit import FLOAT64

OPS = {name: make()[0] for name, make in NONLINEAR.items() if isinstance(make()[0], Elementwise)}
ALWAYS = {"relu", "leaky-relu(0.01)", "abs", "exp", "softplus", "cosh", "power(2)", "elu", "elu-flat", "celu", "clip-below", "clip-above"}


def intervals() -> Interval:
    """At every magnitude, points included."""
    ends = torch.randn(2, 64, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 10.0 ** torch.arange(-4, 5)
    low, high = ends.amin(0), ends.amax(0)
    return Interval(low, torch.where(torch.arange(64)[:, None] % 9 == 0, low, high), proper=True)


@pytest.mark.parametrize("name", OPS)
def test_what_is_known_of_all_holds_of_each(name: str) -> None:
    op, box = OPS[name], intervals()
    masks = [op._bent(box.lower, box.upper, curvature) for curvature in (Curvature.CONVEX, Curvature.CONCAVE)]
    assert not op._always_bent or any(bool(mask.all()) for mask in masks)


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op._always_bent])
def test_lines_are_those_that_a_look_would_give(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, box = OPS[name], intervals()
    planes, band = op.planes((box,), FLOAT64), op.band((box,), FLOAT64)
    monkeypatch.setattr(Elementwise, "_always_bent", property(lambda self: False))
    again, bands = op.planes((box,), FLOAT64), op.band((box,), FLOAT64)
    for one, two in ((planes.lower[0], again.lower[0]), (planes.upper[0], again.upper[0]), (planes.lower_offset, again.lower_offset),
                     (planes.upper_offset, again.upper_offset), (band.slope[0], bands.slope[0]), (band.radius, bands.radius)):
        assert torch.equal(one, two)


def test_which_they_are() -> None:
    known = {name for name, op in OPS.items() if op._always_bent}
    assert known >= ALWAYS, ALWAYS - known
    assert not known & {"sigmoid", "tanh", "sin", "cos", "floor", "sign", "gelu", "hard-swish", "clip", "power(3)"}, known


def test_lines_of_a_relu_read_one_number() -> None:
    """Whether anything overflowed; one a node and look, where it was four."""
    op = Relu()
    op.planes((intervals(),), FLOAT64)
    with HostReads() as reads:
        op.planes((intervals(),), FLOAT64)
    assert reads.total == 1
