"""What a query is made of: bounds of inputs, rows over outputs, and disjunctions of their conjunctions.

A variable is a code: input i is i, output j is -1 - j.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isinf, lcm, prod
from typing import NamedTuple

from absint.errors import InputError, UnsupportedError
from absint.frontends.vnnlib_numbers import ExactNumber, rational

MAX_BRANCHES = 1 << 20
MAX_ATOMS = 1 << 24


RELATION = ("absint handles bounds of single inputs, and linear constraints over outputs: let the network return what the constraint is "
            "about, too (in torch: torch.cat([x.flatten(1), y], 1), or a product), and write the constraint over these outputs")


class Bound(NamedTuple):
    """Input `var` is at most (or at least) `value`; less (or more) than it where strict. at: where the file says so."""

    var: int
    upper: bool
    value: ExactNumber
    strict: bool
    at: int


class OutputRow(NamedTuple):
    """sum weight_k y[entries_k] + bias <= 0 (< 0 where strict); weights exact, down <= bias <= up."""

    entries: tuple[int, ...]
    weight: tuple[float, ...]
    down: float
    up: float
    strict: bool


Atom = Bound | OutputRow
Branch = list[Atom]
Formula = list[Branch]  # disjunctive normal form: [] is false, [[]] is true


class LinearTerm(NamedTuple):
    """sum coefficient * variable + constant, by code."""

    terms: dict[int, Fraction]
    constant: Fraction


@dataclass(frozen=True)
class QueryText:
    """A file under work, for messages. text: of VNN-LIB 1.0, where positions are offsets; None where they are lines."""

    path: str
    text: str | None = None

    def where(self, at: int) -> str:
        """'file:line:column', or 'file:line'."""
        if self.text is None:
            return f"{self.path}:{at}"
        start = self.text.rfind("\n", 0, at) + 1
        return f"{self.path}:{self.text.count(chr(10), 0, at) + 1}:{at - start + 1}"

    def fail(self, at: int, code: str, what: str, hint: str | None = None) -> InputError:
        """The error to raise about a place in the file."""
        return InputError(code, what, where=self.where(at), hint=hint)

    def refuse(self, at: int, code: str, what: str, hint: str | None = None) -> UnsupportedError:
        """The same for what is well formed but not handled."""
        return UnsupportedError(code, what, where=self.where(at), hint=hint)


def conjunction(parts: Sequence[Formula], source: QueryText, at: int) -> Formula:
    """All of `parts`, whose branches are used up. Raises InputError E-VNNLIB-SIZE where the product explodes."""
    if any(not part for part in parts):
        return []
    singles = [part[0] for part in parts if len(part) == 1]
    base: Branch = max(singles, key=len, default=[])
    for branch in singles:
        if branch is not base:
            base.extend(branch)
    several = [part for part in parts if len(part) > 1]
    if not several:
        return [base]
    count = prod(len(part) for part in several)
    longest = len(base) + sum(max(len(branch) for branch in part) for part in several)
    check_size(count, longest, source, at)
    result: Formula = [base]
    for part in several:
        result = [[*branch, *more] for branch in result for more in part]
    return result


def check_size(branches: int, longest: int, source: QueryText, at: int) -> None:
    """Raise InputError E-VNNLIB-SIZE for more branches than memory should hold."""
    if branches > MAX_BRANCHES or branches * longest > MAX_ATOMS:
        raise source.fail(at, "E-VNNLIB-SIZE", f"the constraints multiply out to {branches} branches of up to {longest} constraints",
                          f"at most {MAX_BRANCHES} branches and {MAX_ATOMS} constraints in all; split the query into several files")


def disjunction(parts: Sequence[Formula]) -> Formula:
    """Any of `parts`; the longest one is extended, so that deep nesting costs no more than flat writing."""
    base: Formula = max(parts, key=len, default=[])
    for part in parts:
        if part is not base:
            base.extend(part)
    return base


def comparison(operator: str, left: LinearTerm, right: LinearTerm, source: QueryText, at: int) -> Formula:
    """`left operator right`: a bound of one input, a row over outputs, true or false.

    Raises UnsupportedError E-VNNLIB-RELATION where inputs are related to each other or to outputs, and
    E-VNNLIB-COEFFICIENT where a coefficient cannot be held exactly.
    """
    terms = dict(left.terms)
    for code, value in right.terms.items():
        terms[code] = terms.get(code, Fraction(0)) - value
    difference = LinearTerm({code: value for code, value in terms.items() if value}, left.constant - right.constant)
    signs = {"<=": (1,), "<": (1,), ">=": (-1,), ">": (-1,), "=": (1, -1), "==": (1, -1)}[operator]
    parts = [_below_zero(difference, sign, operator in ("<", ">"), source, at) for sign in signs]
    return conjunction(parts, source, at)


def _below_zero(linear: LinearTerm, sign: int, strict: bool, source: QueryText, at: int) -> Formula:
    constant = sign * linear.constant
    if not linear.terms:
        return [[]] if constant < 0 or (constant == 0 and not strict) else []
    terms = {code: sign * value for code, value in linear.terms.items()}
    if all(code < 0 for code in terms):
        return [[_row(terms, constant, strict, source, at)]]
    if len(terms) > 1:
        raise source.refuse(at, "E-VNNLIB-RELATION", "a constraint that relates an input to another variable",
                            RELATION)
    ((code, value),) = terms.items()
    bound = rational(-constant / value)
    if bound is None:
        raise source.fail(at, "E-VNNLIB-NUMBER", "the bound leaves the range of float64")
    return [[Bound(code, value > 0, bound, strict, at)]]


def _row(terms: dict[int, Fraction], constant: Fraction, strict: bool, source: QueryText, at: int) -> OutputRow:
    """The row, scaled by a positive rational where that makes every coefficient a float64 number."""
    scale = _scale(terms.values())
    bias = None if scale is None else rational(constant * scale)
    if scale is None or bias is None:
        raise source.refuse(at, "E-VNNLIB-COEFFICIENT", "a coefficient that float64 cannot hold exactly",
                            "shorten it to 15 digits")
    index = tuple(-1 - code for code in terms)
    return OutputRow(index, tuple(float(value * scale) for value in terms.values()), bias.floor, bias.ceil, strict)


def _scale(values: Iterable[Fraction]) -> Fraction | None:
    numbers = list(values)
    if all(_is_float(value) for value in numbers):
        return Fraction(1)
    denominator = lcm(*(value.denominator for value in numbers))
    whole = [int(value * denominator) for value in numbers]
    factor = Fraction(denominator, gcd(*whole))
    factor /= Fraction(2) ** (factor.numerator // factor.denominator).bit_length()  # keeps margins in the unit of the outputs
    return factor if all(_is_float(value * factor) for value in numbers) else None


def _is_float(value: Fraction) -> bool:
    try:
        near = float(value)
    except OverflowError:
        return False
    return not isinf(near) and Fraction(near) == value
