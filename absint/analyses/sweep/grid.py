"""The radii of a sweep: exact numbers, which of them lies within which, and the order in which to ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from absint.errors import UsageError, shown
from absint.numeric.decimal import exact_text, parse_eps

_MOST = 1000    # radii of one sweep


@dataclass(frozen=True)
class AskedRadius:
    """text: as the user wrote it.  exact: one rational, or one a channel."""

    text: str
    exact: tuple[Fraction, ...]

    def within(self, other: AskedRadius) -> bool:
        """Whether the ball of this radius around any point is a part of the other's: no entry exceeds the other's, in rationals."""
        count = max(len(self.exact), len(other.exact))
        if {len(self.exact), len(other.exact)} - {1, count}:
            return False
        return all(mine <= theirs for mine, theirs in zip(self._spread(count), other._spread(count), strict=True))

    def _spread(self, count: int) -> tuple[Fraction, ...]:
        return self.exact if len(self.exact) == count else self.exact * count


def radii_of(stated: Iterable[Any]) -> tuple[AskedRadius, ...]:
    """'0.01', '2/255', numbers, 'a,b,c' by channel, or 'LOW:HIGH:COUNT' evenly spaced with both ends; ascending.

    Raises UsageError E-EPS, also for a radius that is given twice.
    """
    found = [one for value in stated for part in _each(value) for one in _read(part)]
    if not found:
        raise UsageError("E-EPS", "no radius is given", where="--eps", hint="give one at least, such as 0.01")
    if len(found) > _MOST:
        raise UsageError("E-EPS", f"{len(found)} radii", where="--eps", hint=f"at most {_MOST} in a sweep")
    known: dict[tuple[Fraction, ...], str] = {}
    for one in found:
        if one.exact in known:
            raise UsageError("E-EPS", f"the radii {known[one.exact]} and {one.text} are the same", where="--eps", hint="give it once")
        known[one.exact] = one.text
    return tuple(sorted(found, key=lambda one: (max(one.exact), sum(one.exact) / len(one.exact), one.exact)))


def _each(value: Any) -> Iterable[Any]:
    """The numbers of an array. What cannot list them, such as a sparse tensor, is one value, and refused as such."""
    try:
        listed = value.tolist() if hasattr(value, "tolist") else value
    except Exception:       # whatever a user's object raises
        listed = value
    return listed if isinstance(listed, (list, tuple)) else (listed,)


def _read(value: Any) -> list[AskedRadius]:
    if not isinstance(value, str):
        exact = parse_eps(value)
        return [AskedRadius(exact_text(exact), (exact,))]
    if ":" in value:
        return [AskedRadius(exact_text(one), (one,)) for one in _spaced(value)]
    return [AskedRadius(value.strip(), tuple(parse_eps(part.strip()) for part in value.split(",")))]


def _spaced(text: str) -> list[Fraction]:
    parts = text.split(":")
    low, high = (parse_eps(part.strip()) for part in (parts * 2)[:2])
    count = int(parts[2]) if len(parts) == 3 and parts[2].strip().isdecimal() and len(parts[2]) < 9 else 0
    if not (2 <= count <= _MOST and low < high):
        raise UsageError("E-EPS", f"not a range of radii: {shown(text)}", where="--eps",
                         hint="LOW:HIGH:COUNT with LOW < HIGH and a COUNT of 2 or more, such as 0.01:0.05:5")
    return [low + (high - low) * Fraction(k, count - 1) for k in range(count)]


def asking_order(count: int) -> tuple[int, ...]:
    """0..count-1 as bisection meets them: the middle, then the middles of both halves, and so on.

    Of radii that are proved up to one and refuted from the next on, an input is asked about log2(count) + 1.
    """
    order: list[int] = []
    halves = [(0, count)]
    while halves:
        order += [(low + high) // 2 for low, high in halves]
        halves = [part for low, high in halves for part in ((low, (low + high) // 2), ((low + high) // 2 + 1, high)) if part[0] < part[1]]
    return tuple(order)
