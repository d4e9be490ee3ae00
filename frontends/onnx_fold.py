"""Evaluates nodes whose inputs are all constants, where that is exact; what rounds is left to `onnx_enclosed`.

Integers, comparisons and moves of entries are left to onnxruntime on a one-node model. Float arithmetic is done here in
float64 and accepted only where neither float64 nor the tensor's own format rounds: then the exact-real network and every
execution of it agree on the constant.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper

from absint.frontends.onnx_file import AnyArray, to_array

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class NotExactError(Exception):
    """The node cannot be evaluated exactly; the message says why."""


# They only move, select or compare entries: no rounding in any format.
_EXACT = frozenset(re.findall(
    r"\w+",
    "Identity Shape Size Gather GatherElements GatherND Concat Unsqueeze Squeeze Slice Reshape Flatten Transpose Expand Tile "
    "Split ConstantOfShape Where Pad Equal Less LessOrEqual Greater GreaterOrEqual And Or Not Xor Neg Abs Sign Max Min "
    "ReduceMax ReduceMin ArgMax ArgMin Floor Ceil ScatterND ScatterElements OneHot NonZero Trilu EyeLike DepthToSpace "
    "SpaceToDepth Relu Clip Compress TopK IsNaN IsInf",
))
# Exact on integers only.
_INTEGER = frozenset(re.findall(r"\w+", "Add Sub Mul Div Mod Sum ReduceSum ReduceProd CumSum Range"))


def foldable(op_type: str) -> bool:
    """Whether `fold` knows how to evaluate the operator."""
    return op_type in _EXACT or op_type in _INTEGER or op_type in _ARITHMETIC or op_type in ("Constant", "Cast")


def reduces(node: onnx.NodeProto) -> bool:
    """Whether a scatter combines what it writes with what is there."""
    return node.op_type.startswith("Scatter") and any(a.name == "reduction" and a.s not in (b"", b"none") for a in node.attribute)


def moves(op_type: str) -> bool:
    """Whether an operator is known to move, select or compare entries, or to cast them, and no more."""
    return op_type in _EXACT or op_type == "Cast"


def fold(node: onnx.NodeProto, inputs: list[AnyArray | None], opset: int, *, masks: bool = False) -> list[AnyArray]:
    """The values of all outputs. inputs: None for an absent optional one.  masks: whether -inf may be among the values.

    A constant that the file states may be -inf. Raises NotExactError.
    """
    given = [value for value in inputs if value is not None]
    if reduces(node) and any(value.dtype.kind == "f" for value in given):
        raise NotExactError("reduces what it scatters, which rounds")
    if node.op_type == "Constant":
        results = [_constant(node)]
    elif any(value.dtype.kind in "SUO" for value in given):
        raise NotExactError("works on strings")
    elif node.op_type == "Cast":
        results = run_one(node, inputs, opset)
        _check_cast(given[0], results[0])
    elif node.op_type in _EXACT or (node.op_type in _INTEGER and all(v.dtype.kind in "iub" for v in given)):
        results = run_one(node, inputs, opset)
    elif node.op_type in _ARITHMETIC:
        results = [_arithmetic(node.op_type, given)]
    else:
        raise NotExactError("rounds its constant inputs")
    masks = masks or node.op_type in ("Constant", "ConstantOfShape")
    if not all((np.isfinite(r) | (masks & np.isneginf(r))).all() for r in results if r.dtype.kind == "f"):
        raise NotExactError("computes NaN or infinity from constants")
    return results


def _constant(node: onnx.NodeProto) -> AnyArray:
    attributes = {a.name: a for a in node.attribute}
    if "value" in attributes:
        return to_array(attributes["value"].t)
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64), ("value_ints", np.int64)):
        if name in attributes:
            return np.array(helper.get_attribute_value(attributes[name]), dtype=dtype)
    raise NotExactError(f"is a Constant of an unknown kind ({', '.join(attributes) or 'no value'})")


def run_one(node: onnx.NodeProto, inputs: list[AnyArray | None], opset: int) -> list[AnyArray]:
    """The node alone in a model, through onnxruntime without optimisations."""
    feeds = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
    declared = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "one", declared, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0)
        values = iter(session.run(None, feeds))
    except Exception as error:  # onnxruntime raises a type of its own for each status code
        raise NotExactError(f"cannot be evaluated: {(str(error).splitlines() or [''])[0]}") from error
    return [np.asarray(next(values)) if name else np.zeros(0) for name in node.output]


def _check_cast(value: AnyArray, result: AnyArray) -> None:
    """To an integer, truncation is what the operator means; to a floating-point format, every entry must survive."""
    if result.dtype.kind == "f" and not np.array_equal(result.astype(value.dtype), value):
        raise NotExactError(f"rounds constants of {value.dtype} to {result.dtype}")
    if result.dtype.kind == "f" and value.dtype.kind in "iu" and max(map(abs, value.reshape(-1).tolist()), default=0) > 2**53:
        raise NotExactError("rounds integers beyond 2^53")


def _two_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Dekker 1971: a b = p + e exactly, away from overflow and underflow."""
    def split(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        t = 134217729.0 * x
        high = t - (t - x)
        return high, x - high

    p = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _safe(*values: FloatArray) -> BoolArray:
    """Entries where the error-free transformations hold: zero, or far from the ends of the format."""
    masks = [(v == 0) | ((np.abs(v) > 1e-140) & (np.abs(v) < 1e140)) for v in values]
    safe: BoolArray = np.logical_and.reduce(np.broadcast_arrays(*masks))
    return safe


def _add(a: FloatArray, b: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Knuth's TwoSum: the error of s is computed without error."""
    s = a + b
    part = s - a
    return s, ((a - (s - part)) + (b - part)) == 0


def _mul(a: FloatArray, b: FloatArray) -> tuple[FloatArray, BoolArray]:
    p, error = _two_product(a, b)
    return p, (error == 0) & _safe(a, b)


def _div(a: FloatArray, b: FloatArray) -> tuple[FloatArray, BoolArray]:
    q = a / b
    p, error = _two_product(q, b)
    return q, (error == 0) & (p == a) & _safe(a, b, q)


def _sqrt(a: FloatArray) -> tuple[FloatArray, BoolArray]:
    r = np.sqrt(a)
    p, error = _two_product(r, r)
    return r, (error == 0) & (p == a) & _safe(a)


_ARITHMETIC: dict[str, Callable[..., tuple[FloatArray, BoolArray]]] = {
    "Add": _add,
    "Sub": lambda a, b: _add(a, -b),
    "Mul": _mul,
    "Div": _div,
    "Sqrt": _sqrt,
    "Reciprocal": lambda a: _div(np.ones_like(a), a),
}


def _arithmetic(op_type: str, inputs: list[AnyArray]) -> AnyArray:
    dtype = inputs[0].dtype
    if dtype.kind != "f":
        raise NotExactError(f"works on constants of {dtype}")
    with np.errstate(all="ignore"):  # whatever overflows or is NaN is refused below
        value, exact = _ARITHMETIC[op_type](*(v.astype(np.float64) for v in inputs))
        result: AnyArray = np.asarray(value).astype(dtype)
        if not bool((exact & (result.astype(np.float64) == value)).all()):
            raise NotExactError(f"rounds in computing a constant of {dtype}")
    return result
