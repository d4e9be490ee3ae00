"""How far exp, tanh, erf and their like err in float64, against the errors that the operators state for them.

The exact values come from mpmath, which torch brings along. Operators compute these functions in float64 only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite

import torch
from torch import Tensor

_U, _TINY = 2.0**-53, 2.0**-1022
_COUNT = 60      # arguments over the whole range, and as many around zero
_BITS = 160


@dataclass(frozen=True)
class Function:
    """|computed - exact| <= ulps u |computed| + absolute + tiny for x in [low, high], as `KernelError` has it.

    exact: the name of mpmath's function, or a function of mpmath's numbers.
    """

    compute: Callable[[Tensor], Tensor]
    exact: str | Callable[..., object]
    ulps: float
    low: float
    high: float
    absolute: float = 0.0


def _power(x: Tensor) -> Tensor:
    return x**2.5


# The ulps of those that are an operator of their own are that operator's (tests/model/test_function_kernels.py); the others' are what the
# operators made of them allow for.
FUNCTIONS = {
    "exp": Function(torch.exp, "exp", 4, -745.0, 709.0),
    "expm1": Function(torch.expm1, "expm1", 8, -745.0, 709.0),
    "log": Function(torch.log, "log", 4, 1e-300, 1e300),
    "log1p": Function(torch.log1p, "log1p", 4, -0.999, 1e300),
    "sigmoid": Function(torch.sigmoid, lambda mp, x: 1 / (1 + mp.exp(-x)), 16, -740.0, 740.0, 1e-300),
    "tanh": Function(torch.tanh, "tanh", 16, -400.0, 400.0, 1e-300),
    "erf": Function(torch.erf, "erf", 32, -10.0, 10.0, 1e-21),
    "erfc": Function(torch.erfc, "erfc", 16, -10.0, 10.0, 1e-17),
    "sin": Function(torch.sin, "sin", 4, -1e6, 1e6, 1e-18),
    "cos": Function(torch.cos, "cos", 4, -1e6, 1e6, 1e-18),
    "atan": Function(torch.atan, "atan", 8, -1e300, 1e300),
    "asinh": Function(torch.asinh, "asinh", 16, -1e300, 1e300),
    "sinh": Function(torch.sinh, "sinh", 16, -709.0, 709.0),
    "cosh": Function(torch.cosh, "cosh", 16, -709.0, 709.0),
    "tan": Function(torch.tan, "tan", 16, -1e5, 1e5, 1e-18),
    "asin": Function(torch.asin, "asin", 16, -1.0, 1.0),
    "acos": Function(torch.acos, "acos", 16, -1.0, 1.0),
    "atanh": Function(torch.atanh, "atanh", 16, -1 + 2.0**-53, 1 - 2.0**-53),
    "acosh": Function(torch.acosh, "acosh", 16, 1.0, 1e300),
    "square root": Function(torch.sqrt, "sqrt", 2, 1e-300, 1e300),
    "power 2.5": Function(_power, lambda mp, x: x ** mp.mpf(2.5), 8, 1e-100, 1e100),
    "over a number": Function(lambda x: x / 3.0, lambda mp, x: x / 3, 3, -1e300, 1e300),
    "a number over": Function(lambda x: 0.3 / x, lambda mp, x: mp.mpf(0.3) / x, 3, 1e-200, 1e200),
}


def worst_errors(device: torch.device) -> Iterator[tuple[str, float]]:
    """(function, greatest error over what is allowed) for each, inf where a result is not finite; in the numeric mode."""
    for name, function in FUNCTIONS.items():
        x = arguments(function.low, function.high)
        yield name, _worst(function, x, function.compute(x.to(device)).cpu())


def _worst(function: Function, x: Tensor, found: Tensor) -> float:
    import mpmath  # torch needs sympy, which needs it; wanted by this check alone

    mp = mpmath.mp.clone()
    mp.prec = _BITS
    exact = getattr(mp, function.exact) if isinstance(function.exact, str) else partial(function.exact, mp)
    worst = 0.0
    for point, value in zip(x.tolist(), found.tolist(), strict=True):
        if not isfinite(value):
            return float("inf")
        error = abs(mp.mpf(value) - exact(mp.mpf(point)))
        worst = max(worst, float(error / (function.ulps * _U * abs(mp.mpf(value)) + function.absolute + _TINY)))
    return worst


def arguments(low: float, high: float) -> Tensor:
    """Numbers spread over [low, high], evenly and by magnitude, with both ends; float64, on the CPU."""
    generator = torch.Generator().manual_seed(17)
    share = torch.rand(_COUNT, generator=generator, dtype=torch.float64, device="cpu")
    even = low + (high / 2 - low / 2) * 2 * share
    powers = -12 + 14 * torch.rand(_COUNT, generator=generator, dtype=torch.float64, device="cpu")
    near = 10.0**powers
    signed = near * torch.where(torch.arange(_COUNT, device="cpu") % 2 == 0, 1.0, -1.0 if low < 0 else 1.0)
    ends = torch.tensor([low, high], dtype=torch.float64, device="cpu")
    return torch.cat((ends, even, signed)).clamp(low, high)
