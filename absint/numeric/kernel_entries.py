"""Operations on entries that the proofs take for correctly rounded or exact: checked to the last bit.

On the CPU against numpy's, which are compiled apart; on another device against torch's on the CPU. Two are not among them, and nothing may
rest on their last bit (`kernel_functions`): a quotient by a number instead of a tensor, where CUDA multiplies by the rounded
reciprocal, and the square root, which torch on the CPU gets from a vector library (1.5 u in float32).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

Operation = Callable[..., Tensor]

# Of two operands. numpy gives them the same names but for a few.
_TWO: dict[str, tuple[Operation, Any]] = {
    "add": (torch.add, np.add), "subtract": (torch.sub, np.subtract), "multiply": (torch.mul, np.multiply),
    "divide": (torch.div, np.divide), "nextafter": (torch.nextafter, np.nextafter), "maximum": (torch.maximum, np.maximum),
    "minimum": (torch.minimum, np.minimum), "fmax": (torch.fmax, np.fmax), "fmin": (torch.fmin, np.fmin), "less": (torch.lt, np.less),
    "less or equal": (torch.le, np.less_equal), "equal": (torch.eq, np.equal), "greater": (torch.gt, np.greater),
    "select": (lambda a, b: torch.where(a > b, a, b), lambda a, b: np.where(a > b, a, b)),
}
_ONE: dict[str, tuple[Operation, Any]] = {
    "negate": (torch.neg, np.negative), "abs": (torch.abs, np.abs), "square": (torch.square, np.square),
    "reciprocal": (torch.reciprocal, np.reciprocal), "floor": (torch.floor, np.floor),
    "sign": (lambda a: a.nan_to_num().sign(), lambda a: np.sign(np.nan_to_num(a))),
    "ceil": (torch.ceil, np.ceil), "round": (torch.round, np.rint), "is finite": (torch.isfinite, np.isfinite),
    "is nan": (torch.isnan, np.isnan),
    "mantissa": (lambda a: torch.frexp(a.nan_to_num()).mantissa, lambda a: np.frexp(np.nan_to_num(a))[0]),
    "exponent": (lambda a: torch.frexp(a.nan_to_num()).exponent, lambda a: np.frexp(np.nan_to_num(a))[1]),
    "nan to number": (lambda a: torch.nan_to_num(a, nan=-3.0), lambda a: np.nan_to_num(a, nan=-3.0)),
    "clamp": (lambda a: a.clamp(min=0), lambda a: np.maximum(a, a.dtype.type(0))),
    "halve": (lambda a: a / 2, lambda a: a / a.dtype.type(2)), "times a number": (lambda a: a * 0.1, lambda a: a * a.dtype.type(0.1)),
    "plus a number": (lambda a: a + 0.1, lambda a: a + a.dtype.type(0.1)),
    "to float32": (lambda a: a.float(), lambda a: a.astype(np.float32)),
    "to float64": (lambda a: a.double(), lambda a: a.astype(np.float64)),
    "to whole numbers": (lambda a: a.nan_to_num(0.0, 0.0, 0.0).clamp(-1e9, 1e9).long(),
                         lambda a: np.clip(np.nan_to_num(a, nan=0.0, posinf=0.0, neginf=0.0), -1e9, 1e9).astype(np.int64)),
}
_COUNT = 3000    # operands of all sizes, beside every pair of special ones


def wrong_entries(device: torch.device) -> Iterator[tuple[str, torch.dtype, float]]:
    """(operation, format, share of wrong entries) for each; in the numeric mode."""
    for dtype in (torch.float32, torch.float64):
        left, right = operands(dtype)
        for name, (operation, numpys) in _TWO.items():
            yield name, dtype, _share(operation, numpys, device, left, right)
        for name, (operation, numpys) in _ONE.items():
            yield name, dtype, _share(operation, numpys, device, left)


def _share(operation: Operation, numpys: Any, device: torch.device, *given: Tensor) -> float:
    found = operation(*(x.to(device) for x in given)).cpu()
    if device.type != "cpu":
        exact = operation(*given)
    else:
        with np.errstate(all="ignore"):
            exact = torch.from_numpy(np.asarray(numpys(*(x.numpy() for x in given))))
    if found.dtype != exact.dtype or found.shape != exact.shape:
        found, exact = found.double(), exact.double()
    # Zeros of either sign are one number, and so are all that are none.
    right = found == exact
    if found.is_floating_point():
        right |= found.isnan() & exact.isnan()
    return float((~right).double().mean())


def operands(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two flat tensors on the CPU: every pair of special numbers, neighbours of them, then random ones over all exponents."""
    info = torch.finfo(dtype)
    least = 2.0**-149 if dtype is torch.float32 else 2.0**-1074
    special = [0.0, 1.0, 0.5, 1.5, 2.5, 3.0, 0.1, 1e8, info.tiny, info.tiny * 0.75, least, 3 * least, info.max, info.max / 2, 1 + info.eps,
               1 - info.eps / 2, info.eps / 2, 2.0 / info.eps, 1 / info.eps - 0.5, torch.inf]
    signed = torch.tensor([*special, *(-x for x in special), torch.nan], dtype=torch.float64, device="cpu").to(dtype)
    pairs = torch.cartesian_prod(signed, signed)
    generator = torch.Generator().manual_seed(13)
    fraction = torch.rand(2, _COUNT, generator=generator, dtype=torch.float64, device="cpu") * 2 - 1
    reach = 150 if dtype is torch.float32 else 1070
    exponent = torch.randint(-reach, int(reach * 0.85), (2, _COUNT), generator=generator, device="cpu")
    near = torch.randint(-30, 30, (2, _COUNT), generator=generator, device="cpu")
    scattered = torch.cat((torch.ldexp(fraction, exponent), torch.ldexp(fraction, near)), 1).to(dtype)
    return torch.cat((pairs[:, 0], scattered[0])), torch.cat((pairs[:, 1], scattered[1]))
