"""Tensors of integers that a model computes: which operators may read them, and what guards their arithmetic.

The engine knows real numbers only. Casting, comparing, selecting and moving integers means the same in both; sums and products
do as long as the type holds them, which `Held` demands. All others (a division that truncates, means, powers) are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from absint.frontends.onnx_file import AnyArray
from absint.model.op import Op
from absint.model.ops.step import INTEGERS, Held

# Their results can leave the type although their inputs do not.
_WRAPS = frozenset(re.findall(r"\w+", "Add Sub Mul Neg Abs Sum ReduceSum MatMul CumSum"))
# Those that quantise, and the input whose type is that of the result.
_ZERO_POINT = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearMatMul": 7}
_TO_INT32 = ("ConvInteger", "MatMulInteger")
QUANTISED = (*_ZERO_POINT, *_TO_INT32, "DequantizeLinear")
_TRUTH = frozenset(re.findall(r"\w+", "Equal Greater GreaterOrEqual Less LessOrEqual Not And Or Xor"))
_READ = _WRAPS | _TRUTH | frozenset(QUANTISED) | frozenset(re.findall(
    r"\w+",
    "Identity Cast Where Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather GatherElements GatherND Concat Expand Split Tile Pad "
    "Clip MaxPool Max Min ReduceMax ReduceMin Relu Sign Trilu ScatterND ScatterElements DepthToSpace SpaceToDepth",
))


def reads_integers(op_type: str) -> bool:
    """Whether the operator means the same on integers as on the reals that stand for them."""
    return op_type in _READ


def integer_type(node: onnx.NodeProto, computed: Mapping[str, int], constants: Mapping[str, AnyArray]) -> int | None:
    """The integer type (of TensorProto) of a node's results; None for any other type. computed: of the tensors before it."""
    if node.op_type == "Cast":
        kind = next(int(helper.get_attribute_value(a)) for a in node.attribute if a.name == "to")
        return kind if kind in INTEGERS else None
    if node.op_type in _TRUTH or node.op_type == "DequantizeLinear":
        return None
    if node.op_type in QUANTISED:
        return int(TensorProto.INT32) if node.op_type in _TO_INT32 else _quantised_type(node, constants)
    found = next((computed[name] for name in node.input if name in computed), None)
    if found is None and node.op_type == "Where":
        kinds = [_kind(constants[name]) for name in node.input[1:] if name in constants]
        return next((kind for kind in kinds if kind in INTEGERS), None)
    return found


def _quantised_type(node: onnx.NodeProto, constants: Mapping[str, AnyArray]) -> int:
    """That of the zero point, of the attribute, or uint8."""
    place = _ZERO_POINT[node.op_type]
    zero = constants.get(node.input[place]) if place < len(node.input) else None
    stated = next((int(a.i) for a in node.attribute if a.name == "output_dtype"), 0)
    return stated or (int(TensorProto.UINT8) if zero is None else _kind(zero))


def guard(op_type: str, kind: int) -> Op | None:
    """What follows arithmetic of integers of that type; None where nothing can wrap around."""
    return Held(*INTEGERS[kind]) if op_type in _WRAPS else None


def _kind(value: AnyArray) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype))
