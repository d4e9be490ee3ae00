"""A Region that its owner changes between two calls is what it is at each of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from bundled import digits, mnist

import absint
from absint.problem.regions.balls import L2Ball
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.regions.zonotope import ZonotopeRegion

IMAGES, LABELS = digits(2)
KINDS = {
    "linf": lambda: LinfBall(IMAGES.clone(), Fraction(1, 100)),
    "l2": lambda: L2Ball(IMAGES.clone(), Fraction(1, 10)),
    "box": lambda: BoxRegion((IMAGES - 0.01).clone(), (IMAGES + 0.01).clone()),
    "zonotope": lambda: ZonotopeRegion(IMAGES.clone(), 0.01 * torch.eye(IMAGES[0].numel(), dtype=torch.float64)[None, :4].reshape(
        1, 4, *IMAGES.shape[1:]).expand(2, -1, *IMAGES.shape[1:]).clone()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_verdicts_follow_the_numbers(kind):
    region = KINDS[kind]()

    def margins(given):
        return [r.margin for r in absint.verify(mnist(), given, domain="box", attack=None)]

    before = margins(region)
    for name in ("center_", "lower", "upper"):
        if hasattr(region, name):
            getattr(region, name)[:] = getattr(region, name).flip(0)
    after = margins(region)
    assert after == pytest.approx(before[::-1], rel=1e-5)
    assert after != pytest.approx(before, rel=1e-3)


def test_what_is_no_region_any_more_is_refused():
    region = KINDS["box"]()
    absint.verify(mnist(), region, domain="box", attack=None)
    region.lower[:] = 2.0
    with pytest.raises(absint.AbsintError, match="E-REGION"):
        absint.verify(mnist(), region, domain="box", attack=None)
