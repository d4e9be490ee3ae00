"""Import of Pow with a constant exponent, Sqrt and Reciprocal."""

from __future__ import annotations

import torch

from absint.op import OnnxNode, Op, register_import, unsupported
from absint.ops.affine import Affine
from absint.ops.power import Power
from absint.ops.shape import Identity


def power(exponent: float) -> Op:
    """x ** p as an operator of the simplest family: 0 and 1 are affine."""
    if exponent == 0:
        zero = torch.zeros((), dtype=torch.float64)
        return Affine(zero, zero + 1)
    return Identity() if exponent == 1 else Power(exponent)


@register_import("Pow")
def pow_from_onnx(node: OnnxNode) -> Op:
    """One constant exponent for all entries."""
    exponent = node.required(1, "the exponent").double()
    value = float(exponent.reshape(-1)[0])
    if not bool((exponent == value).all()):
        raise unsupported(node, "different exponents in one node are not supported", "split the node")
    if exponent.dim() > len(node.shapes[0]) or (exponent.numel() > 1 and exponent.shape != node.shapes[0][-exponent.dim():]):
        raise unsupported(node, f"an exponent of shape {tuple(exponent.shape)} broadcasts the input", "make it a scalar")
    return power(value)


@register_import("Sqrt")
def sqrt_from_onnx(node: OnnxNode) -> Op:
    """x ** (1/2)."""
    return Power(0.5)


@register_import("Reciprocal")
def reciprocal_from_onnx(node: OnnxNode) -> Op:
    """x ** -1."""
    return Power(-1.0)
