"""The property that every output stays within limits, exactly as these were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import inf, lcm, prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from absint.errors import InputError, UsageError, shown
from absint.numeric.decimal import float_above, rational
from absint.problem.boxes import EntryLimits, Number, number_of_float, read_limits, text_of
from absint.problem.live.arrays import array_of, number_of
from absint.problem.spec import Spec

_HINT = "LOW,HIGH such as -1,1 (inf for no limit on a side), or a file with a line an output"
_SHOWN = 4      # outputs said in words


@dataclass(frozen=True)
class OutputRange:
    """lower, upper: of each output (flat), exact; infinite where there is no limit.  same: whether one pair was given for all."""

    lower: tuple[Number, ...]
    upper: tuple[Number, ...]
    same: bool = False

    @cached_property
    def unit(self) -> Fraction:
        """What rows are multiplied with: with it every limit is a float64 number, so that nothing of the property is rounded. In [1, 2).

        Raises UsageError E-OUTPUT-RANGE where no such number is there.
        """
        finite = [one for one in (*self.lower, *self.upper) if isinstance(one, Fraction)]
        whole = lcm(*(one.denominator for one in finite))
        scale = Fraction(whole, 1 << (whole.bit_length() - 1))
        if any(abs(one * scale) > Fraction(10) ** 300 or Fraction(float(one * scale)) != one * scale for one in (Fraction(1), *finite)):
            raise UsageError("E-OUTPUT-RANGE", "limits of so many digits", where="--output-range", hint="write them with 15 digits at most")
        return scale

    def spec(self, batch: int) -> Spec:
        """An output is unsafe where it is < lower or > upper: a row `unit (y - lower) < 0` or `unit (upper - y) < 0` a finite limit."""
        rows = [(k, sign, one) for sign, side in ((1, self.lower), (-1, self.upper)) for k, one in enumerate(side)
                if isinstance(one, Fraction)]
        weight = torch.zeros(len(rows), len(self.lower), dtype=torch.float64)
        bias = torch.zeros(len(rows), dtype=torch.float64)
        for row, (k, sign, limit) in enumerate(rows):
            weight[row, k], bias[row] = float(sign * self.unit), float(-sign * self.unit * limit)
        found = Spec.rows(weight.expand(batch, -1, -1), bias.expand(batch, -1), strict=torch.ones(len(rows), dtype=torch.bool))
        return replace(found, text=self.text)

    def margin(self, proved: float | None) -> float | None:
        """In units of the outputs, rounded down: how far from its limits every output stays, from a bound of the rows."""
        return proved if proved is None or proved in (inf, -inf) else -float_above(-Fraction(proved) / self.unit)

    def slack(self, outputs: np.ndarray) -> float:
        """How far an output (flat) is from its limits, negative beyond them; for people, not rounded outward."""
        return min((float(one) for low, value, high in zip(self.lower, outputs.tolist(), self.upper, strict=True)
                    for one in (value - float(low), float(high) - value)), default=inf)

    @property
    def text(self) -> str:
        """In words."""
        if self.same:
            return f"every output within [{text_of(self.lower[0])}, {text_of(self.upper[0])}]"
        sides = enumerate(zip(self.lower, self.upper, strict=True))
        parts = [f"y[{k}] within [{text_of(low)}, {text_of(high)}]" for k, (low, high) in sides]
        more = f", ... and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
        return f"{', '.join(parts[:_SHOWN])}{more}"


def file_of(value: object) -> Path | None:
    """The file that is meant; None where the limits are stated themselves."""
    if isinstance(value, Path):
        return value
    return Path(value) if isinstance(value, str) and _stated(value) is None else None


def _there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:     # a name that is too long, or a folder that may not be searched
        return False


def output_range(value: object, shape: tuple[int, ...]) -> OutputRange:
    """'LOW,HIGH' or two numbers (their printed decimals are meant) for all outputs, two arrays, or a file with limits of each output.

    Raises UsageError E-OUTPUT-RANGE, InputError E-OUTPUT-RANGE where there are no limits at all, or not one an output.
    """
    count = prod(shape)
    path = file_of(value)
    if path is not None and not _there(path):
        raise UsageError("E-OUTPUT-RANGE", f"neither a range nor a file: {shown(str(value))}", where="--output-range", hint=_HINT)
    pair = _stated(value) if isinstance(value, str) else _pair(value)
    if path is not None:
        limits, same = read_limits(path, count), False
    elif pair is not None:
        limits, same = EntryLimits((pair[:1] * count,), (pair[1:] * count,), "--output-range"), True
    else:
        limits, same = _arrays(value), False
    limits = limits.fitted(shape, "output", "E-OUTPUT-RANGE")
    if len(limits.lower) != 1:
        raise InputError("E-OUTPUT-RANGE", f"{len(limits.lower)} ranges", where=limits.name, hint="give one, for all inputs")
    found = OutputRange(limits.lower[0], limits.upper[0], same)
    if not any(isinstance(one, Fraction) for one in (*found.lower, *found.upper)):
        raise InputError("E-OUTPUT-RANGE", "no output has a limit", where=limits.name, hint=_HINT)
    if any(low == inf or high == -inf for low, high in zip(found.lower, found.upper, strict=True)):
        raise InputError("E-OUTPUT-RANGE", "an infinite limit on the wrong side", where=limits.name, hint=_HINT)
    _ = found.unit
    return found


def _stated(text: str) -> tuple[Number, Number] | None:
    """'LOW,HIGH'; None where it is something else."""
    parts = text.split(",")
    try:
        return (_end(parts[0]), _end(parts[1])) if len(parts) == 2 else None
    except (ValueError, ZeroDivisionError):
        return None


def _end(text: str) -> Number:
    plain = text.strip().lower()
    if plain.lstrip("+-") in ("inf", "infinity"):
        return -inf if plain.startswith("-") else inf
    return rational(plain)


def _pair(value: object) -> tuple[Number, Number] | None:
    """Two numbers, whose printed decimals are meant as those of a radius are."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return None
    numbers = [one if isinstance(one, str) else number_of(one) for one in value]
    if any(one is None for one in numbers):
        return None
    try:
        low, high = (one if isinstance(one, Fraction) else _end(str(one)) for one in numbers)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError("E-OUTPUT-RANGE", f"not a range: {shown(value)}", where="output_range", hint=_HINT) from error
    return low, high


def _arrays(value: object) -> EntryLimits:
    """Two arrays with a number an output, float64 numbers as they are."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise UsageError("E-OUTPUT-RANGE", f"not a range of outputs: {shown(value)}", where="output_range", hint=_HINT)
    sides: list[Sequence[Number]] = []
    for side in value:
        given: Tensor = array_of(side, "output_range")
        sides.append(tuple(number_of_float(one) for one in given.flatten().tolist()))
    return EntryLimits((tuple(sides[0]),), (tuple(sides[1]),), "output_range")
