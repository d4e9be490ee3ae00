"""The conformance kit: what every operator and every abstract domain must satisfy, as one call for plug-in authors.

`check_op(MyOp(...), shapes)` and `check_domain(MyDomain)` raise ContractError with every failed check;
`op_checks(...)` and `domain_checks()` give the same as (name, function) pairs for pytest.mark.parametrize.
Truth is exact rational arithmetic on vertices and samples (see `absint._contract`); all seeds are fixed. Passing proves
nothing, but every check here has been seen to fail on an unsound variant (tests/mutants).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint._contract import NETS, SCALES, SMOOTH, WIDTHS, Case, Exact, Reference, case, evaluate, network, outside
from absint._contract_ops import LINEAR, NONLINEAR, Table
from absint.backend import numeric_mode
from absint.context import Context
from absint.domain import Domain
from absint.errors import AbsintError, UnsupportedError
from absint.graph import Graph
from absint.interpret import analyse, margins, row_bounds, tensor_bounds
from absint.interval import Interval
from absint.op import Linear, Nonlinear, Op, Shape
from absint.region import BoxRegion
from absint.rounding import Numerics
from absint.spec import Spec

__all__ = ["Check", "ContractError", "check_domain", "check_op", "domain_checks", "op_checks"]

FLOAT64 = Numerics()
MIXED = Numerics(torch.float32)
SINGLE = Numerics(torch.float32).single()
Failures = Iterator[str]


class ContractError(AbsintError):
    """An operator or a domain breaks its contract. details: one line per failed check."""

    exit_code = 4


@dataclass(frozen=True)
class Check:
    """One named check. `run(subject)` raises ContractError; whatever the subject itself raises counts as a failure."""

    name: str
    find: Callable[[Any], Failures]

    def failures(self, subject: Any) -> list[str]:
        """One line per failure."""
        try:
            with numeric_mode(), torch.no_grad():
                return [f"{self.name}: {line}" for line in self.find(subject)]
        except Exception as error:  # a stranger's code: whatever it raises is a failure to report
            return [f"{self.name}: {type(error).__name__}: {error}"]

    def __call__(self, subject: Any) -> None:
        _raise(self.failures(subject), subject)


def _raise(lines: list[str], subject: object) -> None:
    if lines:
        raise ContractError("E-CONTRACT", f"{len(lines)} checks failed", where=type(subject).__name__, details=lines,
                            hint="an unsound operator or domain proves false statements: repair it before using it")


# ======================================================================================================================
# Operators
# ======================================================================================================================


def check_op(op: Op | type[Op], shapes: tuple[Shape, ...] | None = None, reference: Reference | None = None) -> None:
    """Check one operator instance (or a class without parameters).

    shapes: of its inputs, without the batch axis; needed for Linear operators.  reference: the exact function of an
    elementwise operator, Fraction -> Fraction (accurate to 1e-40 or so where it is not rational); without one the stated
    kernel error is trusted.  Raises ContractError E-CONTRACT listing every failed check.
    """
    subject = op() if isinstance(op, type) else op
    lines = [line for _, check in op_checks(subject, shapes, reference) for line in check.failures(subject)]
    _raise(lines, subject)


def op_checks(op: Op, shapes: tuple[Shape, ...] | None = None, reference: Reference | None = None) -> list[tuple[str, Check]]:
    """The checks that apply to `op`, by name; see `check_op`."""
    if isinstance(op, Linear):
        if shapes is None:
            raise ContractError("E-CONTRACT", "a linear operator is checked on given input shapes", hint="pass shapes=((3,),)")
        given = shapes
        found = [Check(f"linear/{name}", lambda subject, f=f: f(subject, given)) for name, f in LINEAR.items()]
    elif isinstance(op, Nonlinear):
        found = []
        for label, num in (("float64", FLOAT64), ("mixed", MIXED), ("float32", SINGLE)):
            table = Table.of(op, shapes, num, reference)
            found += [Check(f"nonlinear/{name}-{label}", lambda subject, f=f, t=table: f(subject, t)) for name, f in NONLINEAR.items()]
    else:
        raise ContractError("E-CONTRACT", f"{type(op).__name__} is neither Linear nor Nonlinear", hint="check the parts it expands into")
    return [(check.name, check) for check in found]


