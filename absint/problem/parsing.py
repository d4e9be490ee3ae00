"""The small languages of the options: indices, ranges, lists of numbers."""

from __future__ import annotations

import re
from collections import Counter
from math import inf, isfinite

import numpy as np

from absint.errors import InputError, UsageError

_INDEX = "for example 0:100, 3,5,8 or 0:10,50"
_PART = re.compile(r"(\d{0,12}):(\d{0,12})|(\d{1,12})")


def parse_index(text: str, count: int, name: str) -> list[int]:
    """The positions that `text` names in a data set of `count` inputs: '0:100', '3,5,8', ':5', '90:', '0:10,50'.

    Ranges are half open. Raises UsageError E-INDEX for anything else, an empty choice or a position given twice, and
    InputError E-DATA-INDEX for positions outside the data.
    """
    chosen: list[int] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise UsageError("E-INDEX", f"not a choice of inputs: '{text}'", where="--index",
                             hint=_index_hint(text.strip(), count))
        if match[3] is not None:
            start, stop = int(match[3]), int(match[3]) + 1
        else:
            start, stop = int(match[1] or 0), int(match[2] or count)
        if stop > count or (start >= count and start < stop):
            raise InputError("E-DATA-INDEX", f"'{part.strip()}' reaches outside the data", where=name,
                             hint=f"there are {count} inputs: positions 0 to {count - 1}")
        chosen += range(start, stop)
    if not chosen:
        raise UsageError("E-INDEX", f"'{text}' chooses no input", where="--index", hint=_INDEX)
    if len(set(chosen)) != len(chosen):
        twice = sorted(index for index, times in Counter(chosen).items() if times > 1)[:5]
        raise UsageError("E-INDEX", f"given twice: {', '.join(map(str, twice))}", where="--index", hint="name every input once")
    return chosen


def _index_hint(text: str, count: int) -> str:
    """What was probably meant by what chooses no inputs."""
    span = re.fullmatch(r"(\d{1,12})\s*(?:-|\.\.\.?|\u2013)\s*(\d{1,12})", text)
    if span is not None:
        return f"from a first one up to, and without, another: {int(span[1])}:{int(span[2]) + 1}"
    bare = re.fullmatch(r"[\[(]\s*([\d\s,:]+?)\s*[\])]", text)
    if bare is not None:
        return f"without brackets: {bare[1].replace(' ', '')}"
    if re.fullmatch(r"-\d{1,12}", text) and count + int(text) >= 0:
        return f"inputs count from 0: {count + int(text)}"
    return _INDEX


def drawn(count: int, wanted: int, seed: int) -> list[int]:
    """`wanted` of `count` positions, each at most once, in ascending order; the same for the same three numbers.

    Raises UsageError E-SAMPLE for none, for more than there are, and for a negative seed.
    """
    if not 1 <= wanted <= count:
        raise UsageError("E-SAMPLE", f"{wanted} of {count} inputs cannot be drawn", where="--sample",
                         hint=f"a whole number from 1 to {count}")
    if seed < 0:
        raise UsageError("E-SAMPLE", f"a seed of {seed}", where="--seed", hint="a whole number, 0 or more")
    return sorted(np.random.default_rng(seed).choice(count, wanted, replace=False).tolist())


def parse_clip(value: object, where: str = "--clip") -> tuple[float, float] | None:
    """'0,1', 'none', None, or a pair of numbers. Raises UsageError E-CLIP."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    try:
        low, high = (float(part) for part in (value.split(",") if isinstance(value, str) else value))  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        low, high = inf, -inf
    if not (isfinite(low) and isfinite(high) and low <= high):
        raise UsageError("E-CLIP", f"not a data range: {_quoted(value)}", where=where, hint="for example 0,1, or none")
    return low, high


def _quoted(value: object) -> str:
    text = f"'{value}'" if isinstance(value, str) else repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"


def parse_numbers(text: str, where: str) -> list[str]:
    """'0.1,0.2' as a list of decimals, kept as text so that they stay exact. Raises UsageError E-NUMBERS."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        try:
            finite = isfinite(float(part))
        except ValueError:
            finite = False
        if not finite:
            raise UsageError("E-NUMBERS", f"not a list of finite numbers: '{text}'", where=where, hint="for example 0.49,0.48,0.45")
    return parts
