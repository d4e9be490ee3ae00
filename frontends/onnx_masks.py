"""Masks of minus infinity: constants, and what they are added to or selected into, up to the softmax that leaves their entries out.

A graph holds finite numbers alone. So a tensor with -inf at places that a constant mask fixes is held with other numbers there, its places
are known beside it, and whatever does not say what becomes of them refuses. A softmax reads what is visible and no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx
import torch

from absint.frontends.onnx_file import AnyArray, standard
from absint.frontends.onnx_fold import NotExactError, fold, moves, run_one
from absint.frontends.onnx_values import MASK_HINT, NodeProblemError
from absint.model.graph import Graph
from absint.model.op import Op
from absint.model.ops.masked import MaskedSoftmax
from absint.model.ops.normalise import Softmax

BoolArray = npt.NDArray[np.bool_]
_FLOATS = (1, 10, 11)   # formats that a cast keeps -inf in
_MOVES = frozenset(re.findall(
    r"\w+", "Cast Identity Dropout Reshape Flatten Transpose Unsqueeze Squeeze Slice Gather Expand Tile Concat Split",
))
_COMBINES = frozenset(("Add", "Sub", "Mul", "Div", "Where"))
_LOST = "has a constant mask of -inf among its operands, which is known to add, select and move until a Softmax, and nowhere else"


def places(value: AnyArray) -> BoolArray | None:
    """Where a constant is -inf; None where it is so nowhere."""
    # Of a NaN, too, the look at every entry tells.
    if value.dtype.kind != "f" or not value.size or float(value.min()) > -np.inf:
        return None
    found: BoolArray = np.isneginf(value)
    return found if bool(found.any()) else None


def visible(value: AnyArray, hidden: BoolArray | None) -> AnyArray:
    """The constant with 0 in the place of -inf."""
    return value if hidden is None else np.where(hidden, np.zeros((), value.dtype), value)


def folded(node: onnx.NodeProto, inputs: list[AnyArray | None], opset: int) -> list[AnyArray]:
    """The values of a node of constants of which some hold -inf. Raises NodeProblemError where they are not only moved, added or chosen."""
    try:
        return _folded(node, inputs, opset)
    except NotExactError as error:
        raise NodeProblemError(str(error), MASK_HINT) from error


def _folded(node: onnx.NodeProto, inputs: list[AnyArray | None], opset: int) -> list[AnyArray]:
    if node.op_type == "Add":
        hidden = np.logical_or(*np.broadcast_arrays(*(np.isneginf(v) for v in inputs if v is not None)))
        (found,) = fold(node, [None if v is None else visible(v, places(v)) for v in inputs], opset)
        return [np.where(hidden, np.asarray(-np.inf, found.dtype), found)]
    if not moves(node.op_type) or (node.op_type == "Cast" and not _keeps(node)):
        raise NodeProblemError(_LOST, MASK_HINT)
    return fold(node, inputs, opset, masks=True)


def _keeps(cast: onnx.NodeProto) -> bool:
    """Whether a cast is to a format that has -inf."""
    return any(a.name == "to" and a.i in _FLOATS for a in cast.attribute)


def hidden_in(
    node: onnx.NodeProto, masks: Mapping[str, BoolArray], constants: Mapping[str, AnyArray], shapes: Mapping[str, tuple[int, ...] | None],
    opset: int,
) -> dict[str, BoolArray]:
    """Where the results of a node are -inf for operands some of which are. Raises NodeProblemError where that is not understood.

    masks: of all tensors that hold -inf.  constants: the others than computed ones.  shapes: of the computed ones.
    """
    if not masks or not any(name in masks for name in node.input):
        return {}
    if not standard(node.domain):   # what goes by these names elsewhere may be anything
        raise NodeProblemError(_LOST, MASK_HINT)

    def of(name: str) -> BoolArray:
        shape = constants[name].shape if name in constants else shapes[name] or ()
        found: BoolArray = np.broadcast_to(masks.get(name, np.zeros((), dtype=np.bool_)), shape)
        return found

    if node.op_type == "Softmax":
        return {}
    if node.op_type in _COMBINES:
        found = [_combined(node, [of(name) for name in node.input], [constants.get(name) for name in node.input])]
    elif node.op_type in _MOVES:
        found = _moved(node, {name: of(name) for name in node.input if name and _real(name, constants)}, constants, opset)
    else:
        raise NodeProblemError(_LOST, MASK_HINT)
    return {str(name): where for name, where in zip(node.output, found, strict=False) if name and bool(where.any())}


def _real(name: str, constants: Mapping[str, AnyArray]) -> bool:
    return name not in constants or constants[name].dtype.kind == "f"


def _combined(node: onnx.NodeProto, given: Sequence[BoolArray], constants: Sequence[AnyArray | None]) -> BoolArray:
    """-inf plus or minus a number, and times or by a positive one, is -inf; minus -inf, or times 0, it is not."""
    kind = node.op_type
    if kind == "Where":
        condition = constants[0]
        if condition is None:
            raise NodeProblemError("selects -inf by a computed condition: a mask that depends on the input is not supported", MASK_HINT)
        return np.asarray(np.where(condition.astype(np.bool_), given[1], given[2]))
    if kind in ("Sub", "Div") and given[1].any():
        raise NodeProblemError(_LOST, MASK_HINT)
    found: BoolArray = np.logical_or(*np.broadcast_arrays(*given))
    if kind in ("Mul", "Div"):
        factor = next((c for c, hidden in zip(constants, given, strict=True) if c is not None and not hidden.any()), None)
        if factor is None or not bool((factor >= np.finfo(np.float32).tiny).all()):
            raise NodeProblemError("scales a mask of -inf by what is no positive constant", MASK_HINT)
    return found


def _moved(node: onnx.NodeProto, given: Mapping[str, BoolArray], constants: Mapping[str, AnyArray], opset: int) -> list[BoolArray]:
    if node.op_type == "Cast" and not _keeps(node):
        raise NodeProblemError(_LOST, MASK_HINT)
    inputs = [None if not name else given[name].astype(np.float32) if name in given else constants[name] for name in node.input]
    if node.op_type in ("Cast", "Dropout"):     # each entry stays in its place, whatever else the node has operands for
        return [given[node.input[0]]]
    try:
        return [value > 0 for value in run_one(node, inputs, opset)]
    except NotExactError as error:
        raise NodeProblemError(str(error), MASK_HINT) from error


def behind(op: Op, kind: str, hidden: BoolArray | None, *, batched: bool) -> Op:
    """The operator of a node whose first operand is hidden in part: a softmax leaves those entries out, others do not look at them.

    kind: the node's operator.  batched: whether `op` does not count axis 0. Raises NodeProblemError where nothing is visible in a row, and
    where a softmax is another operator than absint's, which would read what stands at the hidden entries.
    """
    if hidden is None or (kind != "Softmax" and not isinstance(op, Softmax)):
        return op
    if not isinstance(op, Softmax):
        raise NodeProblemError(_LOST, MASK_HINT)
    inner = hidden[0] if batched else hidden
    if op.logarithmic:
        raise NodeProblemError(_LOST, MASK_HINT)
    if bool(inner.all(op.axis).any()):
        raise NodeProblemError("a whole row of its operand is masked by -inf, so that its softmax is NaN", MASK_HINT)
    return MaskedSoftmax(op.axis, torch.from_numpy(np.array(inner)))


def unnamed(graph: Graph, masks: Mapping[str, BoolArray]) -> Graph:
    """The graph in which no node goes by the name of a tensor that holds -inf in the file: its bounds would not be that tensor's."""
    found = [node for node in graph.nodes if node.name in masks]
    if not found:
        return graph
    taken = set(graph.tensors)
    new: dict[str, str] = {}
    for node in found:
        name = f"{node.name} where visible"
        while name in taken:
            name += "'"
        new[node.name] = name
    nodes = (node.reading(new) for node in graph.nodes)
    return Graph(tuple(replace(node, name=new[node.name], tensors=()) if node.name in new else node for node in nodes), graph.source)
