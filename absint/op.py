"""For those who write an operator: families, registration, import. A public face of `absint.model`."""

from absint.model.constants import kept
from absint.model.families.bilinear import Times
from absint.model.families.composite import Composite
from absint.model.families.linear import Linear, Monomial
from absint.model.families.maximum import Maximum
from absint.model.families.nonlinear import Nonlinear, middle_radius
from absint.model.op import (
    OPS,
    FromOnnx,
    Input,
    OnnxNode,
    Op,
    Shape,
    Smoothness,
    no_offset,
    one_power_a_row,
    register_import,
    register_op,
    unerring,
    unsupported,
)

__all__ = [
    "OPS",
    "Composite",
    "FromOnnx",
    "Input",
    "Linear",
    "Maximum",
    "Monomial",
    "Nonlinear",
    "OnnxNode",
    "Op",
    "Shape",
    "Smoothness",
    "Times",
    "kept",
    "middle_radius",
    "no_offset",
    "one_power_a_row",
    "register_import",
    "register_op",
    "unerring",
    "unsupported",
]
