"""Operators on a device that rounds quotients by numbers and square roots otherwise, within what is known of torch's kernels.

CUDA multiplies by the rounded reciprocal of a number; a vector library's root may miss by a last digit in either direction.
"""

from __future__ import annotations

import decimal
from fractions import Fraction

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from absint.testing.kit import ContractError, check_op
from contract.operators import INSTANCES

DIGITS = 90     # of the references, which the kit then holds the operators against instead of trusting what they state


def in_decimals(value):
    with decimal.localcontext(prec=DIGITS):
        return decimal.Decimal(value.numerator) / value.denominator


def root(op):
    def exact(x):
        with decimal.localcontext(prec=DIGITS):
            return Fraction(in_decimals(max(x, Fraction(0))).sqrt())    # undefined below 0: anything is enclosed there
    return exact


def unit(op):
    alpha, beta, scale = Fraction(op.alpha), Fraction(op.beta), Fraction(op.scale)

    def exact(x):
        if x > 0:
            return scale * x
        with decimal.localcontext(prec=DIGITS, Emin=-999999):
            return scale * alpha * (Fraction(in_decimals(max(x / beta, Fraction(-400))).exp()) - 1)
    return exact


def swish(op):
    return lambda x: x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6


# Those that divide by a number or take a root, and exact functions of rational numbers; gelu divides, too, and takes 20 s.
EXACT = {"hard-swish": swish, "celu": unit, "elu": unit, "power(0.5)": root}


class Otherwise(TorchDispatchMode):
    """quotient, root: what takes their place."""

    def __init__(self, quotient=None, root=None):
        super().__init__()
        self.quotient, self.root, self.hits = quotient, root, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if self.quotient is not None and name == "div" and isinstance(args[1], (int, float)) and not kwargs and found.is_floating_point():
            self.hits += 1
            return self.quotient(args[0], args[1])
        if self.root is not None and name == "sqrt" and found.is_floating_point():
            self.hits += 1
            return self.root(found)
        return found


def reciprocal(x, number):
    return x * (1 / torch.tensor(number, dtype=x.dtype))


def astray(found):
    """Each other entry a step up, the others a step down."""
    flat = found.flatten()
    up = torch.arange(flat.numel()) % 2 == 0
    above, below = torch.nextafter(flat, torch.full_like(flat, torch.inf)), torch.nextafter(flat, torch.zeros_like(flat))
    return torch.where(up, above, below).view_as(found)


@pytest.mark.parametrize("name", ["celu", "power(0.5)", *(pytest.param(name, marks=pytest.mark.slow) for name in ("elu", "hard-swish"))])
def test_operator_keeps_its_contract_there(name):
    op, shapes = INSTANCES[name]()
    with Otherwise(reciprocal, astray) as there:
        check_op(op, shapes, EXACT[name](op), quiet=True)
    assert there.hits


def test_a_quotient_that_errs_by_more_is_noticed():
    op, shapes = INSTANCES["celu"]()
    with Otherwise(lambda x, number: x / number * (1 + 2.0**-40)) as there, pytest.raises(ContractError, match="off by"):
        check_op(op, shapes, unit(op), quiet=True)
    assert there.hits


def test_a_root_that_errs_by_more_is_noticed():
    op, shapes = INSTANCES["power(0.5)"]()
    with Otherwise(root=lambda found: found * (1 + 2.0**-40)) as there, pytest.raises(ContractError, match="off by"):
        check_op(op, shapes, root(op), quiet=True)
    assert there.hits
