"""The errors that functions are checked against on a device are those that the operators state."""

from __future__ import annotations

import pytest

from absint.model.ops.exponential import Exp, Log
from absint.model.ops.inverse_functions import Acos, Acosh, Asin, Atanh
from absint.model.ops.power import Power
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.smooth import Asinh, Atan, Cosh, Erf, Sinh
from absint.model.ops.trigonometric import Cos, Sin, Tan
from absint.numeric.kernel_functions import FUNCTIONS

# Functions that are an operator of their own.
OPERATORS = {"exp": Exp, "log": Log, "sigmoid": Sigmoid, "tanh": Tanh, "erf": Erf, "sin": Sin, "cos": Cos, "atan": Atan, "asinh": Asinh,
             "sinh": Sinh, "cosh": Cosh, "tan": Tan, "asin": Asin, "acos": Acos, "atanh": Atanh, "acosh": Acosh}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_check_allows_what_the_operator_states(name):
    error = OPERATORS[name]().error
    assert (FUNCTIONS[name].ulps, FUNCTIONS[name].absolute) == (error.ulps, error.absolute)


def test_a_power_may_err_as_the_check_allows():
    assert FUNCTIONS["power 2.5"].ulps == Power(2.5).error.ulps
    assert FUNCTIONS["square root"].ulps <= Power(0.5).error.ulps
