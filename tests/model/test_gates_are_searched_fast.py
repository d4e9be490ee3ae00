"""Lines of Swish, Gelu and Mish where they bend both ways: the search among slopes asks for few derivatives, and loses little by it."""

from __future__ import annotations

import pytest
import torch

from absint.model.families.elementwise import Elementwise
from absint.model.ops.smooth import Gelu, Mish, Swish, TanhGelu
from absint.numeric.backend import numeric_mode
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics


@pytest.mark.parametrize("op", [Gelu(), TanhGelu(), Swish(), Mish()], ids=lambda op: type(op).__name__)
def test_a_search_asks_little_and_loses_little(op, monkeypatch):
    draw = torch.Generator().manual_seed(3)
    centre = torch.randn(4, 60, generator=draw, dtype=torch.float64) * 3
    reach = torch.rand(4, 60, generator=draw, dtype=torch.float64) * torch.tensor([0.1, 1.0, 4.0, 30.0])[:, None]
    box = Interval(centre - reach, centre + reach)
    asked, real = [], type(op).derivative
    monkeypatch.setattr(type(op), "derivative", lambda self, x: (asked.append(1), real(self, x))[1])
    found = []
    with numeric_mode(), torch.no_grad():
        for near in (type(op).near_touch, Elementwise.near_touch):
            monkeypatch.setattr(type(op), "near_touch", near)
            asked.clear()
            lines, band = op.planes((box,), Numerics()), op.band((box,), Numerics())
            area = (lines.upper[0] - lines.lower[0]) * centre + lines.upper_offset - lines.lower_offset
            found.append((len(asked), area, band.radius))
    (few, area, radius), (many, best, narrowest) = found
    assert few < many / 3
    assert bool((area <= 1.005 * best + 1e-12).all())
    assert bool((radius <= 1.005 * narrowest + 1e-12).all())
