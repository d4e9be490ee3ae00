"""The step to the next number: as numpy makes it, from a constant that is made once and serves gradients, too."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
import torch
from host_reads import HostReads

from absint.numeric import rounding
from absint.numeric.outward import down, up
from absint.numeric.rounding import Numerics, cast_down, cast_up, stepped

ENDS = [0.0, -0.0, 1.0, -1.0, 1.5e-45, 1e-310, 5e-324, 2.0**-126, 3.4028234663852886e38, 1.7976931348623157e308, inf, -inf, nan]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("towards", [inf, -inf])
def test_a_step_is_the_next_number(dtype: torch.dtype, towards: float) -> None:
    x = torch.tensor(ENDS, dtype=torch.float64).to(dtype)
    expected = np.nextafter(x.numpy(), np.asarray(towards, dtype=x.numpy().dtype))
    np.testing.assert_array_equal(stepped(x, towards).numpy(), expected)
    for one, value in zip(x, expected, strict=True):  # of a tensor without axes the constant must not raise the format
        found = stepped(one, towards)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.numpy(), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_was_made_in_the_inference_mode_serves_gradients(dtype: torch.dtype) -> None:
    rounding._constant.cache_clear()
    x = torch.ones(3, dtype=dtype)
    with torch.inference_mode():
        _ = down(x), up(x)
    y = (x.clone().requires_grad_() * 2).exp()
    assert bool((down(y) < y).all() and (up(y) > y).all() and (Numerics().down(y) < y).all())


def test_a_constant_is_made_once_a_format() -> None:
    """Made anew it would be copied to a device, and waited for, at every rounding."""
    x = torch.ones(3, dtype=torch.float64)
    steps = (lambda: down(x), lambda: up(x), lambda: Numerics().down(x), lambda: Numerics().up(x), lambda: cast_up(x / 3, torch.float32),
             lambda: cast_down(x / 3, torch.float32))
    made = [step() for step in steps]
    before = rounding._constant.cache_info().misses
    with HostReads() as reads:
        again = [step() for step in steps]
    assert rounding._constant.cache_info().misses == before
    assert reads.made == 0
    assert reads.total == 0
    assert all(torch.equal(one, two) for one, two in zip(made, again, strict=True))
