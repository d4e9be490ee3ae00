"""IsNaN and IsInf: what a network asks about itself, of which more is known than of any other question: inputs are numbers.

A graph computes over the real numbers. Where all that stands before the question is defined everywhere, nothing is NaN, for any input, and
what is infinite in an execution is a number beyond its format here; behind anything else the answer would depend on where a bound falls,
and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from absint.frontends.onnx_file import AnyArray, WrittenNode, standard
from absint.frontends.onnx_values import NodeProblemError

ASKING = ("IsNaN", "IsInf")
# By ONNX's element type.
_GREATEST = {
    int(onnx.TensorProto.FLOAT): float(np.finfo(np.float32).max), int(onnx.TensorProto.DOUBLE): float(np.finfo(np.float64).max),
    int(onnx.TensorProto.FLOAT16): float(np.finfo(np.float16).max), int(onnx.TensorProto.BFLOAT16): 2.0**128 - 2.0**120,
}
# Real wherever their operands are; a quotient is, too, by a constant.
_TOTAL = frozenset(re.findall(
    r"\w+",
    "Abs Add ArgMax ArgMin Atan AveragePool BatchNormalization Cast Ceil Celu Clip Concat Conv ConvTranspose Cos CumSum DepthToSpace "
    "Div Dropout Elu Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool "
    "HardSigmoid HardSwish Identity LayerNormalization LeakyRelu MatMul Max MaxPool Mean Min Mish Mul Neg PRelu Pad ReduceL1 ReduceL2 "
    "ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Sigmoid Sign Sin Slice Softmax Softplus "
    "Softsign SpaceToDepth Split Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where",
))


def answer(
    node: onnx.NodeProto, shape: tuple[int, ...], steps: Sequence[WrittenNode], constants: Mapping[str, AnyArray],
    masks: Mapping[str, npt.NDArray[np.bool_]],
) -> npt.NDArray[np.bool_] | None:
    """What a node of `ASKING` says of its computed operand, of that shape; None where that depends on the operand: see `as_comparison`.

    NaN: no. Infinity: at the places of a constant mask of -inf.
    Raises NodeProblemError where what stands before it is not defined everywhere.
    """
    name, infinite = str(node.input[0]), node.op_type == "IsInf"
    if not never_nan(name, steps, constants):
        raise NodeProblemError(f"asks for {'infinity' if infinite else 'NaN'} behind an operator that is not defined everywhere",
                               "leave that case out of the model")
    if infinite and name not in masks and any(_signs(node)):
        return None
    if infinite and name in masks and _signs(node)[0]:
        return np.array(np.broadcast_to(masks[name], shape))
    return np.broadcast_to(np.zeros((), np.bool_), shape)


def _signs(node: onnx.NodeProto) -> tuple[bool, bool]:
    """Whether -inf counts, and inf."""
    given = {a.name: bool(a.i) for a in node.attribute}
    return given.get("detect_negative", True), given.get("detect_positive", True)


def as_comparison(node: onnx.NodeProto, kind: int, taken: Collection[str]) -> tuple[list[onnx.NodeProto], dict[str, AnyArray]]:
    """IsInf of a computed tensor in plain nodes, and the constant that they read: whether it is beyond the greatest number of its format.

    An execution that overflows takes the branch for infinity; a number as large does so here, too.
    kind: the element type of the tensor.  taken: names of tensors, which nothing new gets.
    """
    if node.op_type != "IsInf":
        return [], {}
    greatest = _GREATEST.get(kind, _GREATEST[int(onnx.TensorProto.FLOAT)])
    operand, result = str(node.input[0]), str(node.output[0])

    def fresh(end: str) -> str:
        name = f"{result}/{end}"
        while name in taken:
            name += "'"
        return name

    negative, positive = _signs(node)
    limit, made = fresh("greatest number"), list[onnx.NodeProto]()
    if negative and positive:
        made.append(helper.make_node("Abs", [operand], [fresh("magnitude")], name=node.name))
        operand = made[0].output[0]
    compared = "Greater" if positive else "Less"
    made.append(helper.make_node(compared, [operand, limit], [result], name=node.name))
    return made, {limit: np.array(greatest if positive else -greatest)}


def never_nan(name: str, steps: Sequence[WrittenNode], constants: Mapping[str, AnyArray]) -> bool:
    """Whether a computed tensor is a number for every input: what stands before it is defined everywhere, whatever it is given.

    A softmax whose rows are masked whole is refused where it stands.
    """
    makers = {str(o): step.proto for step in steps for o in step.proto.output if o}
    seen, waiting = set[str](), [name]
    while waiting:
        one = waiting.pop()
        if one in seen or one in constants or one not in makers:
            continue
        seen.add(one)
        node = makers[one]
        if not standard(node.domain) or node.op_type not in _TOTAL or (node.op_type == "Div" and node.input[1] not in constants):
            return False
        waiting += [str(i) for i in node.input if i]
    return True
