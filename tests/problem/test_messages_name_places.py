"""What is wrong with a region or labels is told with the option or argument, and with the first entries at fault."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch

from absint.errors import InputError
from absint.problem.regions.region import BoxRegion, check_center
from absint.problem.spec import Spec
from absint.problem.whereabouts import offenders


def refused(call, *given, **more) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*given, **more)
    return caught.value


def test_a_box_that_is_none_names_its_entries() -> None:
    lower, upper = torch.zeros(2, 1, 3), torch.ones(2, 1, 3)
    lower[1, 0, 2] = 1.5
    error = refused(BoxRegion, lower, upper)
    assert (error.code, error.where) == ("E-REGION", "lower, upper")
    assert error.details == ("row 1 of the batch, entry 0, 2: lower 1.5, upper 1",)
    upper[0, 0, 0] = inf
    assert refused(BoxRegion, lower, upper).details == ("row 0 of the batch, entry 0, 0: lower 0, upper inf",)
    assert refused(BoxRegion, lower, upper[:1]).where == "lower, upper"


def test_a_centre_outside_of_the_range_names_the_option() -> None:
    error = refused(check_center, torch.tensor([[0.5, 2.0]]), (0.0, 1.0))
    assert (error.code, error.where, error.details) == ("E-REGION", "--clip", ("row 0 of the batch, entry 1: value 2",))
    error = refused(check_center, torch.tensor([[0.5], [nan]]), None)
    assert (error.where, error.details) == ("inputs", ("row 1 of the batch, entry 0: value nan",))


def test_labels_name_what_they_are() -> None:
    error = refused(Spec.check_labels, torch.tensor([0, 7]), 3)
    assert (error.code, error.where, error.details) == ("E-LABEL", "labels", ("instance 1: label 7",))
    error = refused(Spec.targeted, torch.tensor([0, 1]), torch.tensor([2, 1]), 3)
    assert (error.where, error.details) == ("targets", ("instance 1: class 1",))


def test_of_many_entries_the_first_are_named() -> None:
    lines = offenders(torch.ones(4, 3, dtype=torch.bool), x=torch.zeros(4, 3))
    assert len(lines) == 6
    assert lines[-1] == "... 7 more"
