"""Radii of a sweep, exact and in the order of a bisection, and what the answer at one of them says of another."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from absint.analyses.sweep.grid import asking_order, radii_of
from absint.analyses.sweep.implied import basis_of
from absint.errors import UsageError
from absint.problem.regions.region import LinfBall
from absint.verdict import Assurance, InstanceResult, Verdict

SOUND = Assurance.SOUND


# ---- the radii -------------------------------------------------------------------------------------------------------


def test_radii_are_exact_and_ascending() -> None:
    found = radii_of(["0.3", 0.1, "2/255", "0.1:0.2:3".replace("0.1:", "0.15:"), Fraction(1, 3), np.array([0.5, 0.6])])
    assert [one.text for one in found] == ["2/255", "0.1", "0.15", "0.175", "0.2", "0.3", "1/3", "0.5", "0.6"]
    assert found[0].exact == (Fraction(2, 255),)
    assert radii_of(["0.1,0.2,0.3"])[0].exact == (Fraction(1, 10), Fraction(1, 5), Fraction(3, 10))


@pytest.mark.parametrize("stated", [["0.1", "1/10"], ["small"], ["-1"], ["1:0:3"], ["0:1:1"], ["0:1"], ["0:1:x"], ["0:1:99999999999"]])
def test_what_is_no_radius_is_refused(stated) -> None:
    with pytest.raises(UsageError, match="E-EPS"):
        radii_of(stated)


def test_one_ball_within_another_is_decided_in_rationals() -> None:
    small, large, same = (radii_of([text])[0] for text in ("0.1", "0.10000000000000000000000001", "1/10"))
    assert float(small.exact[0]) == float(large.exact[0])
    assert small.within(large)
    assert not large.within(small)
    assert small.within(same)
    assert same.within(small)
    three, other, two = (radii_of([text])[0] for text in ("0.1,0.1,0.2", "0.1,0.2,0.1", "0.1,0.1"))
    assert small.within(three)
    assert not three.within(small)
    assert not three.within(other)
    assert not other.within(three)
    assert not two.within(three)


def test_the_order_is_that_of_a_bisection() -> None:
    assert asking_order(1) == (0,)
    assert asking_order(7) == (3, 1, 5, 0, 2, 4, 6)
    assert all(sorted(asking_order(count)) == list(range(count)) for count in range(1, 20))


# ---- what follows ----------------------------------------------------------------------------------------------------


def result(verdict: Verdict, assurance: Assurance = SOUND, witness=None) -> InstanceResult:
    return InstanceResult(0, verdict, assurance=assurance, witness=witness)


def follows(found: InstanceResult, at: str, other: str, clip=(0.0, 1.0)) -> str:
    first, second = radii_of([at])[0], radii_of([other])[0]
    ball = LinfBall(torch.tensor([[0.5, 0.5]], dtype=torch.float64), second.exact[0], clip)
    return basis_of(found, first, second, lambda: ball)


def test_a_proof_says_something_of_smaller_radii_alone() -> None:
    assert follows(result(Verdict.VERIFIED), "0.2", "0.1") == "proof at 0.2"
    assert follows(result(Verdict.VERIFIED), "0.1", "0.2") == ""


@pytest.mark.parametrize("found", [result(Verdict.VERIFIED, Assurance.SOLVER), result(Verdict.VERIFIED, Assurance.NONE),
                                   result(Verdict.LIKELY), result(Verdict.UNKNOWN)])
def test_what_is_no_proof_says_nothing(found) -> None:
    assert follows(found, "0.2", "0.1") == follows(found, "0.1", "0.2") == ""


def test_a_witness_says_something_of_larger_radii_alone() -> None:
    witness = result(Verdict.FALSIFIED, Assurance.REPLAYED, (0.6, 0.5))
    assert follows(witness, "0.1", "0.2") == "witness at 0.1"
    assert follows(witness, "0.2", "0.1") == ""
    assert follows(result(Verdict.FALSIFIED), "0.1", "0.2") == ""


@pytest.mark.parametrize(("point", "clip"), [((0.75, 0.5), (0.0, 1.0)), ((0.6, 0.5), (0.45, 0.55)),
                                             ((float(np.nextafter(0.7, 1)), 0.5), (0.0, 1.0))])
def test_a_witness_that_lies_outside_refutes_nothing(point, clip) -> None:
    """A witness is believed for a set that it is a point of, exactly: not one float beyond its rim, not outside of the data range."""
    assert follows(result(Verdict.FALSIFIED, Assurance.REPLAYED, point), "0.1", "0.2", clip) == ""
