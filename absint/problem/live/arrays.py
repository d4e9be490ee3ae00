"""Numbers of any type as float64 tensors. A value that float64 does not hold is refused, never rounded on the way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from math import isfinite, isnan, nan
from numbers import Rational
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from absint.errors import AbsintError, InputError, ResourceError
from absint.numeric.decimal import rational

_HINT = "a numpy array, a torch tensor, or lists of equal length that hold numbers"


def array_of(values: object, what: str, *, differentiable: bool = False, truth: bool = False) -> Tensor:
    """The numbers as float64 on the CPU, in the shape they come in; an own copy only where a conversion needs one.

    values: an array, a tensor of any format or device, a data frame, or numbers in lists.  what: how messages call them.
    differentiable: keep the history of gradients of a tensor.  truth: whether arrays of truth values count as 0 and 1.
    Raises InputError E-DATA-TYPE for what is no array of real numbers, has lists of unequal length or masked entries, or holds
    a number that float64 does not; ResourceError E-MEMORY.
    """
    try:
        return _tensor(_joined(values), what, differentiable=differentiable, truth=truth)
    except AbsintError:
        raise
    except MemoryError as error:
        raise ResourceError("E-MEMORY", f"{what} of this size do not fit into memory", where=what, hint="fewer at once") from error
    except Exception as error:  # an object of a stranger's class: whatever its conversion raises becomes one coded message
        said = str(error).splitlines()[0][:200] if str(error) else ""
        raise InputError("E-DATA-TYPE", f"{what} cannot be read as numbers: {type(error).__name__}: {said}", where=what,
                         hint=_HINT) from error


def _joined(values: object) -> object:
    """Lists of tensors as one tensor."""
    if isinstance(values, (list, tuple)) and values and all(isinstance(value, Tensor) for value in values):
        return torch.stack([value if value.layout is torch.strided else value.to_dense() for value in values])
    return values


def _tensor(values: object, what: str, *, differentiable: bool, truth: bool) -> Tensor:
    if not isinstance(values, Tensor):
        return _of_array(values, what, truth=truth)
    if values.is_nested:
        raise _refused(what, "rows of unequal length")
    given = values if differentiable else values.detach()
    given = given.dequantize() if given.is_quantized else given if given.layout is torch.strided else given.to_dense()
    if given.is_complex():
        raise _refused(what, "complex numbers")
    return given.to("cpu", torch.float64) if given.is_floating_point() else _of_array(given.cpu().numpy(), what, truth=truth)


def _of_array(values: object, what: str, *, truth: bool) -> Tensor:
    if np.ma.isMaskedArray(values) and bool(np.ma.getmaskarray(values).any()):
        raise _refused(what, "masked entries")
    if isinstance(values, (str, bytes, bytearray, memoryview, dict, set, frozenset)):
        raise _refused(what, f"a {type(values).__name__}")
    given = np.asarray(values)
    if given.dtype.kind == "O":
        given = _of_objects(given, what)
    if given.dtype.kind == "b" and not (truth and given.ndim):
        raise _refused(what, "truth values")
    if given.dtype.kind not in "biuf":
        raise _refused(what, "text" if given.dtype.kind in "US" else f"numpy's {given.dtype}")
    with np.errstate(over="ignore"):
        found = np.array(given, dtype=np.float64)
    vast = np.abs(found) >= 2.0**53
    if given.dtype.kind in "iu" and [int(v) for v in found[vast].tolist()] != given[vast].tolist():
        raise _inexact(what)
    if given.dtype.itemsize > 8 and bool((found.astype(given.dtype) != given)[~np.isnan(given)].any()):
        raise _inexact(what)
    return torch.from_numpy(found)


def _of_objects(values: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    """Python's own numbers, one by one."""
    flat: list[float] = []
    for value in values.reshape(-1).tolist():
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (float, Rational, Decimal, np.integer, np.floating)):
            raise _refused(what, f"an object of type {type(value).__name__}")
        near = _float(value)
        if near is None:
            raise _inexact(what)
        flat.append(near)
    return np.array(flat, dtype=np.float64).reshape(values.shape)


def _float(value: Any) -> float | None:
    """The number as a float; None where it is none."""
    with suppress(OverflowError, ValueError):
        near = float(value)
        exact = rational(value) if isinstance(value, Decimal) and isfinite(near) else value
        return near if not isfinite(near) or Fraction(near) == exact else None
    return None


def number_of(value: object) -> float | Fraction | None:
    """One number of any type: an exact one as a Fraction, a float as a Python float; None for anything else, truth values too."""
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (np.floating, float)):
        near = float(value)
        return near if near == value or isnan(near) else None    # a longer format may hold what float64 does not
    if isinstance(value, np.integer):
        return Fraction(int(value))
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, Decimal):
        try:
            return rational(value)
        except ValueError:
            return nan
    return None


def is_list(values: object) -> TypeGuard[Sequence[Any]]:
    """Whether it is a plain sequence, as opposed to text or an array."""
    return isinstance(values, Sequence) and not isinstance(values, (str, bytes, bytearray, memoryview))


def _refused(what: str, kind: str) -> InputError:
    return InputError("E-DATA-TYPE", f"{what} are numbers, not {kind}", where=what, hint=_HINT)


def _inexact(what: str) -> InputError:
    return InputError("E-DATA-TYPE", f"{what} hold numbers that float64 does not", where=what,
                      hint="round them yourself: what is proved holds for the very numbers given")
